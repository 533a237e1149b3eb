"""What a client that may not pass really gets at each place of a server, by any way that leads there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from wgcluster.inventory.schema import GuardedSite
from wgcluster.nginx.audit.folders import climbs
from wgcluster.nginx.audit.subrequest import past_the_list
from wgcluster.nginx.audit.verdict import NO_TRAIL, Trail, Verdict, worst
from wgcluster.nginx.audit.ways import Arrival, Ways
from wgcluster.nginx.config.context import Context
from wgcluster.nginx.config.locations import Location, is_page
from wgcluster.nginx.syntax.tree import Directive


def closing(server: Directive, sites: Sequence[GuardedSite]) -> Literal["", "server", "locations"]:
    """Does the server only redirect or refuse, but for what is public (the port 80 of many sites)?

    "server": by a ``return`` of its own, before any location is looked for; "locations": by those of all its
    locations; "": it has something to guard.
    """
    judge = ServerJudge(server, Context(), sites)
    if judge.server_answer is not None:
        return "server" if judge.server_answer.kind == "closed" else ""
    kinds = {verdict.kind for _, verdict in judge.verdicts()}
    return "locations" if "closed" in kinds and kinds <= {"closed", "public"} else ""


def _in_order(arrival: Arrival) -> tuple[object, ...]:
    """First those that no service has sent, with their own address; then as the text has it."""
    past = arrival.past
    forged = -1 if past.forged_by is None else past.forged_by.start
    lists = sorted((a.at, a.let_in, [rule.start for rule in a.rules]) for a in past.lists)
    return past.sent_by, forged, past.paged, past.gets, past.query is None, lists, arrival.paths


class ServerJudge(Ways):
    """The verdicts on one server block, for clients that are in none of the sites' ``allow``."""

    def verdicts(self) -> list[tuple[Location, Verdict]]:
        """Each place with its verdict, in the order of the text."""
        return [(place, self.verdict(place)) for place in self.places]

    def verdict(self, place: Location) -> Verdict:
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
        if place in self.landed_on:  # whatever becomes of those who ask for it themselves
            found.append(self._verdict_at(place, NO_TRAIL._replace(known=self.known)))
        return worst(found)

    def _verdict_at(self, place: Location, seen: Trail) -> Verdict:
        """Of what the server's own rewrites leave alone."""
        sent_on = [arrival for arrival in self.arrivals[place] if not arrival.asked]
        if place.named and not sent_on:
            return Verdict("guarded", "a named location that is only reached behind a list")
        if place.internal and (refused := self.refused(place.context, seen, "404")).kind == "leaks":
            return refused
        if place.named and is_page(place, place.name) and all(arrival.past.by_page for arrival in sent_on):
            return Verdict("guarded", "a named location that is a page of errors, of one file")
        if place.internal and is_page(place, "/page") and all(arrival.past.by_page for arrival in sent_on):
            return Verdict("guarded", "internal: no request from outside ends here, but for an error page")
        if place.internal and not sent_on:
            return Verdict("guarded", "internal: no request from outside ends here")
        verdict = worst(self._by_all_ways(place, seen))
        return self._public(place, verdict) if self.is_public(place) else verdict

    def _by_all_ways(self, place: Location, seen: Trail) -> Iterator[Verdict]:
        """Of what clients ask for, then of what was sent on to there and could not be asked for so."""
        hidden = place.named or place.internal
        if not hidden:
            yield self.meets(place, seen)
        for arrival in sorted(self.arrivals[place], key=_in_order):
            past = arrival.past
            if arrival.asked or not (hidden or past.forged_by is not None):
                continue
            verdict = self.meets(place, Trail.of(past, arrival.paths, self.known))
            if verdict.kind == "leaks" and past.sent_by:
                how = f"what answers at {past.sent_by} may send on to it"
                verdict = verdict._replace(reason=f"{how}: {verdict.reason}")
            yield verdict

    def _public(self, place: Location, verdict: Verdict) -> Verdict:
        if verdict.kind == "guarded":
            return Verdict("guarded", "declared public, but a list is in effect here and denies")
        if verdict.kind == "leaks" and place.key and self.let_in(place, place.context, NO_TRAIL) is None:
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
