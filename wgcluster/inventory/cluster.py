"""What an inventory declares: hosts, road warriors, and the settings of the cluster."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address

from wgcluster.inventory.schema import (
    DEFAULT_MTU,
    DEFAULT_PORT,
    KEYSTORE,
    FirewallMode,
    GuardedSite,
    OpenPort,
    Topology,
)
from wgcluster.prefixes import Address, Network


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a host can be dialled: an address or a DNS name, and a UDP port."""

    host: Address | str
    port: int

    def __str__(self) -> str:
        return (
            f"[{self.host}]:{self.port}" if isinstance(self.host, IPv6Address) else f"{self.host}:{self.port}"
        )


@dataclass(frozen=True, slots=True)
class Host:
    """One server, as declared."""

    name: str
    addresses: tuple[Address, ...]  # at most one per family, IPv4 first
    port: int = DEFAULT_PORT
    mtu: int = DEFAULT_MTU
    endpoint: Endpoint | None = None
    site: str | None = None
    site_endpoint: Endpoint | None = None
    gateway: bool = False
    masquerade: bool = False
    subnets: tuple[Network, ...] = ()
    masquerade_lan: bool = False  # what goes from the tunnel to ``subnets`` gets the host's own address there
    links: tuple[str, ...] = ()
    keepalive: int | None = None  # seconds; None: as the topology needs it
    sources: tuple[Network, ...] = ()  # that it sends from beside its endpoints
    clients_from: tuple[Network, ...] = ()  # empty: anywhere
    dns: tuple[Address, ...] = ()  # for the road warriors of this gateway
    hosts_file: bool = False  # names of the cluster in /etc/hosts
    keep: tuple[Network | str, ...] = ()  # of others, on our interface: networks, "proto bird"
    firewall: FirewallMode = "peers"
    firewall_allow: tuple[OpenPort, ...] = ()
    nginx: tuple[GuardedSite, ...] = ()


def dialled_names(hosts: Iterable[Host]) -> set[str]:
    """The DNS names of endpoints, in lower case and without a dot at the end."""
    endpoints = [one for host in hosts for one in (host.endpoint, host.site_endpoint) if one is not None]
    return {one.host.lower().removesuffix(".") for one in endpoints if isinstance(one.host, str)}


def stands_in(host: Host, subnet: Network, owner: Host) -> bool:
    """Is ``host`` declared to stand in a network that ``owner`` announces?

    It then reaches it directly: they are of one site, and its site endpoint is an address of that network.
    """
    endpoint = host.site_endpoint
    same_site = host.site is not None and host.site == owner.site and host.name != owner.name
    return same_site and endpoint is not None and _inside(endpoint, subnet)


def _inside(endpoint: Endpoint, subnet: Network) -> bool:
    return not isinstance(endpoint.host, str) and endpoint.host in subnet


@dataclass(frozen=True, slots=True)
class Client:
    """A road warrior, as the key registry lists it."""

    name: str
    addresses: tuple[Address, ...]
    gateway: str | None = None  # that it dials; None: not decided yet


@dataclass(frozen=True, slots=True)
class Cluster:
    """All hosts and road warriors, both sorted by name, and the settings of the cluster."""

    networks: tuple[Network, ...]
    hosts: tuple[Host, ...]
    clients: tuple[Client, ...] = ()
    interface: str = "wg"
    topology: Topology = "mesh"
    degree: int | None = None
    preshared_keys: bool = False
    expect: tuple[str, ...] = ()
    keystore: str = KEYSTORE


def dialled_at(host: Host, site: str | None) -> Endpoint | None:
    """The endpoint of ``host`` for hosts in ``site``: its site endpoint in its own site."""
    if host.site_endpoint is not None and host.site is not None and host.site == site:
        return host.site_endpoint
    return host.endpoint


def names_dialled(cluster: Cluster) -> dict[str, tuple[str, ...]]:
    """The DNS names at which a host may have to dial others, whatever the links, by the name of the host."""
    named = [
        host
        for host in cluster.hosts
        if any(one is not None and isinstance(one.host, str) for one in (host.endpoint, host.site_endpoint))
    ]
    dials = {h.name: [dialled_at(other, h.site) for other in named if other is not h] for h in cluster.hosts}
    return {
        host: tuple(sorted({one.host for one in found if one is not None and isinstance(one.host, str)}))
        for host, found in dials.items()
    }
