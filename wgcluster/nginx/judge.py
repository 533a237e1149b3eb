"""What a client that may not pass really gets at each place of a server, by any way that leads there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from ..plan import GuardedSite
from .access import Level
from .places import Place, climbs, is_page
from .rewrite import named_children
from .subrequest import past_the_list
from .tree import Directive
from .verdict import GET, NO_TRAIL, Taint, Trail, Verdict, worst
from .ways import Ways


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


def _in_order(taint: Taint) -> tuple[int, bool, bool, bool]:
    """That of the text, then of what has become of the request."""
    return taint.directive.start, taint.paged, taint.gets, taint.query is None


class ServerJudge(Ways):
    """The verdicts on one server block, for clients that are in none of the sites' ``allow``."""

    def verdicts(self) -> list[tuple[Place, Verdict]]:
        """Each place with its verdict, in the order of the text."""
        return [(place, self.verdict(place)) for place in self.places]

    def verdict(self, place: Place) -> Verdict:
        """What a denied client gets at ``place``, by any way that leads there."""
        if self.server_answer is not None and self.http.lua_rewrite is not None:
            return self.server_answer
        if place.named:
            return self._verdict_at(place, NO_TRAIL)
        found = []
        for end, verdict in self.at_server(place):
            if verdict is None:
                verdict = self._verdict_at(place, NO_TRAIL._replace(known=end.known, paths=end.paths))
            elif end.how == "moved" and self.is_public(place):
                verdict = self._public(place, verdict)
            found.append(verdict)
        return worst(found)

    def _verdict_at(self, place: Place, seen: Trail) -> Verdict:
        """Of what the server's own rewrites leave alone."""
        reached = self.reached
        if place.named and place not in reached:
            return Verdict("guarded", "a named location that is only reached behind a list")
        if place.internal and (refused := self.refused(place.level, seen, "404")).kind == "leaks":
            return refused
        if place.internal and reached.get(place, "page") == "page" and is_page(place, "/"):
            return Verdict("guarded", "internal: no request from outside ends here, but for an error page")
        if place.internal and place not in reached:
            return Verdict("guarded", "internal: no request from outside ends here")
        by_services = (self._sent_by(door, place, seen) for door in self.chosen.get(place, ()))
        otherwise = () if reached.get(place) == "sent" else self._by_all_ways(place, seen)
        verdict = worst((*otherwise, *by_services))
        return self._public(place, verdict) if self.is_public(place) else verdict

    def _by_all_ways(self, place: Place, seen: Trail) -> Iterator[Verdict]:
        """Of requests that nothing can be forged for, then of those that came by what believes an address."""
        yield self.meets(place, seen._replace(taints=frozenset()))
        for taint in sorted(self.tainted.get(place, ()), key=_in_order):
            known = seen.known if taint.query is None else seen.known.with_query(taint.query)
            by = seen._replace(taints=frozenset({taint}), known=known, paged=taint.paged)
            yield self.meets(place, by.with_methods(GET) if taint.gets else by)

    def _sent_by(self, door: Place, place: Place, seen: Trail) -> Verdict:
        """What answers at the public ``door`` sends a request that was let in there on to ``place``."""
        # X-Accel-Redirect makes it a GET.
        seen = seen._replace(sent=True, methods=None if place.named else GET)
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
