"""The interface: its config file, its unit, its peers. Secrets join the plan here."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pyinfra import host
from pyinfra.api.command import StringCommand
from pyinfra.api.deploy import deploy

from tasks.controller import Run
from tasks.endpoints import dials_names, resolver
from tasks.facts import CheckedFact, ask
from tasks.lock import Commands, if_still_locked, locked, take_lock
from tasks.operations import failure, host_operation, reasons, run_commands, show_diff, starting, upload
from tasks.scripts import script
from wgcluster.host import paths
from wgcluster.host.observed import Link, Observed
from wgcluster.plan.plan import HostPlan, Peer
from wgcluster.text import abbreviated, last_words
from wgcluster.wireguard import config as wgconf
from wgcluster.wireguard import drift
from wgcluster.wireguard.sessions import handshake_initiators, without_session


def _preshared_keys(run: Run) -> dict[str, str]:
    """The preshared keys of the host's links by link name, in clear, for the host itself alone."""
    return {name: secret.reveal() for name, secret in run.preshared_keys(run.part_of(host)).items()}


@host_operation
@locked
def config_file(run: Run) -> Commands:
    """Write /etc/wireguard/<interface>.conf, readable by root alone at any moment.

    files.put would upload the secrets to a file that others can read, and show them with ``--diff``.
    """
    part = run.part_of(host)
    path = paths.config(part.interface)
    observed = run.observe(host)
    file = observed.file(path)
    text = wgconf.render(part, run.private_key(part).reveal(), _preshared_keys(run))
    commands = []
    if observed.directory[0] not in ("700", ""):
        run.log_once(host, f"/etc/wireguard: mode {observed.directory[0]} becomes 700")
        commands.append(StringCommand("chmod 700 /etc/wireguard"))
    same = file.digest == hashlib.sha256(text.encode()).hexdigest()
    if why := reasons(file, same, "600"):
        before, after = wgconf.mask(file.text), wgconf.mask(text)
        if file.kind == "file" and not same and before == after:
            # The host cuts the secrets out of the text; only its digest covers them.
            why[0] = "the private key differs" + (", or a preshared key" if "PresharedKey" in text else "")
        run.log_once(host, f"{path}: {'; '.join(why)}")
        show_diff(run, path, before, after)
        stopped = ""
        if foreign_keys := drift.foreign_keys(file.text):
            # Hooks that ran at the start are undone by the ones in the same file.
            run.log_once(host, f"restart: {path} holds {', '.join(foreign_keys)}, which are not ours")
            stopped = _stopped(run, observed)
        elif former := drift.former_addresses(part, file.text, observed.link):
            # Only this file still tells that they are ours.
            run.log_once(host, f"restart: {', '.join(former)} is no longer planned")
            stopped = _stopped(run, observed)
        if drift.endpoint_changes(file.text, text):
            run.progress.sync_wanted.add(host.name)
        commands.append(upload(path, text, "600", folder_mode="700", stopped=stopped))
        yield from run_commands(run, commands)
        if stopped:
            run.progress.changed_links.started.add(part.name)
            run.progress.sync_wanted.discard(host.name)
    else:
        yield from run_commands(run, commands)


def _stopped(run: Run, observed: Observed) -> str:
    """The unit, if it is active: it is stopped with the old file and started with the new one."""
    unit = paths.wireguard_unit(run.part_of(host).interface)
    if observed.link is not None:
        _tell_of_others(run, observed.link, restarts=True)
    return unit if observed.unit(unit).active else ""


@host_operation
@locked
def service(run: Run) -> Commands:
    """Enable and start the unit, or restart it where a sync is not enough.

    systemd.service cannot tell the reasons for a restart, nor print what the unit itself says when it fails.
    """
    part = run.part_of(host)
    name = paths.wireguard_unit(part.interface)
    observed = run.observe(host)
    seen = observed.unit(name)
    commands = []
    start = ""
    if not seen.enabled:
        run.log_once(host, f"{name} is not enabled")
        commands.append(StringCommand(f"systemctl enable -q {name}"))
    if observed.link is None or not seen.active:
        # An interface that was brought up by hand keeps the unit from starting.
        stale = f"wg-quick down {part.interface}; " if observed.link is not None else ""
        run.log_once(host, f"start: {name} is not active")
        start = stale + starting("systemctl restart", name)
    elif why := list(drift.restart_reasons(part, observed.link)):
        run.log_once(host, f"restart: {'; '.join(why)}")
        start = starting("systemctl restart", name)
    if observed.link is not None:
        _tell_of_others(run, observed.link, restarts=bool(start))
    if start:
        commands.append(StringCommand(start))
    yield from run_commands(run, commands)
    if start:  # executed by now: a prediction ends at the first command
        run.progress.changed_links.started.add(part.name)
        run.progress.sync_wanted.discard(host.name)
        # a program in place of wg-quick, or a drop-in of the unit, may have done something else
        link = run.observe(host).link
        why = ["it is not there"] if link is None else list(drift.restart_reasons(part, link))
        if why:
            yield failure(f"{name} was started, and {part.interface} is not as planned: {'; '.join(why)}")


