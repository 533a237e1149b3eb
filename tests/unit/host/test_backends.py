"""Which rules a host can have at all, and whether it has them; real ones: lab/test_rules_come_back.py."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface

import pytest

from tests.support.chains import BASELINE, GATEWAY
from wgcluster.firewall.placement import after, changes
from wgcluster.firewall.rules import desired_rules
from wgcluster.host.backends import changes_by_tool, unmet, without_program
from wgcluster.host.observed import Observed, Rules
from wgcluster.plan.plan import HostPlan
from wgcluster.prefixes import FAMILIES

BARE = (Rules(4, "iptables", True, {}), Rules(6, "ip6tables", True, {}))
FOUR = replace(GATEWAY, addresses=GATEWAY.addresses[:1], forwards=(4,), subnets=())
SIX = (("eth0", ip_interface("fe80::1/64")),)


def settled(host: HostPlan) -> tuple[Rules, ...]:
    """Both families with all their rules."""
    found = []
    for family, one in zip(FAMILIES, BARE, strict=True):
        made = changes({}, [rule for rule in desired_rules(host) if rule.family == family], "wg")
        found.append(replace(one, tables=after({}, made)))
    return tuple(found)


@pytest.mark.parametrize(
    ("host", "observed", "families"),
    [
        (GATEWAY, Observed(rules=BARE), []),
        (GATEWAY, Observed(rules=BARE[:1]), [6]),
        (GATEWAY, Observed(rules=(BARE[0], replace(BARE[1], primary=False))), [6]),
        (GATEWAY, Observed(), [4, 6]),
        (FOUR, Observed(rules=BARE[:1]), []),
        (FOUR, Observed(rules=BARE[:1], interface_addresses=SIX), []),
        (replace(FOUR, firewall="baseline"), Observed(rules=BARE[:1], interface_addresses=SIX), [6]),
        (replace(FOUR, firewall="baseline"), Observed(rules=BARE[:1]), []),
        (replace(GATEWAY, firewall="off"), Observed(), []),
    ],
)
def test_families_whose_rules_are_needed(host: HostPlan, observed: Observed, families: list[int]) -> None:
    assert [family for family, *_ in without_program(host, observed)] == families


def test_what_is_not_in_force_is_told() -> None:
    rules = desired_rules(BASELINE)
    assert list(unmet(BASELINE, rules, Observed(rules=settled(BASELINE)), {})) == []
    gone = Observed(rules=settled(BASELINE)[:1], rules_errors={6: "Permission denied"})
    assert list(unmet(BASELINE, rules, gone, {})) == [
        "ip6tables: the IPv6 rules could not be set: Permission denied"
    ]
    four, six = settled(BASELINE)
    six.tables["filter"]["FORWARD"].rules.insert(0, ("-j", "DROP"))
    (line, *_) = unmet(BASELINE, rules, Observed(rules=(four, six)), {})
    assert line.startswith("ip6tables: not in force although it was set: ~ -t filter -A FORWARD")
    assert "(stood behind: -j DROP)" in line
    assert list(unmet(BASELINE, (), Observed(), {})) == []  # teardown


def test_a_family_that_the_kernel_lacks_needs_no_rules() -> None:
    observed = Observed(rules=BARE, forwarding={4: "1", 6: "-"})
    found = changes_by_tool(desired_rules(FOUR), "wg", observed)
    assert [saved.tool for saved, _ in found] == ["iptables"]
