"""What a place serves: servers behind it, or files. Two places that serve the same leak for each other."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from ..prefixes import Network
from .access import Families, Level, opening
from .find import listens_of
from .places import Place
from .tree import Directive

_PORTS = {"http": "80", "https": "443", "grpc": "80", "grpcs": "443"}
_URL = re.compile(
    r"(?:(?P<scheme>https?|grpcs?)://)?(?P<host>unix:[^:]+|\[[^\]]*\]|[^/:?]+)(?::(?P<port>\d+))?",
    re.IGNORECASE,
)
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
# Connected to, each of them is the loopback.
_HERE = frozenset({"localhost", "[::1]", "0.0.0.0", "[::]"})  # noqa: S104
_MAX_URLS = 1000  # what variables may make of one URL; beyond that it counts as one that a client chooses


class Target(NamedTuple):
    """An address behind a proxy ("address"), a folder ("files"), or a FastCGI socket with its folder."""

    kind: str
    where: str
    folder: str = ""

    def __str__(self) -> str:
        if self.kind == "files":
            return f"the files in {self.where}"
        return f"{self.where} with the files in {self.folder}" if self.folder else self.where


@dataclass(slots=True)
class Behind:
    """What is named in one place and used in others: upstreams by name (lower case), variables by name."""

    upstreams: dict[str, frozenset[str]] = field(default_factory=dict)
    values: dict[str, frozenset[str]] = field(default_factory=dict)  # all that a map may give

    @classmethod
    def of(cls, tree: Sequence[Directive]) -> Behind:
        behind = cls(values={"scheme": frozenset({"http", "https"})})
        for block in (d for top in tree for d in (top, *top.body)):
            if block.name == "upstream" and block.args:
                members = [d.args[0] for d in block.body if d.name == "server" and d.args]
                behind.upstreams[block.args[0].lower()] = frozenset(_address(m, "80") for m in members)
            elif block.name in ("map", "geo", "split_clients") and block.is_block and block.args:
                words = {d.args[0] for d in block.body if d.args and d.name != "include"}
                behind.values[block.args[-1].lstrip("$")] = frozenset(words)
        return behind


def _address(host: str, port: str) -> str:
    """One spelling for one address; a name other than localhost stays a name."""
    match = _URL.match(host)
    if match is None:
        return host
    name, port = match["host"], match["port"] or port
    if name.startswith("unix:"):
        return name
    name = name if "$" in name else name.lower()
    return f"{'127.0.0.1' if name in _HERE else name}:{port}"


def targets_at(place: Place, server: Directive, behind: Behind) -> set[Target]:
    """What a request that is let in at ``place`` is served from."""
    folder = (
        posixpath.normpath(place.level.root.args[0]) if place.level.root and place.level.root.args else ""
    )
    passes = place.passes()
    if not passes:
        return {Target("files", _served_folder(place, folder))} if folder else set()
    values = {**behind.values}
    for directive in _sets(place, server):  # which of them is in effect may hang on an "if"
        name = directive.args[0].lstrip("$")
        values[name] = values.get(name, frozenset()) | {directive.args[1]}
    found = set()
    for directive in passes:
        for url in _written_out(directive.args[0], values) if directive.args else ():
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
    around: Place | None = place
    while around is not None:
        for body in around.bodies():
            yield from (d for d in body if d.name == "set" and len(d.args) == 2)
        around = around.parent
    for top in server.body:
        for directive in top.body if top.name == "if" else (top,):
            if directive.name == "set" and len(directive.args) == 2:
                yield directive


def _written_out(url: str, values: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """``url`` with all that its variables may stand for; those that a client may choose stay in it."""
    done: set[str] = set()
    work = [(url, frozenset[str]())]
    while work:
        text, used = work.pop()
        known = [v for v in _VARIABLE.finditer(text) if (v[1] or v[2]) in values.keys() - used]
        if not known:
            done.add(text)
            continue
        name = known[0][1] or known[0][2]
        for value in values[name]:
            put_in = _VARIABLE.sub(lambda v: value if (v[1] or v[2]) == name else v[0], text)  # noqa: B023
            work.append((put_in, used | {name}))
        if len(work) + len(done) > _MAX_URLS:
            return frozenset({url})
    return frozenset(done)


def _addresses(url: str, behind: Behind) -> frozenset[str]:
    match = _URL.match(url)
    if match is None or url.startswith("$"):
        return frozenset({url})
    if match["port"] is None and match["host"].lower() in behind.upstreams:
        return behind.upstreams[match["host"].lower()]
    if "$" not in match["host"]:
        return frozenset({_address(url, _PORTS.get((match["scheme"] or "").lower(), ""))})
    chosen = match["host"] + (f":{match['port']}" if match["port"] else "")
    members = (all_of for name, all_of in behind.upstreams.items() if _may_be(chosen, name))
    return frozenset({chosen, *chain.from_iterable(members)})


def _may_be(chosen: str, address: str) -> bool:
    """Could a client make ``chosen``, which has variables in it, say ``address``?"""
    parts = re.split(r"\$(?:\{\w+\}|\w+)", chosen)
    return re.fullmatch(".*".join(map(re.escape, parts)), address, re.IGNORECASE) is not None


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
            if target.kind == "address" and "$" in target.where and _may_be(target.where, other.where):
                return other._replace(where=f"{other.where}, which {target.where} may name,")
            if same and (target.folder == other.folder or _nested(target.folder, other.folder)):
                return target
    return None


def _nested(one: str, other: str) -> bool:
    """Is one folder in the other, or the same?"""
    return bool(one and other) and (f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/"))


def stream_targets(
    tree: Sequence[Directive], allowed: Sequence[Network], behind: Behind
) -> Iterator[tuple[Directive, set[Target]]]:
    """Each stream server that lets anyone in (ngx_stream_access_module), with what it passes on to."""
    for stream in (d for d in tree if d.name == "stream"):
        outer = Level().enter(stream.body)
        for server in (d for d in stream.body if d.name == "server" and d.is_block):
            rules = outer.enter(server.body).rules
            if opening(rules, allowed, Families.of(listens_of(server))) is not None:
                urls = [d.args[0] for d in server.body if d.name == "proxy_pass" and d.args]
                written = (text for url in urls for text in _written_out(url, behind.values))
                yield server, {Target("address", a) for url in written for a in _addresses(url, behind)}
