"""Rules of the routing policy, ip-rule(8), by which packets for the tunnel would never come to table main."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

from wgcluster.host.kernel_routes import PolicyRule, Route
from wgcluster.host.observed import Observed
from wgcluster.inventory.faults import Fault, host_fault
from wgcluster.plan.plan import HostPlan
from wgcluster.prefixes import Network, is_within
from wgcluster.wireguard.drift import routed


def diversions(
    network: Network, part: HostPlan, own: AbstractSet[str], observed: Observed
) -> Iterator[Fault]:
    """A fault for the first rule that takes packets for ``network`` before table main is looked up.

    A host without any rule to show has one table.

    Args:
        network: that is to be routed to the tunnel, in table main.
        own: the names of our interface.
    """
    rules = [rule for rule in observed.policy if rule.family == network.version]
    for rule in rules:
        if _leads_to_main(rule, network):
            return
        if not _may_match(rule, network, part):
            continue
        where = _taken(rule, network, own, observed.routes)
        if where:
            yield host_fault(
                "host.policy-routing",
                network=network,
                interface=part.interface,
                rule=rule,
                where=where,
                family=f"-{rule.family}",
                priority=max(rule.priority - 1, 0),
            )
            return
    if rules:
        yield host_fault("host.table-main-unused", network=network, family=f"-{network.version}")


def _leads_to_main(rule: PolicyRule, network: Network) -> bool:
    """Does every packet for ``network`` find its route by this rule?"""
    whole = not rule.inverted and rule.source is None and not rule.selectors
    every = whole and (rule.destination is None or is_within(network, rule.destination))
    return every and rule.table == "main" and rule.suppressed < network.prefixlen


def _may_match(rule: PolicyRule, network: Network, part: HostPlan) -> bool:
    """May it be asked about a packet for ``network``, from this host or one that it forwards?

    Packets with a mark are those that somebody chose to send elsewhere; ours have none. Of a selector that is
    not named here it is assumed that it matches: each only narrows a rule.
    """
    if rule.inverted:
        return rule.destination is None or not is_within(network, rule.destination)
    if rule.destination is not None and not rule.destination.overlaps(network):
        return False
    sources = (*(address.network for address in part.addresses), *routed(part), *part.subnets)
    if rule.source is not None and not any(_overlap(rule.source, one) for one in sources):
        return False
    marked = int(rule.selectors.get("fwmark", "0").partition("/")[0], 0) != 0
    others_only = "l3mdev" in rule.selectors or rule.table == "[l3mdev-table]"  # those of a VRF
    comes_by, goes_by = rule.selectors.get("iif", "lo"), rule.selectors.get("oif", part.interface)
    forwarded = bool(part.forwards) if comes_by == part.interface else bool(part.subnets)
    return not marked and not others_only and goes_by == part.interface and (comes_by == "lo" or forwarded)


def _taken(rule: PolicyRule, network: Network, own: AbstractSet[str], routes: Sequence[Route]) -> str:
    """Where packets for ``network`` that it matches go, instead of to the tunnel; "": on to the next rule."""
    if rule.action == "nop" or rule.table == "main":
        return ""
    if rule.action != "lookup":
        return rule.action
    there = [
        route
        for route in routes
        if route.table == rule.table
        and route.network.prefixlen > rule.suppressed
        and _overlap(route.network, network)
        and (rule.destination is None or rule.inverted or route.network.overlaps(rule.destination))
    ]
    ours = [
        route.network.prefixlen
        for route in there
        if route.devices and route.devices <= own and is_within(network, route.network)
    ]
    for route in there:
        if route.words[0] == "throw" or (route.devices and route.devices <= own):
            continue
        if route.network.prefixlen > max(ours, default=-1):
            return str(route)
    return ""


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)
