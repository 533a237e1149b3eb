"""Checks of a live host against its plan, from observations, never from rendered texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wgcluster.firewall.strangers import drops, strangers
from wgcluster.firewall.tables import Chain
from wgcluster.firewall.traffic import needed
from wgcluster.host import paths
from wgcluster.host.forwarding_before import before, forward_policies
from wgcluster.host.hosts_file import differences
from wgcluster.host.observed import Observed
from wgcluster.host.sysctl import dotted, forwards_by
from wgcluster.plan.plan import HostPlan, Plan
from wgcluster.text import abbreviated
from wgcluster.verify.boot import BootFiles, boot_faults
from wgcluster.verify.foreign_firewalls import foreign_firewalls
from wgcluster.verify.kernel_needs import ipv6_is_off, no_tables, undone_at_boot
from wgcluster.verify.listen_port import port_redirected
from wgcluster.verify.overlaps import overlaps
from wgcluster.verify.send_from import sends_elsewhere
from wgcluster.verify.traffic import blocked, untranslated
from wgcluster.wireguard.drift import SESSION, of_others, routed, routes
from wgcluster.wireguard.names import dialled_by_name, unresolved


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check. ``faults`` is empty if everything is as planned."""

    name: str  # head of a column: "unit", "handshake" …
    count: int  # of things that were checked; 0: there was nothing to check
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # what could not be checked

    def __str__(self) -> str:
        if not self.count:
            return "-"
        return f"{self.count - min(len(self.faults), self.count)}/{self.count}" if self.faults else "ok"


_NONE = Check("firewall", 0)


def ping_targets(plan: Plan, host: HostPlan) -> list[str]:
    """The overlay addresses of all other hosts, in the families of this host."""
    families = {address.version for address in host.addresses}
    return [
        str(address.ip)
        for other in plan.hosts
        if other.name != host.name
        for address in other.addresses
        if address.version in families
    ]


def checks(
    plan: Plan, host: HostPlan, observed: Observed, files: BootFiles, answered: Mapping[str, bool]
) -> list[Check]:
    """All checks of one host but nginx.

    Args:
        files: that the next boot reads.
        answered: by overlay address: it answered a ping from this host.
    """
    return [
        _unit(host, observed),
        _handshakes(plan, host, observed),
        _pings(plan, host, answered),
        _forwarding(host, observed),
        _rules(host, observed),
        _routes(host, observed),
        _foreign_firewalls(host, observed),
        _strangers(host, observed),
        Check("boot", 1, (*boot_faults(host, files), *map(str, undone_at_boot(host, observed)))),
        _names(host, observed),
    ]


def _foreign_firewalls(host: HostPlan, observed: Observed) -> Check:
    if host.firewall == "off":
        return _NONE
    faults = (*no_tables(host, observed), *foreign_firewalls(host, observed))
    return Check("firewall", 1, tuple(map(str, faults)))


def _names(host: HostPlan, observed: Observed) -> Check:
    own = {address.ip for address in host.addresses}  # Debian gives its own name 127.0.1.1, above ours
    others = tuple((address, known) for address, known in host.names if address not in own)
    found = differences(observed.file(paths.HOSTS).text, others)
    return Check("names", sum(len(known) for _, known in others), tuple(found))


def _unit(host: HostPlan, observed: Observed) -> Check:
    names = [paths.wireguard_unit(host.interface)]
    faults = []
    for name in names:
        unit = observed.unit(name)
        if not unit.active:
            faults.append(f"{name} is not active")
        if not unit.enabled:
            faults.append(f"{name} is not enabled: it will be gone after a boot")
    if host.firewall != "off":
        early, late, again = paths.firewall_units(host.interface)
        faults += [
            f"{name} is not enabled: our rules are late or gone after a boot"
            for name in (early, late)
            if not observed.unit(name).enabled
        ]
        if not observed.unit(again).enabled:
            faults.append(f"{again} is not enabled: the start of another firewall may take our rules away")
        if not observed.unit(late).active:
            faults.append(f"{late} is not active: the reload of another firewall may take our rules away")
    if any(address.version == 6 for address in host.addresses) and (off := ipv6_is_off(host, observed)):
        faults.append(f"IPv6 is off: {off}")
    if dialled_by_name(host):
        timer = observed.unit(paths.endpoints_timer(host.interface))
        if not (timer.enabled and timer.active):
            faults.append(
                f"{paths.endpoints_timer(host.interface)} does not run: names are resolved once only"
            )
    link = observed.link
    if link is None:
        faults.append(f"there is no interface {host.interface}")
    elif link.public_key != host.public_key:
        faults.append(f"{host.interface} has another key than planned")
    elif link.port != host.port:
        faults.append(f"{host.interface} listens on {link.port}, planned is {host.port}")
    return Check("unit", 1, tuple(faults))


