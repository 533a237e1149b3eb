"""The few pyinfra operations of our own: each compares what was seen on the host with what is wanted."""

from __future__ import annotations

import base64
import difflib
import hashlib
import shlex
from collections.abc import Generator
from posixpath import dirname

from pyinfra import host, logger, state
from pyinfra.api.command import FunctionCommand, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State

from tasks.controller import Run
from wgcluster.keystore import KeystoreError
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

    Where this machine is cut off the host sees the end of its input, and what came before may be base64
    still: only the digest tells that nothing is missing.
    """
    target, temporary = shlex.quote(path), shlex.quote(f"{path}.wgcluster-new")
    data = text.encode("utf-8", "surrogateescape")
    digest = hashlib.sha256(data).hexdigest()
    script = (
        f"umask 077 && mkdir -p -m {folder_mode} {shlex.quote(dirname(path))} && base64 -d > {temporary}"
        f" && [ \"$(sha256sum < {temporary})\" = '{digest}  -' ]"
        f" && chmod {mode} {temporary} && mv -f {temporary} {target}"
        f" || {{ rm -f {temporary}; exit 1; }}"
    )
    return StringCommand(script, _stdin=base64.b64encode(data).decode())


def differs(file: File, text: str, mode: str = "644") -> bool:
    """Is the file on the host another one than wanted, by text, mode or owner?"""
    same_text = file.kind == "file" and file.data == text.encode("utf-8", "surrogateescape")
    return not same_text or (file.mode, file.owner) != (mode, "root:root")


def keep_file(run: Run, path: str, text: str, mode: str = "644") -> Commands:
    """Commands that make ``path`` hold ``text``; none if it does."""
    file = run.look(host).file(path)
    if not differs(file, text, mode):
        return
    show_diff(run, path, file.text, text)
    yield upload(path, text, mode)
    run.forget(host)


def drop_file(run: Run, path: str) -> Commands:
    """Commands that take ``path`` away; none if it is not there."""
    file = run.look(host).file(path)
    if file.kind != "absent":
        show_diff(run, path, file.text, "")
        yield StringCommand(f"rm -f {shlex.quote(path)}")
        run.forget(host)


@operation()
def text_file(run: Run, path: str, text: str | None, mode: str = "644") -> Commands:
    """Hold a file of ours at ``text``; None: it is not there."""
    if text is None:
        yield from drop_file(run, path)
    else:
        yield from keep_file(run, path, text, mode)


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
