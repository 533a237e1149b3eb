"""What has to be installed, by the package manager that the host has."""

from __future__ import annotations

from collections.abc import Set

from pyinfra import host
from pyinfra.api.command import StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.operation import operation

from tasks.controller import Run
from tasks.operations import Commands

# Lists of packages may be stale or absent: fetched only when the package cannot be had with those there are.
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
# All four distributions call them so.
PROVIDES = {"wg-quick": "wireguard-tools", "iptables": "iptables"}


def missing(tools: Set[str]) -> list[str]:
    """Names of the packages that a host with these tools lacks."""
    return [package for tool, package in PROVIDES.items() if tool not in tools]


@operation()
def install(run: Run) -> Commands:
    tools = run.look(host).tools
    names = missing(tools)
    if names:
        tool = next(tool for tool in INSTALL if tool in tools)
        run.say(host, f"lacks {' and '.join(names)}; {tool} will install")
        yield StringCommand(INSTALL[tool].format(names=" ".join(names)))
        run.forget(host)


@deploy("Packages")
def packages(run: Run) -> None:
    install(name="Install wireguard-tools", run=run)
