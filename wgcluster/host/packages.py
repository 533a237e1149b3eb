"""Packages that a host needs, and which of them a deploy has installed."""

from __future__ import annotations

from collections.abc import Set

from wgcluster.host.observed import File

MANAGERS = ("apt-get", "dnf", "pacman", "apk")  # that files/packages.sh knows
# The same names in all four distributions.
_PROGRAMS = {"wireguard-tools": ("wg", "wg-quick"), "iptables": ("iptables", "ip6tables")}


def manager(tools: Set[str]) -> str | None:
    """The package manager of a host with these tools."""
    return next((one for one in MANAGERS if one in tools), None)


def missing(tools: Set[str]) -> dict[str, list[str]]:
    """The programs that a host with these tools lacks, by the names of their packages."""
    lacking = {
        package: [program for program in programs if program not in tools]
        for package, programs in _PROGRAMS.items()
    }
    return {package: programs for package, programs in lacking.items() if programs}


def installed(record: File) -> list[str]:
    """The names of the packages that a deploy has installed, from the record on the host; of ours alone."""
    return sorted(_PROGRAMS.keys() & set(record.text.split()))
