"""What a place serves: servers behind it, or files. Two places that serve the same leak for each other."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ..prefixes import Network
from .access import Families, Level, opening
from .find import listens_of
from .places import Place
from .tree import Directive

_PORTS = {"http": "80", "https": "443", "grpc": "80", "grpcs": "443"}
_URL = re.compile(
    r"(?:(?P<scheme>https?|grpcs?)://)?(?P<host>unix:[^:]+|\[[^\]]*\]|[^/:?]+)(?::(?P<port>\d+))?"
)
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


class Target(NamedTuple):
    """An address behind a proxy ("address"), a folder ("files"), or a FastCGI socket with its folder."""

    kind: str
    where: str
    folder: str = ""

    def __str__(self) -> str:
        if self.kind == "files":
            return f"the files in {self.where}"
        return f"{self.where} with the files in {self.folder}" if self.folder else self.where


def upstreams(tree: Sequence[Directive]) -> dict[str, frozenset[str]]:
    """The addresses of each ``upstream`` by its name."""
    found: dict[str, frozenset[str]] = {}
    for directive in tree:
        if directive.name in ("http", "stream"):
            found |= upstreams(directive.body)
        elif directive.name == "upstream" and directive.args:
            members = [d.args[0] for d in directive.body if d.name == "server" and d.args]
            found[directive.args[0]] = frozenset(_address(m, "80") for m in members)
    return found


def _address(host: str, port: str) -> str:
    """One spelling for one address; a name other than localhost stays a name."""
    match = _URL.match(host)
    if match is None:
        return host
    name, port = match["host"], match["port"] or port
    if name.startswith("unix:"):
        return name
    name = "127.0.0.1" if name in ("localhost", "[::1]") else name.lower()
    return f"{name}:{port}"


def targets_at(place: Place, server: Directive, behind: Mapping[str, frozenset[str]]) -> set[Target]:
    """What a request that is let in at ``place`` is served from."""
    values = {d.args[0].lstrip("$"): d.args[1] for d in _sets(place, server)}
    folder = (
        posixpath.normpath(place.level.root.args[0]) if place.level.root and place.level.root.args else ""
    )
    passes = place.passes()
    if not passes:
        return {Target("files", _served_folder(place, folder))} if folder else set()
    found = set()
    for directive in passes:
        if not directive.args:
            continue
        url = _VARIABLE.sub(lambda m: values.get(m[1] or m[2], m[0]), directive.args[0])
        for address in _addresses(url, behind):
            # Sites share one PHP socket; what they serve through it is told apart by their folders.
            found.add(Target("address", address, folder if directive.name == "fastcgi_pass" else ""))
    return found


def _served_folder(place: Place, folder: str) -> str:
    """With ``root`` the location's own path comes behind it; with ``alias`` and for regexes it does not."""
    plain = place.key is not None and place.key.modifier in ("", "^~", "=")
    if not plain or place.key is None or place.level.root is None or place.level.root.name == "alias":
        return folder
    return posixpath.normpath(f"{folder}/{place.key.pattern}")


def _sets(place: Place, server: Directive) -> Iterator[Directive]:
    for body in (server.body, place.directive.body):
        yield from (d for d in body if d.name == "set" and len(d.args) == 2)


def _addresses(url: str, behind: Mapping[str, frozenset[str]]) -> frozenset[str]:
    match = _URL.match(url)
    if match is None:
        return frozenset({url})
    if match["port"] is None and match["host"] in behind:
        return behind[match["host"]]
    return frozenset({_address(url, _PORTS.get(match["scheme"] or "", ""))})


def overlap(
    targets: Iterable[Target], hidden: Iterable[Target], shown: Iterable[Target] = ()
) -> Target | None:
    """The first of ``targets`` that serves something of ``hidden``; folders one in the other do.

    What lies in a folder of ``shown`` is no secret.
    """
    hidden, folders = sorted(hidden), [f"{t.where}/" for t in shown if t.kind == "files"]
    for target in sorted(targets):
        if target.kind == "files" and f"{target.where}/".startswith(tuple(folders)):
            continue
        for other in hidden:
            if target.kind != other.kind:
                continue
            if target.kind == "files" and _nested(target.where, other.where):
                return target
            same = target.kind == "address" and target.where == other.where
            if same and (target.folder == other.folder or _nested(target.folder, other.folder)):
                return target
    return None


def _nested(one: str, other: str) -> bool:
    """Is one folder in the other, or the same?"""
    return bool(one and other) and (f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/"))


def stream_targets(
    tree: Sequence[Directive], allowed: Sequence[Network], behind: Mapping[str, frozenset[str]]
) -> Iterator[tuple[Directive, set[Target]]]:
    """Each stream server that lets anyone in (ngx_stream_access_module), with what it passes on to."""
    for stream in (d for d in tree if d.name == "stream"):
        outer = Level().enter(stream.body)
        for server in (d for d in stream.body if d.name == "server" and d.is_block):
            rules = outer.enter(server.body).rules
            if opening(rules, allowed, Families.of(listens_of(server))) is not None:
                urls = [d.args[0] for d in server.body if d.name == "proxy_pass" and d.args]
                yield server, {Target("address", a) for url in urls for a in _addresses(url, behind)}
