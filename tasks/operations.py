"""What our operations share. They compare the run's one observation of a host with the plan."""

from __future__ import annotations

import difflib
import hashlib
import shlex
from collections.abc import Callable, Iterable
from functools import wraps
from posixpath import basename, dirname
from typing import ParamSpec

from pyinfra import host, logger, state
from pyinfra.api.arguments import ConnectorArguments
from pyinfra.api.arguments_typed import PyinfraOperation
from pyinfra.api.command import FunctionCommand, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State
from pyinfra.connectors.util import CommandOutput, OutputLine

from tasks.controller import Run
from tasks.facts import HostFailed
from tasks.lock import Commands, locked
from tasks.scripts import REMOTE, in_marks, printed, purpose, script, with_input
from wgcluster.host.observed import File
from wgcluster.inventory.faults import KeystoreError
from wgcluster.text import last_words, printable

P = ParamSpec("P")
_SHORT_DIFF = 30  # lines


def host_operation(function: Callable[P, Commands]) -> PyinfraOperation[P]:
    """Make a pyinfra operation that fails for its own host only, with a short message."""

    @wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Commands:
        if host in state.failed_hosts:
            return
        try:
            for command in function(*args, **kwargs):
                yield Told(command) if isinstance(command, StringCommand) else command
        except HostFailed:  # if raised, it would end the run for all hosts
            yield failure("")

    return operation()(guarded)


class Told(StringCommand):
    """A command, sent as a script. If it fails it tells its operation and the last lines of its output."""

    def __init__(self, command: StringCommand) -> None:
        text, data = command.get_raw_value(), command.connector_arguments.get("_stdin")
        sent = in_marks(text if data is None else with_input(text, str(data)))
        super().__init__(REMOTE, **command.connector_arguments)
        self.connector_arguments["_stdin"] = sent

    def execute(
        self, state: State, host: Host, connector_arguments: ConnectorArguments
    ) -> tuple[bool, CommandOutput]:
        done, output = super().execute(state, host, connector_arguments)
        if done:
            return done, output
        names = state.get_op_meta(str(host.executing_op_hash)).names
        host.log_styled(f"{', '.join(names)}: failed", fg="red", log_func=logger.error)
        # pyinfra prints these lines
        words = last_words(printed(output.stderr_lines)) or last_words(printed(output.stdout_lines))
        return done, CommandOutput([OutputLine("stderr", line) for line in words])


def failure(text: str) -> FunctionCommand:
    """A command that ends the run for this host with ``text``."""
    return FunctionCommand(_fail, (text,), {})


def _fail(state: State, host: Host, text: str) -> bool:
    # pyinfra takes what is returned as success only from a function of just these two names
    for line in printable(text).split("\n") if text else ():
        host.log_styled(line, fg="red", log_func=logger.error)
    return False


def show_diff(run: Run, path: str, old: str, new: str) -> None:
    """With ``--diff``, log what changes in a file. The caller masks secrets."""
    if not state.config.DIFF:
        return
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), path, path, n=2, lineterm="")
    text = "\n".join(f"    {line}" for line in lines)
    run.log_once(host, text)


def upload(
    path: str,
    text: str,
    mode: str = "644",
    folder_mode: str = "755",
    owner: str = "root:root",
    mounted: bool = False,
    stopped: str = "",
) -> StringCommand:
    """A command that writes a file atomically: a temporary one, readable by root alone, is renamed.

    With sudo pyinfra's files.put uploads to /tmp and copies from there, where others may read it meanwhile.
    The temporary name has the process ID of the shell. The digest tells whether all of it was written.

    Args:
        path: absolute.
        mode: octal, of the file; ``folder_mode``: of folders that are created for it.
        mounted: the file may be a mount, as /etc/hosts is in a container: that cannot be replaced by another
            (rename(2), EBUSY), so its text is.
        stopped: a unit that is stopped meanwhile and started again, with the old file if the new one cannot
            be written. All by one command: the connection may come by the interface that it takes down.
    """
    target = shlex.quote(path)
    temporary = f"{target}.wgcluster-$$"
    data = text.encode("utf-8", "surrogateescape")
    digest = hashlib.sha256(data).hexdigest()
    chown = "" if owner == "root:root" else f" && chown {owner} {temporary}"
    move = f"mv -f {temporary} {target}"
    back = ""
    if mounted:
        # a copy of the old text, should there be no room for the new one
        old = f"{temporary}.old"
        write = f"cat {temporary} > {target} || {{ cat {old} > {target}; false; }}"
        copy = f"{{ cat {target} > {old} && {{ {write}; }}; }}"
        move = f"{{ {move} 2>/dev/null || {copy}; }} && rm -f {temporary} {old}"
    if stopped:
        move = f"since=$(date +%s) && systemctl stop {stopped} && {move} && systemctl start {stopped}"
        back = f"systemctl start {stopped}; {_what_it_said(stopped)}; "
    script = (
        f"umask 077 && mkdir -p -m {folder_mode} {shlex.quote(dirname(path))} && cat > {temporary}"
        f" && [ \"$(sha256sum < {temporary})\" = '{digest}  -' ]"
        f" && chmod {mode} {temporary}{chown} && {move}"
        f" || {{ rm -f {temporary}; {back}exit 1; }}"
    )
    return StringCommand(script, _stdin=text)