def _tell_of_others(run: Run, link: Link, restarts: bool) -> None:
    """Say which addresses and routes of others are on the interface: a restart takes them off."""
    part = run.part_of(host)
    told, kept = drift.of_others(part, link)
    if restarts and (told or kept):
        run.log_once(host, f"the restart takes off what others put on it: {abbreviated((*told, *kept))}")
    elif told:
        run.log_once(host, f"on {part.interface}, not ours, left alone (wg_keep): {abbreviated(told)}")


@host_operation
@locked
def peers(run: Run) -> Commands:
    """Bring the live peers to the plan without a restart, and see that they are."""
    part = run.part_of(host)
    changes = _changes(run)
    if not changes:
        return
    run.log_once(host, "sync, without a restart: " + "; ".join(changes))
    command, names = _sync(run)
    yield command
    run.progress.changed_links.peers[part.name] = names
    run.progress.sync_wanted.discard(host.name)
    run.invalidate(host)
    if left := _changes(run):
        yield failure(f"{part.interface} still differs from the plan: {'; '.join(left)}")


def _changes(run: Run) -> list[str]:
    part = run.part_of(host)
    observed = run.observe(host)
    if observed.link is None or not drift.in_place(part, observed):
        return []  # it is going to be started, with all that is in the file
    found = list(drift.live_differences(part, observed.link, observed.clock, _preshared_keys(run), run.names))
    routes = drift.routes(part, observed.link.routes)
    found += [f"+ route {network}" for network in routes.missing]
    found += [f"- route {destination}" for destination in routes.surplus]
    if host.name in run.progress.sync_wanted:
        found.append("~ endpoints changed in the file")
    return found


class NewSessions(CheckedFact[str]):
    """Runs a script that starts new sessions, and returns its complaints.

    Sessions are no configuration, so to start them is no change; and a failure stops no run: WireGuard starts
    them by itself some seconds later.
    """

    title = "starting sessions"

    def command(self, script: str) -> str:
        return f"(\n{script}\n) 2>&1 >/dev/null; true"

    def default(self) -> str:
        return ""

    def read(self, output: list[str]) -> str:
        return "; ".join(last_words(output))


@host_operation
def renew_sessions(run: Run) -> Commands:
    """Start new sessions over the links that this run has made or cut, from one side each."""
    part = run.part_of(host)
    if names := set(
        handshake_initiators(part.name, run.dials, run.progress.changed_links, run.active(host.state))
    ):
        run.invalidate(host)  # others may have reached it meanwhile
        if silent := without_session(part, names, run.observe(host).link, run.progress.changed_links):
            _begin(run, silent)
    yield from ()


def _begin(run: Run, silent: Sequence[Peer]) -> None:
    part = run.part_of(host)
    script = if_still_locked(_script(part, anew="\n".join(peer.public_key for peer in silent)))
    _, wrong = take_lock(run)
    if wrong := wrong or ask(host, NewSessions, script=script):
        names = ", ".join(peer.name for peer in silent)
        run.log_once(host, f"no new session with {names}, it may take some seconds: {wrong}")
    targets = " ".join(str(run.plan.host(peer.name).addresses[0].ip) for peer in silent)
    pings = f"printf '%s\\n' {targets} | xargs -n 1 -P 32 ping -n -q -c 1 -W 1"
    ask(host, NewSessions, script=pings)


def _sync(run: Run) -> tuple[StringCommand, frozenset[str]]:
    """The command that syncs the interface with its file, and the names of the peers that it sets."""
    part = run.part_of(host)
    link = run.observe(host).link
    assert link is not None  # it would be started
    some = None
    if host.name not in run.progress.sync_wanted:
        some = drift.peers_to_set(part, link, run.observe(host).clock, _preshared_keys(run))
    only, gone = some or ([], [])
    set_now = frozenset(p.name for p in part.peers if some is None or p.public_key in only)
    unshared, unkept = drift.peers_with_surplus(part, link)
    routes = drift.routes(part, link.routes)
    script = _script(
        part,
        whole="1" if some is None else "",
        only="*" if only and len(only) == len(part.peers) else "\n".join(only),
        gone="\n".join(gone),
        unshared="\n".join(unshared),
        unkept="\n".join(unkept),
        missing="\n".join(map(str, routes.missing)),
        surplus="\n".join(routes.surplus),
    )
    return StringCommand(script), set_now


def _script(part: HostPlan, **given: str) -> str:
    names = ("whole", "only", "gone", "unshared", "unkept", "anew", "missing", "surplus")
    values = {"interface": part.interface, "public_key": part.public_key, "peers": str(len(part.peers))}
    values |= dict.fromkeys(names, "") | given
    return script("sync.sh", **values)


@deploy("WireGuard")
def wireguard(run: Run) -> None:
    """Write the config, start the interface, and bring its live peers to the plan."""
    part = run.part_of(host)
    resolver(name="Resolve the names of endpoints", run=run, wanted=dials_names(run))
    config_file(name=f"Write {paths.config(part.interface)}", run=run)
    service(name=f"Enable and start {paths.wireguard_unit(part.interface)}", run=run)
    peers(name="Sync the peers", run=run)
    renew_sessions(name="Reach the peers over new links", run=run)
