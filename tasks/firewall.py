"""Our firewall rules, live and after a boot; no other rules are touched."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from pyinfra import host
from pyinfra.api.command import StringCommand
from pyinfra.api.deploy import deploy

from tasks.controller import Run
from tasks.kernel import forwarding_back
from tasks.lock import Commands, locked
from tasks.operations import (
    ensure_copy,
    ensure_file,
    failure,
    host_operation,
    run_commands,
    starting,
    text_file,
)
from wgcluster.firewall.placement import restore_text
from wgcluster.firewall.rules import Rule, desired_rules
from wgcluster.host import paths
from wgcluster.host.backends import changes_by_tool, unmet
from wgcluster.host.boot_rules import boot_text
from wgcluster.host.forwarding_before import (
    before,
    forward_policies,
    no_longer_forwarded,
    policies_back,
    text,
)
from wgcluster.prefixes import Family
from wgcluster.verify.kernel_needs import no_tables


@host_operation
@locked
def live_rules(run: Run, rules: Sequence[Rule], policies: Mapping[Family, str]) -> Commands:
    """Set our rules, each table of a family atomically.

    pyinfra's iptables.rule adds one rule per command, at one end of a chain: for moments a host would have
    half of the rules, and some behind a REJECT.
    """
    part, commands = run.part_of(host), []
    for saved, made in changes_by_tool(rules, part.interface, run.observe(host), policies):
        for line in (line for change in made for line in change.diff):
            run.log_once(host, f"{saved.tool}: {line}")
        commands.append(StringCommand(f"{saved.tool}-restore -w --noflush", _stdin=restore_text(made)))
    yield from run_commands(run, commands)
    # iptables may be gone, or may have said yes and done nothing
    seen = run.observe(host)
    faults = map(str, no_tables(part, seen)) if rules else ()  # of programs that were installed just now
    if lines := [*faults, *unmet(rules, part.interface, seen, policies)]:
        yield failure("; ".join(lines))


@host_operation
@locked
def boot_units(run: Run) -> Commands:
    """Install and enable the script and the units that restore our rules, at boot and after other firewalls.

    pyinfra's files.put and systemd.service ask each host for facts of their own: this compares with the one
    observation of the run.
    """
    part = run.part_of(host)
    commands = ensure_copy(run, paths.FIREWALL_SCRIPT, "755")
    units = (ensure_copy(run, path) for path in paths.FIREWALL_UNITS)
    if written := [command for one in units for command in one]:
        commands += [*written, StringCommand("systemctl daemon-reload")]
    for name in paths.firewall_units(part.interface):
        if not run.observe(host).unit(name).enabled:
            run.log_once(host, f"{name} is not enabled")
            commands.append(StringCommand(f"systemctl enable -q {shlex.quote(name)}"))
    yield from run_commands(run, commands)


@host_operation
@locked
def boot_file(run: Run) -> Commands:
    """Write the file of rules for the next boot, placed among the rules that are there now.

    Not by files.put: the text depends on the host's rules after the operations before it.
    """
    part, observed = run.part_of(host), run.observe(host)
    policies = forward_policies(part, before(part, observed))
    text = boot_text(desired_rules(part), part.interface, observed, policies)
    yield from run_commands(run, ensure_file(run, paths.rules(part.interface), text))


@host_operation
@locked
def boot_unit_started(run: Run) -> Commands:
    """Start the unit that is reloaded with other firewalls: only an active one is.

    After ``boot_file``: without its rules the unit would not start.
    """
    unit = paths.firewall_unit(run.part_of(host).interface)
    if not run.observe(host).unit(unit).active:
        run.log_once(host, f"{unit} is not active")
        yield from run_commands(run, [StringCommand(starting("systemctl start", shlex.quote(unit)))])


@deploy("Firewall")
def firewall(run: Run) -> None:
    """Set our firewall rules, now and for the next boot."""
    part = run.part_of(host)
    known = before(part, run.seen(host))
    path = paths.before(part.interface)
    # before anything changes what it records
    text_file(name=f"Remember what was forwarded: {path}", run=run, path=path, text=text(known))
    back = no_longer_forwarded(part, run.seen(host))
    if back:  # before its FORWARD chain is open again
        forwarding_back(name="Switch forwarding off, as it was before", run=run, families=tuple(back))
    policies = forward_policies(part, known) | policies_back(part, run.seen(host))
    live_rules(name="Set the rules", run=run, rules=desired_rules(part), policies=policies)
    boot_units(name=f"Enable {paths.firewall_unit(part.interface)}", run=run)
    # last: an older script would pass over what it does not know in a newer file
    boot_file(name=f"Write {paths.rules(part.interface)}", run=run)
    boot_unit_started(name=f"Start {paths.firewall_unit(part.interface)}", run=run)
    if back:
        rest = text({family: one for family, one in known.items() if family not in back})
        text_file(name=f"Forget what was given back: {path}", run=run, path=path, text=rest)
