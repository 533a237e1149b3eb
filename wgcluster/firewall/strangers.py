"""Packets of strangers on other interfaces that try to enter the overlay, and whether a host drops them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_network
from itertools import pairwise
from typing import Literal

from wgcluster.firewall.placement import is_ours
from wgcluster.firewall.tables import Chain, Packet, Tables, first_accept, options, target, verdict

_NEW = frozenset({"NEW", "INVALID", "UNTRACKED"})


@dataclass(frozen=True, slots=True)
class Stranger:
    """A class of packets from strangers, and the chain that must drop it."""

    table: Literal["raw", "mangle"]
    chain: Literal["PREROUTING", "FORWARD"]
    packet: Packet
    description: str  # "what comes by eth0 for 10.0.0.2"


def strangers(
    interface: str, addresses: Sequence[IPv4Interface | IPv6Interface], wires: Sequence[str]
) -> Iterator[Stranger]:
    """Every class of packets that strangers can send to one host.

    Args:
        interface: of the tunnel.
        addresses: of the host in the overlay, of one family; none: there is no way in.
        wires: its other interfaces, without the loopback.
    """
    for wire in wires:
        for own in addresses:
            packet = Packet(in_interface=wire, destination=ip_network(own.ip), state=_NEW)
            yield Stranger("raw", "PREROUTING", packet, f"what comes by {wire} for {own.ip}")
        for network in dict.fromkeys(own.network for own in addresses):
            packet = Packet(in_interface=wire, source=network, state=_NEW)
            yield Stranger("raw", "PREROUTING", packet, f"what comes by {wire} as if from {network}")
        if addresses:
            through = Packet(in_interface=wire, out_interface=interface, state=_NEW)
            yield Stranger("mangle", "FORWARD", through, f"what comes by {wire} for {interface}")


def drops(tables: Tables, stranger: Stranger, interface: str) -> bool:
    """Are all these packets dropped? Our rules for networks behind the host are disregarded."""
    chains: Mapping[str, Chain] = tables.get(stranger.table, {})
    chain = chains.get(stranger.chain, Chain())
    specs = (_for_all_sources(spec) if is_ours(spec, interface) else spec for spec in chain.rules)
    rules = [spec for spec in specs if not _announced(spec, interface)]
    chains = {**chains, stranger.chain: Chain(chain.policy, rules)}
    if first_accept(chains, stranger.chain, stranger.packet) is not None:
        return False
    return verdict(chains, stranger.chain, stranger.packet) != "ACCEPT"


def _for_all_sources(spec: tuple[str, ...]) -> tuple[str, ...]:
    """The rule without the network that it excepts: ``! -s NETWORK``."""
    for i, words in enumerate(pairwise(spec)):
        if words == ("!", "-s"):
            return spec[:i] + spec[i + 3 :]
    return spec


def _announced(spec: tuple[str, ...], interface: str) -> bool:
    """Is it our rule for packets from a network behind the host?"""
    lets_by = target(spec) in ("ACCEPT", "RETURN")
    return lets_by and is_ours(spec, interface) and any(one.name == "-s" for one in options(spec))
