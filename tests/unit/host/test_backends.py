"""Which rules a host can have at all, and whether it has them; real ones: lab/test_rules_come_back.py."""

from __future__ import annotations

from dataclasses import replace

from tests.support.chains import BASELINE, GATEWAY
from wgcluster.firewall.placement import after, changes
from wgcluster.firewall.rules import desired_rules
from wgcluster.host.backends import changes_by_tool, unmet
from wgcluster.host.observed import Observed, Rules
from wgcluster.plan.plan import HostPlan
from wgcluster.prefixes import FAMILIES

BARE = (Rules(4, "iptables", True, {}), Rules(6, "ip6tables", True, {}))
FOUR = replace(GATEWAY, addresses=GATEWAY.addresses[:1], forwards=(4,), subnets=())
TOOLS = frozenset({"iptables", "ip6tables"})


def settled(host: HostPlan) -> tuple[Rules, ...]:
    """Both families with all their rules."""
    found = []
    for family, one in zip(FAMILIES, BARE, strict=True):
        made = changes({}, [rule for rule in desired_rules(host) if rule.family == family], "wg")
        found.append(replace(one, tables=after({}, made)))
    return tuple(found)


def test_what_is_not_in_force_is_told() -> None:
    rules = desired_rules(BASELINE)
    assert list(unmet(rules, "wg", Observed(tools=TOOLS, rules=settled(BASELINE)), {})) == []
    gone = replace(Observed(rules=settled(BASELINE)), tools=frozenset())
    assert list(unmet(rules, "wg", gone, {})) == [
        "iptables is not there, so that no rule could be set; install it"
    ]
    four, six = settled(BASELINE)
    six.tables["filter"]["FORWARD"].rules.insert(0, ("-j", "DROP"))
    (line, *_) = unmet(rules, "wg", Observed(tools=TOOLS, rules=(four, six)), {})
    assert line.startswith("ip6tables: not in force although it was set: ~ -t filter -A FORWARD")
    assert "(stood behind: -j DROP)" in line
    assert list(unmet((), "wg", Observed(), {})) == []  # teardown


def test_a_family_that_the_kernel_lacks_needs_no_rules() -> None:
    observed = Observed(rules=BARE, forwarding={4: "1", 6: "-"})
    found = changes_by_tool(desired_rules(FOUR), "wg", observed)
    assert [saved.tool for saved, _ in found] == ["iptables"]
