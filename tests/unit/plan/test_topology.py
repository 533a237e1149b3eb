"""Which links there are and which way packets take, on clusters small enough to see it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from statistics import mean

import numpy as np
import pytest

from tests.support.small_clusters import cluster, host, line, planned, two_sites
from wgcluster.inventory.cluster import Cluster, Host
from wgcluster.plan.routes import NOWHERE
from wgcluster.plan.topology import make_topology
from wgcluster.text import abbreviated


def way(of: Cluster, source: str, destination: str) -> str:
    """The hosts on the way, "a b c"."""
    names = [one.name for one in of.hosts]
    hop = make_topology(of)[0].hop
    at, goal = names.index(source), names.index(destination)
    path = [source]
    while at != goal and len(path) <= len(names):
        at = int(hop[at, goal])
        path.append(names[at])
    return " ".join(path)


def test_sites_meet_at_their_gateways() -> None:
    of = two_sites()
    assert way(of, "a2", "b2") == "a2 a1 b1 b2"
    assert way(of, "b2", "a2") == "b2 b1 a1 a2"
    assert way(of, "a2", "b1") == "a2 a1 b1"


def test_of_two_gateways_a_site_the_first_by_name_carries_its_traffic() -> None:
    """The second knows all and stands by: packets for itself alone go to it. Named first, it takes over."""
    second = host("a0", 5, site="ams", gateway=True)
    of = cluster(*two_sites().hosts, second, topology="sites")
    assert way(of, "a2", "b2") == "a2 a0 b1 b2"
    assert way(of, "b2", "a2") == "b2 b1 a0 a2"
    assert way(of, "b2", "a1") == "b2 b1 a1"
    assert [one.name for one in planned(of).hosts if one.forwards] == ["a0", "b1"]


def test_a_gateway_takes_over_where_the_first_leads_nowhere() -> None:
    """b1 can be dialled by nobody outside its site, and a1 by nobody: they have no link."""
    of = cluster(
        host("a1", 1, site="ams", gateway=True),
        host("a2", 2, site="ams"),
        host("b1", 11, site="fra", gateway=True),
        host("b2", 12, False, site="fra"),
        topology="sites",
    )
    private = of.hosts[2].endpoint
    hosts = tuple(
        replace(one, endpoint=None, site_endpoint=private) if one.name in {"a1", "b1"} else one
        for one in of.hosts
    )
    spare = host("a9", 9, site="ams", gateway=True)
    of = replace(of, hosts=(*hosts[:2], spare, *hosts[2:]))
    assert way(of, "a2", "b2") == "a2 a9 b1 b2"
    assert way(of, "b2", "a1") == "b2 b1 a9 a1"


def test_hosts_of_one_site_that_cannot_dial_each_other_meet_at_its_gateway() -> None:
    of = cluster(
        host("a1", 1, site="ams", gateway=True),
        host("n1", 2, False, site="ams"),
        host("n2", 3, False, site="ams"),
        topology="sites",
    )
    assert way(of, "n1", "n2") == "n1 a1 n2"


def test_a_chain_of_gateways() -> None:
    """n1 and n2 have no gateway in common: r1 is reached by the one, r2 by the other."""
    of = line(5)
    assert way(of, "h00", "h04") == "h00 h01 h02 h03 h04"
    assert way(of, "h04", "h00") == "h04 h03 h02 h01 h00"


def test_a_long_line_stays_exact() -> None:
    of = line(240)
    hop = make_topology(of)[0].hop
    count = len(of.hosts)
    expected = np.arange(count)[:, None] + np.sign(np.arange(count) - np.arange(count)[:, None])
    assert (hop == expected).all()


def test_no_way_is_told_apart_from_a_way() -> None:
    topology, faults = make_topology(cluster(host("a", 1, False), host("b", 2, False), host("c", 3)))
    assert topology.hop[0, 1] == NOWHERE
    assert topology.hop[0, 2] == 2
    assert len(faults) == 2


def ring_of(count: int, degree: int, behind_nat: int = 0) -> Cluster:
    hosts = [host(f"h{i:03}", i % 250 + 1, i >= behind_nat) for i in range(count)]
    return cluster(*hosts, topology="partial", degree=degree)


@pytest.mark.parametrize(("degree", "spread"), [(2, {2: 100}), (4, {4: 97, 3: 3}), (5, {5: 88, 4: 12})])
def test_a_degree_is_kept_but_where_two_rings_share_a_link(degree: int, spread: dict[int, int]) -> None:
    linked = make_topology(ring_of(100, degree))[0].linked
    found = Counter(linked.sum(axis=1).tolist())
    assert max(found) == max(spread)
    assert found[degree] >= 85
    assert sum(found.values()) == 100


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_a_degree_that_the_hosts_do_not_fill_links_them_all(count: int) -> None:
    linked = make_topology(ring_of(count, 4))[0].linked
    assert linked.sum() == count * (count - 1)


def test_a_degree_holds_a_site_together_that_is_dialled_from_within_alone() -> None:
    """Behind one NAT, each host at its site endpoint: everyone there can dial everyone."""
    of = ring_of(12, 3)
    hosts = [replace(one, endpoint=None, site="ams", site_endpoint=one.endpoint) for one in of.hosts]
    inside, outside = make_topology(replace(of, hosts=tuple(hosts))), make_topology(of)
    assert inside[1] == []
    assert (inside[0].linked == outside[0].linked).all()


@pytest.mark.parametrize(
    ("degree", "behind_nat", "most"),
    [(2, 0, 1.0), (3, 0, 5.0), (4, 0, 2.0), (6, 0, 3.0), (6, 40, 7.0)],
)
def test_few_links_move_when_a_host_leaves(degree: int, behind_nat: int, most: float) -> None:
    """On average over all of 100 hosts: a new link closes each ring, k/2 in all; where an odd degree pairs
    hosts, some four change partners; a host behind NAT replaces a link with a chance of k in (dialled hosts).
    """
    of = ring_of(100, degree, behind_nat)
    before = pairs(of.hosts, of)
    moved = []
    for gone in of.hosts[behind_nat:]:
        rest = tuple(one for one in of.hosts if one != gone)
        after = pairs(rest, replace(of, hosts=rest))
        moved.append(len(after - before) + len([p for p in before - after if gone.name not in p]))
    assert mean(moved) <= most


def pairs(hosts: tuple[Host, ...], of: Cluster) -> set[tuple[str, str]]:
    linked = make_topology(of)[0].linked
    return {(hosts[a].name, hosts[b].name) for a, b in zip(*np.nonzero(np.triu(linked)), strict=True)}


def test_some_names_and_how_many_more() -> None:
    assert abbreviated("abc") == "a, b, c"
    assert abbreviated("abcdefghijkl") == "a, b, c, d, e, f, g, h, i, j and 2 more"
