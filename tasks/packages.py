"""Installs packages with the package manager of the host, and removes what was installed."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api.command import StringCommand
from pyinfra.api.deploy import deploy

from tasks.controller import Run
from tasks.lock import Commands, locked
from tasks.operations import ensure_file, failure, host_operation, run_commands
from tasks.scripts import script
from wgcluster.host import paths
from wgcluster.host.packages import installed, manager, missing


@host_operation
@locked
def install(run: Run) -> Commands:
    """Install what the host lacks, and look whether it is there then.

    pyinfra's apt.packages and its like ask the host for all its packages, and believe the list. The
    observation has the programs themselves.
    """
    tools = run.observe(host).tools
    names, tool = list(missing(tools)), manager(tools)
    if not names or tool is None:
        return
    run.log_once(host, f"lacks {' and '.join(names)}; {tool} will install")
    yield StringCommand(script("packages.sh", manager=tool, verb="install", names=" ".join(names)))
    run.invalidate(host)
    for package, programs in missing(run.observe(host).tools).items():
        yield failure(
            f"{tool} says that {package} is installed, but the host lacks {' and '.join(programs)}:"
            " find out what removes it, and install the package anew"
        )


@host_operation
@locked
def remove(run: Run, wanted: bool) -> Commands:
    """Remove the packages that a deploy has installed, if ``wanted``, and the record of them.

    No other package: apt.packages would remove what others have installed, and all that has come to need it.
    """
    observed = run.observe(host)
    names, tool = installed(observed.file(paths.PACKAGES)), manager(observed.tools)
    commands = []
    if names and not wanted:
        run.log_once(
            host, f"{' and '.join(names)}: installed by the deploy, stays; remove_packages removes it"
        )
    elif names and tool is not None:
        run.log_once(host, f"{' and '.join(names)}: installed by the deploy; {tool} removes it")
        commands.append(
            StringCommand(script("packages.sh", manager=tool, verb="remove", names=" ".join(names)))
        )
    yield from run_commands(run, [*commands, *ensure_file(run, paths.PACKAGES, None)])
    if commands and (left := [name for name in names if name not in missing(run.observe(host).tools)]):
        run.log_once(host, f"{' and '.join(left)}: stays, others have come to need it")


@deploy("Packages")
def packages(run: Run) -> None:
    """Install what the host lacks."""
    install(name="Install wireguard-tools", run=run)
