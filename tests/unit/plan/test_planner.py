"""What each host and road warrior gets, and every reason why a cluster cannot be planned."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, ip_address, ip_network
from typing import Any

import pytest

from tests.support.faults import short
from tests.support.small_clusters import article, client, cluster, host, line, planned, two_sites
from wgcluster.firewall.rules import tunnel_rules
from wgcluster.inventory.cluster import Cluster, Endpoint, Host
from wgcluster.inventory.schema import GuardedSite, OpenPort
from wgcluster.plan.plan import Peer, PlanError
from wgcluster.plan.planner import make_plan
from wgcluster.prefixes import ANYWHERE
from wgcluster.prove.proof import prove


def nets(*texts: str) -> tuple[Any, ...]:
    return tuple(map(ip_network, texts))


def test_the_article_s_cluster() -> None:
    plan = planned(article())
    assert plan.host("backup").peers == (
        Peer("cloud", "key-cloud", nets("10.0.0.3/32"), "198.18.0.3:51820", 25),
        Peer("root", "key-root", nets("10.0.0.2/32", "10.0.0.100/32"), "198.18.0.2:51820", 25),
    )
    assert plan.host("cloud").peers == (
        Peer("backup", "key-backup", nets("10.0.0.4/32")),
        Peer("root", "key-root", nets("10.0.0.2/32", "10.0.0.100/32"), "198.18.0.2:51820"),
    )
    assert plan.host("root").peers == (
        Peer("backup", "key-backup", nets("10.0.0.4/32")),
        Peer("cloud", "key-cloud", nets("10.0.0.3/32"), "198.18.0.3:51820"),
        Peer("laptop", "key-laptop", nets("10.0.0.100/32"), is_client=True),
    )
    assert [one.forwards for one in plan.hosts] == [(), (), (4,)]
    (laptop,) = plan.clients
    assert laptop.gateway == Peer("root", "key-root", nets("10.0.0.0/24"), "198.18.0.2:51820", 25)
    assert [str(one) for one in laptop.addresses] == ["10.0.0.100/24"]


def test_behind_masquerade_only_the_gateway_knows_the_client() -> None:
    plan = planned(article(masquerade=True))
    assert plan.host("cloud").peers[1].allowed_ips == nets("10.0.0.2/32")
    assert plan.host("root").peers[2].allowed_ips == nets("10.0.0.100/32")
    assert plan.host("root").masquerade


def test_a_host_without_a_key_yet_shows_whose_it_will_be() -> None:
    plan = make_plan(article(), {}, {})
    assert plan.host("root").public_key == "(key of root)"
    assert [peer.public_key for peer in plan.host("root").peers][-1] == "(key of laptop)"
    assert plan.clients[0].gateway.public_key == "(key of root)"


def test_preshared_keys_are_named_by_both_sides() -> None:
    plan = planned(article(preshared_keys=True))
    assert [peer.preshared_key for peer in plan.host("root").peers] == [
        "backup|root",
        "cloud|root",
        "laptop|root",
    ]
    assert plan.host("cloud").peers[1].preshared_key == "cloud|root"
    assert plan.clients[0].gateway.preshared_key == "laptop|root"


def test_two_hosts_behind_nat_meet_at_the_first_gateway_by_name() -> None:
    of = cluster(
        host("n1", 4, False), host("n2", 5, False), host("r1", 2, gateway=True), host("r0", 3, gateway=True)
    )
    plan = planned(of)
    assert {peer.name: peer.allowed_ips for peer in plan.host("n1").peers} == {
        "r0": nets("10.0.0.3/32", "10.0.0.5/32"),
        "r1": nets("10.0.0.2/32"),
    }
    assert [one.name for one in plan.hosts if one.forwards] == ["r0"]


def test_who_keeps_a_link_up() -> None:
    of = cluster(host("open", 2), host("nat", 3, False), host("slow", 4, keepalive=60))
    plan = planned(of)
    assert [(p.name, p.endpoint, p.keepalive) for p in plan.host("nat").peers] == [
        ("open", "198.18.0.2:51820", 25),
        ("slow", "198.18.0.4:51820", 25),
    ]
    assert [(p.name, p.keepalive) for p in plan.host("open").peers] == [("nat", None), ("slow", None)]
    # asked for, it goes to everyone it dials; towards nat there is nobody to send to
    assert [(p.name, p.keepalive) for p in plan.host("slow").peers] == [("nat", None), ("open", 60)]


def test_a_site_endpoint_is_dialled_inside_the_site_alone() -> None:
    inside = Endpoint(ip_address("10.9.0.2"), 51820)
    of = cluster(
        host("a1", 1, site="ams"),
        host("a2", 2, site="ams", site_endpoint=inside),
        host("a3", 3, False, site="ams", site_endpoint=Endpoint(ip_address("10.9.0.3"), 51820)),
        host("b1", 4, site="fra"),
    )
    plan = planned(of)
    dialled = {h.name: {p.name: (p.endpoint, p.keepalive) for p in h.peers} for h in plan.hosts}
    assert dialled["a1"]["a2"] == ("10.9.0.2:51820", None)
    assert dialled["a1"]["a3"] == ("10.9.0.3:51820", None)
    assert dialled["b1"]["a2"] == ("198.18.0.2:51820", None)
    assert dialled["b1"]["a3"] == (None, None)
    assert dialled["a3"]["b1"] == ("198.18.0.4:51820", 25)
    assert dialled["a3"]["a2"] == ("10.9.0.2:51820", None)


def test_networks_behind_hosts_are_routed_from_everywhere() -> None:
    of = article()
    hosts = tuple(
        replace(one, subnets=nets("172.16.0.0/12") if one.name == "root" else ()) for one in of.hosts
    )
    plan = planned(replace(of, hosts=hosts))
    assert plan.host("cloud").peers[1].allowed_ips == nets("10.0.0.2/32", "10.0.0.100/32", "172.16.0.0/12")
    assert plan.clients[0].gateway.allowed_ips == nets("10.0.0.0/24", "172.16.0.0/12")
    assert plan.host("root").subnets == nets("172.16.0.0/12")


def test_a_road_warrior_gets_the_fewest_prefixes_too() -> None:
    of = article()
    halves = nets("172.16.0.0/13", "172.24.0.0/13")
    hosts = tuple(replace(one, subnets=halves if one.name == "root" else ()) for one in of.hosts)
    (laptop,) = planned(replace(of, hosts=hosts)).clients
    assert laptop.gateway.allowed_ips == nets("10.0.0.0/24", "172.16.0.0/12")


def test_a_host_with_a_network_forwards_its_family_alone() -> None:
    both = nets("10.0.0.0/24", "fd00::/64")
    hosts = tuple(
        replace(one, addresses=(*one.addresses, ip_address(f"fd00::{i}")), subnets=subnets)
        for i, (one, subnets) in enumerate(
            [(host("a", 1), nets("fd01::/64")), (host("b", 2), nets("172.16.0.0/12")), (host("c", 3), ())], 1
        )
    )
    plan = planned(Cluster(both, hosts))
    assert [one.forwards for one in plan.hosts] == [(6,), (4,), ()]


def test_sites_collapse_to_few_prefixes() -> None:
    """What lies behind a gateway is one entry where the addresses of a site are together."""
    hosts = [host(f"a{i}", i, site="ams", gateway=i == 4) for i in range(4, 8)]
    hosts += [host(f"b{i}", i, site="fra", gateway=i == 8) for i in range(8, 16)]
    plan = planned(cluster(*hosts, topology="sites"))
    assert plan.host("a4").peers[-1].allowed_ips == nets("10.0.0.8/29")
    assert plan.host("a5").peers[0].allowed_ips == nets("10.0.0.4/32", "10.0.0.8/29")


def test_ipv6_endpoints_and_overlay() -> None:
    hosts = tuple(
        replace(
            host(name, i),
            addresses=(ip_address(f"fd00::{i}"),),
            endpoint=Endpoint(ip_address(f"2001:db8::{i}"), 51820),
        )
        for i, name in enumerate("ab", 1)
    )
    plan = planned(Cluster(nets("fd00::/64"), hosts))
    assert plan.host("a").peers == (Peer("b", "key-b", nets("fd00::2/128"), "[2001:db8::2]:51820"),)
    assert plan.host("a").listen_from == nets("2001:db8::2/128")


def test_who_may_send_to_the_listen_port() -> None:
    of = cluster(host("a", 2), host("b", 3), host("c", 5), host("nat", 9, False))
    plan = planned(of)
    assert plan.host("a").listen_from == ANYWHERE  # nat dials it from nobody knows where
    assert plan.host("nat").listen_from == nets("198.18.0.2/31", "198.18.0.5/32")
    fixed = planned(cluster(*of.hosts[:3]))
    assert fixed.host("a").listen_from == nets("198.18.0.3/32", "198.18.0.5/32")


def test_clients_from_narrows_what_is_open_to_strangers() -> None:
    wanted = nets("198.51.100.0/24")
    of = article()
    root = replace(of.hosts[2], clients_from=wanted)
    plan = planned(replace(of, hosts=(*of.hosts[:2], root)))
    assert plan.host("root").listen_from == nets("198.18.0.3/32", "198.51.100.0/24")
    assert plan.host("cloud").listen_from == ANYWHERE


def test_what_the_host_keys_say_is_carried_over() -> None:
    port = OpenPort(22, "tcp", nets("198.51.100.0/24"))
    site = GuardedSite(
        "/etc/nginx/x", "x.example", ("/",), ("/pub",), nets("172.16.0.0/12"), "server", "/var/www"
    )
    of = cluster(
        host("a", 1, firewall="baseline", firewall_allow=(port,), nginx=(site,), mtu=1380), host("b", 2)
    )
    plan = planned(of).host("a")
    assert plan.firewall == "baseline"
    assert plan.firewall_allow == (OpenPort(22, "tcp", nets("198.51.100.0/24")),)
    assert plan.nginx == (
        GuardedSite(
            "/etc/nginx/x",
            "x.example",
            ("/",),
            ("/pub",),
            nets("10.0.0.0/24", "172.16.0.0/12"),
            "server",
            "/var/www",
            (ip_address("10.0.0.1"),),
        ),
    )
    assert (plan.mtu, plan.port, plan.interface) == (1380, 51820, "wg")


def linked(*links: tuple[str, str], count: int = 4, nat: str = "") -> Cluster:
    return cluster(
        *(
            host(name, i, name not in nat, links=tuple(b for a, b in links if a == name))
            for i, name in enumerate("abcdefgh"[:count], 1)
        ),
        topology="partial",
    )


def test_a_client_stays_with_its_gateway_as_long_as_that_is_one() -> None:
    hosts = (host("alpha", 5, gateway=True), *article().hosts)
    for kept, chosen in (("root", "root"), ("alpha", "alpha"), ("cloud", "alpha"), ("gone", "alpha")):
        plan = planned(cluster(*hosts, clients=(client("laptop", 100, kept),)))
        assert plan.clients[0].gateway.name == chosen


FAULTS = [
    pytest.param(
        linked(("a", "b"), ("c", "d")),
        ["wg_topology = 'partial' [wg_topology.pieces]", "(1) a, b; (2) c, d"],
        id="in two pieces",
    ),
    pytest.param(
        cluster(host("a", 1, False), host("b", 2, False)),
        ["wg_topology = 'mesh' [wg_topology.pieces]", "(1) a; (2) b"],
        id="nobody can be dialled",
    ),
    pytest.param(
        cluster(host("a", 1, False), host("b", 2, False), host("c", 3)),
        [
            "a: wg_topology = 'mesh' [wg_topology.no-path]",
            "no path to b:",
            "b: wg_topology = 'mesh' [wg_topology.no-path]",
        ],
        id="nobody relays",
    ),
    pytest.param(
        cluster(
            host("a1", 1, site="ams", gateway=True),
            host("b1", 2, site="fra"),
            host("b2", 3, site="fra"),
            topology="sites",
        ),
        ["wg_gateway [wg_gateway.none-in-site]", "site fra ", "one of b1, b2 "],
        id="a site without a gateway",
    ),
    pytest.param(
        cluster(
            host("a1", 1, site="ams", gateway=True),
            host("a2", 2, False, site="ams"),
            host("b1", 3, False, site="fra"),
            host("c1", 4, False, site="sin"),
            topology="sites",
        ),
        [
            "wg_gateway [wg_gateway.none-in-site]",
            "wg_gateway [wg_gateway.none-in-site]",
            "site fra ",
            "one of b1 ",
            "site sin ",
            "one of c1 ",
        ],
        id="two sites without a gateway, both behind NAT",
    ),
    pytest.param(
        cluster(
            host("a1", 1, site="ams", gateway=True),
            host("b1", 3, site="fra"),
            host("c1", 4, False, site="sin", gateway=True),
            host("c2", 5, False, site="sin"),
            topology="sites",
        ),
        ["wg_gateway [wg_gateway.none-in-site]", "c1: wg_gateway = True [wg_gateway.not-dialable]"],
        id="a site without a gateway, and another's gateway that nobody can dial",
    ),
    pytest.param(
        cluster(host("a", 1, False, gateway=True), host("b", 2)),
        ["a: wg_gateway = True [wg_gateway.not-dialable]"],
        id="a gateway nobody can dial",
    ),
    pytest.param(
        linked(("a", "b"), ("b", "c"), ("c", "d"), nat="cd"),
        ["c: wg_links = 'd' [wg_links.not-dialable]"],
        id="a link nobody can open",
    ),
    pytest.param(
        cluster(host("a", 1, links=("b",)), host("b", 2), topology="partial", degree=2),
        ["a: wg_links = ['b'] [wg_links.with-degree]"],
        id="links and a degree",
    ),
    pytest.param(
        cluster(host("a", 1), host("b", 2), topology="partial", degree=1),
        ["wg_degree = 1 [setting.too-small]"],
        id="a degree below two",
    ),
    pytest.param(
        cluster(host("a", 1), host("b", 2), clients=(client("laptop", 100),)),
        ["laptop: gateway [gateway.none]"],
        id="no gateway for clients",
    ),
    pytest.param(
        article(expect=("laptop -> clod", "root => cloud")),
        [
            "wg_expect = 'laptop -> clod' [wg_expect.unknown-name]",
            "clod is",
            "there are backup, cloud, laptop, root",
            "wg_expect = 'root => cloud' [wg_expect.invalid]",
        ],
        id="an expectation that names nobody",
    ),
    pytest.param(
        cluster(host("a", 1, subnets=nets("fd01::/64")), host("b", 2)),
        ["a: wg_subnets = 'fd01::/64' [wg_subnets.no-such-family]"],
        id="a network of a family that the overlay lacks",
    ),
    pytest.param(
        replace(article(), clients=(client("root", 100), client("x", 101), client("x", 102))),
        ["root: client [client.host-has-name]", "x: client [client.duplicate]"],
        id="names twice",
    ),
]


@pytest.mark.parametrize(("of", "said"), FAULTS)
def test_a_cluster_that_cannot_be_planned(of: Cluster, said: list[str]) -> None:
    with pytest.raises(PlanError) as error:
        planned(of)
    text, codes = str(error.value), [one for one in said if one.endswith("]")]
    assert sorted(map(short, error.value.faults)) == sorted(codes)
    assert all(part in text for part in said if part not in codes), text
    assert text.startswith(f"{len(codes)} fault")


def test_all_faults_are_told_at_once() -> None:
    of = linked(("a", "b"), ("c", "d"), nat="ab")
    of = replace(of, expect=("x -> a",), clients=(client("laptop", 100),))
    with pytest.raises(PlanError) as error:
        planned(of)
    assert [fault.key for fault in error.value.faults] == ["wg_links", "wg_topology", "gateway", "wg_expect"]


def test_a_fault_is_told_beside_another_that_is_not_its_cause() -> None:
    """Nobody can open the link of a and b; could they, d would still have none."""
    with pytest.raises(PlanError) as error:
        planned(linked(("a", "b"), ("b", "c"), count=4, nat="ab"))
    assert [fault.key for fault in error.value.faults] == ["wg_links", "wg_topology"]
    assert "(1) a, b, c; (2) d" in str(error.value)


@pytest.mark.parametrize("of", [article(), two_sites(), line(5)], ids=["mesh", "sites", "partial"])
def test_a_plan_holds_no_secret_and_can_be_compared(of: Cluster) -> None:
    assert planned(of) == planned(of)
    assert hash(planned(of)) == hash(planned(of))
    assert isinstance(planned(of).networks[0], IPv4Network)


def test_a_host_of_one_family_in_an_overlay_of_two() -> None:
    """It has no route, no peer's network and no rule of the other; the others have theirs."""
    hosts = [
        Host(name=name, addresses=tuple(map(ip_address, addresses)), endpoint=at)
        for name, at, *addresses in (
            ("cloud", Endpoint(ip_address("198.18.0.2"), 51820), "10.0.0.2", "fd00::2"),
            ("root", Endpoint(ip_address("198.18.0.3"), 51820), "10.0.0.3", "fd00::3"),
            ("small", None, "10.0.0.4"),
        )
    ]
    networks = (ip_network("10.0.0.0/24"), ip_network("fd00::/64"))
    plan = make_plan(Cluster(networks=networks, hosts=tuple(hosts)), {}, {})
    assert {n.version for peer in plan.host("small").peers for n in peer.allowed_ips} == {4}
    found = {peer.name: peer.allowed_ips for peer in plan.host("cloud").peers}
    assert found == {
        "root": (ip_network("10.0.0.3/32"), ip_network("fd00::3/128")),
        "small": (ip_network("10.0.0.4/32"),),
    }
    assert prove(plan).ok
    assert {rule.family for rule in tunnel_rules(plan.host("small"))} == {4}


def test_a_host_that_others_are_reached_through_has_both_families() -> None:
    rows = [
        ("a", "b", ["10.0.0.2", "fd00::2"]),
        ("b", "c", ["10.0.0.3"]),
        ("c", "b", ["10.0.0.4", "fd00::4"]),
    ]
    hosts = [
        Host(
            name=name,
            addresses=tuple(map(ip_address, addresses)),
            endpoint=Endpoint(ip_address("198.18.0.2"), 51820 + n),
            links=(link,),
        )
        for n, (name, link, addresses) in enumerate(rows)
    ]
    networks = (ip_network("10.0.0.0/24"), ip_network("fd00::/64"))
    with pytest.raises(PlanError) as caught:
        make_plan(Cluster(networks=networks, hosts=tuple(hosts), topology="partial"), {}, {})
    assert [(fault.host, fault.code) for fault in caught.value.faults] == [("b", "wg_address.missing-family")]
