"""The rules of ours, live and after a boot; nobody else's are touched."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

from pyinfra import host
from pyinfra.api.command import StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.operation import operation

from tasks import paths
from tasks.controller import Run
from tasks.operations import Commands, carry_out, hold_file, text_file
from wgcluster.firewall import (
    FAMILIES,
    Change,
    Rule,
    boot_text,
    changes,
    closes,
    elsewhere,
    restore_text,
    wanted,
)
from wgcluster.observed import Observed, Rules
from wgcluster.plan import HostPlan

FILES = Path(__file__).parent.parent / "files"


def needed(rules: Sequence[Rule], interface: str, observed: Observed) -> Iterator[tuple[Rules, list[Change]]]:
    """What to change in each backend and family that the host has, so that it holds ``rules`` of ours."""
    for saved in observed.rules:
        ours = [rule for rule in rules if rule.family == saved.family]
        if not saved.primary:
            ours = elsewhere(saved.tables, ours)
        if made := changes(saved.tables, ours, interface):
            yield saved, made


def lockout(part: HostPlan, observed: Observed) -> str | None:
    """Why this run would be cut off by the rules that it is about to set; None: it would not."""
    ssh = observed.ssh
    if ssh is None or part.firewall != "baseline":
        return None
    source = ip_network(ssh.source.partition("%")[0])  # no rule knows the zone of a link-local address
    if not observed.rules:  # iptables is about to be installed
        bare = tuple(Rules(family, "", True, {}) for family in FAMILIES)
        observed = replace(observed, rules=bare)
    for saved, made in needed(wanted(part), part.interface, observed):
        if saved.family == source.version and closes(saved.tables, made, source, ssh.port, ssh.interface):
            return (
                f"this run comes from {ssh.source} to TCP port {ssh.port}, which the baseline would close;"
                f' add {{"port": {ssh.port}, "from": ["{source}"]}} to firewall_allow'
            )
    return None


@operation()
def live_rules(run: Run, rules: Sequence[Rule]) -> Commands:
    """Every table of a family changes at once: there is no moment without our rules or with them twice."""
    commands = []
    for saved, made in needed(rules, run.part_of(host).interface, run.look(host)):
        for line in (line for change in made for line in change.diff):
            run.say(host, f"{saved.tool}: {line}")
        commands.append(StringCommand(f"{saved.tool}-restore -w --noflush", _stdin=restore_text(made)))
    yield from carry_out(run, commands)


@operation()
def boot_unit(run: Run) -> Commands:
    """The script and the unit that put our rules back after a boot, and nothing else."""
    part = run.part_of(host)
    script, unit = FILES / "wgcluster-firewall", FILES / "wgcluster-firewall@.service"
    commands = hold_file(run, paths.FIREWALL_SCRIPT, script.read_text(), "755")
    if written := hold_file(run, paths.FIREWALL_UNIT, unit.read_text()):
        commands += [*written, StringCommand("systemctl daemon-reload")]
    name = f"wgcluster-firewall@{part.interface}.service"
    if not run.look(host).unit(name).enabled:
        run.say(host, f"{name} is not enabled")
        commands.append(StringCommand(f"systemctl enable -q {shlex.quote(name)}"))
    yield from carry_out(run, commands)


@deploy("Firewall")
def firewall(run: Run) -> None:
    part = run.part_of(host)
    path = paths.rules(part.interface)
    text = boot_text(wanted(part), part.interface)
    live_rules(name="Set the rules", run=run, rules=wanted(part))
    text_file(name=f"Write {path}", run=run, path=path, text=text)
    boot_unit(name=f"Enable wgcluster-firewall@{part.interface}.service", run=run)
