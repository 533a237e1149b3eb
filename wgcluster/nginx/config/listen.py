"""Which server block answers a request, and how nginx normalizes its path."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from wgcluster.nginx.config.find import names_of, port_of, wildcard_rank
from wgcluster.nginx.syntax.tree import Directive
from wgcluster.prefixes import Address

_LISTEN = re.compile(r"(\[[^\]]*\]|[^:]*)(?::\d+(?:-\d+)?)?")


class Endpoint(NamedTuple):
    """The address and port of a ``listen``."""

    address: Address
    port: int


@dataclass(slots=True)
class Socket:
    """A listen socket with the servers that share it; the flags of one ``listen`` hold for all of them."""

    servers: dict[Directive, None] = field(default_factory=dict)  # in their order
    default: Directive | None = None
    tls: bool = False
    proxy_protocol: bool = False

    @property
    def first(self) -> Directive:
        """The server for all host names that no server has."""
        return self.default or next(iter(self.servers))

    def chosen(self, host: str) -> Directive:
        """The server for the host name ``host`` (ngx_http_find_virtual_server)."""
        best, found = 0, self.first
        for server in self.servers:
            names = names_of(server)
            rank = 10_000 if host in names else max(wildcard_rank(name, host) for name in names)
            if rank > best:  # of equals the first
                best, found = rank, server
        return found


def sockets(servers: Iterable[Directive]) -> dict[Endpoint, Socket]:
    """The TCP sockets of ``servers``, without those whose ``listen`` has a host name."""
    found: dict[Endpoint, Socket] = {}
    for server, where, flags in _listens(servers):
        for endpoint in _endpoints(where, flags):
            _add(found.setdefault(endpoint, Socket()), server, flags)
    return found


def unix_sockets(servers: Iterable[Directive]) -> dict[str, Socket]:
    """The unix sockets of ``servers``, by "unix:PATH"."""
    found: dict[str, Socket] = {}
    for server, where, flags in _listens(servers):
        if where.startswith("unix:"):
            _add(found.setdefault(where, Socket()), server, flags)
    return found


def _listens(servers: Iterable[Directive]) -> Iterator[tuple[Directive, str, Sequence[str]]]:
    """Server, address and flags of each TCP ``listen``."""
    for server in servers:
        for where, *flags in [c.args for c in server.body if c.name == "listen" and c.args] or [("80",)]:
            if "quic" not in flags:
                yield server, where, flags


def _add(socket: Socket, server: Directive, flags: Sequence[str]) -> None:
    whole = any(c.name == "ssl" and c.args == ("on",) for c in server.body)
    socket.servers[server] = None
    if socket.default is None and {"default_server", "default"} & set(flags):
        socket.default = server
    socket.tls = socket.tls or whole or "ssl" in flags
    socket.proxy_protocol = socket.proxy_protocol or "proxy_protocol" in flags


def _endpoints(where: str, flags: Sequence[str]) -> list[Endpoint]:
    if where.startswith("unix:"):
        return []
    return [endpoint for port in _ports(where) for endpoint in _at(where, port, flags)]


def _ports(where: str) -> Iterator[int]:
    """The port of a ``listen``, or all ports of its range."""
    first = int(port_of(where))
    last = re.search(r":\d+-(\d+)$", where)
    yield from range(first, int(last[1]) + 1 if last else first + 1)


def _at(where: str, port: int, flags: Sequence[str]) -> list[Endpoint]:
    match = _LISTEN.fullmatch(where)
    host = "*" if where.isdigit() or match is None else match[1].strip("[]")
    if host == "*":
        return [Endpoint(IPv4Address(0), port)]
    try:
        address = ip_address(host)
    except ValueError:
        return []
    both = address == IPv6Address(0) and "ipv6only=off" in flags
    return [Endpoint(address, port), *([Endpoint(IPv4Address(0), port)] if both else [])]


def socket_for(there: Mapping[Endpoint, Socket], address: Address, port: int) -> Socket | None:
    """The socket that accepts a connection to ``address``: an exact one before a wildcard."""
    own = there.get(Endpoint(address, port))
    if own is not None:
        return own
    return there.get(Endpoint(IPv4Address(0) if address.version == 4 else IPv6Address(0), port))


def tidy(path: str, *, merges_slashes: bool = True) -> str:
    """The normalized path that locations are matched with: decoded, without ``.``, ``..``, ``//`` and query.

    After ngx_http_parse_complex_uri.

    Args:
        path: begins with "/"; no ``..`` in it leads above the root.
    """
    path = re.split(r"[?#]", path, maxsplit=1)[0]
    decoded = unquote_to_bytes(path).decode("utf-8", "surrogateescape")
    kept: list[str] = []
    segments = decoded.split("/")[1:]
    for number, segment in enumerate(segments):
        last = number == len(segments) - 1
        if segment in (".", ".."):
            if segment == "..":
                kept = kept[:-1]
            if last:
                kept.append("")
        elif segment or last or not merges_slashes:
            kept.append(segment)
    return "/" + "/".join(kept)
