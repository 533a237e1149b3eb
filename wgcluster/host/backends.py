"""Which rules each backend of iptables on a host is to hold, and what it lacks of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from wgcluster.firewall.placement import Change, changes, for_other_backend
from wgcluster.firewall.rules import Rule
from wgcluster.host.observed import Observed, Rules
from wgcluster.prefixes import Family


def by_tool(rules: Sequence[Rule], observed: Observed) -> Iterator[tuple[Rules, list[Rule]]]:
    """Each backend and family that the host has, with those of ``rules`` that it is to hold."""
    for saved in observed.rules:
        ours = [rule for rule in rules if rule.family == saved.family]
        yield saved, ours if saved.primary else for_other_backend(saved.tables, ours)


def needed(
    rules: Sequence[Rule], interface: str, observed: Observed, policies: Mapping[Family, str] | None = None
) -> Iterator[tuple[Rules, list[Change]]]:
    """What to change in each backend and family that the host has, so that it holds ``rules`` of ours.

    Args:
        policies: of FORWARD, by family; those that are left out stay as they are.
    """
    for saved, ours in by_tool(rules, observed):
        policy = (policies or {}).get(saved.family) if saved.primary else None
        if made := changes(saved.tables, ours, interface, policy):
            yield saved, made
