"""Where requests are passed on to: upstreams, variables in their URLs, and nginx's own listen sockets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import chain
from socket import inet_aton
from typing import NamedTuple

from wgcluster.nginx.config.access import Families, may_spoof, opening
from wgcluster.nginx.config.context import Context
from wgcluster.nginx.config.find import listens_of, names_of, servers
from wgcluster.nginx.config.listen import Endpoint, Socket, sockets, unix_sockets
from wgcluster.nginx.config.locations import Location
from wgcluster.nginx.config.rewrite import NOTHING, Known
from wgcluster.nginx.syntax.tree import Directive
from wgcluster.prefixes import Address, Network

_PORTS = {"http": "80", "https": "443", "grpc": "80", "grpcs": "443"}
_URL = re.compile(
    r"(?:(?P<scheme>https?|grpcs?)://)?(?P<host>unix:[^:]+|\[[^\]]*\]|[^/:?]+)(?::(?P<port>\d+))?",
    re.IGNORECASE,
)
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_OF_LUA = re.compile(r"ngx\.var(?:\.|\[[\"'])(\w+)(?:[\"']\])?\s*=(?!=)")
_CAPTURE = re.compile(r"\(\?P?[<'](\w+)[>']")
# Connected to, each of them is the loopback.
_HERE = frozenset({"localhost", "[::1]", "0.0.0.0", "[::]"})  # noqa: S104
_MAX_URLS = 1000  # values of one URL; with more of them it counts as chosen by the client


@dataclass(slots=True)
class Routing:
    """What the whole configuration says of where requests go: upstream groups, variables, listen sockets."""

    groups: dict[str, frozenset[str]] = field(default_factory=dict)  # addresses by upstream name, lower case
    stream_groups: dict[str, frozenset[str]] = field(default_factory=dict)  # the same, of stream
    values: dict[str, frozenset[str]] = field(
        default_factory=dict
    )  # of variables that a map or its like sets
    stream_values: dict[str, frozenset[str]] = field(default_factory=dict)
    sockets: dict[Endpoint, Socket] = field(default_factory=dict)
    unix: dict[str, Socket] = field(default_factory=dict)
    own: frozenset[Address] = frozenset()  # of the host, without the loopback
    sockets_by_server: dict[Directive, list[Socket]] = field(default_factory=dict)
    reachable: frozenset[Directive] = frozenset()  # servers that other hosts can connect to

    @classmethod
    def of(cls, tree: Sequence[Directive], own: Iterable[Address] = ()) -> Routing:
        """Read a whole configuration.

        Args:
            own: addresses of the host, in addition to those that nginx listens on.
        """
        routing = cls(values={"scheme": frozenset({"http", "https"})})
        for around, block in ((top, d) for top in tree for d in (top, *top.body)):
            if block.name == "upstream" and block.args:
                members = [d.args[0] for d in block.body if d.name == "server" and d.args]
                named = routing.stream_groups if around.name == "stream" else routing.groups
                named[block.args[0].lower()] = frozenset(_address(m, "80") for m in members)
            elif block.name in ("map", "geo", "split_clients") and block.is_block and block.args:
                words = {d.args[0] for d in block.body if d.args and d.name != "include"}
                given = {d.name for d in block.body}
                words |= set() if given & {"default", "*"} else {""}
                named_values = routing.stream_values if around.name == "stream" else routing.values
                named_values[block.args[-1].lstrip("$")] = frozenset(words)
        routing.sockets, routing.unix = sockets(servers(tree)), unix_sockets(servers(tree))
        for socket in (*routing.sockets.values(), *routing.unix.values()):
            for server in socket.servers:
                routing.sockets_by_server.setdefault(server, []).append(socket)
        outside = [socket for e, socket in routing.sockets.items() if not e.address.is_loopback]
        routing.reachable = frozenset(server for socket in outside for server in socket.servers)
        listening = {e.address for e in routing.sockets if not e.address.is_unspecified}
        routing.own = frozenset(a for a in listening | set(own) if not a.is_loopback)
        return routing

    def answers(self, server: Directive, host: str) -> bool:
        """Does ``server`` answer for the host name ``host`` on any of its sockets?"""
        mine = self.sockets_by_server.get(server)
        return mine is None or any(socket.chosen(host) is server for socket in mine)

    def addresses_of(self, server: Directive) -> Iterator[str]:
        """The unix paths and loopback addresses on which no other server answers."""
        for path, socket in self.unix.items():
            if list(socket.servers) == [server]:
                yield self.normalized(path)
        for endpoint, socket in self.sockets.items():
            if list(socket.servers) == [server] and endpoint.address.is_loopback:
                host = f"[{endpoint.address}]" if endpoint.address.version == 6 else endpoint.address
                yield self.normalized(f"{host}:{endpoint.port}")

    def known_at(self, server: Directive) -> Known:
        """Scheme and host, as far as they are the same for all requests to ``server``."""
        mine = self.sockets_by_server.get(server, ())
        listens = [d for d in server.body if d.name == "listen"]
        kinds = {socket.tls for socket in mine}
        if len(kinds) != 1 or len(mine) < len(listens) or any("quic" in d.args for d in listens):
            return NOTHING
        values = (
            {("$scheme", "https"), ("$https", "on")}
            if kinds == {True}
            else {("$scheme", "http"), ("$https", "")}
        )
        hosts = self.hosts_of(server) or ()
        return Known(frozenset(values | {("$host", host) for host in hosts if len(hosts) == 1}))

    def hosts_of(self, server: Directive) -> frozenset[str] | None:
        """The host names that requests to ``server`` can have; None: any."""
        names, mine = names_of(server), self.sockets_by_server.get(server)
        plain = frozenset(n for n in names if n and not n.startswith(("~", ".")) and "*" not in n)
        default = not mine or any(socket.first is server for socket in mine)
        return plain if len(plain) == len(names) and not default else None

    def normalized(self, address: str) -> str:
        """``address`` in one spelling, whichever of its own addresses the host is written with."""
        if address.startswith("unix:"):
            return f"unix:{re.sub('/+', '/', address[5:])}"
        host, colon, port = address.rpartition(":")
        written = ip_of(host)
        if host in _HERE or written in self.own or written == IPv4Address("127.0.0.1"):
            host = "127.0.0.1"
        return f"{host}{colon}{int(port)}" if port.isdigit() else address


def _address(host: str, port: str) -> str:
    """HOST:PORT in lower case; names are not resolved."""
    match = _URL.match(host)
    if match is None:
        return host
    name, port = match["host"], match["port"] or port
    if name.startswith("unix:"):
        return name
    return f"{name if '$' in name else name.lower()}:{port}"


def ip_of(host: str) -> Address | None:
    """The address that the host part of a URL is, also in the short forms of inet_aton(3); None: a name."""
    try:
        found = ip_address(host.strip("[]"))
    except ValueError:
        try:
            return IPv4Address(inet_aton(host)) if re.fullmatch(r"[0-9a-fx.]+", host) else None
        except OSError:
            return None
    return (isinstance(found, IPv6Address) and found.ipv4_mapped) or found


class Upstream(NamedTuple):
    """Where a location passes requests on to."""

    directive: Directive  # proxy_pass or its like
    url: str  # with the variables put in
    address: str  # "127.0.0.1:80", "unix:/run/s"; with variables where the client may choose


def upstreams_at(location: Location, server: Directive, routing: Routing) -> Iterator[Upstream]:
    """Every upstream that ``location`` may pass a request on to."""
    values = values_at(location, server, routing)
    for directive in location.passes():
        for url in written_out(directive.args[0], values) if directive.args else ():
            for address in addresses(url, routing.groups):
                yield Upstream(directive, url, address)


def values_at(location: Location, server: Directive, routing: Routing) -> dict[str, frozenset[str]]:
    """The values that variables may have in ``location``; without those that a client may choose."""
    values = {**routing.values, "server_name": frozenset(names_of(server)[:1])}
    if (hosts := routing.hosts_of(server)) is not None:
        values["host"] = hosts
    for directive in _sets(location, server):  # which one is in effect may depend on an "if"
        name = directive.args[0].lstrip("$")
        values[name] = values.get(name, frozenset()) | {directive.args[1]}
    for name in _only_under_ifs(location, server):
        values[name] |= {""}
    for name in _set_otherwise(location, server):
        values.pop(name, None)
    return values


def _only_under_ifs(location: Location, server: Directive) -> set[str]:
    """Variables that are set inside an ``if`` alone, so that they may be empty."""
    plain = [*server.body, *(d for around in location.outward() for d in around.directive.body)]
    always = {d.args[0].lstrip("$") for d in plain if d.name == "set" and d.args}
    return {d.args[0].lstrip("$") for d in _sets(location, server)} - always


def _set_otherwise(location: Location, server: Directive) -> Iterator[str]:
    """Variables that code, another module or a regex capture may give any value."""
    around = [body for each in location.outward() for body in each.bodies()]
    for directive in (d for body in (server.body, *around) for d in body):
        if directive.name.startswith(("set_by_lua", "auth_request_set")) and directive.args:
            yield directive.args[0].lstrip("$")
        elif "_by_lua" in directive.name:
            yield from _OF_LUA.findall(directive.lua or " ".join(directive.args))
        elif directive.name in ("rewrite", "if", "server_name"):
            yield from _CAPTURE.findall(" ".join(directive.args))
    for each in location.outward():
        yield from _CAPTURE.findall(each.key.pattern if each.key else "")


def _sets(location: Location, server: Directive) -> Iterator[Directive]:
    for around in location.outward():
        for body in around.bodies():
            yield from (d for d in body if d.name == "set" and len(d.args) == 2)
    for top in server.body:
        for directive in top.body if top.name == "if" else (top,):
            if directive.name == "set" and len(directive.args) == 2:
                yield directive


def written_out(url: str, values: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Every text that ``url`` may become. Variables without a known value stay in it."""
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


