"""Proxies that pass requests on to nginx itself: the guarded server sees the proxy, not the client.

Its list is asked about the address that the proxy connects from, or about the one that the proxy says where
the server believes it (ngx_http_realip_module). Who connects to an address of its own host comes from that
same address, and from 127.0.0.1 on the loopback.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal, NamedTuple

from wgcluster.nginx.audit.judge import ServerJudge
from wgcluster.nginx.audit.verdict import Verdict
from wgcluster.nginx.config.access import Client, admits, may_spoof, opening, trusts
from wgcluster.nginx.config.find import names_of, port_of
from wgcluster.nginx.config.listen import Socket, socket_for
from wgcluster.nginx.config.locations import Location
from wgcluster.nginx.config.upstreams import (
    Routing,
    StreamServer,
    Upstream,
    ip_of,
    may_be,
    upstreams_at,
    values_at,
    written_out,
)
from wgcluster.nginx.syntax.tree import Directive
from wgcluster.prefixes import Address

_LOOPBACK: tuple[Address, ...] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
_TRUTHFUL = frozenset(
    {"$remote_addr", "$proxy_add_x_forwarded_for", "$realip_remote_addr", "$proxy_protocol_addr"}
)
_NEVER_FORGED = frozenset({"$realip_remote_addr", "$proxy_protocol_addr"})  # whomever it believes
# What a proxy says of the client: who it is, whatever the client likes, or nothing.
Says = Literal["truth", "anything", "nothing"]


class Guarded(NamedTuple):
    """A guarded server with its places that are behind the list."""

    judge: ServerJudge
    places: Sequence[Location]


class Door(NamedTuple):
    """A socket of nginx's as a proxy comes to it."""

    socket: Socket
    clients: tuple[Client, ...]  # who may be seen to connect


