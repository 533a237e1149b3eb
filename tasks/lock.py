"""The lock that a run holds on a host while it changes it."""

from __future__ import annotations

import getpass
import os
import secrets
import shlex
import socket
import time
from collections.abc import Callable, Generator
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pyinfra import host, state
from pyinfra.api.command import FunctionCommand, StringCommand
from pyinfra.api.facts import get_fact
from pyinfra.api.host import Host
from pyinfra.api.state import BaseStateCallback, State

from tasks.facts import Answer, CheckedFact, ask
from tasks.scripts import question, script
from wgcluster.host import paths

if TYPE_CHECKING:
    from tasks.controller import Run

_PATIENCE = 30  # seconds that a run waits for another one
# No run takes over a lock that was used less than 10 s ago (lock.sh).
_SURELY_OURS = 5  # seconds

Commands = Generator[StringCommand | FunctionCommand, None, None]
Operation = TypeVar("Operation", bound=Callable[..., Commands])
_run = secrets.token_hex(8)
_used: dict[str, float] = {}  # when each lock of this run was last known to hold, by host name


class Lock(CheckedFact[tuple[str, str]]):
    """Runs ``lock.sh``: its result, and who held the lock before."""

    title = "taking the lock"

    def command(self, verb: str, patience: int = 0, leftovers: str = "") -> str:
        return _script(verb, who=_who(), patience=str(patience), leftovers=leftovers)

    def default(self) -> tuple[str, str]:
        return "", ""

    def read(self, output: list[str]) -> tuple[str, str]:
        came, _, owner = output[-1].partition(" ")
        return came, "".join(filter(str.isprintable, owner))


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no name for this number
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()} (process {os.getpid()})"


def _script(verb: str, **given: str) -> str:
    return script("lock.sh", run=_run, verb=verb, **given)


def locked(operation: Operation) -> Operation:
    """Decorate an operation so that it takes the host's lock before its first command.

    If another run may have changed the host since it was observed, the operation starts again.
    """

    @wraps(operation)
    def holding(run: Run, **given: Any) -> Commands:
        commands = operation(run, **given)
        first = next(commands, None)
        if first is None:
            return
        if not state.is_executing:  # it is only predicted
            yield first
            return
        ours, refused = take_lock(run)
        if refused:
            yield StringCommand(f"echo {shlex.quote(refused)} >&2; exit 1")
            return
        if not ours:
            run.invalidate(host)
            commands = operation(run, **given)
            first = next(commands, None)
        while first is not None:
            yield _under_lock(first)
            _used[host.name] = time.monotonic()
            first = next(commands, None)

    return cast(Operation, holding)


def take_lock(run: Run) -> tuple[bool, str]:
    """Lock the current host.

    Returns:
        Whether this run held the lock all the time; and why it cannot have it, "" if it does.
    """
    if not any(isinstance(one, Releases) for one in state.callback_handlers):
        state.add_callback_handler(Releases())  # type: ignore[no-untyped-call]
    if time.monotonic() - _used.get(host.name, float("-inf")) < _SURELY_OURS:
        return True, ""
    leftovers = " ".join(paths.leftovers(run.part_of(host).interface))
    came, owner = ask(host, Lock, verb="take", leftovers=leftovers)
    if came == "held":
        run.log_once(host, f"waits up to {_PATIENCE} s: {owner} is changing this host")
        came, owner = ask(host, Lock, verb="take", patience=_PATIENCE, leftovers=leftovers)
    if came == "held":
        return False, f"{owner} is changing this host; run again when it is done"
    if came not in ("taken", "kept", "dead"):
        return False, "the lock of this host cannot be taken"
    if came == "dead":
        run.log_once(host, f"taken over from {owner}, whose run is dead")
    _used[host.name] = time.monotonic()
    return came == "kept", ""


def if_still_locked(command: str) -> str:
    """The command, which fails if another run has taken the lock over, and keeps it while it runs."""
    return f"{_script('hold')}\n{command}"


def _under_lock(command: StringCommand | FunctionCommand) -> StringCommand | FunctionCommand:
    if isinstance(command, FunctionCommand):
        return command  # it changes nothing on a host
    return StringCommand(if_still_locked(""), command, _separator="", **command.connector_arguments)


class Releases(BaseStateCallback):
    """Releases the lock of a host after its last operation, or a failed one."""

    @staticmethod
    def operation_host_success(state: State, host: Host, op_hash: str, retry_count: int = 0) -> None:
        if op_hash == host.op_hash_order[-1]:
            _release(host)

    @staticmethod
    def operation_host_error(
        state: State, host: Host, op_hash: str, retry_count: int = 0, max_retries: int = 0
    ) -> None:
        _release(host)


def _release(host: Host) -> None:
    if _used.pop(host.name, None) is not None:
        # If that fails, the next run takes over the lock of a dead one.
        release = {"to": Lock(), "_stdin": question(Lock().command(verb="release"))}
        get_fact(host.state, host, Answer, kwargs=release, apply_failed_hosts=False)
