"""What a client that may not pass really gets at each place of a server, by any way that leads there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Literal

from ..plan import GuardedSite
from .access import Level
from .gate import Taint
from .phases import Phases
from .places import Place, climbs, sends_on
from .rewrite import ends, named_children, rewrites
from .subrequest import past_the_list
from .tree import Directive
from .verdict import NO_TRAIL, Trail, Verdict, worst

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

    _chosen: dict[Place, Place]  # reached because the service behind the other place says so

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
        verdict = self.meets(place, seen)
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

    @cached_property
    def _reached(self) -> dict[Place, str]:
        """Those that a denied client's request can be sent on to: "page" by an error_page, else "moved"."""
        self._chosen = {}
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
            come_by = self.tainted.get(place, frozenset())
            here = not place.internal or place in reached  # else it only ever says 404, before realip
            own = (
                frozenset(Taint(d, self._keeps_out(place)) for d in self.believed(place))
                if here
                else frozenset()
            )
            for target, how in self._ways_on(place, rewrites=here):
                for there in self._may_be(target, rewritten=how == "rewritten"):
                    if there is place:
                        continue
                    before = (self.tainted.get(there, frozenset()), reached.get(there))
                    taint = come_by if how in ("rewritten", "server") else come_by | own
                    self.tainted[there] = before[0] | taint
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
        doors = (p for p in self.places if self.is_public(p) and sends_on(p) and self.is_open(p))
        by = next((p for p in doors if any(end.how == "stays" for end in p.ends(self.known))), None)
        if by is None:
            return
        bodies = [self.server.body, *(body for p in self.places for body in p.bodies())]
        other = {d.args[-1] for body in bodies for d in body if d.name in _ASIDE and d.args}
        for place in self.places:
            aside = any(self.target(target) is place for target in other)
            closed = (place.named or place.internal) and not self.is_public(place)
            if closed and place not in reached and not aside:
                reached[place], self._chosen[place] = "moved", by

    def _keeps_out(self, place: Place) -> tuple[Directive, ...] | None:
        """The list that kept everyone out that an error_page sends on from there; None: it may be others."""
        level = place.level
        plain = all(checker.name == "auth_basic" for checker in level.auth)
        bodies = list(place.bodies())
        only = plain and not level.intercepts and not level.limits and len(bodies) == 1 and place.passes()
        listed = {code for page in level.error_pages for code in page.args[:-1]}
        return level.rules if only and listed <= {"403", "418"} else None

    def _may_be(self, target: str, *, rewritten: bool) -> list[Place]:
        """The place that ``target`` leads to; where a variable names it, all hidden ones that it may name."""
        there = self.target(target, rewritten=rewritten)
        found = [] if there is None else [there]
        lead, variable, _ = target.partition("?")[0].partition("$")
        if not variable or target.startswith("@"):
            return found
        leads = [(place, place.paths().lead) for place in self.places if place.internal and not place.named]
        return found + [p for p, own in leads if own.startswith(lead) or lead.startswith(own)]

    def _ways_on(self, place: Place, *, rewrites: bool) -> Iterable[tuple[str, str]]:
        entered = self.let_in(place, place.level, NO_TRAIL) is not None
        opened = entered or self.meets(place, NO_TRAIL).kind == "leaks"
        # What a server behind answers has no error_page unless nginx is told so.
        intercepts = any(d.args == ("on",) for d in place.level.intercepts)
        tries = bool(named_children(place.directive.body, "try_files"))
        own_pages = intercepts or tries or not place.passes()
        onward = place.ends(self.known)
        codes = _OWN | {end.code for end in onward}
        bodies = [place.level.error_pages, *(named_children(b, "error_page") for b in place.bodies())]
        for page in {d for pages in bodies for d in pages}:
            *listed, target = page.args or ("",)
            early = codes | ({"404"} if place.internal else set())
            if place.level.limits:  # of the phase before the list
                early = early | {status for d in place.level.limit_statuses for status in d.args}
            if set(listed) & early or (opened and (own_pages or set(listed) & _GATEWAY)):
                yield target, "page" if target.startswith("/") and "$" not in target else "moved"
        if rewrites:
            yield from ((end.target, "rewritten") for end in onward if end.how == "moved")
            at_server = ends(self.server.body, place.paths(), self.known, in_server=True)
            yield from ((end.target, "server") for end in at_server if end.how == "moved")
        for body in (*place.bodies(), self.server.body):
            for child in body:
                if opened and child.name == "try_files" and child.args:
                    yield child.args[-1], "moved"


def _returned_codes(directives: Iterable[Directive]) -> set[str]:
    return {d.args[0] for d in directives if d.name == "return" and d.args}


def _with_ifs(body: Sequence[Directive]) -> Iterator[Directive]:
    """The directives of a body and those in an ``if`` in it."""
    for directive in body:
        yield directive
        if directive.name == "if":
            yield from directive.body
