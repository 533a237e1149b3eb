"""The plan: what every host gets, frozen and without secrets.

It has the names of secrets (``preshared_key``) alone, so that it can be printed, drawn, compared and kept as
a golden file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wgcluster.inventory.faults import Fault
from wgcluster.inventory.schema import FirewallMode, GuardedSite, OpenPort, Topology
from wgcluster.prefixes import Address, Family, Interface, Network
from wgcluster.text import counted

# Each overlay address with its names.
Names = tuple[tuple[Address, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Peer:
    """One ``[Peer]`` section (wg(8)) of one host."""

    name: str
    public_key: str
    allowed_ips: tuple[Network, ...]  # fewest prefixes, sorted; disjoint from every other peer's
    endpoint: str | None = None  # "address:port", "[v6]:port" or "name:port"; None: the peer roams
    keepalive: int | None = None  # seconds
    preshared_key: str | None = None  # name of the secret: "cloud|root"
    is_client: bool = False


@dataclass(frozen=True, slots=True)
class HostPlan:
    """Everything that one host gets."""

    name: str
    interface: str
    addresses: tuple[Interface, ...]
    port: int
    mtu: int
    public_key: str
    peers: tuple[Peer, ...]  # sorted by name, hosts before clients
    forwards: tuple[Family, ...] = ()  # families that it forwards for others
    masquerade: bool = False
    listen_from: tuple[Network, ...] = ()  # networks that may send to the listen port
    firewall: FirewallMode = "peers"
    firewall_allow: tuple[OpenPort, ...] = ()
    nginx: tuple[GuardedSite, ...] = ()
    subnets: tuple[Network, ...] = ()  # networks behind the host
    beside: tuple[Network, ...] = ()  # that others announce and the host itself stands in: not in the tunnel
    keep: tuple[Network | str, ...] = ()  # of others, on the interface: networks, "proto bird"
    masquerade_lan: bool = False  # what goes there from the tunnel gets the host's own address
    site: str | None = None
    gateway: bool = False
    names: Names = ()  # for its /etc/hosts; empty: they are not wanted there


@dataclass(frozen=True, slots=True)
class ClientPlan:
    """A road warrior: one peer, its gateway."""

    name: str
    addresses: tuple[Interface, ...]
    mtu: int
    public_key: str
    gateway: Peer
    dns: tuple[Address, ...] = ()
    names: Names = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole cluster. ``hosts`` and ``clients`` are sorted by name."""

    interface: str
    networks: tuple[Network, ...]
    topology: Topology
    hosts: tuple[HostPlan, ...]
    clients: tuple[ClientPlan, ...] = ()
    expect: tuple[str, ...] = ()

    def host(self, name: str) -> HostPlan:
        """The plan of a host.

        Raises:
            KeyError: there is no such host.
        """
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(name)


class PlanError(ValueError):
    """The cluster cannot be linked as declared. ``faults`` holds every reason."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        count = counted(len(faults), "fault")
        super().__init__(
            "\n".join([f"{count} in the cluster, nothing was changed:", *(f"  {fault}" for fault in faults)])
        )


def secret_names(plan: Plan) -> set[str]:
    """The names of all preshared keys of a plan."""
    return {
        peer.preshared_key for host in plan.hosts for peer in host.peers if peer.preshared_key is not None
    }
