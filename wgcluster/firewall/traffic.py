"""What must get in, out and through a host by its plan, and the chains on its way: iptables(8), nft(8)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import Literal

from wgcluster.firewall.rules import by_tunnel
from wgcluster.firewall.tables import Packet
from wgcluster.plan.plan import HostPlan
from wgcluster.prefixes import FAMILIES, Family, Network

Way = Literal["in", "out", "through"]

# Table and chain of iptables, in the order in which packets pass them (iptables(8), TABLES).
CHAINS: Mapping[Way, tuple[tuple[str, str], ...]] = {
    "in": (
        ("raw", "PREROUTING"),
        ("mangle", "PREROUTING"),
        ("mangle", "INPUT"),
        ("filter", "INPUT"),
        ("security", "INPUT"),
    ),
    "through": (
        ("raw", "PREROUTING"),
        ("mangle", "PREROUTING"),
        ("mangle", "FORWARD"),
        ("filter", "FORWARD"),
        ("security", "FORWARD"),
        ("mangle", "POSTROUTING"),
    ),
    "out": (
        ("raw", "OUTPUT"),
        ("mangle", "OUTPUT"),
        ("filter", "OUTPUT"),
        ("security", "OUTPUT"),
        ("mangle", "POSTROUTING"),
    ),
}
# The hooks of nftables (nft(8), "ADDRESS FAMILIES").
HOOKS: Mapping[Way, tuple[str, ...]] = {
    "in": ("ingress", "prerouting", "input"),
    "through": ("ingress", "prerouting", "forward", "postrouting", "egress"),
    "out": ("output", "postrouting", "egress"),
}
_NEW, _ANSWERS = frozenset({"NEW"}), frozenset({"ESTABLISHED"})


@dataclass(frozen=True, slots=True)
class Traffic:
    """A class of packets that must pass; ``words`` name it: "UDP to port 51820"."""

    way: Way
    family: Family
    packet: Packet
    words: str


def needed(host: HostPlan) -> Iterator[Traffic]:
    """Everything that must pass for the host to be what is planned.

    Not what its own services exchange within the tunnel: who restricts that may mean it.
    """
    yield from _dialled(host)
    yield from _opened(host)
    yield from _dialling(host)
    for family in host.forwards:
        yield from _forwarded(host, family)


def _dialled(host: HostPlan) -> Iterator[Traffic]:
    for source in host.listen_from:
        packet = Packet(source=source, protocol="udp", dport=host.port, state=_NEW, outside=host.interface)
        yield Traffic("in", source.version, packet, f"UDP to port {host.port}")


def _opened(host: HostPlan) -> Iterator[Traffic]:
    for family in FAMILIES:
        inside = any(address.version == family for address in host.addresses)
        for allow in host.firewall_allow:
            by = allow.interface or (host.interface if host.firewall == "peers" else None)
            words = f"{allow.protocol.upper()} to port {allow.port}"
            for source in allow.sources or (None,):
                if (source is None or source.version == family) and (by != host.interface or inside):
                    packet = Packet(by, source=source, protocol=allow.protocol, dport=allow.ports, state=_NEW)
                    yield Traffic("in", family, packet, words)


def _dialling(host: HostPlan) -> Iterator[Traffic]:
    """To the endpoints of peers, and the answers; a name may have addresses of either family."""
    dialled = dict.fromkeys(peer.endpoint for peer in host.peers if peer.endpoint is not None)
    sent = Packet(protocol="udp", sport=host.port, outside=host.interface)
    families: set[Family] = set()
    for endpoint in dialled:
        name, _, port = endpoint.rpartition(":")
        for family, address in _resolved(name):
            families.add(family)
            packet = replace(sent, destination=address, dport=int(port), state=_NEW)
            yield Traffic("out", family, packet, f"UDP from port {host.port}")
    listens = {source.version for source in host.listen_from}
    for family in sorted(families - listens):
        packet = Packet(protocol="udp", dport=host.port, state=_ANSWERS, outside=host.interface)
        yield Traffic("in", family, packet, f"UDP to port {host.port}")
    for family in sorted(listens - families):
        packet = replace(sent, state=_ANSWERS)
        yield Traffic("out", family, packet, f"UDP from port {host.port}")


def _resolved(name: str) -> Iterator[tuple[Family, Network | None]]:
    try:
        address = ip_address(name.strip("[]"))
    except ValueError:
        yield from ((family, None) for family in FAMILIES)
    else:
        yield address.version, ip_network(address)


def _forwarded(host: HostPlan, family: Family) -> Iterator[Traffic]:
    """Within the tunnel, from it to the networks behind the host, and back."""
    wg, words = host.interface, f"what is forwarded for {host.interface}"
    overlay = next((a.network for a in host.addresses if a.version == family), None)
    yield Traffic("through", family, Packet(wg, wg, overlay, overlay, state=_NEW), words)
    for network in (one for one in host.subnets if one.version == family):
        yield Traffic("through", family, Packet(wg, None, overlay, network, state=_NEW), words)
        yield Traffic("through", family, Packet(None, wg, network, overlay, state=_ANSWERS), words)


def translated(host: HostPlan) -> Iterator[tuple[Family, Packet, str]]:
    """What must get another source address on its way out, and the words for where it goes."""
    for family in host.forwards:
        sources = [ip_network(one) for one in by_tunnel(host, family)]
        if host.masquerade:
            for source in sources:
                packet = Packet(out_interface=host.interface, source=source, state=_NEW)
                yield family, packet, f"{source} to {host.interface}"
        for network in host.subnets if host.masquerade_lan else ():
            for source in sources:
                if network.version == family:
                    # by an interface that no rule of ours names
                    packet = Packet(out_interface="a wire", source=source, destination=network, state=_NEW)
                    yield family, packet, f"{source} to {network}"