def _handshakes(plan: Plan, host: HostPlan, observed: Observed) -> Check:
    """A recent handshake with each linked host; not with clients, which come and go."""
    peers = [peer for peer in host.peers if not peer.is_client]
    live = observed.link.peers if observed.link is not None else {}
    faults = []
    for peer in peers:
        seen = live.get(peer.public_key)
        if seen is None:
            faults.append(f"{peer.name} is no peer of the live interface")
        elif not seen.handshake:
            faults.append(f"no handshake with {peer.name} yet")
        elif observed.clock - seen.handshake > SESSION:
            faults.append(f"the last handshake with {peer.name} is {observed.clock - seen.handshake} s old")
    faults += map(str, sends_elsewhere(plan, host, observed))
    faults += unresolved(host, observed)
    return Check("handshake", len(peers), tuple(faults))


def _pings(plan: Plan, host: HostPlan, answered: Mapping[str, bool]) -> Check:
    owner = {str(address.ip): other.name for other in plan.hosts for address in other.addresses}
    targets = ping_targets(plan, host)
    faults = [f"{owner[target]} ({target}) does not answer" for target in targets if not answered.get(target)]
    return Check("ping", len(targets), tuple(faults))


def _forwarding(host: HostPlan, observed: Observed) -> Check:
    faults = []
    for family in host.forwards:
        if observed.forwarding.get(family) != "1":
            faults.append(f"IPv{family} forwarding is off")
        elif family == 4:
            faults += _forwarded_by_none(host, observed)
    faults += [*blocked(host, observed, "through"), *untranslated(host, observed)]
    for family, policy in forward_policies(host, before(host, observed)).items():
        for saved in observed.rules if observed.forwarding.get(family) == "1" else ():
            chain = saved.tables.get("filter", {}).get("FORWARD", Chain())
            if saved.primary and saved.family == family and chain.policy != policy:
                faults.append(f"{saved.tool}: the policy of FORWARD is {chain.policy}, planned is {policy}")
    return Check("forward", len(host.forwards), tuple(faults))


def _forwarded_by_none(host: HostPlan, observed: Observed) -> Iterator[str]:
    """Interfaces whose own value keeps the kernel from forwarding what comes in by them."""
    ways = {host.interface: host.interface}
    for network in (one for one in host.subnets if one.version == 4):
        for route in observed.routes:
            if route.network.version == 4 and route.network.overlaps(network) and route.network.prefixlen:
                ways |= dict.fromkeys(route.devices - {host.interface}, str(network))
    for device, what in ways.items():
        if observed.sysctls.get(forwards_by(device)) == "0":
            yield f"{dotted(forwards_by(device))} is 0: what comes from {what} is not forwarded"


def _rules(host: HostPlan, observed: Observed) -> Check:
    """Can the peers that dial this host reach its port, and others what is opened for them; can it dial?"""
    faults = [*blocked(host, observed, "in"), *blocked(host, observed, "out")]
    faults += map(str, port_redirected(host, observed))
    return Check("port", sum(one.way == "in" for one in needed(host)), tuple(faults))


def _routes(host: HostPlan, observed: Observed) -> Check:
    """Is each network behind other hosts routed to the interface, and used for nothing else here?"""
    networks = routed(host)
    missing = routes(host, observed.link.routes).missing if observed.link is not None else ()
    faults = [f"{network} is not routed to {host.interface}" for network in missing]
    told = of_others(host, observed.link)[0] if observed.link is not None else []
    notes = (f"on {host.interface}, not ours, left alone (wg_keep): {abbreviated(told)}",) if told else ()
    faults += map(str, overlaps(host, observed))
    return Check("route", len(host.addresses) + len(networks), tuple(faults), notes)


def _strangers(host: HostPlan, observed: Observed) -> Check:
    """Are strangers on the other interfaces kept out of the overlay?"""
    if host.firewall == "off":
        return Check(
            "stranger", 0, notes=("the firewall is not ours: who gets in by the wire is not looked at",)
        )
    wires = sorted({name for name, _ in observed.interface_addresses} - {host.interface, "lo"})
    families = sorted({address.version for address in host.addresses})
    faults = []
    for family in families:
        tables = [saved.tables for saved in observed.rules if saved.family == family]
        own = [address for address in host.addresses if address.version == family]
        for stranger in strangers(host.interface, own, wires):
            if stranger.chain == "FORWARD" and observed.forwarding.get(family) != "1":
                continue
            if not any(drops(one, stranger, host.interface) for one in tables):
                faults.append(f"lets in {stranger.description}")
    return Check("stranger", len(wires) * len(families), tuple(faults))
