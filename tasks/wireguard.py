"""The interface: its config file, its unit, its peers. Here the secrets join the plan."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from pathlib import Path

from pyinfra import host
from pyinfra.api.command import StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.facts import FactBase
from pyinfra.api.operation import operation

from tasks import paths
from tasks.controller import Run
from tasks.operations import Commands, carry_out, reasons, show_diff, upload
from wgcluster import drift, wgconf
from wgcluster.plan import HostPlan, Peer

SYNC = Path(__file__).parent.parent / "files" / "sync.sh"


def unit(interface: str) -> str:
    return f"wg-quick@{interface}.service"


def _preshared_keys(run: Run) -> dict[str, str]:
    """Of the host's links by their names, in clear: only for the host itself."""
    return {name: secret.reveal() for name, secret in run.preshared_keys(run.part_of(host)).items()}


@operation()
def config_file(run: Run) -> Commands:
    """Hold /etc/wireguard/<interface>.conf, which root alone may read at any moment."""
    part = run.part_of(host)
    path = paths.config(part.interface)
    observed = run.look(host)
    file = observed.file(path)
    text = wgconf.render(part, run.private_key(part).reveal(), _preshared_keys(run))
    commands = []
    if observed.directory[0] not in ("700", ""):
        run.say(host, f"/etc/wireguard: mode {observed.directory[0]} becomes 700")
        commands.append(StringCommand("chmod 700 /etc/wireguard"))
    same = file.digest == hashlib.sha256(text.encode()).hexdigest()
    if why := reasons(file, same, "600"):
        before, after = wgconf.mask(file.text), wgconf.mask(text)
        if file.kind == "file" and not same and before == after:
            # The host has cut the secrets out of what it shows; its digest knows them.
            why[0] = "the private key differs" + (", or a preshared key" if "PresharedKey" in text else "")
        run.say(host, f"{path}: {'; '.join(why)}")
        show_diff(run, path, before, after)
        if hooks := drift.hooks(file.text):
            # They ran when the interface came up; only the file that holds them can undo them.
            run.say(host, f"restart: {path} holds {', '.join(hooks)}, which are not ours")
            commands.append(StringCommand(f"systemctl stop {unit(part.interface)}"))
        if drift.endpoint_changes(file.text, text):
            run.sync_wanted.add(host.name)
        commands.append(upload(path, text, "600", folder_mode="700"))
    yield from carry_out(run, commands)


@operation()
def service(run: Run) -> Commands:
    """Enabled, active, and started again where a sync would not do."""
    part = run.part_of(host)
    name = unit(part.interface)
    observed = run.look(host)
    seen = observed.unit(name)
    commands = []
    start = ""
    if not seen.enabled:
        run.say(host, f"{name} is not enabled")
        commands.append(StringCommand(f"systemctl enable -q {name}"))
    if observed.link is None or not seen.active:
        # A link without its unit was brought up by hand; the unit could not start beside it.
        stale = f"wg-quick down {part.interface}; " if observed.link is not None else ""
        run.say(host, f"start: {name} is not active")
        start = f"{stale}systemctl restart {name}"
    elif why := list(drift.restart_reasons(part, observed.link)):
        run.say(host, f"restart: {'; '.join(why)}")
        start = f"systemctl restart {name}"
    if start:
        commands.append(StringCommand(start))
    yield from carry_out(run, commands)
    if start:  # done by now: where a change is only predicted, nothing comes as far as this
        run.started.add(part.name)


@operation()
def peers(run: Run) -> Commands:
    """Bring the live peers to the plan without a restart, and see that they are."""
    part = run.part_of(host)
    changes = _changes(run)
    if not changes:
        return
    run.say(host, "sync, without a restart: " + "; ".join(changes))
    yield _sync(run, ())
    run.synced.add(part.name)
    run.sync_wanted.discard(host.name)
    run.forget(host)
    if left := _changes(run):
        words = shlex.quote(f"{part.interface} still differs from the plan: {'; '.join(left)}")
        yield StringCommand(f"echo {words} >&2; exit 1")


