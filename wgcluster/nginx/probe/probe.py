"""Requests that check a live nginx against the audit: what denied clients must get at each location.

They are made from the effective configuration, to be sent from a host that is denied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote

from wgcluster.inventory.schema import GuardedSite
from wgcluster.nginx.audit.audit import effective_with_lists, server_blocks, sites_of_servers
from wgcluster.nginx.audit.judge import ServerJudge
from wgcluster.nginx.config.find import find_servers, names_of
from wgcluster.nginx.config.listen import Endpoint, Socket, socket_for, sockets, tidy
from wgcluster.nginx.config.locations import Location, resolve
from wgcluster.nginx.config.pcre import hits, samples
from wgcluster.nginx.config.upstreams import Routing
from wgcluster.nginx.probe.expected_status import Expected, Unknown, expected_at
from wgcluster.nginx.syntax.errors import position
from wgcluster.nginx.syntax.tree import Directive
from wgcluster.prefixes import Address

_PLAIN_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
NOBODY = "wgcluster-probe.invalid"  # for default servers (RFC 2606: no host has it)


@dataclass(frozen=True, slots=True)
class Probe:
    """One GET request, and what a denied client must get for it."""

    address: str  # IPv4 or IPv6, without brackets
    port: int
    tls: bool
    proxy_protocol: bool  # the server expects a PROXY line first
    host: str  # Host header, and SNI
    path: str  # as it is sent, not normalized
    headers: tuple[str, ...]  # "Name: value"
    variant: str  # "plain", "spoofed address", "//", "/./", "%2e", "upper case", "trailing slash"
    location: str  # where it ends, as the audit names it
    file: str
    line: int
    expected: Expected
    statuses: frozenset[int]  # the right ones; empty: any but 403 and 0
    proxied: bool  # an upstream answers allowed clients

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        scheme = "https" if self.tls else "http"
        return f"{scheme}://{host}:{self.port}{self.path} (Host: {self.host}; {self.variant})"


class Answer(NamedTuple):
    """Status, 0 for a connection that was closed without one, and size of the body in bytes."""

    status: int
    size: int = 0


class Unprobed(NamedTuple):
    """A location without a probe, and why."""

    file: str
    line: int
    location: str
    reason: str


def probes(
    files: Mapping[str, str], sites: Sequence[GuardedSite], addresses: Sequence[Address]
) -> tuple[list[Probe], list[Unprobed]]:
    """Probes for each location of each server of ``sites``, in every variant, on each listen address.

    Args:
        files: as for ``audit``.
        addresses: of the host, to send requests to. A wildcard ``listen`` counts for each of them.

    Raises:
        NginxSyntaxError: nginx would refuse a file.
    """
    tree = effective_with_lists(files, sites)
    blocks = server_blocks(tree)
    guarded = sites_of_servers(tree, sites)
    there = sockets(server for server, _ in blocks)
    routing = Routing.of(tree)
    contexts = {server: context.enter(server.body) for server, context in blocks}
    found: list[Probe] = []
    unprobed: dict[Unprobed, None] = {}
    for server, context in blocks:
        if server not in guarded:
            continue
        judge = ServerJudge(server, context, guarded[server], known=routing.known_at(server))
        server_probes = _ServerProbes(files, tree, server, judge, guarded[server])
        for address in addresses:
            for port in dict.fromkeys(e.port for e, s in there.items() if server in s.servers):
                socket = socket_for(there, address, port)
                if socket is None or server not in socket.servers:
                    continue
                host = _host(server, socket, guarded[server])
                if host is None:
                    reason = f"another server answers for all its names on {address}:{port}"
                    unprobed[server_probes.unprobed(None, reason)] = None
                    continue
                # nginx reads a path before the host name, so by the settings of the default server.
                reading = contexts[server if socket.tls else socket.first]
                server_probes.merges_slashes = reading.splits_slashes is None
                for location in judge.places:
                    for item in server_probes.about(location, Endpoint(address, port), socket, host):
                        if isinstance(item, Probe):
                            found.append(item)
                        else:
                            unprobed[item] = None
    return list(dict.fromkeys(found)), list(unprobed)


class _ServerProbes:
    """Makes the probes of one server."""

    def __init__(
        self,
        files: Mapping[str, str],
        tree: Sequence[Directive],
        server: Directive,
        judge: ServerJudge,
        sites: Sequence[GuardedSite],
    ) -> None:
        self.files = files
        self.server = server
        self.judge = judge
        self.merges_slashes = True
        self.spoofed = _spoofing_headers(tree, sites)

    def _where(self, location: Location | None) -> tuple[str, int]:
        directive = location.directive if location is not None else self.server
        text = self.files.get(directive.file)
        return directive.file, position(text, directive.start)[0] if text is not None else 0

    def unprobed(self, location: Location | None, reason: str) -> Unprobed:
        return Unprobed(*self._where(location), location.name if location else "(server)", reason)

    def path_to(self, location: Location) -> str | Unprobed:
        """A path, quoted for a URL, for which nginx chooses ``location``."""
        for candidate in _candidates(location):
            path = quote(candidate.encode("utf-8", "surrogateescape"), safe="/!$&'()*+,;=:@~")
            if path.startswith("/") and self._location(path) is location:
                return path
        return self.unprobed(location, "found no path for which nginx would choose it")

    def _location(self, path: str) -> Location | None:
        uri = tidy(path, merges_slashes=self.merges_slashes)
        own = self.judge.outer[-1] if self.judge.outer[-1].key is None else None
        return resolve(self.judge.outer, uri) or own

    def about(
        self, location: Location, endpoint: Endpoint, socket: Socket, host: str
    ) -> Iterator[Probe | Unprobed]:
        """A request to ``location`` in each variant, with what the location that it ends at answers."""
        if location.named:  # no client can request it
            return
        path = self.path_to(location)
        if isinstance(path, Unprobed):
            yield path
            return
        slash = path.rstrip("/") if path.endswith("/") and path != "/" else f"{path}/"
        variants: list[tuple[str, str, tuple[str, ...]]] = [
            ("plain", path, ()),
            ("spoofed address", path, self.spoofed),
            ("//", f"/{path}", ()),
            ("/./", f"/.{path}", ()),
            ("%2e", f"/%2e{path}", ()),
            ("upper case", re.sub(r"%..|[a-z]+", lambda m: m[0].upper(), path), ()),
            ("trailing slash", slash, ()),
        ]
        for variant, sent, headers in variants:
            if variant != "plain" and sent == path and not headers:
                continue  # no letter to change
            ends = self._location(sent)
            if ends is None:
                continue
            uri = tidy(sent, merges_slashes=self.merges_slashes)
            expected = expected_at(self.judge, ends, uri)
            if isinstance(expected, Unknown):
                yield self.unprobed(ends, f"{variant}: {expected.reason}")
                continue
            yield Probe(
                str(endpoint.address),
                endpoint.port,
                socket.tls,
                socket.proxy_protocol,
                host,
                sent,
                headers,
                variant,
                expected.location.name,
                *self._where(expected.location),
                expected.kind,
                expected.statuses,
                bool(expected.location.passes()),
            )


def _candidates(location: Location) -> Iterator[str]:
    """Paths for which nginx may choose ``location``."""
    if location.key is None:
        yield from ("/wgcluster-probe", "/wgcluster/probe", "/")
        return
    if location.key.modifier in ("~", "~*"):
        lead = _prefix_of(location)
        for text in samples(location.key.pattern):
            for start in ("", lead, "/", f"{lead.rstrip('/')}/", "/x", f"{lead}x"):
                if hits(location.key.pattern, start + text, caseless=location.key.modifier == "~*"):
                    yield start + text
        return
    if not location.passes() and location.key.modifier != "=":
        # nginx answers 403 to everyone for a folder without an index, and 404 for a missing file.
        yield f"{location.key.pattern.rstrip('/')}/wgcluster-probe"
    # Where a regex takes the short path, a longer one may still end here.
    for end in ("", "/", "wgcluster-probe", "/wgcluster-probe", "/wgcluster/probe"):
        yield location.key.pattern + end


def _prefix_of(location: Location) -> str:
    """The path of the nearest prefix location around it."""
    parent = location.parent
    while parent is not None:
        if parent.key is not None and parent.key.modifier in ("", "^~"):
            return parent.key.pattern
        parent = parent.parent
    return ""


def _host(server: Directive, socket: Socket, sites: Sequence[GuardedSite]) -> str | None:
    """A host name for which nginx chooses ``server`` on ``socket``."""
    for name in _names(server, sites):
        if socket.chosen(name.lower()) is server:
            return name
    return None


def _names(server: Directive, sites: Sequence[GuardedSite]) -> Iterator[str]:
    for site in sites:
        name = site.server_name.partition(":")[0]
        if _PLAIN_HOST.fullmatch(name) and find_servers((server,), name):
            yield name
    for name in names_of(server):
        if name.startswith("~"):
            yield from (s for s in samples(name[1:]) if _PLAIN_HOST.fullmatch(s))
        elif name.startswith("*."):
            yield f"wgcluster-probe{name[1:]}"
        elif name.endswith(".*"):
            yield f"{name[:-1]}invalid"
        elif _PLAIN_HOST.fullmatch(name.removeprefix(".")):
            yield name.removeprefix(".")
    yield NOBODY


def _spoofing_headers(tree: Sequence[Directive], sites: Sequence[GuardedSite]) -> tuple[str, ...]:
    """Headers by which a denied client claims the address of an allowed one."""
    firsts = {network.version: network for site in sites for network in reversed(site.allow)}
    allowed = [str(next(iter(firsts[version].hosts()))) for version in sorted(firsts)] or ["127.0.0.1"]
    named = {d.args[0] for top in tree for d in top.walk() if d.name == "real_ip_header" and d.args}
    usual = ["X-Forwarded-For", "X-Real-IP"]
    lines = [f"{name}: {', '.join(allowed)}" for name in usual + sorted(named - {*usual, "proxy_protocol"})]
    elements = ", ".join(f'for="[{i}]"' if ":" in i else f"for={i}" for i in allowed)
    return (*lines, f"Forwarded: {elements}")


def denied_client_fault(probe: Probe, answer: Answer) -> str:
    """Why ``answer`` is wrong for a denied client; "" if it is right."""
    got = f"{answer.status}" if answer.status else "no answer"
    if probe.expected == "served":
        refused = answer.status == 0 or (answer.status == 403 and not _is_folder(probe))
        return f"{probe}: {got}, though it is public" if refused else ""
    if answer.status in probe.statuses:
        return ""
    right = " or ".join(str(status or "no answer") for status in sorted(probe.statuses))
    return f"{probe}: {got}, not {right}: location {probe.location} ({probe.file}:{probe.line}) is not hidden"


def allowed_client_fault(probe: Probe, answer: Answer, denied: Answer | None = None) -> str:
    """Why ``answer`` is wrong for an allowed client; "" if it is right.

    The service itself may answer 403. nginx's own 403 is recognized by its size.

    Args:
        denied: what a denied client got for the same probe; None: not known.
    """
    if probe.expected == "closed":
        return denied_client_fault(probe, answer)
    if answer.status == 0:
        return f"{probe}: no answer"
    refused = answer.status == 403 and (denied is None or answer == denied)
    if refused and (probe.proxied or (probe.expected == "served" and not _is_folder(probe))):
        return f"{probe}: 403 for a client on the list (location {probe.location}, {probe.file}:{probe.line})"
    return ""


def _is_folder(probe: Probe) -> bool:
    """Can nginx answer 403 to anyone here, as it does for a folder without an index?"""
    return not probe.proxied and probe.path.endswith("/")
