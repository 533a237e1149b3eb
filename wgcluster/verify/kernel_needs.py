"""What the kernel of a host, and the programs that set it up, must let our plan do."""

from __future__ import annotations

from collections.abc import Iterator

from wgcluster.host import paths
from wgcluster.host.observed import Observed
from wgcluster.host.sysctl import FORWARDING, dotted, needed
from wgcluster.host.sysctl_order import Setting, ipv4_forwarding, ipv6_forwarding, ipv6_off
from wgcluster.inventory.faults import Fault, host_fault
from wgcluster.plan.plan import HostPlan
from wgcluster.prefixes import FAMILIES, Family
from wgcluster.text import abbreviated


def kernel_lacks(part: HostPlan, observed: Observed) -> Iterator[Fault]:
    """Faults for what would fail on this host, or be undone at its next boot."""
    off = ipv6_is_off(part, observed)
    six = [str(address.ip) for address in part.addresses if address.version == 6]
    if six and off:
        yield host_fault("host.ipv6-off", why=off, address=six[0])
    yield from no_tables(part, observed)
    if not observed.sysctls_writable and (keys := needed(part, observed)):
        values = abbreviated([f"{dotted(key)} = {value}" for key, value in keys.items()])
        yield host_fault("host.sysctls-read-only", values=values)
    yield from undone_at_boot(part, observed)


def ipv6_is_off(part: HostPlan, observed: Observed) -> str:
    """Why the interface cannot have an IPv6 address now, or after its next start; "": it can.

    A new interface takes the value of "default" (kernel.org, networking/ip-sysctl, disable_ipv6).
    """
    if observed.forwarding.get(6) == "-":
        return "its kernel has none"
    for name in ("default", part.interface):
        key = f"net/ipv6/conf/{name}/disable_ipv6"
        if observed.sysctls.get(key, "0") != "0":
            return f"{dotted(key)} = {observed.sysctls[key]}"
    return ""


def no_tables(part: HostPlan, observed: Observed) -> Iterator[Fault]:
    """A fault for each family whose rules this host needs and cannot have: its iptables does not work.

    Rules for the listen port alone are left out where there are no tables in which they could be missing.
    """
    for family, tool in zip(FAMILIES, ("iptables", "ip6tables"), strict=True):
        works = any(saved.family == family for saved in observed.rules)
        # both programs come with one package, which is installed first
        if "iptables" in observed.tools and not works and _needs_tables(part, observed, family):
            error = observed.rules_errors.get(family, "it is not installed")
            yield host_fault("host.iptables-fails", tool=tool, family=family, error=error)


def _needs_tables(part: HostPlan, observed: Observed, family: Family) -> bool:
    if part.firewall == "off":
        return False
    closes = part.firewall == "baseline" and (family == 4 or not ipv6_is_off(part, observed))
    return closes or any(address.version == family for address in part.addresses)


def undone_at_boot(part: HostPlan, observed: Observed) -> Iterator[Fault]:
    """Faults for files of sysctl.d(5) that at the next boot undo what the plan needs.

    Our own file is taken as a deploy writes it.
    """
    ours = [f"{dotted(FORWARDING[family])} = 1" for family in part.forwards]
    files = {**observed.sysctl_files, paths.SYSCTL: ours}
    found = []
    if 4 in part.forwards:
        found += ipv4_forwarding(files, part.interface)
    if 6 in part.forwards:
        found += ipv6_forwarding(files)
    for setting in found:
        if setting.value == "0":
            yield _undone(setting)
    if any(address.version == 6 for address in part.addresses) and not ipv6_is_off(part, observed):
        for setting in ipv6_off(files, part.interface):
            if setting.value != "0":
                yield _undone(setting)


def _undone(setting: Setting) -> Fault:
    text = f"{dotted(setting.key)} = {setting.value}"
    return host_fault("host.sysctl-undone", path=setting.path, setting=text)
