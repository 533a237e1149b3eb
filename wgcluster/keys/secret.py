"""Secrets, and the passphrase that opens the key registry."""

from __future__ import annotations

import getpass
import os
import stat
import sys
from pathlib import Path
from typing import NoReturn

from wgcluster.inventory.faults import KeystoreError
from wgcluster.text import HIDDEN

_TERMINAL = "the terminal"


class Secret:
    """A text that only ``reveal()`` returns. Equal by value; never pickled."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself; use it only where its owner reads it."""
        return self._text

    def __repr__(self) -> str:
        return HIDDEN

    def __format__(self, spec: str) -> str:
        return format(HIDDEN, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is neither pickled nor copied; reveal() it where it is needed")


def passphrase(keystore: Path, *, confirm: bool = False) -> Secret:
    """The operator's passphrase for the registry ``keystore``, from the source of ``passphrase_source``.

    Args:
        confirm: ask twice at the terminal.

    Raises:
        KeystoreError: there is none, or the file it should be in cannot be used.
    """
    where = passphrase_source(keystore)
    if "WGCLUSTER_PASSPHRASE" in os.environ:
        return _not_empty(os.environ["WGCLUSTER_PASSPHRASE"], where)
    if named := os.environ.get("WGCLUSTER_PASSPHRASE_FILE"):
        return _from_file(Path(named), where)
    beside = Path(f"{keystore}.pass")
    if beside.exists():
        if stat.S_IMODE(beside.stat().st_mode) & 0o077:
            raise KeystoreError.of("passphrase.exposed", beside, file=beside)
        return _from_file(beside, where)
    if not sys.stdin.isatty():
        raise KeystoreError.of("passphrase.missing", registry=keystore, file=beside)
    try:
        typed = getpass.getpass(f"Passphrase for {keystore}: ")
        again = getpass.getpass("The same once more: ") if confirm else typed
    except EOFError:
        raise KeystoreError.of("passphrase.no-terminal", registry=keystore) from None
    if again != typed:
        raise KeystoreError.of("passphrase.differ")
    return _not_empty(typed, where)


def passphrase_source(keystore: Path) -> str:
    """Where the passphrase of ``keystore`` comes from, in words.

    WGCLUSTER_PASSPHRASE, else the file that WGCLUSTER_PASSPHRASE_FILE names, else ``<keystore>.pass``, else
    the terminal.
    """
    if "WGCLUSTER_PASSPHRASE" in os.environ:
        return "WGCLUSTER_PASSPHRASE"
    if named := os.environ.get("WGCLUSTER_PASSPHRASE_FILE"):
        return f"{named} (WGCLUSTER_PASSPHRASE_FILE)"
    beside = Path(f"{keystore}.pass")
    return str(beside) if beside.exists() else _TERMINAL


def _from_file(path: Path, where: str) -> Secret:
    try:
        return _not_empty(path.read_text("utf-8").rstrip("\r\n"), where)
    except OSError as error:
        raise KeystoreError.of("passphrase.unreadable", where, why=error.strerror) from None
    except UnicodeDecodeError:
        raise KeystoreError.of("passphrase.not-utf8", where) from None


def _not_empty(text: str, where: str) -> Secret:
    if not text:
        raise KeystoreError.of("passphrase.empty", where)
    return Secret(text)
