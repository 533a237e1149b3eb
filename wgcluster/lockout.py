"""What a host's rules lack of ours, and whether setting them would cut off the very run that does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_network

from wgcluster.firewall import FAMILIES, Change, Rule, changes, closes, elsewhere, wanted
from wgcluster.observed import Observed, Rules
from wgcluster.plan import HostPlan


def needed(rules: Sequence[Rule], interface: str, observed: Observed) -> Iterator[tuple[Rules, list[Change]]]:
    """What to change in each backend and family that the host has, so that it holds ``rules`` of ours."""
    for saved in observed.rules:
        ours = [rule for rule in rules if rule.family == saved.family]
        if not saved.primary:
            ours = elsewhere(saved.tables, ours)
        if made := changes(saved.tables, ours, interface):
            yield saved, made


def lockout(part: HostPlan, observed: Observed) -> str | None:
    """Why this run would be cut off by the rules that it is about to set; None: it would not."""
    ssh = observed.ssh
    if ssh is None or part.firewall != "baseline":
        return None
    source = ip_network(ssh.source.partition("%")[0])  # no rule knows the zone of a link-local address
    if not observed.rules:  # iptables is about to be installed
        bare = tuple(Rules(family, "", True, {}) for family in FAMILIES)
        observed = replace(observed, rules=bare)
    for saved, made in needed(wanted(part), part.interface, observed):
        if saved.family == source.version and closes(saved.tables, made, source, ssh.port, ssh.interface):
            return (
                f"this run comes from {ssh.source} to TCP port {ssh.port}, which the baseline would close;"
                f' add {{"port": {ssh.port}, "from": ["{source}"]}} to firewall_allow'
            )
    return None
