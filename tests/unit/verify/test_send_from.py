"""A host that sends from another address than its endpoint, and who lets that in."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from wgcluster.host.observed import Observed
from wgcluster.inventory.cluster import Cluster, Endpoint, Host
from wgcluster.plan.planner import make_plan
from wgcluster.plan.sources import dialled_by
from wgcluster.verify.send_from import sends_elsewhere


def host(number: int, *endpoint: str, **changes: object) -> Host:
    at = Endpoint(ip_address(endpoint[0]), 51820) if endpoint else None
    made = Host(name=f"h{number}", addresses=(ip_address(f"10.0.0.{number}"),), endpoint=at)
    return replace(made, **changes)  # type: ignore[arg-type]


CLUSTER = Cluster(
    networks=(ip_network("10.0.0.0/24"),),
    hosts=(
        host(1, "198.51.100.1"),
        host(2, "198.51.100.2"),
        host(3, "2001:db8::3"),
        host(4, "192.168.7.4"),
        host(5, "198.51.100.5", firewall="off"),
        host(6),
    ),
)


def told(sources: dict[str, str], cluster: Cluster = CLUSTER) -> list[tuple[str, str]]:
    """Code and message for h1 with these source addresses by destination."""
    plan = make_plan(cluster, {}, {})
    found = sends_elsewhere(plan, plan.hosts[0], Observed(sources=sources))
    return [(fault.code, fault.message.partition(", which")[0]) for fault in found]


def narrow(*hosts: Host) -> Cluster:
    """Of the hosts whose peers are known by address, so that they let in these alone."""
    return replace(CLUSTER, hosts=hosts)


MESH = narrow(host(1, "198.51.100.1"), host(2, "198.51.100.2"), host(4, "198.51.100.4"))


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ({}, []),
        ({"198.51.100.2": "198.51.100.1", "198.51.100.4": "198.51.100.1"}, []),
        (
            {"198.51.100.2": "198.51.100.77", "198.51.100.4": "198.51.100.77"},
            [("wg_source.lacking", "sends to h2, h4 from 198.51.100.77")],
        ),
        ({"198.51.100.2": "198.51.100.77"}, [("wg_source.lacking", "sends to h2 from 198.51.100.77")]),
        # NAT makes another of it on the way
        ({"198.51.100.2": "10.11.0.5"}, []),
        ({"198.51.100.2": "100.64.3.4"}, []),
        ({"198.51.100.99": "198.51.100.77"}, []),  # nobody is dialled there
    ],
)
def test_a_source_that_others_do_not_let_in(sources: dict[str, str], expected: list[tuple[str, str]]) -> None:
    assert told(sources, MESH) == expected


def test_private_addresses_towards_private_ones_are_compared() -> None:
    near = narrow(host(1, "192.168.7.1"), host(2, "192.168.7.2"))
    assert told({"192.168.7.2": "192.168.7.1"}, near) == []
    assert [code for code, _ in told({"192.168.7.2": "192.168.7.99"}, near)] == ["wg_source.lacking"]


def test_six_is_compared_as_four_is() -> None:
    six = narrow(host(1, "2001:db8::1"), host(2, "2001:db8::2"))
    assert told({"2001:db8::2": "2001:db8::1"}, six) == []
    assert [code for code, _ in told({"2001:db8::2": "2001:db8::77"}, six)] == ["wg_source.lacking"]
    assert told({"2001:db8::2": "fd00::77"}, six) == []


def test_who_lets_in_anyone_is_not_told_of() -> None:
    """A peer without an endpoint, or no firewall of ours."""
    assert told({"198.51.100.2": "198.51.100.77"}) == []
    off = narrow(host(1, "198.51.100.1"), host(2, "198.51.100.2", firewall="off"))
    assert told({"198.51.100.2": "198.51.100.77"}, off) == []


@pytest.mark.parametrize("further", ["198.51.100.77/32", "198.51.100.64/26"])
def test_wg_source_lets_it_in(further: str) -> None:
    one, *others = MESH.hosts
    cluster = narrow(replace(one, sources=(ip_network(further),)), *others)
    assert told({"198.51.100.2": "198.51.100.77"}, cluster) == []
    open_to = make_plan(cluster, {}, {}).host("h2").listen_from
    assert ip_network(further) in open_to
    assert ip_network("198.51.100.4/32") in open_to
    assert ip_network(further) not in make_plan(cluster, {}, {}).host("h1").listen_from


def test_what_is_asked_of_a_host() -> None:
    one, *_, last = CLUSTER.hosts
    assert dialled_by(one, CLUSTER.hosts) == ("198.51.100.2", "2001:db8::3", "192.168.7.4", "198.51.100.5")
    assert dialled_by(last, CLUSTER.hosts) == ()  # nobody knows where it sends from
    named = replace(one, endpoint=Endpoint("h1.example.org", 51820))
    assert dialled_by(named, CLUSTER.hosts) == ()
    many = [host(n, f"198.51.100.{n}") for n in range(1, 101)]
    assert len(dialled_by(many[0], many)) == 64
    linked = replace(many[0], links=("h99",))
    assert dialled_by(linked, [linked, *many[1:]])[0] == "198.51.100.99"
