"""What a host's rules lack of ours, and whether setting them would cut off the very run that does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network

from wgcluster.firewall.placement import would_close
from wgcluster.firewall.rules import desired_rules
from wgcluster.host.backends import needed
from wgcluster.host.observed import Observed, Rules, Ssh
from wgcluster.inventory.faults import Fault, host_fault
from wgcluster.plan.plan import HostPlan
from wgcluster.prefixes import FAMILIES, Network
from wgcluster.wireguard.drift import routed


def lockout(part: HostPlan, observed: Observed) -> Iterator[Fault]:
    """Why this run would be cut off by the rules that it is about to set."""
    ssh = observed.ssh
    if ssh is None or part.firewall == "off":
        return
    source = ip_network(ssh.source.partition("%")[0])  # no rule knows the zone of a link-local address
    inside = (*(address.network for address in part.addresses), *routed(part), *part.subnets)
    known = any(source.version == one.version and source.overlaps(one) for one in inside)
    if ssh.interface == part.interface and not known:
        yield host_fault("firewall.locks-out-of-overlay", source=ssh.source)
    elif part.firewall == "baseline" and _closes(part, observed, ssh, source):
        yield host_fault("firewall.locks-out", source=ssh.source, port=ssh.port, network=source)


def _closes(part: HostPlan, observed: Observed, ssh: Ssh, source: Network) -> bool:
    """Would the baseline close the port that this run comes by?"""
    if not observed.rules:  # iptables is about to be installed
        bare = tuple(Rules(family, "", True, {}) for family in FAMILIES)
        observed = replace(observed, rules=bare)
    for saved, made in needed(desired_rules(part), part.interface, observed):
        made = [change for change in made if change.chain == "INPUT"]
        if (
            made
            and saved.family == source.version
            and would_close(saved.tables, made, source, ssh.port, ssh.interface)
        ):
            return True
    return False
