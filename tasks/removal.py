"""Removes what the deploy put on a host, in reverse order. What has no mark of ours stays."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api.command import StringCommand
from pyinfra.api.deploy import deploy

from tasks.controller import Run
from tasks.endpoints import resolver
from tasks.firewall import live_rules
from tasks.hosts_file import names_block
from tasks.kernel import forwarding_back
from tasks.lock import Commands, locked
from tasks.nginx import guard_sites
from tasks.operations import ensure_file, failure, host_operation, run_commands, text_file
from tasks.packages import remove
from wgcluster.host import paths
from wgcluster.host.forwarding_before import given_back
from wgcluster.host.observed import Unit
from wgcluster.inventory.from_pyinfra import remove_packages
from wgcluster.wireguard.config import MARK


@host_operation
@locked
def stop_interface(run: Run) -> Commands:
    """Stop and disable the unit and remove the config, if it is ours.

    In this order, which files.file and systemd.service, with facts of their own, do not promise.
    """
    interface = run.part_of(host).interface
    observed = run.observe(host)
    file = observed.file(paths.config(interface))
    if file.kind == "file" and not file.text.startswith(MARK):
        run.log_once(
            host, f"{paths.config(interface)} was not made by us and stays, and so does its interface"
        )
        return
    unit = paths.wireguard_unit(interface)
    seen = observed.unit(unit)
    commands = []
    if seen.enabled or seen.active:
        # Before the file is removed: wg-quick reads there what to take down.
        run.log_once(host, f"{unit} is {_state(seen)}, and will be neither")
        commands.append(StringCommand(f"systemctl disable -q --now {unit}"))
    if observed.link is not None and not seen.active and file.kind == "file":
        run.log_once(host, f"{interface} was brought up by hand, and is taken down")
        commands.append(StringCommand(f"wg-quick down {interface}"))
    yield from run_commands(run, [*commands, *ensure_file(run, paths.config(interface), None)])
    if commands and run.observe(host).link is not None:
        yield failure(f"{interface} is still there; find out what brings it up")


def _state(unit: Unit) -> str:
    return " and ".join(word for word in ("enabled", "active") if getattr(unit, word))


@host_operation
@locked
def drop_boot_unit(run: Run) -> Commands:
    """Remove the units of this interface, and with the last interface their templates and the script."""
    interface = run.part_of(host).interface
    observed = run.observe(host)
    commands = []
    for name in paths.firewall_units(interface):
        seen = observed.unit(name)
        if seen.enabled or seen.active:
            run.log_once(host, f"{name} is {_state(seen)}, and will be neither")
            commands.append(StringCommand(f"systemctl disable -q --now {name}"))
    commands += ensure_file(run, paths.rules(interface), None)
    commands += ensure_file(run, paths.before(interface), None)
    common = [*paths.FIREWALL_UNITS, paths.FIREWALL_SCRIPT]
    if any(observed.file(path).kind != "absent" for path in common):
        others = "ls /etc/wgcluster/*.rules >/dev/null 2>&1"
        run.log_once(host, f"{', '.join(common)}: gone with the last interface")
        commands.append(
            StringCommand(f"{others} || {{ rm -f {' '.join(common)}; systemctl daemon-reload; }}")
        )
    yield from run_commands(run, commands)


@host_operation
@locked
def drop_folders(run: Run) -> Commands:
    """Remove empty folders of ours; files.directory would remove them with what is in them."""
    if run.observe(host).folders:
        run.log_once(host, f"empty: {', '.join(run.observe(host).folders)}")
        yield StringCommand("rmdir --ignore-fail-on-non-empty " + " ".join(run.observe(host).folders))
        run.invalidate(host)


@deploy("Teardown")
def removal(run: Run) -> None:
    """Remove everything that the deploy put on the host."""
    guard_sites(name="Take our lines out of nginx", run=run, sites=())
    names_block(name=f"Take our names out of {paths.HOSTS}", run=run, names=())
    stop_interface(name="Stop the interface and take its config away", run=run)
    resolver(name="Take the resolver of endpoints away", run=run, wanted=False)
    back = given_back(run.part_of(host), run.seen(host))
    policies = {family: one.policy for family, one in back.items()}
    forwarding_back(name="Switch forwarding off, if it was off before", run=run, families=tuple(back))
    live_rules(name="Take our firewall rules out", run=run, rules=(), policies=policies)
    drop_boot_unit(name="Take the firewall unit away", run=run)
    # Other live values stay until the next boot: others may have come to rely on them.
    text_file(name=f"Take {paths.SYSCTL} away", run=run, path=paths.SYSCTL, text=None)
    text_file(name=f"Take {paths.MODULE} away", run=run, path=paths.MODULE, text=None)
    remove(name="Remove the packages that the deploy installed", run=run, wanted=remove_packages(host))
    drop_folders(name="Take empty folders away", run=run)
