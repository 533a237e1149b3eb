"""The WireGuard module and forwarding, now and at every boot."""

from __future__ import annotations

import shlex
from collections.abc import Collection

from pyinfra import host
from pyinfra.api.command import StringCommand
from pyinfra.api.deploy import deploy

from tasks.controller import Run
from tasks.lock import Commands, locked
from tasks.operations import ensure_file, host_operation, run_commands
from wgcluster.host import module, paths, sysctl


@host_operation
@locked
def load_module(run: Run) -> Commands:
    """Load the module.

    pyinfra's server.modprobe fails where the kernel has no such module; wg-quick then runs wireguard-go.
    """
    observed = run.observe(host)
    if observed.module == "available":
        run.log_once(host, "the WireGuard module is not loaded")
        yield StringCommand("modprobe wireguard")
        run.invalidate(host)
    elif observed.module == "missing" and observed.link is None:
        run.log_once(
            host, "the kernel has no WireGuard module; wg-quick will run wireguard-go, in user space"
        )


@host_operation
@locked
def module_file(run: Run) -> Commands:
    """Write the file that loads the module at boot, or remove it; from the run's one observation."""
    yield from run_commands(run, ensure_file(run, paths.MODULE, module.boot_text(run.observe(host))))


def set_sysctl(key: str, value: str) -> StringCommand:
    """The command that sets a value by its key with slashes; not every system has sysctl(8)."""
    return StringCommand(f"echo {value} > {shlex.quote(f'/proc/sys/{key}')}")


@host_operation
@locked
def forwarding(run: Run) -> Commands:
    """Set the sysctls of a host that forwards.

    pyinfra's server.sysctl edits a file line by line and leaves lines of values that are no longer wanted.
    """
    part, observed = run.part_of(host), run.observe(host)
    # The file first: a value that cannot be set now is still set at the next boot.
    commands = ensure_file(run, paths.SYSCTL, sysctl.text(sysctl.at_boot(part, observed)))
    for key, (value, wanted) in sysctl.differences(part, observed).items():
        run.log_once(host, f"{sysctl.dotted(key)} is {value} and will be {wanted}")
        commands.append(set_sysctl(key, wanted))
    yield from run_commands(run, commands)


@host_operation
@locked
def forwarding_back(run: Run, families: Collection[int]) -> Commands:
    """Switch off forwarding that was off before the first deploy and that nothing else uses.

    server.sysctl cannot tell what was there before.
    """
    commands = []
    for key in sysctl.forwarding_off(families, run.observe(host)):
        run.log_once(host, f"{sysctl.dotted(key)} was 0 before the first deploy and will be again")
        commands.append(set_sysctl(key, "0"))
    yield from run_commands(run, commands)


@deploy("Kernel")
def kernel(run: Run) -> None:
    """Load the module and set the sysctls, now and for the next boot."""
    load_module(name="Load the WireGuard module", run=run)
    module_file(name=f"Load it at boot: {paths.MODULE}", run=run)
    forwarding(name=f"Forwarding, now and at boot: {paths.SYSCTL}", run=run)
