"""Servers by name, and locations by modifier and argument, as nginx and the operator write them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from wgcluster.nginx.config.pcre import hits
from wgcluster.nginx.syntax.lexer import unescape
from wgcluster.nginx.syntax.tree import Directive

_SELECTOR = re.compile(r"(=|\^~|~\*|~)?\s*(.*)", re.DOTALL)


class Key(NamedTuple):
    """What identifies a location in its server: ("^~", "/static/"), ("", "/"), ("@", "app")."""

    modifier: str
    pattern: str

    def __str__(self) -> str:
        return f"@{self.pattern}" if self.modifier == "@" else f"{self.modifier} {self.pattern}".strip()


def location_key(args: Sequence[str]) -> Key:
    """The key of ``location ARGS {``; after ngx_http_core_location, so "=/x" and "= /x" are the same."""
    if len(args) >= 2:
        return Key(args[0], args[1])
    name = args[0] if args else ""
    for modifier in ("=", "^~", "~*", "~", "@"):
        if name.startswith(modifier):
            return Key(modifier, name[len(modifier) :])
    return Key("", name)


def matches(key: Key, selector: str) -> bool:
    """Does the operator's ``selector`` name this location: "/", "= /admin", "~ \\.php$", "@app"?

    The argument may be written as in the file, with its quotes, or as nginx reads it.
    """
    selector = selector.strip()
    if selector.startswith("@"):
        return key == ("@", selector[1:])
    match = _SELECTOR.fullmatch(selector)
    modifier, pattern = (match[1] or "", match[2]) if match else ("", selector)
    if modifier != key.modifier:
        return False
    quoted = len(pattern) > 1 and pattern[0] == pattern[-1] and pattern[0] in "\"'"
    inner = pattern[1:-1] if quoted else pattern
    return key.pattern in (pattern, inner, unescape(inner))


def matches_public(key: Key, selector: str) -> bool:
    """Like ``matches``, for public locations: a plain path also names ``^~`` and one with a last ``/``."""
    if matches(key, selector):
        return True
    selector = selector.strip()
    return (
        selector.startswith("/")
        and key.modifier in ("", "^~")
        and key.pattern.rstrip("/") == selector.rstrip("/") != ""
    )


def servers(tree: Sequence[Directive]) -> Iterator[Directive]:
    """The http server blocks, at the top of a site file or inside ``http``."""
    for directive in tree:
        if directive.name == "http":
            yield from servers(directive.body)
        elif directive.name == "server" and directive.is_block:
            yield directive


def locations(block: Directive) -> Iterator[tuple[Key, Directive]]:
    """Every location in a server; nested ones follow the one around them."""
    for child in block.body:
        if child.name == "location":
            yield location_key(child.args), child
            yield from locations(child)


def names_of(server: Directive) -> tuple[str, ...]:
    """Its server names, in lower case as nginx compares them; ("",) where there is none."""
    names = [arg for child in server.body if child.name == "server_name" for arg in child.args]
    return tuple(n if n.startswith("~") else n.lower() for n in names) or ("",)


def listens_of(server: Directive) -> tuple[str, ...]:
    """The first argument of each ``listen``; nginx's default is *:80."""
    return tuple(c.args[0] for c in server.body if c.name == "listen" and c.args) or ("*:80",)


def port_of(listen: str) -> str:
    """The port of a ``listen`` address: the first of a range, "80" by default; for a unix socket its path."""
    if listen.startswith("unix:"):
        return listen
    if listen.isdigit():
        return listen
    match = re.search(r":(\d+)(?:-\d+)?$", listen.rpartition("]")[2] if "]" in listen else listen)
    return match[1] if match else "80"


def wildcard_rank(name: str, host: str) -> int:
    """How well a wildcard or regex name fits ``host`` (ngx_http_find_virtual_server); 0: not at all.

    ``*.example.org`` before ``www.*``, longer before shorter, regexes last and in their order.
    """
    if name.startswith("~"):
        # nginx compiles these caseless. One that only PCRE reads the operator names as it is written.
        return int(hits(name[1:], host, caseless=True))
    if name.startswith("*.") and host.endswith(name[1:]) and len(host) > len(name) - 1:
        return 3000 + len(name)
    if name.startswith(".") and (host.endswith(name) or host == name[1:]):
        return 3000 + len(name)
    if name.endswith(".*") and host.startswith(name[:-1]):
        return 2000 + len(name)
    return 0


def find_servers(tree: Sequence[Directive], server_name: str) -> list[Directive]:
    """The server blocks that answer for ``server_name``, on every port.

    Args:
        server_name: a name as it is in the file, wildcards and regexes too; else a host name, for which the
            best wildcard or regex is taken. "" or "default": the ``default_server``, or the first server.
            "name:443" selects a port.
    """
    candidates = list(servers(tree))
    name, colon, port = server_name.rpartition(":")
    if colon and port.isdigit() and not server_name.startswith("~"):
        candidates = [s for s in candidates if port in map(port_of, listens_of(s))]
    else:
        name = server_name
    if name in ("", "default"):
        flagged = [s for s in candidates if any(_is_default(c) for c in s.body)]
        return flagged or candidates[:1]
    desired = name if name.startswith("~") else name.lower()
    if exact := [s for s in candidates if desired in names_of(s)]:
        return exact
    ranked = [(max(wildcard_rank(n, desired) for n in names_of(s)), s) for s in candidates]
    best = max((rank for rank, _ in ranked), default=0)
    found: list[Directive] = []
    for rank, server in ranked:
        # Of several regexes on one address nginx takes the first.
        if rank == best > 0 and not any(set(listens_of(server)) & set(listens_of(f)) for f in found):
            found.append(server)
    return found


def _is_default(directive: Directive) -> bool:
    return directive.name == "listen" and bool({"default_server", "default"} & set(directive.args[1:]))
