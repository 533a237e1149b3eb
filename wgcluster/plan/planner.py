"""Cluster + public keys -> Plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_interface, ip_network
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wgcluster.inventory.cluster import Client, Cluster, Host, dialled_at, stands_in
from wgcluster.inventory.schema import DEFAULT_KEEPALIVE
from wgcluster.plan.checks import carrier_faults, gateways_of, plan_faults
from wgcluster.plan.names import names_of
from wgcluster.plan.plan import ClientPlan, HostPlan, Peer, Plan, PlanError
from wgcluster.plan.routes import NOWHERE
from wgcluster.plan.sources import Sources
from wgcluster.plan.topology import Topology, make_topology
from wgcluster.prefixes import Interface, Network, Prefixes


def make_plan(cluster: Cluster, public_keys: Mapping[str, str], client_keys: Mapping[str, str]) -> Plan:
    """Make the plan of every host and road warrior.

    A road warrior has one peer, its gateway. The other hosts route its address to that gateway. If the
    gateway masquerades, they see only the gateway's address: they need not know the road warrior and cannot
    connect to it, and a new road warrior changes one host alone.

    Args:
        cluster: the whole inventory; routes depend on all hosts.
        public_keys: base64 by host name; for a missing one the plan says ``(key of NAME)``.
        client_keys: the same for road warriors.

    Raises:
        PlanError: with every fault.
    """
    topology, faults = make_topology(cluster)
    gateways = gateways_of(cluster)
    faults += plan_faults(cluster, gateways)
    if not faults:
        faults += carrier_faults(cluster, topology)
    if faults:
        raise PlanError(faults)
    return _Planner(cluster, topology, gateways, public_keys, client_keys).plan()


class _PeerTemplates(NamedTuple):
    """Peers with no networks but their own, the same for all hosts of one site, keepalive and families."""

    peers: NDArray[np.object_]  # [2, host]: whether the peer dials too, and its index
    made: NDArray[np.bool_]  # [2, host]: it exists


class _Planner:
    """Makes the plans, from what they share: addresses, endpoints and peers."""

    def __init__(
        self,
        cluster: Cluster,
        topology: Topology,
        gateways: Mapping[str, Host],
        public_keys: Mapping[str, str],
        client_keys: Mapping[str, str],
    ) -> None:
        self.cluster = cluster
        self.hosts = cluster.hosts
        self.topology = topology
        self.public_keys = [public_keys.get(host.name, f"(key of {host.name})") for host in cluster.hosts]
        self.client_keys = client_keys
        self.gateways = gateways
        self.clients: dict[str, list[Client]] = {host.name: [] for host in cluster.hosts}
        for client in cluster.clients:
            self.clients[gateways[client.name].name].append(client)
        self.announcing = [host for host in self.hosts if host.subnets]
        behind = [self._behind(host) for host in self.hosts]
        self.prefixes = Prefixes(network for networks in behind for network in networks)
        owner = {network: i for i, networks in enumerate(behind) for network in networks}
        self.owner = np.array([owner[network] for network in self.prefixes.networks], np.intp)
        self.own_prefixes = [
            self.prefixes.cover(np.flatnonzero(self.owner == i)) for i in range(len(self.hosts))
        ]
        self.beside = [self._beside(host) for host in self.hosts]
        self.dialled: dict[str | None, list[str | None]] = {}
        self.families = frozenset(network.version for network in cluster.networks)
        self.peers: dict[tuple[int, str | None, int | None, frozenset[int]], Peer] = {}
        self.seen: dict[tuple[str | None, int | None, frozenset[int]], _PeerTemplates] = {}
        self.sources = Sources(cluster.hosts, topology)
        subnets = [subnet for host in self.hosts for subnet in host.subnets]
        everything = Prefixes((*cluster.networks, *subnets))
        self.names = names_of(cluster)
        self.everything = everything.cover(np.arange(len(everything.networks)))  # for road warriors

    def _behind(self, host: Host) -> list[Network]:
        """The networks behind a host: itself, its subnets, its road warriors unless it masquerades."""
        networks: list[Network] = [ip_network(address) for address in host.addresses]
        networks += host.subnets
        if not host.masquerade:
            networks += [ip_network(a) for client in self.clients[host.name] for a in client.addresses]
        return networks

    def _beside(self, host: Host) -> tuple[Network, ...]:
        """The networks of others in which a host stands."""
        return tuple(
            subnet for other in self.announcing for subnet in other.subnets if stands_in(host, subnet, other)
        )

    def plan(self) -> Plan:
        carries = self.topology.carriers()
        return Plan(
            interface=self.cluster.interface,
            networks=self.cluster.networks,
            topology=self.cluster.topology,
            hosts=tuple(self._host(i, bool(carries[i])) for i in range(len(self.hosts))),
            clients=tuple(self._client(client) for client in self.cluster.clients),
            expect=self.cluster.expect,
        )

    def _host(self, i: int, carries: bool) -> HostPlan:
        host = self.hosts[i]
        families = {network.version for network in host.subnets}
        if carries or self.clients[host.name]:
            families |= {network.version for network in self.cluster.networks}
        return HostPlan(
            name=host.name,
            interface=self.cluster.interface,
            addresses=self._interfaces(host),
            port=host.port,
            mtu=host.mtu,
            public_key=self.public_keys[i],
            peers=(*self._host_peers(i), *(self._client_peer(host, c) for c in self.clients[host.name])),
            forwards=tuple(family for family in (4, 6) if family in families),
            masquerade=host.masquerade,
            listen_from=self.sources.of(i, bool(self.clients[host.name])),
            firewall=host.firewall,
            firewall_allow=host.firewall_allow,
            nginx=tuple(
                replace(site, allow=(*self.cluster.networks, *site.allow), addresses=host.addresses)
                for site in host.nginx
            ),
            subnets=host.subnets,
            beside=self.beside[i],
            keep=host.keep,
            masquerade_lan=host.masquerade_lan,
            site=host.site,
            gateway=host.gateway,
            names=self.names if host.hosts_file else (),
        )

    def _interfaces(self, member: Host | Client) -> tuple[Interface, ...]:
        length = {network.version: network.prefixlen for network in self.cluster.networks}
        return tuple(ip_interface(f"{a}/{length[a.version]}") for a in member.addresses)

    def _host_peers(self, i: int) -> list[Peer]:
        # by arrays: a mesh of a thousand hosts has a million peers, most of them shared
        host, hop = self.hosts[i], self.topology.hop[i]
        linked = np.flatnonzero(self.topology.linked[i])
        dials_back = self.topology.dials[linked, i].astype(np.intp)
        hop_of_prefix = hop[self.owner]
        forwards = np.bincount(hop, minlength=len(hop))[linked] > 1
        if self.beside[i]:
            out = np.array([network in self.beside[i] for network in self.prefixes.networks], np.bool_)
            forwards |= np.isin(linked, hop_of_prefix[out])
            hop_of_prefix[out] = NOWHERE
        own = forwards | bool(self.cluster.preshared_keys)
        families = frozenset(address.version for address in host.addresses)
        seen = self._seen_like(host)
        peers: list[Peer] = seen.peers[dials_back, linked].tolist()
        for at in np.flatnonzero(own | ~seen.made[dials_back, linked]).tolist():
            j, back = int(linked[at]), int(dials_back[at])
            allowed = self.own_prefixes[j]
            if forwards[at]:
                allowed = self.prefixes.cover(np.flatnonzero(hop_of_prefix == j))
            if families != self.families:
                allowed = tuple(network for network in allowed if network.version in families)
            peer = self._peer(host, j, bool(back), allowed)
            if not own[at]:
                # hosts of other sites mostly share it
                peer = self.peers.setdefault((j, peer.endpoint, peer.keepalive, families), peer)
                seen.peers[back, j], seen.made[back, j] = peer, True
            peers[at] = peer
        return peers

    def _seen_like(self, host: Host) -> _PeerTemplates:
        key = (host.site, host.keepalive, frozenset(address.version for address in host.addresses))
        if key not in self.seen:
            shape = (2, len(self.hosts))
            self.seen[key] = _PeerTemplates(np.empty(shape, np.object_), np.zeros(shape, np.bool_))
        return self.seen[key]

    def _peer(self, host: Host, j: int, dials_back: bool, allowed: tuple[Network, ...]) -> Peer:
        name = self.hosts[j].name
        endpoint = self._dialled_from(host.site)[j]
        keepalive = None
        if endpoint is not None:
            keepalive = host.keepalive or (None if dials_back else DEFAULT_KEEPALIVE)
        secret = self._secret(host.name, name)
        return Peer(name, self.public_keys[j], allowed, endpoint, keepalive, secret)

    def _dialled_from(self, site: str | None) -> list[str | None]:
        """The endpoint of each host for hosts in ``site``."""
        if site not in self.dialled:
            self.dialled[site] = [
                None if endpoint is None else str(endpoint)
                for host in self.hosts
                for endpoint in (dialled_at(host, site),)
            ]
        return self.dialled[site]

    def _secret(self, one: str, other: str) -> str | None:
        return "|".join(sorted((one, other))) if self.cluster.preshared_keys else None

    def _client_key(self, client: Client) -> str:
        return self.client_keys.get(client.name, f"(key of {client.name})")

    def _client_peer(self, gateway: Host, client: Client) -> Peer:
        addresses = tuple(ip_network(address) for address in client.addresses)
        secret = self._secret(gateway.name, client.name)
        return Peer(client.name, self._client_key(client), addresses, preshared_key=secret, is_client=True)

    def _client(self, client: Client) -> ClientPlan:
        gateway = self.gateways[client.name]
        return ClientPlan(
            name=client.name,
            addresses=self._interfaces(client),
            mtu=gateway.mtu,
            public_key=self._client_key(client),
            gateway=Peer(
                gateway.name,
                self.public_keys[self.hosts.index(gateway)],
                self.everything,
                str(gateway.endpoint),
                DEFAULT_KEEPALIVE,
                self._secret(gateway.name, client.name),
            ),
            dns=gateway.dns,
            names=self.names,
        )
