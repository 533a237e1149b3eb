"""Other firewalls on a host, recognized by their rules: ufw, firewalld, native nftables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network

from wgcluster.firewall.nft import Chain, Stop, Table, stop
from wgcluster.firewall.tables import Packet, target
from wgcluster.firewall.traffic import HOOKS, Traffic, needed
from wgcluster.host.observed import Observed
from wgcluster.inventory.faults import Fault, host_fault
from wgcluster.plan.plan import HostPlan

_BUILT_IN = ("INPUT", "FORWARD")


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
    needed = {"raw", "mangle", "filter", *(["nat"] if part.masquerade or part.masquerade_lan else [])}
    for saved in observed.rules:
        for table in sorted(saved.closed & needed):
            if saved.primary:
                family = "ip" if saved.family == 4 else "ip6"
                yield host_fault("firewall.table-not-shown", tool=saved.tool, table=table, family=family)


def dropped_by_nft(part: HostPlan, observed: Observed) -> Iterator[Fault]:
    """Faults for rules of native nftables that drop what must pass; not for what iptables shows.

    A packet must get by every chain of a hook: what one accepts the next may still drop (nft(8), VERDICTS).
    """
    if observed.nft_error:
        yield host_fault("firewall.nft-unreadable", error=observed.nft_error)
    chains = [
        (table, name, chain)
        for table in observed.nft
        for name, chain in table.chains.items()
        if table.name != "firewalld" and not _is_shown(table, name, observed)
    ]
    for table, name, _ in sorted(chains, key=lambda one: one[2].priority):
        yield from _dropped(part, observed, table, name)


def _dropped(part: HostPlan, observed: Observed, table: Table, name: str) -> Iterator[Fault]:
    """What one base chain drops, each kind of traffic once."""
    chain = table.chains[name]
    told: set[str] = set()
    for traffic in needed(part) if chain.rules or chain.policy == "drop" else ():
        if chain.hook not in HOOKS[traffic.way] or traffic.words in told:
            continue
        packets = _at(chain, _arriving(part, observed, traffic), part.interface)
        ends = (stop(table, name, traffic.family, packet) for packet in packets)
        if found := next(filter(None, ends), None):
            told.add(traffic.words)
            yield _told(part, found, chain.hook, traffic)


def _is_shown(table: Table, base: str, observed: Observed) -> bool:
    """Does iptables show this chain?"""
    family = {"ip": 4, "ip6": 6}.get(table.family)
    return base.isupper() and any(
        saved.family == family and base in saved.tables.get(table.name, {}) for saved in observed.rules
    )


def _arriving(part: HostPlan, observed: Observed, traffic: Traffic) -> Iterator[Packet]:
    """What comes in, for each address that it may come to; the rest as it is."""
    if traffic.way != "in":
        yield traffic.packet
        return
    by = traffic.packet.in_interface
    for interface, address in observed.interface_addresses:
        there = interface == by if by is not None else interface != part.interface
        if there and address.version == traffic.family and not (address.is_loopback or address.is_link_local):
            yield replace(traffic.packet, destination=ip_network(address.ip))


def _at(chain: Chain, packets: Iterator[Packet], tunnel: str) -> Iterator[Packet]:
    """The packets as a hook sees them: before the route is known, or on the devices of the chain."""
    for packet in packets:
        if chain.hook == "prerouting":
            yield replace(packet, out_interface=None)
        elif chain.hook == "ingress":
            for device in _devices(chain, packet.in_interface, tunnel):
                yield replace(packet, in_interface=device, out_interface=None, state=None)
        elif chain.hook == "egress":
            for device in _devices(chain, packet.out_interface, tunnel):
                yield replace(packet, in_interface=None, out_interface=device, state=None)
        else:
            yield packet


def _devices(chain: Chain, wanted: str | None, tunnel: str) -> list[str | None]:
    if not chain.devices:  # nft 1.0.6 does not tell them as JSON: it may be any
        return [wanted]
    return [one for one in chain.devices if one == wanted or (wanted is None and one not in (tunnel, "lo"))]


def _told(part: HostPlan, found: Stop, hook: str, traffic: Traffic) -> Fault:
    protocol = traffic.packet.protocol
    if traffic.way == "in":
        matches = [f"{protocol} dport {traffic.words.rpartition(' ')[2]}"]
    elif traffic.way == "out":
        matches = [f"{protocol} sport {part.port}"]
    else:
        matches = [f'iifname "{part.interface}"'] if hook not in ("postrouting", "egress") else []
        if not matches or (part.subnets and hook == "forward"):
            matches.append(f'oifname "{part.interface}"')
    where = f"{found.table.family} {found.table.name} {found.base}"
    rules = " and ".join(f"'nft insert rule {where} {one} accept'" for one in matches)
    return host_fault("firewall.nft-drops", chain=found, packets=traffic.words, rules=rules)
