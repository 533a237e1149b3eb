"""Laws of the plan, over random clusters of all topologies."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import collapse_addresses, ip_network
from itertools import combinations

import rustworkx
from hypothesis import given
from hypothesis import strategies as st

from tests.support.clusters import clusters, keys_of, many, rows_of
from tests.support.examples import examples
from wgcluster.inventory.cluster import Client, Cluster, dialled_at
from wgcluster.inventory.reading import read_cluster
from wgcluster.plan.plan import Plan
from wgcluster.plan.planner import make_plan
from wgcluster.plan.topology import make_topology
from wgcluster.prefixes import ANYWHERE, Network, order
from wgcluster.wireguard import config as wgconf

laws = examples(120)


def plan_of(cluster: Cluster) -> Plan:
    return make_plan(cluster, *keys_of(cluster))


def hidden(cluster: Cluster, plan: Plan) -> set[str]:
    """Clients behind a gateway that masquerades."""
    masks = {host.name for host in cluster.hosts if host.masquerade}
    return {client.name for client in plan.clients if client.gateway.name in masks}


def fewest(networks: Iterable[Network]) -> tuple[Network, ...]:
    networks = list(networks)
    four = [one for one in networks if one.version == 4]
    six = [one for one in networks if one.version == 6]
    return (*collapse_addresses(four), *collapse_addresses(six))


@given(clusters())
@laws
def test_allowed_ips_of_a_host_are_disjoint_and_fewest(cluster: Cluster) -> None:
    for host in plan_of(cluster).hosts:
        for one, other in combinations(host.peers, 2):
            for a in one.allowed_ips:
                assert not any(a.version == b.version and a.overlaps(b) for b in other.allowed_ips)
        for peer in host.peers:
            assert peer.allowed_ips == fewest(peer.allowed_ips)
            assert list(peer.allowed_ips) == sorted(peer.allowed_ips, key=order)


@given(clusters())
@laws
def test_allowed_ips_of_a_host_are_all_that_others_own_and_not_one_address_more(cluster: Cluster) -> None:
    plan = plan_of(cluster)
    unseen = hidden(cluster, plan)
    at = {client.name: client.gateway.name for client in plan.clients}
    for host in plan.hosts:
        others = [other for other in cluster.hosts if other.name != host.name]
        owned: list[Network] = [ip_network(address) for other in others for address in other.addresses]
        owned += [subnet for other in others for subnet in other.subnets]
        owned += [
            ip_network(address)
            for client in cluster.clients
            if client.name not in unseen or at[client.name] == host.name
            for address in client.addresses
        ]
        assert fewest(net for peer in host.peers for net in peer.allowed_ips) == fewest(owned)


@given(clusters())
@laws
def test_every_link_can_be_opened_and_is_known_on_both_sides(cluster: Cluster) -> None:
    plan = plan_of(cluster)
    peers = {(host.name, peer.name): peer for host in plan.hosts for peer in host.peers}
    peers |= {(client.name, client.gateway.name): client.gateway for client in plan.clients}
    for (here, there), peer in peers.items():
        back = peers[there, here]
        assert back.preshared_key == peer.preshared_key
        assert (peer.preshared_key is not None) == cluster.preshared_keys
        assert peer.endpoint or back.endpoint
        if peer.endpoint and not back.endpoint:  # nobody can dial this side: it must keep the link up
            assert peer.keepalive
        if not peer.endpoint:
            assert peer.keepalive is None


@given(clusters())
@laws
def test_links_are_those_of_the_topology(cluster: Cluster) -> None:
    for host in plan_of(cluster).hosts:
        linked = {peer.name for peer in host.peers if not peer.is_client}
        here = next(one for one in cluster.hosts if one.name == host.name)
        for other in cluster.hosts:
            if other.name == host.name:
                continue
            dialled = dialled_at(other, here.site) or dialled_at(here, other.site)
            match cluster.topology:
                case "mesh":
                    wanted = dialled is not None
                case "sites":
                    same = here.site == other.site
                    wanted = dialled is not None and (same or (here.gateway and other.gateway))
                case "partial" if cluster.degree is None:
                    wanted = other.name in here.links or here.name in other.links
                case "partial":
                    wanted = other.name in linked and dialled is not None
            assert (other.name in linked) == wanted


@given(clusters())
@laws
def test_routes_are_the_same_both_ways(cluster: Cluster) -> None:
    topology, faults = make_topology(cluster)
    assert not faults
    hop = topology.hop.tolist()

    def way(a: int, b: int) -> list[int]:
        path = [a]
        while path[-1] != b:
            path.append(hop[path[-1]][b])
            assert len(path) <= len(hop)
        return path

    for a in range(len(hop)):
        for b in range(a):
            assert way(a, b) == way(b, a)[::-1]
            assert all(topology.relays[i] for i in way(a, b)[1:-1])


@given(clusters())
@laws
def test_only_hosts_that_carry_for_others_forward(cluster: Cluster) -> None:
    plan = plan_of(cluster)
    topology, _ = make_topology(cluster)
    count = len(cluster.hosts)
    relays = {int(topology.hop[a, b]) for a in range(count) for b in range(count) if topology.hop[a, b] != b}
    for i, host in enumerate(plan.hosts):
        families = {subnet.version for subnet in cluster.hosts[i].subnets}
        if i in relays or any(peer.is_client for peer in host.peers):
            families |= {network.version for network in cluster.networks}
        assert set(host.forwards) == families


@given(clusters(), st.randoms(use_true_random=False))
@laws
def test_the_order_of_the_inventory_does_not_matter(cluster: Cluster, chance: random.Random) -> None:
    rows = rows_of(cluster)
    if cluster.topology == "partial" and cluster.degree is None and not any(h.links for h in cluster.hosts):
        rows = [replace(row, data={**row.data, "wg_topology": "mesh"}) for row in rows]
    shuffled = chance.sample(rows, len(rows))
    clients = chance.sample(list(cluster.clients), len(cluster.clients))
    one, other = read_cluster(rows, cluster.clients), read_cluster(shuffled, clients)
    assert one == other
    assert list(map(wgconf.render, plan_of(one).hosts)) == list(map(wgconf.render, plan_of(other).hosts))


@given(clusters())
@laws
def test_a_text_parses_back_to_what_was_planned(cluster: Cluster) -> None:
    shown = wgconf.RenderCache()
    for host in plan_of(cluster).hosts:
        text = wgconf.render(host, cache=shown)
        assert text == wgconf.render(host)
        parsed = wgconf.parse(text)
        assert parsed.addresses == tuple(map(str, host.addresses))
        assert (parsed.listen_port, parsed.mtu) == (host.port, host.mtu)
        for peer, back in zip(host.peers, parsed.peers, strict=True):
            assert back.public_key == peer.public_key
            assert back.allowed_ips == tuple(map(str, peer.allowed_ips))
            assert (back.endpoint, back.keepalive) == (peer.endpoint, peer.keepalive)
            assert (back.preshared_key is not None) == (peer.preshared_key is not None)


@given(clusters(), st.sampled_from([None, "h00"]))
@laws
def test_a_client_of_a_masquerading_gateway_changes_that_gateway_alone(
    cluster: Cluster, gateway: str | None
) -> None:
    first = replace(cluster.hosts[0], masquerade=True)
    cluster = replace(cluster, hosts=(first, *cluster.hosts[1:]))
    new = Client("new", tuple(network[200] for network in cluster.networks), gateway)
    before, after = plan_of(cluster), plan_of(replace(cluster, clients=(*cluster.clients, new)))
    changed = [host.name for host in before.hosts if host != after.host(host.name)]
    assert changed == ["h00"]


@given(clusters())
@laws
def test_whoever_dials_is_let_in(cluster: Cluster) -> None:
    """The source of a dialling peer is known by its endpoint, or the port is open to whom it must be."""
    plan = plan_of(cluster)
    for host in cluster.hosts:
        open_to = plan.host(host.name).listen_from
        wide = host.clients_from or ANYWHERE
        for peer in plan.host(host.name).peers:
            if peer.is_client:
                assert all(any(_inside(net, one) for one in open_to) for net in wide)
                continue
            other = next(one for one in cluster.hosts if one.name == peer.name)
            target = dialled_at(host, other.site)
            if target is None:
                continue  # it does not dial: what it sends are answers
            sources = [e.host for e in (other.endpoint, dialled_at(other, host.site)) if e is not None]
            fit = [
                ip_network(source)
                for source in sources
                if not isinstance(source, str)
                and not isinstance(target.host, str)
                and source.version == target.host.version
            ]
            for network in (*(fit or wide), *other.sources):
                assert any(_inside(network, one) for one in open_to), (host.name, peer.name)


def _inside(network: Network, wide: Network) -> bool:
    return network.version == wide.version and network.subnet_of(wide)  # type: ignore[arg-type]


@given(clusters(masquerade=False))
@laws
def test_nobody_is_let_in_without_need(cluster: Cluster) -> None:
    """A host that only peers with known addresses dial is open to these and no others."""
    plan = plan_of(cluster)
    for host in cluster.hosts:
        here = plan.host(host.name)
        others = [one for one in cluster.hosts if any(one.name == peer.name for peer in here.peers)]
        fixed = all(
            other.endpoint and not isinstance(other.endpoint.host, str) and other.endpoint.host.version == 4
            for other in others
        )
        reached = host.endpoint is None or (
            not isinstance(host.endpoint.host, str) and host.endpoint.host.version == 4
        )
        if fixed and reached and not any(peer.is_client for peer in here.peers):
            addresses = {
                ip_network(e.host) for o in others for e in (o.endpoint, dialled_at(o, host.site)) if e
            }
            assert here.listen_from == fewest({*addresses, *(net for o in others for net in o.sources)})


@given(st.sampled_from([2, 3, 4, 5, 6]), st.integers(3, 40), st.integers(0, 10), st.integers(0, 10**6))
@examples(60)
def test_a_degree_of_three_survives_the_loss_of_any_host(
    degree: int, dialled: int, behind_nat: int, salt: int
) -> None:
    cluster = many(dialled + behind_nat, degree, behind_nat, salt)
    topology, faults = make_topology(cluster)
    assert not faults
    graph = rustworkx.PyGraph.from_adjacency_matrix(topology.linked.astype(float))
    assert rustworkx.is_connected(graph)
    assert not rustworkx.articulation_points(graph)
    links = topology.linked.sum(axis=1)
    assert all(links[i] == min(degree, dialled) for i in range(behind_nat))
    if not behind_nat:
        assert links.max() <= max(degree, 2)


@given(st.sampled_from([2, 3, 4, 6]), st.integers(20, 60), st.integers(0, 20), st.data())
@examples(60)
def test_few_links_move_when_a_host_joins(
    degree: int, dialled: int, behind_nat: int, data: st.DataObject
) -> None:
    """What a host that joins takes apart: a link a ring, a few pairs more where an odd degree pairs hosts,
    and of each host behind NAT that links to it one other link. One behind NAT takes none.
    """
    cluster = many(dialled + behind_nat, degree, behind_nat, data.draw(st.integers(0, 10**6)))
    gone = data.draw(st.sampled_from(cluster.hosts))
    smaller = replace(cluster, hosts=tuple(host for host in cluster.hosts if host != gone))
    with_it, without_it = links_of(cluster), links_of(smaller)
    taken = without_it - with_it
    brought = {link for link in with_it - without_it if gone.name not in link}
    if not gone.endpoint:
        assert not taken
        assert not brought
        return
    pairs = 8 * (degree % 2)
    nat = {host.name for host in cluster.hosts if not host.endpoint}
    assert len(brought) <= pairs  # but for the pairing, new links are links of the new host
    assert not any(link & nat for link in brought)
    assert sum(not link & nat for link in taken) <= degree // 2 + pairs
    for name in nat:
        assert sum(name in link for link in taken) == (frozenset((name, gone.name)) in with_it)
    expected = behind_nat * degree / dialled
    assert sum(bool(link & nat) for link in taken) <= expected + 6 * (expected + 1) ** 0.5


def links_of(cluster: Cluster) -> set[frozenset[str]]:
    linked = make_topology(cluster)[0].linked
    names = [host.name for host in cluster.hosts]
    return {frozenset((names[a], names[b])) for a in range(len(names)) for b in range(a) if linked[a, b]}
