"""What a client that may not pass really gets at each place of a server, by any way that leads there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from ..plan import GuardedSite
from ..prefixes import Network
from .access import Level
from .phases import Phases
from .places import Place, climbs, sends_on
from .rewrite import named_children, rewrites
from .subrequest import past_the_list
from .tree import Directive
from .verdict import NO_TRAIL, Verdict

_ASIDE = frozenset({"error_page", "auth_request", "mirror"})
# Codes of requests that nginx cannot read, or not so: it says them before it looks for a location.
_EARLY = frozenset({"400", "405", "408", "414", "421", "494", "495", "496", "497", "501", "505"})
# All that it says of its own until the list has been asked; another code is that of a "return" or a service.
_OWN = _EARLY | {"301", "403", "411", "412", "413", "415", "500", "503"}

_GATEWAY = frozenset({"401", "502", "504"})  # of its own in front of a server behind


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

    def __init__(
        self, server: Directive, http: Level, sites: Sequence[GuardedSite], allowed: Sequence[Network] = ()
    ) -> None:
        super().__init__(server, http, sites, allowed)
        self._chosen: dict[Place, Place] = {}  # reached because the service behind the other place says so
        self._reached = self._find_reached()

    def verdicts(self) -> list[tuple[Place, Verdict]]:
        """Each place with its verdict, in the order of the text."""
        return [(place, self.verdict(place)) for place in self.places]

    def verdict(self, place: Place) -> Verdict:
        """What a denied client gets at ``place``, by any way that leads there."""
        if self.server_answer is not None:
            return self.server_answer
        if self.server_move is not None and not place.named:
            verdict = self.follow(self.server_move, NO_TRAIL, f"the server rewrites to {self.server_move}")
            return self._public(place, verdict) if self.is_public(place) else verdict
        if not place.named and (leak := self.sent_elsewhere(self.server.body, place, NO_TRAIL)) is not None:
            return leak
        if place.named and place not in self._reached:
            return Verdict("guarded", "a named location that is only reached behind a list")
        if place.internal and (refused := self.refused(place, NO_TRAIL, "404")).kind == "leaks":
            return refused
        if place.internal and self._reached.get(place, "page") == "page" and not place.passes():
            return Verdict("guarded", "internal: no request from outside ends here, but for an error page")
        if place.internal and place not in self._reached:
            return Verdict("guarded", "internal: no request from outside ends here")
        verdict = self.meets(place, NO_TRAIL)
        if verdict.kind == "leaks" and (by := self._chosen.get(place)) is not None:
            verdict = verdict._replace(
                reason=f"what answers at {by.name} may send on to it: {verdict.reason}"
            )
        return self._public(place, verdict) if self.is_public(place) else verdict

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

    def _find_reached(self) -> dict[Place, str]:
        """Those that a denied client's request can be sent on to: "page" by an error_page, else "moved"."""
        reached: dict[Place, str] = {}
        if any(rewrites(d) in ("last", "break") for d in _with_ifs(self.server.body)):
            # A rewrite in the server makes a request an internal one.
            reached |= {place: "moved" for place in self.places if place.internal}
        early = _EARLY | _returned_codes(_with_ifs(self.server.body))
        for page in self.level.error_pages:  # those of the server, whatever its locations have instead
            there = self.target(page.args[-1]) if early & set(page.args[:-1]) else None
            if there is not None and (there.named or there.internal):
                reached[there] = "page" if page.args[-1].startswith("/") else "moved"
        work = [p for p in self.places if not p.named or p in reached]
        while work:
            place = work.pop()
            if place.internal and place not in reached and not place.level.error_pages:
                continue
            taint = self.tainted.get(place, frozenset()) | frozenset(self.believed(place))
            for target, how in self._ways_on(place):
                there = self.target(target, rewritten=how == "rewritten")
                if there is None or there is place:
                    continue
                before = (self.tainted.get(there, frozenset()), reached.get(there))
                self.tainted[there] = before[0] | (frozenset() if how == "server" else taint)
                if (there.named or there.internal) and before[1] != "moved":
                    reached[there] = "page" if how == "page" else "moved"
                if before != (self.tainted[there], reached.get(there)):  # it only ever grows
                    work.append(there)
        self._choose(reached)
        return reached

    def _choose(self, reached: dict[Place, str]) -> None:
        """Add where the service behind a public place may send a request: X-Accel-Redirect, ngx.exec, index.

        Not what is there for something else: pages of errors, and what auth_request and mirror ask.
        """
        by = next((p for p in self.places if self.is_public(p) and sends_on(p) and self.is_open(p)), None)
        if by is None:
            return
        bodies = [self.server.body, *(body for p in self.places for body in p.bodies())]
        other = {d.args[-1] for body in bodies for d in body if d.name in _ASIDE and d.args}
        for place in self.places:
            aside = any(self.target(target) is place for target in other)
            closed = (place.named or place.internal) and not self.is_public(place)
            if closed and place not in reached and not aside:
                reached[place], self._chosen[place] = "moved", by

    def _ways_on(self, place: Place) -> Iterable[tuple[str, str]]:
        entered = self.let_in(place, place.level, NO_TRAIL) is not None
        opened = entered or self.meets(place, NO_TRAIL).kind == "leaks"
        from_outside = not place.internal
        # What a server behind answers has no error_page unless nginx is told so.
        intercepts = any(d.args == ("on",) for d in place.level.intercepts)
        tries = bool(named_children(place.directive.body, "try_files"))
        own_pages = intercepts or tries or not place.passes()
        codes = _OWN | _returned_codes(d for body in place.bodies() for d in body)
        bodies = [place.level.error_pages, *(named_children(b, "error_page") for b in place.bodies())]
        for page in {d for pages in bodies for d in pages}:
            *listed, target = page.args or ("",)
            early = codes | ({"404"} if place.internal else set())
            if place.level.limits:  # of the phase before the list
                early = early | {status for d in place.level.limit_statuses for status in d.args}
            if set(listed) & early or (opened and (own_pages or set(listed) & _GATEWAY)):
                yield target, "page" if target.startswith("/") and "$" not in target else "moved"
        for body in (*place.bodies(), self.server.body):
            for child in body:
                if from_outside and child.name == "rewrite" and rewrites(child) == "last":
                    yield child.args[1], "rewritten" if body is not self.server.body else "server"
                elif opened and child.name == "try_files" and child.args:
                    yield child.args[-1], "moved"


def _returned_codes(directives: Iterable[Directive]) -> set[str]:
    return {d.args[0] for d in directives if d.name == "return" and d.args}


def _with_ifs(body: Sequence[Directive]) -> Iterator[Directive]:
    """The directives of a body and those in an ``if`` in it."""
    for directive in body:
        yield directive
        if directive.name == "if":
            yield from directive.body
