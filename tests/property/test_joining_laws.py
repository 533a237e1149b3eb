"""What a host that joins changes for the others, in every topology: no more than it must.

Everything here is read off the plans, as the hosts would see them: who has whom as a peer, and in whose
AllowedIPs a network is. Nothing of the way the plans were made is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network
from itertools import pairwise

from hypothesis import event, given
from hypothesis import strategies as st

from tests.support.clusters import clusters, keys_of, many
from tests.support.examples import examples
from wgcluster.inventory.cluster import Cluster, Endpoint, Host
from wgcluster.plan.plan import HostPlan, Plan
from wgcluster.plan.planner import make_plan
from wgcluster.prefixes import Network
from wgcluster.prove.proof import prove

Link = frozenset[str]


class Seen:
    """A cluster as its hosts see it."""

    def __init__(self, cluster: Cluster) -> None:
        self.plan: Plan = make_plan(cluster, *keys_of(cluster))
        self.links: set[Link] = {
            frozenset((host.name, peer.name))
            for host in self.plan.hosts
            for peer in host.peers
            if not peer.is_client
        }
        at = {client.name: client.gateway.name for client in self.plan.clients}
        self.first = {host.name: ip_network(host.addresses[0]) for host in cluster.hosts}
        self.home: dict[Network, str] = {}  # at which host a network is
        for host in cluster.hosts:
            self.home |= {ip_network(address): host.name for address in host.addresses}
            self.home |= dict.fromkeys(host.subnets, host.name)
        for client in cluster.clients:
            self.home |= {ip_network(address): at[client.name] for address in client.addresses}
        self.via = {host.name: dict(self._via(host)) for host in self.plan.hosts}
        self.relays = {host.name for host in cluster.hosts if host.gateway or cluster.topology == "partial"}
        pairs = [(a, b) for a in self.first for b in self.first if a != b]
        self.carriers = {name for a, b in pairs for name in self.way(a, self.first[b])[1:-1]}

    def _via(self, host: HostPlan) -> Iterator[tuple[Network, str]]:
        """In whose AllowedIPs, as ``host`` has them, each network is; not those at home or hidden from it."""
        for network, owner in self.home.items():
            for peer in host.peers:
                fits = (one for one in peer.allowed_ips if one.version == network.version)
                if owner != host.name and any(network.subnet_of(one) for one in fits):  # type: ignore[arg-type]
                    yield network, peer.name

    def way(self, source: str, network: Network) -> list[str]:
        """The hosts on the way to a network, both ends included."""
        names = [source]
        while names[-1] != self.home[network]:
            names.append(self.via[names[-1]][network])
            assert len(names) <= len(self.first)
        return names

    def distances(self, source: str) -> dict[str, int]:
        """How many links away the others are over hosts that may relay: a search in breadth."""
        found, edge = {source: 0}, [source]
        while edge:
            here = edge.pop(0)
            for link in self.links:
                if here in link and (here == source or here in self.relays):
                    (there,) = link - {here}
                    if there not in found:
                        found[there] = found[here] + 1
                        edge.append(there)
        return found


def links_of(way: list[str]) -> set[Link]:
    return {frozenset(pair) for pair in pairwise(way)}


# large enough for rings
chosen = st.builds(
    lambda dialled, behind_nat, degree, salt: many(dialled + behind_nat, degree, behind_nat, salt),
    st.integers(4, 16),
    st.integers(0, 5),
    st.integers(2, 6),
    st.integers(0, 10**6),
)


@st.composite
def joinings(draw: st.DrawFn) -> tuple[Cluster, Host]:
    """A cluster and a host that joins it anywhere in the order of names, dialled or not, a gateway or not."""
    cluster = draw(st.one_of(clusters(), thirds(), chosen))
    dialled, gateway = draw(st.booleans()), draw(st.booleans())
    sites = sorted({host.site for host in cluster.hosts}, key=str)
    site = draw(st.sampled_from(sites))
    inside = site is not None and draw(st.booleans())
    if gateway and dialled and draw(st.booleans()):
        site = "new"
    could = [host.name for host in cluster.hosts if dialled or host.endpoint]
    declared = cluster.topology == "partial" and cluster.degree is None
    return cluster, Host(
        name=draw(st.sampled_from(["a", "h00b", "h03b", "z"])),
        addresses=tuple(network[50] for network in cluster.networks),
        endpoint=Endpoint(ip_address("198.18.0.50"), 51820) if dialled else None,
        site=site,
        site_endpoint=Endpoint(ip_address("10.9.0.50"), 51820) if inside else None,
        gateway=gateway and (dialled or inside),
        masquerade=gateway and dialled and draw(st.booleans()),
        subnets=(ip_network("172.20.0.0/16"),) if cluster.networks[0].version == 4 else (),
        links=tuple(draw(st.sets(st.sampled_from(could), min_size=1, max_size=3))) if declared else (),
    )


@st.composite
def thirds(draw: st.DrawFn) -> Cluster:
    """Two sites whose gateways nobody else can dial meet through a third, of which there are several."""
    salt = draw(st.integers(0, 10**6))
    hosts: list[Host] = []
    for site, dialled in (("fra", True), ("sin", True), ("ams", False), ("nyc", False)):
        gateways = draw(st.integers(1, 2))
        for i in range(gateways + (not dialled)):
            number = len(hosts) + 1
            hosts.append(
                Host(
                    name=f"h{number:02}-{salt}",
                    addresses=(ip_address(f"10.0.0.{number}"),),
                    endpoint=Endpoint(ip_address(f"198.18.0.{number}"), 51820) if dialled else None,
                    site=site,
                    site_endpoint=Endpoint(ip_address(f"10.9.0.{number}"), 51820),
                    gateway=i < gateways,
                )
            )
    return Cluster((ip_network("10.0.0.0/24"),), tuple(hosts), topology="sites")


def joined(cluster: Cluster, new: Host) -> Cluster:
    return replace(cluster, hosts=tuple(sorted((*cluster.hosts, new), key=lambda host: host.name)))


def takes_clients(cluster: Cluster, new: Host) -> bool:
    """Road warriors that name no gateway come in through the first by name that anyone can dial."""
    doors = [host.name for host in cluster.hosts if host.gateway and host.endpoint]
    return new.gateway and new.endpoint is not None and all(new.name < door for door in doors)


def put_back(cluster: Cluster, new: Host) -> set[str]:
    """The gateways that come after the new one in the order in which they carry: by name, in their site."""
    if not new.gateway or cluster.topology == "partial":
        return set()
    here = {host.name for host in cluster.hosts if cluster.topology == "mesh" or host.site == new.site}
    return {host.name for host in cluster.hosts if host.gateway and host.name > new.name} & here


@given(joinings())
@examples(400)
def test_a_host_that_joins_changes_no_config_but_by_itself(joining: tuple[Cluster, Host]) -> None:
    """Of the hosts that were there before, nothing changes but this.

    - The new host is a peer of those it is linked to, and its networks are behind one peer of each of the
      others. With ``wg_degree`` some links give way to it: ``test_few_links_move_when_a_host_joins``.
    - A network moves from one peer to another only if the way there lost a link, or if the new way has a
      link that was not there before and no more links than the old one; or, with a gateway, if the way led
      through another that now comes after it. So in ``mesh`` and ``sites`` only a gateway moves anything, and
      in ``partial`` a host with one link moves nothing.
    - Who carries packets for others forwards. Who has other peers lets others in.
    - Road warriors that name no gateway move to the new one if it is the first by name; all of them are told
      of the networks behind the new host.
    """
    cluster, new = joining
    before, after = Seen(cluster), Seen(joined(cluster, new))
    if cluster.degree is None:
        assert {link for link in after.links if new.name not in link} == before.links
    takes = takes_clients(cluster, new)
    for client, warrior, then in zip(cluster.clients, before.plan.clients, after.plan.clients, strict=True):
        if takes and client.gateway is None:
            assert then.gateway.name == new.name
        else:
            door = warrior.gateway
            assert {*then.gateway.allowed_ips} == {*door.allowed_ips, *new.subnets}
            named = replace(warrior, names=then.names)  # comments, for its /etc/hosts
            assert then == replace(named, gateway=replace(door, allowed_ips=then.gateway.allowed_ips))
    for was in before.plan.hosts:
        now = after.plan.host(was.name)
        peers, others = ({peer.name for peer in host.peers} for host in (was, now))
        assert bare(was, others) == bare(now, peers)
        if peers == others:
            assert now.listen_from == was.listen_from
        if (was.name in before.carriers) == (was.name in after.carriers) and not takes:
            assert now.forwards == was.forwards
        for network in after.via[was.name].keys() - before.via[was.name].keys():
            assert after.home[network] == new.name
        for network in before.via[was.name].keys() - after.via[was.name].keys():
            assert after.home[network] == new.name  # a road warrior's that moved, hidden now
    moved = list(moves(before, after))
    for old, way in moved:
        if links_of(old) <= after.links:
            assert len(way) <= len(old)
            assert links_of(way) - before.links or put_back(cluster, new).intersection(old[1:-1])
    event(f"{cluster.topology}, degree {cluster.degree}, gateway {new.gateway}: {bool(moved)}")
    if cluster.topology != "partial":
        assert not moved or new.gateway
    elif cluster.degree is None and len(after.links - before.links) == 1:
        assert not moved


def bare(host: HostPlan, others: set[str]) -> HostPlan:
    """The plan of a host without what follows from the ways, of its peers those in ``others``."""
    kept = (peer for peer in host.peers if peer.name in others)
    peers = tuple(peer if peer.is_client else replace(peer, allowed_ips=()) for peer in kept)
    return replace(host, peers=peers, forwards=(), listen_from=())


def moves(before: Seen, after: Seen) -> Iterator[tuple[list[str], list[str]]]:
    """The old way and the new one to each network that stayed where it was and moved to another peer."""
    for name, via in before.via.items():
        for network, peer in via.items():
            if before.home[network] == after.home[network] and after.via[name][network] != peer:
                yield before.way(name, network), after.way(name, network)


@given(clusters())
@examples(150)
def test_no_way_is_longer_than_it_must_be(cluster: Cluster) -> None:
    """Nor does the proof count another number of hops."""
    seen = Seen(cluster)
    proof = prove(seen.plan)
    for source in seen.first:
        distances = seen.distances(source)
        for other, network in seen.first.items():
            assert len(seen.way(source, network)) - 1 == distances[other] == proof.hops(source, other)
