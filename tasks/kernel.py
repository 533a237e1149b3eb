"""The module, at once and at every boot; forwarding on hosts that forward."""

from __future__ import annotations

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
    """The file that loads it at boot, where there is to be one."""
    yield from run_commands(run, ensure_file(run, paths.MODULE, module.boot_text(run.observe(host))))


@host_operation
@locked
def forwarding(run: Run) -> Commands:
    part, observed = run.part_of(host), run.observe(host)
    # The file first: a value that cannot be set now must not keep the next boot from setting it.
    commands = ensure_file(run, paths.SYSCTL, sysctl.text(sysctl.at_boot(part, observed)))
    for key, (value, wanted) in sysctl.differences(part, observed).items():
        run.log_once(host, f"{key} is {value} and will be {wanted}")
        commands.append(StringCommand(f"sysctl -q -w {key}={wanted}"))
    yield from run_commands(run, commands)


@deploy("Kernel")
def kernel(run: Run) -> None:
    load_module(name="Load the WireGuard module", run=run)
    module_file(name=f"Load it at boot: {paths.MODULE}", run=run)
    forwarding(name=f"Forwarding, now and at boot: {paths.SYSCTL}", run=run)
