"""The sysctls of a host that forwards, live and at its next boot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from wgcluster.host.observed import Observed
from wgcluster.plan.plan import HostPlan

FORWARDING: Mapping[int, str] = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}


def at_boot(part: HostPlan, observed: Observed) -> dict[str, str]:
    """Values by key (with slashes) for a host that forwards; empty for others.

    A host that forwards ignores router advertisements, and would lose a default route that it has from them;
    accept_ra 2 keeps it. A relay forwards packets out of the interface that they came in on, for which the
    kernel would send redirects to a shorter path that does not exist, if the value of the interface or that
    of "all" allows it (kernel.org, networking/ip-sysctl).
    """
    wanted: dict[str, str] = {}
    if 6 in part.forwards:
        heard = {key for key, value in observed.sysctls.items() if "accept_ra" in key and value in "12"}
        wanted |= dict.fromkeys(sorted(heard), "2")
    if 4 in part.forwards:
        wanted["net/ipv4/conf/all/send_redirects"] = "0"
    return wanted | {FORWARDING[family]: "1" for family in part.forwards}


def differences(part: HostPlan, observed: Observed) -> dict[str, tuple[str, str]]:
    """Observed and desired value of each sysctl that differs, by key.

    None where /proc/sys cannot be written: what is ``needed`` there is refused beforehand.
    """
    if not observed.sysctls_writable:
        return {}
    wanted = at_boot(part, observed) | needed(part, observed)
    live = _live(observed)
    own = f"net/ipv4/conf/{part.interface}/send_redirects"
    if 4 in part.forwards and own in live:
        wanted[own] = "0"  # at the next start the hook in the config sets it
    return {key: (live[key], value) for key, value in wanted.items() if live.get(key, value) != value}


def needed(part: HostPlan, observed: Observed) -> dict[str, str]:
    """Values by key without which the host does not forward what it must, of those that differ now.

    Forwarding is decided by the interface that a packet comes in by, too. Others are not ours to change.
    """
    live = _live(observed)
    wanted = [FORWARDING[family] for family in part.forwards]
    wanted += [forwards_by(part.interface)] if 4 in part.forwards else []
    return {key: "1" for key in wanted if live.get(key, "1") != "1"}


def forwards_by(interface: str) -> str:
    """The key that says whether IPv4 packets that come in by an interface are forwarded."""
    return f"net/ipv4/conf/{interface}/forwarding"


def _live(observed: Observed) -> dict[str, str]:
    return {FORWARDING[family]: value for family, value in observed.forwarding.items()} | observed.sysctls


def forwarding_off(families: Iterable[int], observed: Observed) -> list[str]:
    """The keys to set to 0 when these families are no longer forwarded."""
    return [FORWARDING[family] for family in families if observed.forwarding.get(family) == "1"]


def text(wanted: Mapping[str, str]) -> str | None:
    """The file for /etc/sysctl.d; None: no sysctl is desired."""
    lines = [f"{dotted(key)} = {value}" for key, value in wanted.items()]
    return "\n".join(["# wgcluster: this host forwards for others", *lines, ""]) if lines else None


def dotted(key: str) -> str:
    """A key with dots; with slashes if the name of an interface has dots (sysctl.d(5))."""
    return key if "." in key else key.replace("/", ".")
