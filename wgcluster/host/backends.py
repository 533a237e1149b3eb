"""Which rules belong into each iptables backend of a host, and what has to change there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from wgcluster.firewall.placement import Change, changes, for_other_backend
from wgcluster.firewall.rules import Rule
from wgcluster.host.observed import Observed, Rules
from wgcluster.plan.plan import HostPlan
from wgcluster.prefixes import Family


def rules_by_tool(rules: Sequence[Rule], observed: Observed) -> Iterator[tuple[Rules, list[Rule]]]:
    """Each backend and family of the host, with the rules that belong into it.

    A family that the kernel does not have needs none, and its program may fail.
    """
    for saved in observed.rules:
        if observed.forwarding.get(saved.family) == "-":
            continue
        ours = [rule for rule in rules if rule.family == saved.family]
        yield saved, ours if saved.primary else for_other_backend(saved.tables, ours)


def changes_by_tool(
    rules: Sequence[Rule], interface: str, observed: Observed, policies: Mapping[Family, str] | None = None
) -> Iterator[tuple[Rules, list[Change]]]:
    """The changes in each backend and family of the host after which it has ``rules``.

    Args:
        policies: of FORWARD by family; others stay.
    """
    for saved, ours in rules_by_tool(rules, observed):
        policy = (policies or {}).get(saved.family) if saved.primary else None
        if made := changes(saved.tables, ours, interface, policy):
            yield saved, made


def without_program(part: HostPlan, observed: Observed) -> Iterator[tuple[Family, str, str]]:
    """Each family whose rules are needed and cannot be set: its program, and why.

    Needed are the rules of the overlay's families, which keep strangers out. With "baseline", which closes
    the host, those of every family that it has addresses of. The others only let in more.
    """
    families = {address.version for address in part.addresses}
    if part.firewall == "baseline":
        families |= {address.version for _, address in observed.interface_addresses}
    there = {saved.family for saved in observed.rules if saved.primary}
    for family in sorted(families - there) if part.firewall != "off" else ():
        tool = "iptables" if family == 4 else "ip6tables"
        yield family, tool, observed.rules_errors.get(family, f"there is no {tool}-save")


def unmet(
    part: HostPlan, rules: Sequence[Rule], observed: Observed, policies: Mapping[Family, str]
) -> Iterator[str]:
    """What is not as ``rules`` want it, after they were set."""
    for family, tool, error in without_program(part, observed) if rules else ():
        yield f"{tool}: the IPv{family} rules could not be set: {error}"
    for saved, made in changes_by_tool(rules, part.interface, observed, policies):
        yield from (
            f"{saved.tool}: not in force although it was set: {line}" for one in made for line in one.diff
        )
