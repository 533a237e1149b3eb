"""The few pyinfra operations of our own: each compares what was seen on the host with what is wanted."""

from __future__ import annotations

import base64
import difflib
import hashlib
import shlex
from collections.abc import Generator, Iterable
from posixpath import dirname

from pyinfra import host, logger, state
from pyinfra.api.command import FunctionCommand, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State

from tasks.controller import Run
from tasks.lock import locked
from wgcluster.faults import KeystoreError
from wgcluster.observed import File

Commands = Generator[StringCommand | FunctionCommand, None, None]


def show_diff(run: Run, path: str, old: str, new: str) -> None:
    """With ``--diff``: what changes in a file, secrets masked by the caller."""
    if not state.config.DIFF:
        return
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), path, path, n=2, lineterm="")
    text = "\n".join(f"    {line}" for line in lines)
    run.say(host, text.encode("utf-8", "backslashreplace").decode())


def upload(path: str, text: str, mode: str = "644", folder_mode: str = "755") -> StringCommand:
    """Write a file whole or not at all: made beside it, readable by root alone, then moved over it.

    Two commands never share the file beside it: the number of their shell is in its name. Where this machine
    is cut off the host sees the end of its input, and what came before may be base64 still: only the digest
    tells that nothing is missing.
    """
    target = shlex.quote(path)
    temporary = f"{target}.wgcluster-$$"
    data = text.encode("utf-8", "surrogateescape")
    digest = hashlib.sha256(data).hexdigest()
    script = (
        f"umask 077 && mkdir -p -m {folder_mode} {shlex.quote(dirname(path))} && base64 -d > {temporary}"
        f" && [ \"$(sha256sum < {temporary})\" = '{digest}  -' ]"
        f" && chmod {mode} {temporary} && mv -f {temporary} {target}"
        f" || {{ rm -f {temporary}; exit 1; }}"
    )
    return StringCommand(script, _stdin=base64.b64encode(data).decode())


def reasons(file: File, same: bool, mode: str = "644") -> list[str]:
    """In words, why a file has to be written; none where nothing differs.

    Args:
        same: does it hold the text that is wanted?
        mode: the one that is wanted; the owner is root.
    """
    match file.kind:
        case "absent":
            return ["is not there yet"]
        case "dangling":
            return ["is a link to a file that does not exist"]
        case "other":
            return ["is no regular file"]
    found = [] if same else ["differs in its text"]
    if (file.mode, file.owner) != (mode, "root:root"):
        found.append(f"mode {file.mode} of {file.owner} becomes {mode} of root:root")
    return found


def hold_file(run: Run, path: str, text: str | None, mode: str = "644") -> list[StringCommand]:
    """Commands that make ``path`` hold ``text``, or take it away where that is None; none if all is well.

    What they change and why is said here, not between them: to predict a change pyinfra goes through an
    operation up to its first command and no further.
    """
    file = run.look(host).file(path)
    if text is None:
        if file.kind == "absent":
            return []
        run.say(host, f"{path} is not wanted and is taken away")
        show_diff(run, path, file.text, "")
        return [StringCommand(f"rm -f {shlex.quote(path)}")]
    why = reasons(file, file.data == text.encode("utf-8", "surrogateescape"), mode)
    if not why:
        return []
    run.say(host, f"{path}: {'; '.join(why)}")
    show_diff(run, path, file.text, text)
    return [upload(path, text, mode)]


def carry_out(run: Run, commands: Iterable[StringCommand]) -> Commands:
    """All ``commands``; what was seen of the host no longer counts after one."""
    for command in commands:
        yield command
        run.forget(host)


@operation()
@locked
def text_file(run: Run, path: str, text: str | None, mode: str = "644") -> Commands:
    """Hold a file of ours at ``text``; None: it is not there."""
    yield from carry_out(run, hold_file(run, path, text, mode))


@operation()
def save_keys(run: Run) -> Commands:
    """Write the registry before any host is changed."""
    if run.registry.dirty:
        yield FunctionCommand(_save, (run,), {})


def _save(state: State, host: Host, run: Run) -> bool:
    """Every host's operation comes here, the first one saves for all; False: no host goes on."""
    # pyinfra takes what is returned as success only from a function of just these two names
    try:
        run.registry.save()
    except KeystoreError as error:
        host.log_styled(f"{error}; no host was changed", fg="red", log_func=logger.error)
        return False
    return True
