"""The script that resolves the names of endpoints, and the timer that starts it."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api.command import StringCommand

from tasks.controller import Run
from tasks.lock import Commands, locked
from tasks.operations import ensure_copy, host_operation, run_commands, starting
from wgcluster.host import paths
from wgcluster.wireguard.names import dialled_by_name


@host_operation
@locked
def resolver(run: Run, wanted: bool) -> Commands:
    """Install the script and its timer on a host that dials names; take them off any other."""
    part, observed = run.part_of(host), run.observe(host)
    timer = paths.endpoints_timer(part.interface)
    seen = observed.unit(timer)
    if not wanted:
        yield from run_commands(run, _removed(run, timer))
        return
    commands = ensure_copy(run, paths.ENDPOINTS_SCRIPT, "755")
    units = (ensure_copy(run, path) for path in paths.ENDPOINTS_UNITS)
    if written := [command for one in units for command in one]:
        commands += [*written, StringCommand("systemctl daemon-reload")]
    if not (seen.enabled and seen.active):
        run.log_once(host, f"{timer} is not {'active' if seen.enabled else 'enabled'}")
        commands.append(StringCommand(starting("systemctl enable -q --now", timer)))
    yield from run_commands(run, commands)


def _removed(run: Run, timer: str) -> list[StringCommand]:
    observed = run.observe(host)
    commands = []
    if observed.unit(timer).enabled or observed.unit(timer).active:
        run.log_once(host, f"{timer}: no name is dialled any more")
        commands.append(StringCommand(f"systemctl disable -q --now {timer}"))
    common = [*paths.ENDPOINTS_UNITS, paths.ENDPOINTS_SCRIPT]
    if any(observed.file(path).kind != "absent" for path in common):
        others = "ls /etc/systemd/system/timers.target.wants/wgcluster-endpoints@* >/dev/null 2>&1"
        run.log_once(host, f"{', '.join(common)}: gone with the last timer")
        commands.append(
            StringCommand(f"{others} || {{ rm -f {' '.join(common)}; systemctl daemon-reload; }}")
        )
    return commands


def dials_names(run: Run) -> bool:
    """Does the current host dial a peer by name?"""
    return bool(dialled_by_name(run.part_of(host)))