def _changes(run: Run) -> list[str]:
    part = run.part_of(host)
    observed = run.look(host)
    if observed.link is None or not drift.in_place(part, observed):
        return []  # it is going to be started, with all that is in the file
    found = list(drift.peer_changes(part, observed.link, observed.clock, _preshared_keys(run), run.names()))
    routes = drift.routes(part, observed.link.routes)
    found += [f"+ route {network}" for network in routes.missing]
    found += [f"- route {destination}" for destination in routes.surplus]
    if host.name in run.sync_wanted:
        found.append("~ endpoints changed in the file")
    return found


class NewSessions(FactBase[str]):
    """Runs a script that makes new sessions. They are no state of the host's, so making them is no change."""

    def command(self, script: str) -> str:
        return script

    @staticmethod
    def default() -> str:
        return ""

    def process(self, output: list[str]) -> str:
        return "\n".join(output)


@operation()
def reach_again(run: Run) -> Commands:
    """New sessions over the links that this run has made or cut, at once and from one side.

    An interface that comes up has forgotten its sessions, but its peers have not: they go on sending into the
    old one, for 15 s if they wait for an answer and for two minutes if they do not (whitepaper, 6.2). Over a
    new link the first hello may have come before the other side knew of it, and two that say hello at the
    same moment answer neither: each is said again after 5 s (Rekey-Timeout, 6.1), on every hop of a way.
    """
    part = run.part_of(host)
    changed = run.started | run.synced
    begins = [
        peer
        for peer in part.peers
        if peer.endpoint is not None and {part.name, peer.name} & changed and _begins(run, part, peer)
    ]
    if not begins:
        return
    link = run.look(host).link
    live = link.peers if link is not None else {}
    again = [
        peer
        for peer in begins
        if {part.name, peer.name} & run.started
        or peer.public_key not in live
        or not live[peer.public_key].handshake
    ]
    if again:
        targets = sorted(str(run.plan.host(peer.name).addresses[0].ip) for peer in again)
        pings = " ".join(f"ping -c 1 -W 1 {target} >/dev/null 2>&1 &" for target in targets)
        script = _sync(run, [peer.public_key for peer in again]).get_raw_value()
        host.get_fact(NewSessions, script=script)
        host.get_fact(NewSessions, script=f"{pings} wait")
    yield from ()


def _begins(run: Run, part: HostPlan, peer: Peer) -> bool:
    """Of two that can dial each other one begins, rather one that was started: it has nothing to lose."""
    other = run.plan.host(peer.name)
    if not any(own.name == part.name and own.endpoint for own in other.peers):
        return True
    return (part.name not in run.started, part.name) < (other.name not in run.started, other.name)


def _sync(run: Run, anew: Sequence[str]) -> StringCommand:
    """Sync with the file; peers in ``anew``, by public key, begin without their old session."""
    part = run.part_of(host)
    observed = run.look(host)
    live = observed.link.peers if observed.link is not None else {}
    stale: list[str] = []
    for peer in part.peers:
        there = live.get(peer.public_key)
        if there is not None and there.preshared_key and peer.preshared_key is None:
            stale += [f"peer {peer.public_key} preshared-key /dev/null"]
        if there is not None and there.keepalive and peer.keepalive is None:
            stale += [f"peer {peer.public_key} persistent-keepalive 0"]
    some = None
    if observed.link is not None and host.name not in run.sync_wanted:
        some = drift.peers_to_set(part, observed.link, observed.clock, _preshared_keys(run))
    only, gone = some or ([], [])
    routes = drift.routes(part, observed.link.routes if observed.link is not None else ())
    values = {
        "interface": part.interface,
        "public_key": part.public_key,
        "peers": str(len(part.peers)),
        "some": "" if some is None else "1",
        "only": "\n".join([*only, *anew]),
        "gone": "\n".join(gone),
        "stale": "\n".join(stale),
        "anew": "\n".join(anew),
        "missing": "\n".join(map(str, routes.missing)),
        "surplus": "\n".join(routes.surplus),
    }
    head = "\n".join(f"{name}={shlex.quote(value)}" for name, value in values.items())
    return StringCommand(f"{head}\n{SYNC.read_text()}")


@deploy("WireGuard")
def wireguard(run: Run) -> None:
    part = run.part_of(host)
    config_file(name=f"Write {paths.config(part.interface)}", run=run)
    service(name=f"Enable and start {unit(part.interface)}", run=run)
    peers(name="Sync the peers", run=run)
    reach_again(name="Reach the peers over new links", run=run)
