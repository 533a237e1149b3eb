"""What the files of sysctl.d(5) make of forwarding and IPv6 at the next boot, whoever wrote them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from posixpath import basename, dirname

# A file masks those of the same name in later folders (sysctl.d(5)).
_FOLDERS = [f"{one}/sysctl.d" for one in ("/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib")]


@dataclass(frozen=True, slots=True)
class Setting:
    """One assignment of a file."""

    key: str  # with slashes; may have "*" and "?"
    value: str
    path: str


def ipv4_forwarding(files: Mapping[str, Sequence[str]], interface: str) -> list[Setting]:
    """Who decides whether packets that come in by an interface are forwarded: for all, then for it alone.

    ``ip_forward`` is the value of "all". What a new interface gets from "default" our own hook sets to 1
    (kernel.org, networking/ip-sysctl).
    """
    keys = ["net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding"]
    own = f"net/ipv4/conf/{interface}/forwarding"
    return [*_last(files, keys), *_last(files, [own])]


def ipv6_forwarding(files: Mapping[str, Sequence[str]]) -> list[Setting]:
    """Who decides whether IPv6 is forwarded: the value of "all" alone counts (net/ipv6/ip6_output.c)."""
    return _last(files, ["net/ipv6/conf/all/forwarding"])


def ipv6_off(files: Mapping[str, Sequence[str]], interface: str) -> list[Setting]:
    """Who decides whether a new interface has IPv6: itself, else "default", which "all" sets, too."""
    keys = [f"net/ipv6/conf/{name}/disable_ipv6" for name in ("all", "default", interface)]
    return _last(files, keys[2:]) or _last(files, keys[:2])


def _last(files: Mapping[str, Sequence[str]], keys: Sequence[str]) -> list[Setting]:
    """The last assignment to one of ``keys``; none: nobody sets them."""
    found = list(_settings(files))
    explicit = {setting.key for setting in found}
    hits = [
        setting
        for setting in found
        for key in keys
        if setting.key == key or (key not in explicit and _matches(setting.key, key))
    ]
    return [one for one in hits if one.value][-1:]


def _settings(files: Mapping[str, Sequence[str]]) -> Iterator[Setting]:
    """All lines in the order in which systemd-sysctl applies them: by name of the file.

    A line without a value takes its key out of patterns; it has "" for the value.
    """
    chosen: dict[str, str] = {}
    for folder in _FOLDERS:
        for path in files:
            if dirname(path) == folder:
                chosen.setdefault(basename(path), path)
    for name in sorted(chosen):
        for line in files[chosen[name]]:
            if not line.lstrip().startswith(("#", ";")):
                key, _, value = line.partition("=")
                yield Setting(_with_slashes(key.strip().removeprefix("-")), value.strip(), chosen[name])


def _with_slashes(key: str) -> str:
    """A key whose first separator is a dot has slashes for dots, and dots for slashes."""
    first = next((letter for letter in key if letter in "./"), "/")
    return key.translate(str.maketrans("./", "/.")) if first == "." else key


def _matches(pattern: str, key: str) -> bool:
    parts, words = pattern.split("/"), key.split("/")
    return len(parts) == len(words) and all(map(fnmatchcase, words, parts))
