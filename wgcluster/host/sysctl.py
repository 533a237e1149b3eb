"""Values of the kernel that a host needs which forwards, live and at its next boot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from wgcluster.host.observed import Observed
from wgcluster.plan.plan import HostPlan

FORWARDING: Mapping[int, str] = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}


def at_boot(part: HostPlan, observed: Observed) -> dict[str, str]:
    """Keys and values of a host that forwards; none for one that does not.

    Forwarding makes the kernel deaf to router advertisements, and a host that has its default route from
    them would lose it; accept_ra 2 keeps it listening. What a relay forwards leaves by the interface it came
    in on, for which the kernel would tell the sender of a shorter way that there is not; it does so if either
    the interface's own value or that of "all" says so (kernel.org, networking/ip-sysctl).
    """
    wanted: dict[str, str] = {}
    if 6 in part.forwards:
        heard = {key for key, value in observed.sysctls.items() if "accept_ra" in key and value in "12"}
        wanted |= dict.fromkeys(sorted(heard), "2")
    if 4 in part.forwards:
        wanted["net/ipv4/conf/all/send_redirects"] = "0"
    return wanted | {FORWARDING[family]: "1" for family in part.forwards}


def differences(part: HostPlan, observed: Observed) -> dict[str, tuple[str, str]]:
    """What the host has now and is to have, by key as sysctl(8) takes it; nothing where they are the same."""
    wanted = at_boot(part, observed)
    live = {FORWARDING[family]: value for family, value in observed.forwarding.items()} | observed.sysctls
    own = f"net/ipv4/conf/{part.interface}/send_redirects"
    if 4 in part.forwards and own in live:
        wanted[own] = "0"  # at its next start the hook in the config does it
    return {dotted(key): (live[key], value) for key, value in wanted.items() if live.get(key, value) != value}


def forwarding_off(families: Iterable[int], observed: Observed) -> list[str]:
    """Keys, as sysctl(8) takes them, that are to be 0 where these families are no longer forwarded."""
    return [dotted(FORWARDING[family]) for family in families if observed.forwarding.get(family) == "1"]


def text(wanted: Mapping[str, str]) -> str | None:
    """The file for /etc/sysctl.d; None where nothing is wanted."""
    lines = [f"{dotted(key)} = {value}" for key, value in wanted.items()]
    return "\n".join(["# wgcluster: this host forwards for others", *lines, ""]) if lines else None


def dotted(key: str) -> str:
    """As people write it; with slashes where the name of an interface holds dots (sysctl.d(5))."""
    return key if "." in key else key.replace("/", ".")
