"""Ways to what is guarded that bypass its location: other servers, other folders, other spellings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from wgcluster.nginx.audit.asks import Asks, asks
from wgcluster.nginx.audit.caches import Caches
from wgcluster.nginx.audit.folders import served_by
from wgcluster.nginx.audit.judge import ServerJudge
from wgcluster.nginx.audit.selfproxy import SelfProxies
from wgcluster.nginx.audit.subrequest import fetches
from wgcluster.nginx.audit.targets import Folders, Served, Target, opened_at, targets_at
from wgcluster.nginx.audit.verdict import Verdict
from wgcluster.nginx.config.context import Context
from wgcluster.nginx.config.find import names_of
from wgcluster.nginx.config.locations import Location, resolve
from wgcluster.nginx.config.pcre import samples
from wgcluster.nginx.config.upstreams import Routing, StreamServer, values_at
from wgcluster.nginx.syntax.tree import Directive


def is_plain(place: Location) -> bool:
    """Is its location named by the beginning of a path?"""
    return place.key is None or place.key.modifier in ("", "^~", "=")


class Bypasses:
    """What is guarded on a host, for others to be held against."""

    def __init__(self, routing: Routing, own: SelfProxies, contexts: Mapping[Directive, Context]) -> None:
        self.routing = routing
        self.own = own
        self.contexts = contexts  # of each server
        self.caches = Caches(routing)
        self.hidden = Served()
        self.shown = Folders()
        self.inner: dict[Directive, ServerJudge] = {}  # what guarded places pass on to, by the guarded server

    def of_public(
        self, judge: ServerJudge, place: Location, hidden: Mapping[Location, set[Target]]
    ) -> Verdict | None:
        """The leak of a place declared public; ``hidden``: the guarded places of its server."""
        if not judge.passes_rewrites(place):
            return None  # its own answer is all that it gives
        plain = {p: found for p, found in hidden.items() if is_plain(p)}
        return (
            self._shows_too_much(judge, place, plain)
            or self._asks_too_much(judge, place, hidden)
            or self._unmerged(judge, place, hidden)
            or self.own.by_proxy(place, judge.server)
            or self.caches.leak(judge, place)
        )

    def follow(self, place: Location, judge: ServerJudge, others: Mapping[Directive, ServerJudge]) -> None:
        """What a guarded place passes on to may be another server of this nginx: what that has is guarded."""
        work = [(place, judge.server)]
        while work:
            for server in self.own.passed_on_to(*work.pop()):
                if server in others and server not in self.inner:
                    self.inner[server] = judge
                    self.hidden.add(Target("address", a) for a in self.routing.addresses_of(server))
                    for inside in others[server].places:
                        self.hidden.add(targets_at(inside, server, self.routing))
                        work.append((inside, server))

    def also_hidden(self, judge: ServerJudge) -> list[Location]:
        """The places of another server that have lists of their own and serve what a guarded one serves."""
        return [
            place
            for place, verdict in judge.verdicts()
            if verdict.kind == "guarded"
            and not (place.internal or place.named)
            and self.hidden.shares(targets_at(place, judge.server, self.routing)) is not None
        ]

    def of_other(self, judge: ServerJudge) -> Iterator[tuple[Location, Verdict]]:
        """The leaks of a server that is nobody's site: it serves what a guarded one serves, to anyone."""
        server = judge.server
        if server in self.inner and server not in self.routing.reachable:
            return
        verdicts = judge.verdicts()
        fetched = [
            fetch for place, verdict in verdicts if verdict.kind == "leaks" for fetch in fetches(place)
        ]
        for place, verdict in verdicts:
            by = [f for f in fetched if f.unseen or (f.uri and judge.target(f.uri) is place)]
            if verdict.kind != "leaks" and not by:
                continue
            if server in self.inner:
                name = " ".join(names_of(self.inner[server].server))
                reason = f"this server is not guarded, and {name} passes on to it what it guards"
                remedy = 'guard this server, too, or have it "listen" on 127.0.0.1 alone'
                yield place, Verdict("leaks", reason, remedy)
                continue
            common = self.hidden.shares(
                opened_at(place, server, self.routing),
                self.shown,
                lambda host: self.routing.answers(server, host),
            )
            if common is not None:
                reason = f"this server is not guarded and serves {common} of a guarded site"
                if verdict.kind != "leaks":
                    reason += f": {by[0].directive.name} may fetch it from here past every list"
                yield place, Verdict("leaks", reason, "guard this server, too, or take its location out")
            elif verdict.kind == "leaks":
                leak = self.own.by_proxy(place, server) or self.caches.leak(judge, place)
                if leak is not None:
                    yield place, leak

    def of_stream(self, stream: StreamServer) -> Verdict | None:
        """The leak of a stream server that lets anyone in."""
        passed = {Target("address", self.routing.normalized(a)) for a in stream.addresses}
        common = self.hidden.shares(passed)
        if common is None:
            return self.own.by_stream(stream)
        reason = f"a stream server without the list passes on {common} of a guarded site"
        return Verdict("leaks", reason, "guard it with allow and deny, or take it out")

    def _unmerged(
        self, judge: ServerJudge, place: Location, hidden: Mapping[Location, set[Target]]
    ) -> Verdict | None:
        """The leak of a public place to which "//admin" goes, and what serves it takes that for "/admin"."""
        off = self._splits_slashes(judge)
        if off is None:
            return None
        mine = targets_at(place, judge.server, self.routing)
        for other, targets in hidden.items():
            for path in _paths_of(other):
                doubled = (f"{path[:i]}/{path[i:]}" for i, letter in enumerate(path) if letter == "/")
                found = next((uri for uri in doubled if resolve(judge.outer, uri) is place), None)
                if found is not None and Served(targets).shares(mine) is not None:
                    reason = (
                        f"public, and with merge_slashes off {found} comes here instead of to {other.name}"
                    )
                    return Verdict("leaks", reason, 'take "merge_slashes off;" out', off)
        return None

    def _shows_too_much(
        self, judge: ServerJudge, place: Location, hidden: Mapping[Location, set[Target]]
    ) -> Verdict | None:
        """The leak of a public place whose folder holds what is guarded under another path."""
        values = values_at(place, judge.server, self.routing)
        for other, targets in hidden.items():
            one_file = other.key is not None and other.key.modifier == "=" and other.key.pattern[-1:] != "/"
            for target in sorted(t for t in targets if t.kind == "files"):
                uri = served_by(place, judge.outer, target.where, values, one_file=one_file)
                if uri is not None:
                    reason = f"public, and serves {target}, which are guarded elsewhere, under {uri}"
                    return Verdict("leaks", reason, "give it a folder of its own", place.context.root)
        return None

    def _asks_too_much(
        self, judge: ServerJudge, place: Location, hidden: Iterable[Location]
    ) -> Verdict | None:
        """The leak of a public place that asks the service of a guarded one for paths which that guards."""
        mine = list(asks(place, judge.server, self.routing))
        theirs = (ask for other in hidden for ask in asks(other, judge.server, self.routing)) if mine else ()
        for hidden_ask in theirs:
            for ask in mine:
                if ask.address != hidden_ask.address:
                    continue
                for wanted in _paths_asked(hidden_ask):
                    asked = f"{ask.uri}{wanted.removeprefix(ask.lead)}"
                    if place.key is not None and place.key.modifier == "=":  # it asks for one path alone
                        found = ask.lead == hidden_ask.lead != ask.uri
                    else:
                        own = place if not ask.uri else resolve(judge.outer, asked)
                        found = wanted.startswith(ask.lead) and own is place
                    if found:
                        how = asked.removesuffix(_PROBE) if ask.uri else "what becomes of its paths"
                        wanted = wanted.removesuffix(_PROBE)
                        reason = f"public, and {how} asks {ask.address} for {wanted}"
                        reason += f", as {hidden_ask.place.name} does"
                        remedy = "pass the path on as it is, or one that holds only what is public"
                        return Verdict("leaks", reason, remedy, ask.directive)
        return None

    def _splits_slashes(self, judge: ServerJudge) -> Directive | None:
        """The ``merge_slashes off`` in effect for it: paths are read before the host name is chosen."""
        mine = self.routing.sockets_by_server.get(judge.server, ())
        reading = [judge.server if socket.tls else socket.first for socket in mine] or [judge.server]
        return next((off for s in reading if (off := self.contexts[s].splits_slashes) is not None), None)


def _paths_of(place: Location) -> Sequence[str]:
    """Paths for which its server chooses ``place``, or may."""
    if place.key is None or place.named:
        return ()
    if is_plain(place):
        return (place.key.pattern,)
    return [path for path in samples(place.key.pattern) if path.startswith("/")]


_PROBE = "/wgcluster-probe"


def _paths_asked(ask: Asks) -> Sequence[str]:
    """Paths that the service is asked for so."""
    key = ask.place.key
    if key is None or key.modifier in ("", "^~") or ask.lead != ask.uri:
        return (ask.lead,) if key is not None and key.modifier == "=" else (ask.lead.rstrip("/") + _PROBE,)
    return (key.pattern,) if key.modifier == "=" else _paths_of(ask.place)
