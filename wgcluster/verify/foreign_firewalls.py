"""Other firewalls on a host, recognized by their rules: ufw, firewalld, native nftables."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from wgcluster.firewall.nft import Stop, Table, stop
from wgcluster.firewall.tables import Packet, target
from wgcluster.host.observed import Observed
from wgcluster.inventory.faults import Fault, host_fault
from wgcluster.plan.plan import HostPlan
from wgcluster.prefixes import Network

_BUILT_IN = ("INPUT", "FORWARD")
_NEW, _ANSWERS = frozenset({"NEW"}), frozenset({"ESTABLISHED"})


def foreign_firewalls(part: HostPlan, observed: Observed) -> Iterator[Fault]:
    """Faults for firewalls that would undo our rules or drop what they accept."""
    if _ufw_loaded(observed) or (observed.ufw and observed.unit("ufw.service").active):
        yield host_fault("firewall.ufw-active")
    elif observed.ufw and observed.unit("ufw.service").enabled:
        yield host_fault("firewall.ufw-enabled")
    unit = observed.unit("firewalld.service")
    if unit.active:
        yield host_fault("firewall.firewalld-active")
    elif _firewalld_loaded(observed):
        yield host_fault("firewall.firewalld-without-unit")
    elif unit.enabled:
        yield host_fault("firewall.firewalld-enabled")
    yield from _incompatible(part, observed)
    yield from dropped_by_nft(part, observed)


def _ufw_loaded(observed: Observed) -> bool:
    """Has ufw rules? After "ufw disable" its chains are still there, but empty."""
    return any(
        target(spec).startswith(("ufw-", "ufw6-")) and target(spec) in chains and chains[target(spec)].rules
        for saved in observed.rules
        for chains in saved.tables.values()
        for name in _BUILT_IN
        if name in chains
        for spec in chains[name].rules
    )


def _firewalld_loaded(observed: Observed) -> bool:
    """Is its table there, or, with FirewallBackend=iptables, its chains?"""
    return any(table.name == "firewalld" and table.chains for table in observed.nft) or any(
        "INPUT_ZONES" in chains for saved in observed.rules for chains in saved.tables.values()
    )


def _incompatible(part: HostPlan, observed: Observed) -> Iterator[Fault]:
    needed = {"raw", "mangle", "filter", *(["nat"] if part.masquerade else [])}
    for saved in observed.rules:
        for table in sorted(saved.closed & needed):
            if saved.primary:
                family = "ip" if saved.family == 4 else "ip6"
                yield host_fault("firewall.table-not-shown", tool=saved.tool, table=table, family=family)


def dropped_by_nft(part: HostPlan, observed: Observed) -> Iterator[Fault]:
    """Faults for rules of native nftables that drop what WireGuard needs; not for what iptables shows."""
    if observed.nft_error:
        yield host_fault("firewall.nft-unreadable", error=observed.nft_error)
    for table in observed.nft:
        for name, chain in table.chains.items():
            if table.name == "firewalld" or _is_shown(table, name, observed):
                continue
            ends = (stop(table, name, family, one) for family, one in _needed(part, observed, chain.hook))
            if found := next(filter(None, ends), None):
                yield _told(part, found, chain.hook)


def _is_shown(table: Table, base: str, observed: Observed) -> bool:
    """Does iptables show this chain?"""
    family = {"ip": 4, "ip6": 6}.get(table.family)
    return base.isupper() and any(
        saved.family == family and base in saved.tables.get(table.name, {}) for saved in observed.rules
    )


def _needed(part: HostPlan, observed: Observed, hook: str) -> Iterator[tuple[int, Packet]]:
    """Family and class of the packets that our rules accept at a hook."""
    if hook == "input":
        for interface, address in observed.interface_addresses:
            if interface != part.interface and not (address.is_loopback or address.is_link_local):
                for source in part.listen_from:
                    if source.version == address.version:
                        yield address.version, _dialled(part, source, ip_network(address.ip))
    elif hook == "forward":
        wg = part.interface
        for family in part.forwards:
            overlay = next((a.network for a in part.addresses if a.version == family), None)
            yield family, Packet(wg, wg, overlay, overlay, state=_NEW)
            for network in (one for one in part.subnets if one.version == family):
                yield family, Packet(wg, None, overlay, network, state=_NEW)
                yield family, Packet(None, wg, network, overlay, state=_ANSWERS)


def _dialled(part: HostPlan, source: Network, own: Network) -> Packet:
    return Packet(source=source, destination=own, protocol="udp", dport=part.port, state=_NEW)


def _told(part: HostPlan, found: Stop, hook: str) -> Fault:
    if hook == "input":
        what, matches = f"UDP to port {part.port}", [f"udp dport {part.port}"]
    else:
        what, matches = f"what is forwarded for {part.interface}", [f'iifname "{part.interface}"']
        matches += [f'oifname "{part.interface}"'] if part.subnets else []
    where = f"{found.table.family} {found.table.name} {found.base}"
    rules = " and ".join(f"'nft insert rule {where} {one} accept'" for one in matches)
    return host_fault("firewall.nft-drops", chain=found, packets=what, rules=rules)
