"""Which names lead to overlay addresses."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from tests.support.small_clusters import article, host, planned
from wgcluster.inventory.cluster import Cluster, Endpoint
from wgcluster.inventory.schema import GuardedSite
from wgcluster.plan.names import names_of


def names(of: Cluster) -> dict[str, list[str]]:
    return {str(address): list(known) for address, known in names_of(of)}


def with_sites(*server_names: str) -> Cluster:
    sites = tuple(GuardedSite(f"/etc/nginx/{name}", name) for name in server_names)
    one = article()
    return replace(one, hosts=tuple(replace(h, nginx=sites if h.name == "root" else ()) for h in one.hosts))


def test_hosts_road_warriors_and_guarded_sites() -> None:
    assert names(with_sites("git.example.org", "git.example.org")) == {
        "10.0.0.4": ["backup"],
        "10.0.0.3": ["cloud"],
        "10.0.0.2": ["root", "git.example.org"],
        "10.0.0.100": ["laptop"],
    }


def test_what_is_no_name_of_a_machine_is_left_out() -> None:
    of = with_sites("*.example.org", "_", "~^git[.]", "10.0.0.9", "localhost", "wiki.example.org")
    assert names(of)["10.0.0.2"] == ["root", "wiki.example.org"]


def test_a_name_of_two_hosts_leads_to_the_first() -> None:
    of = with_sites("CLOUD", "git.example.org")
    assert names(of)["10.0.0.2"] == ["root", "git.example.org"]


def test_a_name_by_which_a_host_is_dialled_is_left_out() -> None:
    """pyinfra's name of a host is its name in the cluster by default, and often its endpoint."""
    dialled = replace(host("vpn.example.org", 5), endpoint=Endpoint("VPN.example.org.", 51820))
    of = with_sites("git.example.org")
    assert "10.0.0.5" not in names(replace(of, hosts=(*of.hosts, dialled)))
    assert names(replace(of, hosts=(*of.hosts, host("vpn.example.org", 5))))["10.0.0.5"] == [
        "vpn.example.org"
    ]


def test_hosts_that_want_none_have_none() -> None:
    of = article()
    hosts = tuple(
        replace(one, hosts_file=one.name == "cloud", dns=(ip_address("10.0.0.2"),)) for one in of.hosts
    )
    plan = planned(replace(of, hosts=hosts))
    assert {one.name: bool(one.names) for one in plan.hosts} == {
        "backup": False,
        "cloud": True,
        "root": False,
    }
    (laptop,) = plan.clients
    assert laptop.names == plan.host("cloud").names
    assert laptop.dns == (ip_address("10.0.0.2"),)
