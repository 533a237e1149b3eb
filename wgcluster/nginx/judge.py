"""What a client that may not pass really gets at each place of a server, by any way that leads there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Literal, NamedTuple

from ..plan import GuardedSite
from .access import Level
from .gate import Taint
from .phases import Phases
from .places import Place, climbs, sends_on
from .rewrite import ANY, Paths, ends, handed_on, named_children
from .subrequest import past_the_list
from .tree import Directive
from .verdict import NO_TRAIL, Trail, Verdict, worst

_ASIDE = frozenset({"error_page", "auth_request", "mirror"})
# Codes of requests that nginx cannot read, or not so: it says them before it looks for a location.
_EARLY = frozenset({"400", "405", "408", "414", "421", "494", "495", "496", "497", "501", "505"})
# All that it says of its own until the list has been asked; another code is that of a "return" or a service.
_OWN = _EARLY | {"301", "403", "411", "412", "413", "415", "500", "503"}

_GATEWAY = frozenset({"401", "502", "504"})  # of its own in front of a server behind


class Way(NamedTuple):
    """Where a place sends requests on to."""

    target: str
    how: Literal["page", "moved", "rewritten", "server"]
    denied_by: tuple[Directive, ...] | None = None  # the list that has kept all of them out
    believed: bool = True  # may realip have worked there?


def closing(server: Directive, sites: Sequence[GuardedSite]) -> Literal["", "server", "locations"]:
    """Does the server only redirect or refuse, but for what is public (the port 80 of many sites)?

    "server": by a ``return`` of its own, before any location is looked for; "locations": by those of all its
    locations; "": it has something to guard.
    """
    judge = ServerJudge(server, Level(), sites)
    if judge.server_answer is not None:
        return "server" if judge.server_answer.kind == "closed" else ""
    kinds = {verdict.kind for _, verdict in judge.verdicts()}
    return "locations" if "closed" in kinds and kinds <= {"closed", "public"} else ""


class ServerJudge(Phases):
    """The verdicts on one server block, for clients that are in none of the sites' ``allow``."""

    _chosen: dict[Place, list[Place]]  # reached because the services behind the other places may say so
    _come_for: dict[Place, frozenset[Paths]]  # the paths of the requests that are sent on to a place

    def verdicts(self) -> list[tuple[Place, Verdict]]:
        """Each place with its verdict, in the order of the text."""
        return [(place, self.verdict(place)) for place in self.places]

    def verdict(self, place: Place) -> Verdict:
        """What a denied client gets at ``place``, by any way that leads there."""
        if self.server_answer is not None:
            return self.server_answer
        if place.named:
            return self._verdict_at(place, NO_TRAIL)
        found = []
        for end, verdict in self.at_server(place):
            if verdict is None:
                verdict = self._verdict_at(place, NO_TRAIL._replace(known=end.known))
            elif end.how == "moved" and self.is_public(place):
                verdict = self._public(place, verdict)
            found.append(verdict)
        return worst(found)

    def _verdict_at(self, place: Place, seen: Trail) -> Verdict:
        """Of what the server's own rewrites leave alone."""
        reached = self._reached
        if place.named and place not in reached:
            return Verdict("guarded", "a named location that is only reached behind a list")
        if place.internal and (refused := self.refused(place.level, seen, "404")).kind == "leaks":
            return refused
        if place.internal and reached.get(place, "page") == "page" and not place.passes():
            return Verdict("guarded", "internal: no request from outside ends here, but for an error page")
        if place.internal and place not in reached:
            return Verdict("guarded", "internal: no request from outside ends here")
        doors = self._chosen.get(place, ())
        verdict = (
            worst(self._sent_by(door, place, seen) for door in doors) if doors else self.meets(place, seen)
        )
        return self._public(place, verdict) if self.is_public(place) else verdict

    def _sent_by(self, door: Place, place: Place, seen: Trail) -> Verdict:
        """What answers at the public ``door`` sends a request that was let in there on to ``place``."""
        seen = seen._replace(got=not place.named)  # X-Accel-Redirect makes it a GET
        if door.level.any_will_do is None and not named_children(door.directive.body, "limit_except"):
            seen = seen.asked(door.level.rules, let_in=True)
        verdict = self.meets(place, seen)
        if verdict.kind != "leaks":
            return verdict
        return verdict._replace(reason=f"what answers at {door.name} may send on to it: {verdict.reason}")

    def _public(self, place: Place, verdict: Verdict) -> Verdict:
        if verdict.kind == "guarded":
            return Verdict("guarded", "declared public, but a list is in effect here and denies")
        if verdict.kind == "leaks" and place.key and self.let_in(place, place.level, NO_TRAIL) is None:
            return verdict  # the list denies, and the answer to that is more than was declared public
        if (fetched := past_the_list(place, self._is_public_uri)) is not None:
            return fetched
        if (above := climbs(place)) is not None:
            path = place.key.pattern if place.key else ""
            reason = f'public, and "{path}../" reaches what lies beside its folder'
            return Verdict("leaks", reason, 'end both the location and its alias in "/", or neither', above)
        closed = f"; {verdict.reason}" if verdict.kind == "closed" else ""
        return Verdict("public", f"declared public{closed}")

    def _is_public_uri(self, uri: str) -> bool:
        there = self.target(uri)
        return there is not None and self.is_public(there)

    # Which named and internal locations strangers can come to ---------------------------------------

    @cached_property
    def _reached(self) -> dict[Place, str]:
        """Those that a denied client's request can be sent on to: "page" by an error_page, else "moved"."""
        self._chosen = {}
        self._come_for = {}
        reached: dict[Place, str] = {}
        for end in ends(self.server.body, known=self.known, in_server=True):
            # A rewrite in the server makes a request an internal one.
            moved = self._may_be(end.target, rewritten=True) if end.how == "moved" else []
            reached |= {place: "moved" for place in moved if place.internal}
        early = _EARLY | _returned_codes(_with_ifs(self.server.body))
        for page in self.level.error_pages:  # those of the server, whatever its locations have instead
            paged = self.target(page.args[-1]) if early & set(page.args[:-1]) else None
            if paged is not None and (paged.named or paged.internal):
                self._come_for[paged] = frozenset({ANY})
                reached[paged] = "page" if page.args[-1].startswith("/") else "moved"
        work = [p for p in self.places if not p.named or p in reached]
        while work:
            self._go_on_from(work, reached)
            work = self._choose(reached)
        return reached

    def _go_on_from(self, work: list[Place], reached: dict[Place, str]) -> None:
        """Add to ``reached`` where these places, and those that they lead to, send requests on to."""
        while work:
            place = work.pop()
            if place.internal and place not in reached and not place.level.error_pages:
                continue
            come_by = self.tainted.get(place, frozenset())
            here = not place.internal or place in reached  # else it only ever says 404, before realip
            own = self.believed(place) if here else ()
            for way in self._ways_on(place, rewrites=here):
                for there in self._may_be(way.target, rewritten=way.how == "rewritten"):
                    if there is place:
                        continue
                    before = (self.tainted.get(there), reached.get(there), self._come_for.get(there))
                    known = self._come_for.get(place, frozenset({ANY})) if place.named else {place.paths()}
                    self._come_for[there] = self._come_for.get(there, frozenset()) | known
                    taint = come_by
                    if way.believed:
                        taint |= {Taint(directive, way.denied_by) for directive in own}
                    self.tainted[there] = self.tainted.get(there, frozenset()) | taint
                    if (there.named or there.internal) and before[1] != "moved":
                        reached[there] = "page" if way.how == "page" else "moved"
                    # It only grows, so it ends.
                    if before != (self.tainted[there], reached.get(there), self._come_for[there]):
                        work.append(there)

    def _choose(self, reached: dict[Place, str]) -> list[Place]:
        """Add where the service behind a public place may send a request: X-Accel-Redirect, ngx.exec, index.

        Not what is there for something else: pages of errors, and what auth_request and mirror ask. Those
        that it has added, or knows more ways to, are to be gone on from.
        """

        def answers(door: Place) -> bool:
            asked = self._come_for.get(door, (ANY,)) if door.named else (door.paths(),)
            return any(end.how == "stays" for paths in asked for end in door.ends(self.known, paths))

        come_to = (p for p in self.places if p in reached or not (p.named or p.internal))
        doors = [p for p in come_to if self.is_public(p) and sends_on(p) and self.is_open(p) and answers(p)]
        if not doors:
            return []
        taint = frozenset(Taint(directive, None) for door in doors for directive in self.believed(door))
        taint = taint.union(*(self.tainted.get(door, frozenset()) for door in doors))
        bodies = [self.server.body, *(body for p in self.places for body in p.bodies())]
        other = {d.args[-1] for body in bodies for d in body if d.name in _ASIDE and d.args}
        added = []
        for place in self.places:
            aside = any(self.target(target) is place for target in other)
            closed = (place.named or place.internal) and not self.is_public(place)
            if closed and not aside and (place not in reached or self._chosen.get(place, doors) != doors):
                reached[place], self._chosen[place] = "moved", doors
                self.tainted[place] = self.tainted.get(place, frozenset()) | taint
                added.append(place)
        return added

    def _may_be(self, target: str, *, rewritten: bool) -> list[Place]:
        """The place that ``target`` leads to; where a variable names it, all hidden ones that it may name."""
        there = self.target(target, rewritten=rewritten)
        found = [] if there is None else [there]
        lead, variable, _ = target.partition("?")[0].partition("$")
        if not variable or target.startswith("@"):
            return found
        leads = [(place, place.paths().lead) for place in self.places if place.internal and not place.named]
        return found + [p for p, own in leads if own.startswith(lead) or lead.startswith(own)]

    def _server_lets(self, target: str) -> bool:
        """Does an internal request for the URI ``target`` get through the server's own rewrites?"""
        path, variable, _ = target.partition("?")[0].partition("$")
        known = NO_TRAIL._replace(known=self.known).on_to(target).known
        onward = ends(self.server.body, Paths(path, whole=not variable), known, in_server=True)
        return any(end.how in ("moved", "stays") for end in onward)

    def _pages_of(self, place: Place) -> list[Sequence[Directive]]:
        return [place.level.error_pages, *(named_children(b, "error_page") for b in place.bodies())]

    def _ways_on(self, place: Place, *, rewrites: bool) -> Iterator[Way]:
        level, body = place.level, place.directive.body
        entered = self.let_in(place, level, NO_TRAIL) is not None
        opened = entered or self.meets(place, NO_TRAIL).kind == "leaks"
        # What a server behind answers has no error_page unless nginx is told so.
        intercepts = any(d.args == ("on",) for d in level.intercepts)
        elsewhere = named_children(body, "if") or named_children(body, "limit_except")  # without try_files
        handed = handed_on(body) is not None and not elsewhere
        tries = bool(named_children(body, "try_files"))
        own_pages = intercepts or not (handed or (place.passes() and not tries))
        onward = place.ends(self.known)
        # Said before realip works; a directory that wants a slash is found out behind it.
        before = _EARLY | {end.code for end in onward} | (set() if own_pages else {"301"})
        before |= {"404"} if place.internal else set()
        limits = {status for d in level.limit_statuses for status in d.args} if level.limits else set()
        levels = [level, *(level.enter(child.body) for child in named_children(body, "limit_except"))]
        # Where only a list says 403, who comes by its page was kept out by it.
        by_list = not (own_pages or "403" in limits) and all(
            checker.name == "auth_basic" for each in levels for checker in each.auth
        )
        denying = [each.rules for each in levels if _denies(each)] if by_list else [None]
        for page in {d for pages in self._pages_of(place) for d in pages}:
            *listed, target = page.args or ("",)
            how: Literal["page", "moved"] = (
                "page" if target.startswith("/") and "$" not in target else "moved"
            )
            if how == "page" and not self._server_lets(target):
                continue
            # All that one says that nobody comes to is 404.
            codes = set(listed) if rewrites else set(listed) & {"404"}
            if codes & before:
                yield Way(target, how, believed=False)
            later = (codes if own_pages else codes & _GATEWAY) if opened else set()
            if (codes & (_OWN - before - {"403"} | limits)) | later:
                yield Way(target, how)
            if "403" in codes:
                yield from (Way(target, how, rules) for rules in denying)
        if rewrites:
            yield from (Way(end.target, "rewritten", believed=False) for end in onward if end.how == "moved")
            at_server = ends(self.server.body, place.paths(), self.known, in_server=True)
            yield from (Way(end.target, "server", believed=False) for end in at_server if end.how == "moved")
        for directives in (*place.bodies(), self.server.body):
            for child in directives:
                if opened and child.name == "try_files" and child.args:
                    yield Way(child.args[-1], "moved")


def _denies(level: Level) -> bool:
    """May its list say 403? With "satisfy any" the last word is that of the password: 401."""
    return any(rule.name == "deny" for rule in level.rules) and level.any_will_do is None


def _returned_codes(directives: Iterable[Directive]) -> set[str]:
    return {d.args[0] for d in directives if d.name == "return" and d.args}


def _with_ifs(body: Sequence[Directive]) -> Iterator[Directive]:
    """The directives of a body and those in an ``if`` in it."""
    for directive in body:
        yield directive
        if directive.name == "if":
            yield from directive.body
