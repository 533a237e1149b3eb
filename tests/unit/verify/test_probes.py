"""Which packets the hosts send to each other to verify a deploy, and what is said of their fate."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from tests.support.fake.cluster import GUARD, SITE, SITE_PATH
from tests.support.small_clusters import article, client, cluster, host, line, planned
from wgcluster.host.kernel_routes import parse_routes
from wgcluster.host.observed import Observed, Unit
from wgcluster.inventory.cluster import Cluster, Host
from wgcluster.inventory.schema import GuardedSite
from wgcluster.plan.plan import Plan
from wgcluster.prove.proof import prove
from wgcluster.verify.checks import Check
from wgcluster.verify.probes import (
    Pinged,
    WayBack,
    apart_check,
    connections,
    lan_check,
    mtu_check,
    pings_from,
    read_connections,
    read_pings,
    service_check,
    ways_back,
)

SIX = ip_network("fd00::/64")


def sent(plan: Plan, name: str) -> list[str]:
    return [str(ping) for ping in pings_from(plan, prove(plan), plan.host(name))]


def dual(*hosts: Host) -> Cluster:
    """The same with an IPv6 address each, but for those named after IPv4."""
    made = [
        one if one.name == "four" else replace(one, addresses=(*one.addresses, ip_address(f"fd00::{i}")))
        for i, one in enumerate(hosts, 1)
    ]
    return replace(cluster(*made), networks=(ip_network("10.0.0.0/24"), SIX))


def test_every_host_pings_every_other_in_both_families_and_asks_each_link_for_its_size() -> None:
    one = planned(dual(host("a", 1), replace(host("b", 2), mtu=1380), host("c", 3)))
    assert sent(one, "a") == [
        "10.0.0.2=1280=1380",
        "fd00::2=1280=1380",
        "10.0.0.3=1280=1420",
        "fd00::3=1280=1420",
    ]
    assert sent(planned(cluster(host("a", 1), host("b", 2))), "a") == ["10.0.0.2=576=1420"]


def test_only_links_are_asked_for_their_size() -> None:
    assert sent(planned(line(3)), "h00") == ["10.0.0.2=576=1420", "10.0.0.3"]


def test_whom_the_plan_hides_must_not_answer_and_road_warriors_may_be_away() -> None:
    assert sent(planned(article()), "cloud") == ["10.0.0.4=576=1420", "10.0.0.2=576=1420"]
    hidden = planned(article(masquerade=True))
    assert sent(hidden, "cloud") == ["10.0.0.4=576=1420", "10.0.0.2=576=1420", "!10.0.0.100"]
    assert sent(hidden, "root") == ["10.0.0.4=576=1420", "10.0.0.3=576=1420"]


def test_of_many_that_must_not_answer_the_expected_ones_come_first() -> None:
    clients = tuple(client(f"c{n:03}", n) for n in range(50, 250))
    hosts = (host("root", 2, gateway=True, masquerade=True), host("cloud", 3))
    one = planned(cluster(*hosts, clients=clients, expect=("cloud !-> c240",)))
    apart = [target for target in sent(one, "cloud") if target.startswith("!")]
    assert len(apart) == 100
    assert apart[0] == "!10.0.0.240"


def test_the_answer_of_the_script() -> None:
    lines = ["10.0.0.3 yes", "10.0.0.4 no", "fd00::3 yes 1380", "10.0.0.5 yes -", "10.0.0.6 yes 0"]
    assert read_pings(lines) == {
        "10.0.0.3": Pinged(True),
        "10.0.0.4": Pinged(False),
        "fd00::3": Pinged(True, 1380),
        "10.0.0.5": Pinged(True),
        "10.0.0.6": Pinged(True, 0),
    }
    assert read_connections(["yes", "no", "-"]) == [True, False, None]


@pytest.mark.parametrize("line", ["10.0.0.3", "10.0.0.3 maybe", "root yes", "10.0.0.3 yes many", ""])
def test_what_the_script_never_prints_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_pings([line])
    with pytest.raises(ValueError, match=r".+"):
        read_connections([line])


def test_packets_that_do_not_fit() -> None:
    plan = planned(cluster(host("a", 1), host("b", 2), host("c", 3), host("d", 4), host("e", 5)))
    pings = pings_from(plan, prove(plan), plan.host("a"))
    got = {
        "10.0.0.2": Pinged(True, 1420),
        "10.0.0.3": Pinged(True, 1232),
        "10.0.0.4": Pinged(True, 0),
        "10.0.0.5": Pinged(False),
    }
    assert mtu_check(pings, got) == Check(
        "mtu",
        3,
        (
            "packets of 1420 bytes do not get through to c (10.0.0.3), those of 1232 do: set wg_mtu = 1232"
            " for both hosts",
            "packets of 1420 bytes do not get through to d (10.0.0.4), nor do those of 576, the least that"
            " wg_mtu can be: mend the path",
        ),
    )
    (note,) = mtu_check(pings, {"10.0.0.2": Pinged(True)}).notes
    assert "cannot send packets that must not be fragmented" in note


def test_an_answer_from_where_the_plan_has_no_way() -> None:
    plan = planned(article(masquerade=True))
    pings = pings_from(plan, prove(plan), plan.host("cloud"))
    assert apart_check(pings, {"10.0.0.100": Pinged(False)}) == Check("apart", 1)
    assert apart_check(pings, {"10.0.0.100": Pinged(True), "10.0.0.2": Pinged(True)}).faults == (
        "laptop (10.0.0.100) answers, although the plan has no way there from here",
    )


def guarded(listen: str) -> tuple[Plan, dict[str, Observed]]:
    """root with a guarded site, which listens so."""
    site = GuardedSite(SITE_PATH, "git.example.org", public=tuple(GUARD["public"]))
    plan = planned(cluster(host("root", 2, nginx=(site,)), host("cloud", 3)))
    conf = "events {}\nhttp { include /etc/nginx/sites-enabled/*; }\n"
    dump = (
        f"# configuration file /etc/nginx/nginx.conf:\n{conf}\n"
        f"# configuration file {SITE_PATH}:\n{SITE.replace('listen 80;', listen)}\n"
    ).replace("sites-enabled/*", "sites-available/gitlab")
    seen = Observed(units={"nginx.service": Unit(True, True)}, nginx_dump=dump)
    return plan, {"root": seen, "cloud": Observed()}


@pytest.mark.parametrize(
    ("listen", "targets"),
    [
        ("listen 80; listen 443 ssl;", ["10.0.0.2=80", "10.0.0.2=443"]),
        ("listen 198.18.0.2:443 ssl; listen 10.0.0.2:8443;", ["10.0.0.2=8443"]),
        ("listen [::]:443 ssl;", []),
    ],
)
def test_others_have_to_reach_the_ports_of_a_guarded_site(listen: str, targets: list[str]) -> None:
    plan, seen = guarded(listen)
    assert [str(one) for one in connections(plan, prove(plan), plan.host("cloud"), seen)] == targets
    assert connections(plan, prove(plan), plan.host("root"), seen) == []


def test_a_port_that_another_host_does_not_get_to() -> None:
    plan, seen = guarded("listen 80;")
    wanted = connections(plan, prove(plan), plan.host("cloud"), seen)
    assert service_check(wanted, [True]) == Check("service", 1)
    assert service_check(wanted, [False]).faults == (
        "no connection to root (10.0.0.2), TCP port 80, where a guarded site listens",
    )
    untried = service_check(wanted, [None])
    assert (untried.count, untried.faults, len(untried.notes)) == (0, (), 1)


LAN = ip_network("192.168.7.0/24")


def lan(gateway: str) -> tuple[Plan, dict[str, Observed]]:
    plan = planned(cluster(host("nas", 2, subnets=(LAN,)), host("cloud", 3), host("office", 4)))
    routes = parse_routes([f"default via {gateway} dev eth0"], 4)
    office = Observed(interface_addresses=(("eth0", ip_interface("192.168.7.9/24")),))
    return plan, {"office": office, "nas": Observed(routes=routes), "cloud": Observed()}


def test_the_gateway_of_a_lan_is_asked_for_the_way_back_by_a_host_outside() -> None:
    plan, seen = lan("192.168.7.1")
    (way,) = ways_back(plan, prove(plan), seen)
    assert way == WayBack(LAN, ip_address("192.168.7.1"), "nas", "cloud")
    assert lan_check(plan, plan.host("nas"), {way: True}) == Check("lan", 1)
    silent = lan_check(plan, plan.host("nas"), {way: False})
    assert silent.faults == ()
    assert silent.notes == (
        "192.168.7.1 does not answer to cloud: machines in 192.168.7.0/24 answer only if they or their"
        " gateway send 10.0.0.0/24 to this host; or set wg_masquerade_lan = True",
    )
    hidden = lan_check(plan, replace(plan.host("nas"), masquerade_lan=True), {way: False})
    assert hidden.notes == ("192.168.7.1 does not answer to cloud, although this host's own address asks",)
    assert lan_check(plan, plan.host("cloud"), {way: False}) == Check("lan", 0)


def test_of_a_lan_whose_gateway_nobody_knows_nothing_is_said() -> None:
    plan, seen = lan("198.18.0.1")
    assert ways_back(plan, prove(plan), seen) == []
