"""Cache zones: what a friend has been served from a guarded place may lie there for others.

A zone is looked into by its key alone (ngx_http_file_cache_open), whoever asks: two places that share one
are told apart by what their keys hold, or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from wgcluster.nginx.audit.judge import ServerJudge
from wgcluster.nginx.audit.verdict import Verdict
from wgcluster.nginx.config.find import names_of
from wgcluster.nginx.config.locations import Location, is_page
from wgcluster.nginx.config.rewrite import is_varied, rewrites
from wgcluster.nginx.config.upstreams import Routing
from wgcluster.nginx.syntax.tree import Directive

_DEFAULT = {"proxy": "$scheme$proxy_host$request_uri"}  # the others have none
_HOST_OF_URL = re.compile(r"\w+://([^/?]*)")
# Behind these a path begins, so that no two keys are alike whose hosts differ.
_BEFORE = r"(?:\$scheme|\$request_method|[-_:|/.])*"
_BY_UPSTREAM = re.compile(rf"{_BEFORE}\$proxy_host\$(?:request_uri|uri|document_uri)\b.*")
_BY_HOST = re.compile(rf"{_BEFORE}\$(?P<name>host|server_name)\$(?:request_uri|uri|document_uri)\b.*")
_BY_PATH = re.compile(
    rf"{_BEFORE}(?:\$(?:host|http_host|server_name|proxy_host))?\$(?:request_uri|uri|document_uri)\b.*"
)
_BRACES = re.compile(r"\$\{(\w+)\}")


class Cached(NamedTuple):
    """What answers at ``place`` is kept in a zone."""

    judge: ServerJudge
    place: Location
    module: str
    zone: str  # with variables: any
    key: str
    upstream: str  # as it is written

    def __str__(self) -> str:
        return f"{self.module}_cache {self.zone}"


def cached_at(judge: ServerJudge, place: Location) -> Iterator[Cached]:
    """By each of the ways on from ``place``."""
    said = {d.name: d.args[0] for d in place.context.caches if d.args}
    for directive in place.passes():
        module = directive.name.removesuffix("_pass")
        if (zone := said.get(f"{module}_cache", "off")) != "off":
            key = _BRACES.sub(r"$\1", said.get(f"{module}_cache_key", _DEFAULT.get(module, "")))
            url = _HOST_OF_URL.match(directive.args[0]) if directive.args else None
            yield Cached(judge, place, module, zone, key, url[1] if url else "$")


class Caches:
    """What lies in the zones of guarded places."""

    def __init__(self, routing: Routing) -> None:
        self.routing = routing
        self.secrets: list[Cached] = []

    def add(self, judge: ServerJudge, places: Iterable[Location]) -> None:
        """Guarded ones."""
        self.secrets += (kept for p in places if not judge.answers_nobody(p) for kept in cached_at(judge, p))

    def leak(self, judge: ServerJudge, place: Location, *, guarded: bool = False) -> Verdict | None:
        """The leak of a ``place`` where others come, or anyone if it is not ``guarded``."""
        for mine in cached_at(judge, place) if self.secrets else ():
            for secret in self.secrets:
                friends = set(judge.allowed_at(place)) <= set(secret.judge.allowed_at(secret.place))
                if (guarded and friends) or not self._meet(mine, secret):
                    continue
                name = " ".join(names_of(secret.judge.server)) or "_"
                reason = f"it shares {secret} with {secret.place.name} of {name}, which is guarded, and may"
                reason += f" serve what was kept there, by its key {mine.key}"
                remedy = f'give it a zone of its own, or write "{mine.module}_cache off;" into it'
                return Verdict("leaks", reason, remedy)
        return None

    def _meet(self, mine: Cached, secret: Cached) -> bool:
        """May what is kept at ``secret`` be found by what ``mine`` looks for?"""
        if secret.module != mine.module or secret.place is mine.place:
            return False
        shared = mine.zone == secret.zone or "$" in mine.zone + secret.zone
        return shared and not self._told_apart(mine, secret)

    def _told_apart(self, mine: Cached, secret: Cached) -> bool:
        """Is no key of the one ever one of the other?"""
        if mine.key != secret.key:
            return False
        both = (mine.upstream, secret.upstream)
        if _BY_UPSTREAM.fullmatch(mine.key) and not any("$" in url for url in both) and both[0] != both[1]:
            return True
        if mine.judge is secret.judge:
            return _by_path(mine, secret)
        by_host = _BY_HOST.fullmatch(mine.key)
        servers = mine.judge.server, secret.judge.server
        if by_host is None:
            return False
        if by_host["name"] == "server_name":
            return names_of(servers[0])[0] != names_of(servers[1])[0]
        hosts, hidden = map(self.routing.hosts_of, servers)
        theirs = names_of(servers[1])
        if hosts is not None:
            return hosts.isdisjoint(theirs)
        return hidden is not None and not any(self.routing.answers(servers[0], name) for name in theirs)


def _by_path(mine: Cached, secret: Cached) -> bool:
    """Are two places of a server told apart by the path that was asked for?

    So it is if nothing brings a request for one of them to the other.
    """
    judge = mine.judge
    directives = list(judge.server.walk())
    if _BY_PATH.fullmatch(mine.key) is None:
        return False
    sent_to = _sent_to(judge, [*judge.context.error_pages, *directives])
    own = [d for body in mine.place.bodies() for d in body]
    goes_on = _sent_to(judge, [*mine.place.context.error_pages, *own])
    return mine.place not in sent_to and not (goes_on and secret.place in sent_to)


def _sent_to(judge: ServerJudge, directives: Sequence[Directive]) -> set[Location]:
    """The places that ``error_page``, ``try_files`` and rewrites name, but for files of error pages."""
    found: set[Location] = set()
    for directive in directives:
        how = rewrites(directive) if directive.name == "rewrite" else directive.name
        if how in ("error_page", "try_files", "break", "last") and directive.args:
            target = directive.args[1] if directive.name == "rewrite" else directive.args[-1]
            there = judge.landings(target) if is_varied(target) else [judge.target(target, rewritten=True)]
            pages = how == "error_page"
            found.update(p for p in there if p is not None and not (pages and is_page(p, target)))
    return found