def addresses(url: str, groups: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """What a ``proxy_pass`` or its like to ``url`` connects to.

    Args:
        groups: addresses by the name of their upstream group, in lower case.
    """
    match = _URL.match(url)
    if match is None or url.startswith("$"):
        return frozenset({url})
    if match["port"] is None and match["host"].lower() in groups:
        return groups[match["host"].lower()]
    if "$" not in match["host"]:
        return frozenset({_address(url, _PORTS.get((match["scheme"] or "").lower(), ""))})
    chosen = match["host"] + (f":{match['port']}" if match["port"] else "")
    members = (all_of for name, all_of in groups.items() if may_be(chosen, name))
    return frozenset({chosen, *chain.from_iterable(members)})


def may_be(chosen: str, address: str) -> bool:
    """Can ``chosen``, which has variables in it, become ``address``, which may be a name?"""
    parts = re.split(r"\$(?:\{\w+\}|\w+)", chosen)
    return re.fullmatch(".*".join(map(re.escape, parts)), address, re.IGNORECASE) is not None


@dataclass(frozen=True, slots=True)
class StreamServer:
    """A stream server that lets denied clients in."""

    directive: Directive
    addresses: frozenset[str]  # that it passes on to
    proxy_line: bool  # it sends the client's address in a PROXY line
    transparent: bool  # it connects from the client's address


def open_streams(
    tree: Sequence[Directive], allowed: Sequence[Network], routing: Routing
) -> Iterator[StreamServer]:
    """Stream servers whose list (ngx_stream_access_module) lets in clients outside ``allowed``."""
    for stream in (d for d in tree if d.name == "stream"):
        outer = Context().enter(stream.body)
        for server in (d for d in stream.body if d.name == "server" and d.is_block):
            context = outer.enter(server.body)
            lines = any("proxy_protocol" in d.args for d in server.body if d.name == "listen")
            spoofed = lines and any(may_spoof(d, allowed, (), ()) for d in context.trusted)
            if spoofed or opening(context.rules, allowed, Families.of(listens_of(server))) is not None:
                urls = [d.args[0] for d in server.body if d.name == "proxy_pass" and d.args]
                written = (text for url in urls for text in written_out(url, routing.stream_values))
                found = frozenset(a for url in written for a in addresses(url, routing.stream_groups))
                said = {d.name: d.args for body in (stream.body, server.body) for d in body}
                line = said.get("proxy_protocol") == ("on",)
                yield StreamServer(server, found, line, "transparent" in said.get("proxy_bind", ()))
