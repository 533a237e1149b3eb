"""What a host's rules lack of ours, and whether setting them would cut off the very run that does."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

from wgcluster.firewall.placement import would_close
from wgcluster.firewall.rules import wanted
from wgcluster.host.backends import needed
from wgcluster.host.observed import Observed, Rules
from wgcluster.plan.plan import HostPlan
from wgcluster.prefixes import FAMILIES
from wgcluster.wireguard.drift import routed


def lockout(part: HostPlan, observed: Observed) -> str | None:
    """Why this run would be cut off by the rules that it is about to set; None: it would not."""
    ssh = observed.ssh
    if ssh is None or part.firewall == "off":
        return None
    source = ip_network(ssh.source.partition("%")[0])  # no rule knows the zone of a link-local address
    inside = (*(address.network for address in part.addresses), *routed(part), *part.subnets)
    known = any(source.version == one.version and source.overlaps(one) for one in inside)
    if ssh.interface == part.interface and not known:
        return (
            f"this run comes from {ssh.source} to an address of the overlay, but not through the overlay,"
            " which is about to be closed; connect to another address of this host"
        )
    if part.firewall != "baseline":
        return None
    if not observed.rules:  # iptables is about to be installed
        bare = tuple(Rules(family, "", True, {}) for family in FAMILIES)
        observed = replace(observed, rules=bare)
    for saved, made in needed(wanted(part), part.interface, observed):
        made = [change for change in made if change.chain == "INPUT"]
        if (
            made
            and saved.family == source.version
            and would_close(saved.tables, made, source, ssh.port, ssh.interface)
        ):
            return (
                f"this run comes from {ssh.source} to TCP port {ssh.port}, which the baseline would close;"
                f' add {{"port": {ssh.port}, "from": ["{source}"]}} to firewall_allow'
            )
    return None
