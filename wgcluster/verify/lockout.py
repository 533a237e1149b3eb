"""Whether our rules would cut off the connection that sets them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network

from wgcluster.firewall.placement import would_close
from wgcluster.firewall.rules import desired_rules
from wgcluster.host.backends import changes_by_tool
from wgcluster.host.observed import Observed, Rules, Ssh
from wgcluster.inventory.faults import Fault, host_fault
from wgcluster.plan.plan import HostPlan
from wgcluster.prefixes import FAMILIES, Network
from wgcluster.wireguard.drift import routed


def lockout(part: HostPlan, observed: Observed) -> Iterator[Fault]:
    """Faults if the rules that this run sets would cut it off."""
    ssh = observed.ssh
    if ssh is None or part.firewall == "off":
        return
    source = ip_network(ssh.source.partition("%")[0])  # rules have no zones of link-local addresses
    inside = (*(address.network for address in part.addresses), *routed(part), *part.subnets)
    known = any(source.version == one.version and source.overlaps(one) for one in inside)
    if ssh.interface == part.interface and not known:
        yield host_fault("firewall.locks-out-of-overlay", source=ssh.source)
    elif part.firewall == "baseline" and _closes(part, observed, ssh, source):
        yield host_fault("firewall.locks-out", source=ssh.source, port=ssh.port, network=source)


def _closes(part: HostPlan, observed: Observed, ssh: Ssh, source: Network) -> bool:
    """Would the baseline close the SSH port of this run?"""
    if not observed.rules:  # iptables is about to be installed
        bare = tuple(Rules(family, "", True, {}) for family in FAMILIES)
        observed = replace(observed, rules=bare)
    for saved, made in changes_by_tool(desired_rules(part), part.interface, observed):
        made = [change for change in made if change.chain == "INPUT"]
        if (
            made
            and saved.family == source.version
            and would_close(saved.tables, made, source, ssh.port, ssh.interface)
        ):
            return True
    return False
