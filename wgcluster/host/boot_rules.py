"""The file from which ``files/wgcluster-firewall`` restores our rules at boot; it says where each goes.

A line is ``TOOL TABLE CHAIN WORD TEXT``. ``policy`` sets the policy of the chain. ``first``, ``end``,
``behind`` and ``before`` say where the following ``rule`` lines go: at one end of the chain, or next to a
rule of the host. If that rule is gone, ours go first, except for a list that ends in a REJECT: the baseline
goes to the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from wgcluster.firewall.placement import is_ours, placed
from wgcluster.firewall.rules import Rule
from wgcluster.firewall.tables import Chain, Spec, Tables, join
from wgcluster.host.backends import rules_by_tool
from wgcluster.host.observed import Observed
from wgcluster.prefixes import Family

END = "# end"  # the last line of a complete file


def boot_text(
    rules: Sequence[Rule], interface: str, observed: Observed, policies: Mapping[Family, str]
) -> str:
    """The file for the next boot, with our rules placed among the ones that the host has now.

    Args:
        policies: of FORWARD by family; others stay.
    """
    head = f"# wgcluster: what wgcluster-firewall@{interface} puts back after a boot; written by the deploy"
    lines = [head]
    for saved, ours in rules_by_tool(rules, observed):
        if saved.primary and saved.family in policies:
            lines.append(f"{saved.tool} filter FORWARD policy {policies[saved.family]}")
        lines += (f"{saved.tool} {line}" for line in _chains(ours, saved.tables, interface))
    return "\n".join([*lines, END, ""])


def _chains(ours: Sequence[Rule], tables: Tables, interface: str) -> Iterator[str]:
    for table, name in dict.fromkeys((rule.table, rule.chain) for rule in ours):
        specs = [rule.spec for rule in ours if (rule.table, rule.chain) == (table, name)]
        yield f"{table} {name} {_place(table, tables.get(table, {}), name, specs, interface)}"
        yield from (f"{table} {name} rule {join(spec)}" for spec in specs)


def _place(table: str, chains: Mapping[str, Chain], name: str, ours: Sequence[Spec], interface: str) -> str:
    others = [spec for spec in chains.get(name, Chain()).rules if not is_ours(spec, interface)]
    place = placed(table, chains, name, ours, interface)
    beside_others = (table, name) == ("filter", "FORWARD")
    if place == 1 and (others or beside_others):
        return "first"
    if beside_others:
        return f"behind {join(others[place - 2])}"
    return f"before {join(others[place - 1])}" if place <= len(others) else "end"
