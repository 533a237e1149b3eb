"""Packages that a host needs, and the commands of its package manager."""

from __future__ import annotations

from collections.abc import Set

# Package lists are fetched only if the installation fails without.
INSTALL = {
    "apt-get": (
        "export DEBIAN_FRONTEND=noninteractive;"
        " options='-y --no-install-recommends -o DPkg::Lock::Timeout=120';"
        " apt-get install $options {names} || {{ apt-get update && apt-get install $options {names}; }}"
    ),
    "dnf": "dnf install -y {names}",
    "pacman": "pacman -S --noconfirm --needed {names} || pacman -Sy --noconfirm --needed {names}",
    "apk": "apk add {names} || {{ apk update && apk add {names}; }}",
}
REMOVE = {
    "apt-get": "DEBIAN_FRONTEND=noninteractive apt-get remove -y -o DPkg::Lock::Timeout=120 {names}",
    "dnf": "dnf remove -y {names}",
    "pacman": "pacman -R --noconfirm {names}",
    "apk": "apk del {names}",
}
# The same names in all four distributions.
_PROVIDES = {"wg-quick": "wireguard-tools", "iptables": "iptables"}


def missing(tools: Set[str]) -> list[str]:
    """The names of the packages that a host with these tools lacks."""
    return [package for tool, package in _PROVIDES.items() if tool not in tools]