class SelfProxies:
    """The guarded servers of a host, and the ways back to them."""

    def __init__(self, guarded: Iterable[Guarded], routing: Routing) -> None:
        self.routing = routing
        self.guarded: dict[Directive, Guarded] = {}
        self.add(guarded)

    def add(self, guarded: Iterable[Guarded]) -> None:
        """More of them."""
        self.guarded |= {one.judge.server: one for one in guarded if one.places}
        self._names = {name for server in self.guarded for name in names_of(server)}
        there = self.routing.sockets
        self._ports = {e.port for e, s in there.items() if s.servers.keys() & self.guarded.keys()}

    def passed_on_to(self, place: Location, server: Directive) -> Iterator[Directive]:
        """The servers of this nginx that answer what ``place`` passes on."""
        for upstream in upstreams_at(place, server, self.routing):
            if "$" not in upstream.address and upstream.directive.name in ("proxy_pass", "grpc_pass"):
                hosts = self._host_sent(upstream, place, server)
                for door in self._doors(upstream.address):
                    yield from _chosen(door.socket, hosts)

    def by_proxy(self, place: Location, server: Directive) -> Verdict | None:
        """The leak of an open ``place`` that passes on to a guarded server; None: it does not."""
        headers = _headers_sent(place)
        allowed = [network for one in self.guarded.values() for network in one.judge.allowed]
        forged = any(may_spoof(d, allowed, (), ()) for d in place.context.trusted)

        def says(header: str) -> Says:
            value = headers.get(header.lower())  # None: the client's own goes on
            if value == "" or header == "proxy_protocol":
                return "nothing"
            return "truth" if value in (_NEVER_FORGED if forged else _TRUTHFUL) else "anything"

        for upstream in upstreams_at(place, server, self.routing) if self.guarded else ():
            host = self._host_sent(upstream, place, server)
            for door in self._doors(upstream.address):
                clients = _bound(place.context.bind, door.clients)
                if not door.socket.proxy_protocol:  # which a proxy of HTTP cannot speak
                    leak = self._let_in(upstream.address, door.socket, host, clients, says)
                    if leak is not None:
                        return leak
        return None

    def by_stream(self, stream: StreamServer) -> Verdict | None:
        """The leak of a stream server that passes on to a guarded one what the client sends, as it is."""
        for address in sorted(stream.addresses) if self.guarded and not stream.transparent else ():
            for door in self._doors(address):
                if stream.proxy_line and not door.socket.proxy_protocol:
                    continue  # not understood
                line = door.socket.proxy_protocol

                def says(header: str, line: bool = line) -> Says:
                    if header != "proxy_protocol":
                        return "anything"
                    return "nothing" if not line else "truth" if stream.proxy_line else "anything"

                leak = self._let_in(address, door.socket, None, door.clients, says)
                if leak is not None:
                    return leak._replace(remedy="guard it with allow and deny, or take it out")
        return None

    def _host_sent(self, upstream: Upstream, place: Location, server: Directive) -> frozenset[str] | None:
        """The host names by which it asks; None: the client says."""
        authority = upstream.url.partition("://")[2].partition("/")[0]
        authority = "localhost" if authority.startswith("unix:") else authority
        told = _headers_sent(place).get("host", "$proxy_host").replace("$proxy_host", authority)
        written = written_out(told, values_at(place, server, self.routing))
        return None if any("$" in text for text in written) else frozenset(map(_name, written))

    def _doors(self, address: str) -> Iterator[Door]:
        """The sockets of nginx's own that ``address`` may be."""
        if address.startswith("unix:"):
            if address in self.routing.unix:
                yield Door(self.routing.unix[address], ("unix:",))
            return
        if "$" in address:
            for path, named in self.routing.unix.items():
                if may_be(address, path):
                    yield Door(named, ("unix:",))
        for ip, port in self._connected(address):
            if (socket := socket_for(self.routing.sockets, ip, port)) is not None:
                yield Door(socket, (_LOOPBACK[ip.version == 6] if ip.is_loopback else ip,))

    def _connected(self, address: str) -> Iterator[tuple[Address, int]]:
        """The addresses and ports of the host itself that ``address`` may name."""
        mine = (*_LOOPBACK, *sorted(self.routing.own, key=str))
        if "$" in address:
            named = ((ip, port) for ip in mine for port in sorted(self._ports))
            yield from ((ip, port) for ip, port in named if may_be(address, f"{_literal(ip)}:{port}"))
            return
        host, _, port = address.rpartition(":")
        if not port.isdigit():
            return
        if host in ("localhost", "") or host in self._names:  # in /etc/hosts it may stand so
            yield from ((ip, int(port)) for ip in _LOOPBACK)
            return
        ip = ip_of(host)
        if ip is None:
            return
        if ip.is_unspecified:
            ip = _LOOPBACK[ip.version == 6]
        if ip.is_loopback or ip in self.routing.own:
            yield ip, int(port)

    def _let_in(
        self,
        address: str,
        socket: Socket,
        hosts: frozenset[str] | None,
        clients: Sequence[Client],
        says: Callable[[str], Says],
    ) -> Verdict | None:
        """The leak where a guarded server answers on ``socket`` and lets in who comes that way."""
        for server in _chosen(socket, hosts):
            if server in self.guarded:
                judge, places = self.guarded[server]
                name = " ".join(names_of(server)) or "the guarded server"
                lead = f"passes on to {address}, where {name} answers"
                for place, client in ((place, client) for place in places for client in clients):
                    seen, header = _seen(judge, place, client, says)
                    somebody_may = opening(place.context.rules, (), judge.families) is not None
                    if seen == "anything" and somebody_may:
                        reason = f"{lead} and believes the {header} that the client sends"
                        remedy = f'write "proxy_set_header {header} $remote_addr;" into this location'
                        return Verdict("leaks", reason, remedy)
                    if seen == "nothing" and admits(place.context.rules, client):
                        remedy = f'guard this location, too, or take {client} out of the "allow" of {name}'
                        return Verdict("leaks", f"{lead}, and its list lets in {client}", remedy)
        return None


def _seen(
    judge: ServerJudge, place: Location, client: Client, says: Callable[[str], Says]
) -> tuple[Says, str]:
    """What the server takes the request's address from: at the very start its own lines count, then the
    location's."""
    for context in (judge.context, place.context):
        if trusts(context.trusted, client):
            return says(context.real_ip_header), context.real_ip_header
    return "nothing", ""


def _headers_sent(place: Location) -> dict[str, str]:
    """The values of its ``proxy_set_header``, by names in lower case."""
    return {d.args[0].lower(): d.args[1] for d in place.context.sent if len(d.args) == 2}


def _chosen(socket: Socket, hosts: frozenset[str] | None) -> list[Directive]:
    """The servers that answer there for these host names; None: for any."""
    return list(socket.servers) if hosts is None else [socket.chosen(host) for host in sorted(hosts)]


def _bound(bind: Directive | None, clients: tuple[Client, ...]) -> tuple[Client, ...]:
    """Who is seen to connect where ``proxy_bind`` says from where."""
    if bind is None or not bind.args or bind.args[0] == "off" or clients == ("unix:",):
        return clients
    if "transparent" in bind.args:
        return ()
    try:
        return (ip_address(bind.args[0].rpartition(":")[0] or bind.args[0]),)
    except ValueError:
        return clients


def _literal(ip: Address) -> str:
    return f"[{ip}]" if ip.version == 6 else str(ip)


def _name(authority: str) -> str:
    """The host name of HOST:PORT as nginx compares it."""
    port = port_of(authority)
    return authority.removesuffix(f":{port}").lower().rstrip(".")