def reasons(file: File, same: bool, mode: str = "644", owner: str = "root:root") -> list[str]:
    """Why a file has to be written; empty if nothing differs.

    Args:
        same: its text is the desired one.
        mode: the desired one, octal.
    """
    match file.kind:
        case "absent":
            return ["is not there yet"]
        case "dangling":
            return ["is a link to a file that does not exist"]
        case "other":
            return ["is no regular file"]
    found = [] if same else ["differs in its text"]
    if (file.mode, file.owner) != (mode, owner):
        found.append(f"mode {file.mode} of {file.owner} becomes {mode} of {owner}")
    return found


def ensure_file(run: Run, path: str, text: str | None, mode: str = "644") -> list[StringCommand]:
    """Commands that write ``text`` to ``path``, or delete it if ``text`` is None; none if nothing differs.

    Reasons are logged here, before the first command: to predict a change, pyinfra runs an operation only up
    to its first command.
    """
    file = run.observe(host).file(path)
    if text is None:
        if file.kind == "absent":
            return []
        run.log_once(host, f"{path} is not wanted and is taken away")
        show_diff(run, path, file.text, "")
        return [StringCommand(f"rm -f {shlex.quote(path)}")]
    why = reasons(file, file.data == text.encode("utf-8", "surrogateescape"), mode)
    if not why:
        return []
    run.log_once(host, f"{path}: {'; '.join(why)}")
    show_diff(run, path, file.text, text)
    return [upload(path, text, mode)]


def ensure_copy(run: Run, path: str, mode: str = "644") -> list[StringCommand]:
    """As ``ensure_file``, for a file of files/ that is copied as it is.

    No operator has to judge it, so a new one is told by one line, with or without ``--diff``. A diff of one
    that someone has changed is shown, unless it is long, as after an update of this program.
    """
    text, file = script(basename(path)), run.observe(host).file(path)
    why = reasons(file, file.data == text.encode(), mode)
    if not why:
        return []
    old, new = file.text.splitlines(), text.splitlines()
    if file.kind != "file":
        why.append(purpose(text))
    elif len(list(difflib.unified_diff(old, new, n=2))) <= _SHORT_DIFF:
        show_diff(run, path, file.text, text)
    elif state.config.DIFF:
        why.append(f"{len(old)} lines become the {len(new)} of files/{basename(path)}")
    run.log_once(host, f"{path}: {'; '.join(why)}")
    return [upload(path, text, mode)]


def run_commands(run: Run, commands: Iterable[StringCommand]) -> Commands:
    """Run commands. Each one invalidates the observation of the host."""
    for command in commands:
        yield command
        run.invalidate(host)


def starting(command: str, unit: str) -> str:
    """A command that starts a unit, and prints what the unit says if it fails."""
    return f"since=$(date +%s); {command} {unit} || {{ {_what_it_said(unit)}; exit 1; }}"


def _what_it_said(unit: str) -> str:
    """A command that prints what a unit has said since ``$since``; systemctl(1) only says where to look.

    Found by unit and time: journald loses the invocation ID of a program that ends before it is read (systemd
    removes /run/systemd/units/invocation:UNIT with the failed unit).
    """
    journal = f"journalctl -q -o cat -n 50 --since @$since _SYSTEMD_UNIT={unit}"
    return f"journalctl --sync; {journal} | grep -v '^\\[#\\] ' >&2"


@host_operation
@locked
def text_file(run: Run, path: str, text: str | None, mode: str = "644") -> Commands:
    """Ensure the text of a managed file; None: it is removed. Atomic, unlike files.put (see ``upload``)."""
    yield from run_commands(run, ensure_file(run, path, text, mode))


@host_operation
def save_keys(run: Run) -> Commands:
    """Save the registry, on the controller, before any host is changed."""
    if run.registry.dirty:
        yield FunctionCommand(_save, (run,), {})


def _save(state: State, host: Host, run: Run) -> bool:
    """Called for every host; the first call saves. False: no host goes on."""
    # pyinfra takes what is returned as success only from a function of just these two names
    try:
        run.registry.save()
    except KeystoreError as error:
        host.log_styled(f"no host was changed: {error}", fg="red", log_func=logger.error)
        return False
    return True
