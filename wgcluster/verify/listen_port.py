"""Whether the listen port is free for the interface, and what comes to it stays on the host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_network

from wgcluster.firewall.nft import redirect
from wgcluster.firewall.tables import Chain, Match, Packet, Spec, join, match, target
from wgcluster.host.observed import Observed
from wgcluster.inventory.faults import Fault, host_fault
from wgcluster.plan.plan import HostPlan
from wgcluster.text import abbreviated


def port_taken(part: HostPlan, observed: Observed) -> Iterator[Fault]:
    """A fault if another socket has the UDP port: the interface could not be brought up with it.

    WireGuard binds to all addresses, so a socket at any of them is in its way (udp(7), EADDRINUSE).
    """
    having = [one for one in observed.interfaces if one.port == part.port]
    own = any(one.public_key == part.public_key for one in having)  # under another name, which is refused
    if having and not own:
        others = [one.name for one in having]
        yield host_fault("wg_port.taken", port=part.port, other=f"the interface {abbreviated(others)}")
    elif observed.port_bound and not own and (observed.link is None or _has_another(observed, part.port)):
        other = abbreviated(observed.port_users) or "a socket of the kernel"
        yield host_fault("wg_port.taken", port=part.port, other=other)


def _has_another(observed: Observed, port: int) -> bool:
    """Does our interface listen on another port? Without wg nobody can say."""
    return "wg" in observed.tools and observed.link is not None and observed.link.port != port


def port_redirected(part: HostPlan, observed: Observed) -> Iterator[Fault]:
    """A fault if a rule sends elsewhere what comes to the port, as Docker does for one that it publishes."""
    packets = [
        Packet(destination=ip_network(address.ip), protocol="udp", dport=part.port, state=frozenset({"NEW"}))
        for interface, address in observed.interface_addresses
        if interface != part.interface and not (address.is_loopback or address.is_link_local)
    ]
    rule = next(_by_iptables(packets, observed), None) or next(_by_nft(packets, observed), None)
    if rule:
        yield host_fault("wg_port.redirected", port=part.port, rule=rule)


def _by_iptables(packets: list[Packet], observed: Observed) -> Iterator[str]:
    for saved in observed.rules:
        chains = saved.tables.get("nat", {})
        anywhere = replace(packets[0], destination=None) if packets else Packet()
        if _redirects(chains, "PREROUTING", anywhere):  # mostly not: then no address need be asked for
            for packet in packets:
                same = packet.destination is not None and packet.destination.version == saved.family
                if found := _redirects(chains, "PREROUTING", packet) if same else None:
                    yield f"{saved.tool} -t nat -A {join(found)}"


def _redirects(chains: Mapping[str, Chain], name: str, packet: Packet, depth: int = 0) -> Spec | None:
    """The first rule that may give some packets of a class another destination, behind its chain."""
    for spec in chains.get(name, Chain()).rules:
        matched, where = match(spec, packet), target(spec)
        if matched is Match.NONE:
            continue
        if where in ("DNAT", "REDIRECT"):  # iptables-extensions(8)
            return (name, *spec)
        if where in chains and depth < 16 and (found := _redirects(chains, where, packet, depth + 1)):
            return found
        if matched is Match.ALL and where in ("ACCEPT", "RETURN"):
            return None
    return None


def _by_nft(packets: list[Packet], observed: Observed) -> Iterator[str]:
    for table in observed.nft:
        for base in (name for name, chain in table.chains.items() if chain.hook == "prerouting"):
            for packet in packets:
                assert packet.destination is not None
                if found := redirect(table, base, packet.destination.version, packet):
                    yield f"nftables: {found}"
