"""Installs packages with the package manager of the host."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api.command import StringCommand
from pyinfra.api.deploy import deploy

from tasks.controller import Run
from tasks.lock import Commands, locked
from tasks.operations import host_operation
from wgcluster.host.packages import INSTALL, missing


@host_operation
@locked
def install(run: Run) -> Commands:
    """Install what the host lacks.

    pyinfra's apt.packages and its like ask the host for all its packages; the observation has the tools.
    """
    tools = run.observe(host).tools
    names = missing(tools)
    if names:
        tool = next(tool for tool in INSTALL if tool in tools)
        run.log_once(host, f"lacks {' and '.join(names)}; {tool} will install")
        yield StringCommand(INSTALL[tool].format(names=" ".join(names)))
        run.invalidate(host)


@deploy("Packages")
def packages(run: Run) -> None:
    """Install what the host lacks."""
    install(name="Install wireguard-tools", run=run)
