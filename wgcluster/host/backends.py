"""Which rules belong into each iptables backend of a host, and what has to change there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from wgcluster.firewall.placement import Change, changes, for_other_backend
from wgcluster.firewall.rules import Rule
from wgcluster.host.observed import Observed, Rules
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


def unmet(
    rules: Sequence[Rule], interface: str, observed: Observed, policies: Mapping[Family, str]
) -> Iterator[str]:
    """What is not as ``rules`` want it, after they were set."""
    if rules and "iptables" not in observed.tools:
        yield "iptables is not there, so that no rule could be set; install it"
    for saved, made in changes_by_tool(rules, interface, observed, policies):
        yield from (
            f"{saved.tool}: not in force although it was set: {line}" for one in made for line in one.diff
        )
