"""Whether iptables lets by what must pass, and gives another address to what must get one."""

from __future__ import annotations

from collections.abc import Iterator

from wgcluster.firewall.tables import Packet, is_translated, verdict
from wgcluster.firewall.traffic import CHAINS, Way, needed, translated
from wgcluster.host.observed import Observed
from wgcluster.plan.plan import HostPlan


def blocked(host: HostPlan, observed: Observed, way: Way) -> Iterator[str]:
    """What must pass and is dropped or rejected for sure, each with the program that shows the rule."""
    for one in needed(host):
        if one.way == way:
            for place in _blocking(observed, one.family, way, one.packet):
                yield f"{place} does not let {words(host, way, one.packet)}"


def _blocking(observed: Observed, family: int, way: Way, packet: Packet) -> Iterator[str]:
    for saved in observed.rules:
        tables = ((saved.tables.get(table, {}), chain) for table, chain in CHAINS[way])
        ends = (chain for chains, chain in tables if verdict(chains, chain, packet) != "ACCEPT")
        if saved.family == family and (chain := next(ends, None)) is not None:
            yield f"{saved.tool}: {chain}"


def words(host: HostPlan, way: Way, packet: Packet) -> str:
    """What is not let by, after "does not let"."""
    if way == "through":
        to = packet.out_interface or packet.destination
        return f"through what comes from {packet.in_interface or packet.source} for {to}"
    if way == "out":
        to = f"port {packet.dport} of {packet.destination}" if packet.destination else "those who dial it"
        return f"out UDP from port {host.port} for {to}"
    by = f" by {packet.in_interface}" if packet.in_interface else ""
    ports = packet.dport if not isinstance(packet.dport, range) else _listed(packet.dport)
    return f"{packet.source or 'all'}{by} reach {str(packet.protocol).upper()} port {ports}"


def _listed(ports: range) -> str:
    return f"{ports[0]}-{ports[-1]}" if len(ports) > 1 else str(ports[0])


def untranslated(host: HostPlan, observed: Observed) -> Iterator[str]:
    """What must get another source address and keeps its own: no rule of nat gives it one."""
    for family, packet, words in translated(host):
        tables = [saved.tables.get("nat", {}) for saved in observed.rules if saved.family == family]
        if not any(is_translated(chains, "POSTROUTING", packet) for chains in tables):
            yield f"nat: what goes from {words} keeps its address"
