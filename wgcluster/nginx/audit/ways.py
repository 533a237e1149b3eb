"""Which places of a server strangers' requests come to, by any way, and whose word was taken on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Literal, NamedTuple

from wgcluster.nginx.audit.phases import Phases
from wgcluster.nginx.audit.verdict import NO_TRAIL, Past, Trail
from wgcluster.nginx.config.context import Context
from wgcluster.nginx.config.locations import PASSES, Location, has_handler, may_redirect, names_page
from wgcluster.nginx.config.rewrite import ANY, End, Known, Paths, ends, named_children, try_files_target
from wgcluster.nginx.syntax.tree import Directive

_ASIDE = frozenset({"error_page", "auth_request", "mirror"})
# Codes of requests that nginx cannot read, or not so: it says them before it looks for a location.
_EARLY = frozenset({"400", "405", "408", "414", "421", "494", "495", "496", "497", "501", "505"})
_BEFORE_REWRITES = _EARLY | {"413"}  # a body that is too long is refused as soon as the location is found
# All that it says of its own until the list has been asked; another code is that of a "return" or a service.
_OWN = _EARLY | {"301", "403", "411", "412", "415", "500", "503"}

_GATEWAY = frozenset({"401", "412", "416", "502", "504"})  # of its own in front of a server behind
_OF_FILES = frozenset({"301", "403", "404", "405", "409", "412", "415", "416", "500", "507"})  # dav's too


class Way(NamedTuple):
    """Where a place sends requests on to."""

    target: str
    how: Literal["page", "handed", "rewritten"]
    denied_by: tuple[Directive, ...] | None = None  # the list that has kept all of them out
    let_in_by: tuple[Directive, ...] | None = None  # the one that has let all of them in
    believed: bool = True  # may realip have worked there?

    def taken_by(self, past: Past, place: Location | None = None) -> Past:
        """What is known of a request that goes it from ``place``, or before there is one."""
        if self.denied_by is not None:
            past = past.asked(self.denied_by, let_in=False)
        if self.let_in_by is not None:
            past = past.asked(self.let_in_by, let_in=True)
        query = None if place is not None and _sets_query(place) else past.query
        if self.how == "rewritten":
            query = None if "?" in self.target else query
        elif self.target.startswith("/"):  # ngx_http_internal_redirect, with what follows a "?"
            query = None if "?" in self.target or "$" in self.target else ""
        by_uri = self.how == "page" and self.target.startswith("/")
        by_page = self.how == "page" and (self.target.startswith("@") or names_page(self.target))
        return past._replace(query=query, gets=past.gets or by_uri, sent_by="", by_page=by_page)


class Arrival(NamedTuple):
    """Requests of strangers that come to a place."""

    place: Location
    paths: Paths
    asked: bool = False  # by clients, who are told that there is no such internal place
    past: Past = Past()


_Arrivals = dict[Location, list[Arrival]]


class Ways(Phases):
    """One server block, and where the requests of strangers go in it."""

    @cached_property
    def arrivals(self) -> _Arrivals:
        """How requests come to each place, by any way; none of these tells of no more than another."""
        here: _Arrivals = {place: [] for place in self.places}
        work: list[Arrival] = []
        for end in self._through_server(ANY):
            if end.how == "moved" and not end.keeps_path:
                work += self._send(Way(end.target, "rewritten"), (ANY,), Past(), here)
        early = _EARLY | _returned_codes(_with_ifs(self.server.body))
        for page in self.context.error_pages:  # those of the server, whatever its locations have instead
            if early & set(page.args[:-1]):
                way = Way(page.args[-1], "page")
                past = way.taken_by(Past(paged=not self.context.pages_recurse))
                work += self._send(way, (ANY,), past, here)
        for place in self.places:
            for end in () if place.named else self._through_server(place.paths()):
                # behind a rewrite it is an internal request, though for what it was for
                if end.how == "stays" or end.keeps_path:
                    asked = place.internal and end.how == "stays"
                    work += _added(here, [Arrival(place, place.paths(), asked)])
        while work:
            self._go_on_from(work, here)
            work = self._choose(here)
        return here

    def _through_server(self, paths: Paths, known: Known | None = None) -> tuple[End, ...]:
        return ends(self.server.body, paths, self.known if known is None else known, in_server=True)

    def _go_on_from(self, work: list[Arrival], here: _Arrivals) -> None:
        """Follow these requests to where they are sent on, and so on."""
        while work:
            arrival = work.pop()
            place = arrival.place
            paths = {arrival.paths, *(end.paths for end in place.ends(self.known, arrival.paths))}
            for way in self._ways_on(arrival):
                paged = way.how == "page" and not place.context.pages_recurse
                for past in self._said_to_be(arrival) if way.believed else (arrival.past,):
                    past = way.taken_by(past, place)._replace(paged=past.paged or paged)
                    work += self._send(way, paths, past, here, but=None if arrival.asked else place)

    def _said_to_be(self, arrival: Arrival) -> Iterator[Past]:
        """As who its requests may come behind the realip of its place."""
        yield arrival.past
        if arrival.past.forged_by is None:
            forged = filter(self.exist, map(arrival.past.forged, self.heard(arrival.place.context)))
            # Behind it all are alike; only where sites let in others may one of them be a friend.
            yield from forged if len(self.sites) > 1 else islice(forged, 1)

    def _send(
        self,
        way: Way,
        paths: Iterable[Paths],
        past: Past,
        here: _Arrivals,
        but: Location | None = None,
    ) -> list[Arrival]:
        """Requests for ``paths`` go this ``way``: what is new of where they come to.

        It only grows, so it ends.
        """
        come = self._come_to(way, paths) if self.exist(past) else ()
        return _added(here, [Arrival(place, known, past=past) for place, known in come if place is not but])

    def _come_to(self, way: Way, paths: Iterable[Paths]) -> Iterator[tuple[Location, Paths]]:
        """The places that this way may lead to, and the paths of the requests there."""
        if way.target.startswith("@"):
            found = self.named_by(way.target)
            yield from ((place, known) for known in paths for place in found)
            return
        targets = [way.target]
        if way.how != "rewritten":  # then the rewrites of the server are run again
            path, variable, _ = way.target.partition("?")[0].partition("$")
            known = NO_TRAIL._replace(known=self.known).on_to(way.target).known
            onward = self._through_server(Paths(path, whole=not variable), known)
            targets = [
                way.target if end.keeps_path else end.target
                for end in onward
                if end.how in ("stays", "moved")
            ]
        for target in targets:
            if target.startswith(("http://", "https://", "$scheme")):
                continue
            path, variable, _ = target.partition("?")[0].partition("$")
            for place in self._may_be(target):
                yield place, (place.paths() if variable else Paths(path, whole=True))

    def _may_be(self, target: str) -> list[Location]:
        """The place that ``target`` leads to; where a variable names it, all hidden ones that it may name."""
        there = self.target(target, rewritten=True)
        found = [] if there is None else [there]
        lead, variable, _ = target.partition("?")[0].partition("$")
        if not variable:
            return found
        leads = [(place, place.paths().lead) for place in self.places if place.internal and not place.named]
        return found + [p for p, own in leads if own.startswith(lead) or lead.startswith(own)]

    def _choose(self, here: _Arrivals) -> list[Arrival]:
        """Add where the service behind a public place may send a request: X-Accel-Redirect, ngx.exec, index.

        Not what is there for something else: pages of errors, and what auth_request and mirror ask. Places
        that clients ask for themselves only with a forged address, which is kept. What it has added, or knows
        more ways to, is to be gone on from.
        """
        doors = [place for place in self.places if self.is_public(place) and may_redirect(place)]
        doors.sort(key=lambda door: door.named or door.internal)
        bodies = [self.server.body, *(body for p in self.places for body in p.bodies())]
        named = {d.args[-1] for body in bodies for d in body if d.name in _ASIDE and d.args}
        aside = {place for target in named for place in self.named_by(target)}
        new = []
        for door in [arrival for place in doors for arrival in here[place]]:
            paths = {door.paths, *(end.paths for end in door.place.ends(self.known, door.paths))}
            for past in self._let_in_at(door):
                sent = past._replace(query=None, sent_by=door.place.name, by_page=False)
                for place in self.places:
                    hidden = place.named or place.internal
                    if place in aside if hidden else sent.forged_by is None:
                        continue
                    if place.named:  # it leaves request and path as they are
                        new += _added(here, [Arrival(place, known, past=sent) for known in sorted(paths)])
                    else:
                        to_path = Arrival(place, place.paths(), past=sent._replace(gets=True))
                        new += _added(here, [to_path])
        return new

    def answers_nobody(self, place: Location) -> bool:
        """Is it there only for what auth_request and mirror ask, whose answers nobody gets?"""
        if not place.internal or any(not arrival.asked for arrival in self.arrivals[place]):
            return False
        bodies = [self.server.body, *(body for p in self.places for body in p.bodies())]
        named = {
            d.args[0] for body in bodies for d in body if d.name in ("auth_request", "mirror") and d.args
        }
        return any(self.target(uri) is place for uri in named)

    def _let_in_at(self, door: Arrival) -> Iterator[Past]:
        """What has become of those that get through its rewrite phase, and are let in.

        A list is passed as who they say they are.
        """
        place = door.place
        if door.asked:
            return
        excepts = named_children(place.directive.body, "limit_except")
        contexts = [place.context.enter(child.body) for child in excepts]  # without rewrites
        if any(end.how == "stays" for end in place.ends(self.known, door.paths)):
            contexts.append(place.context)
        for past in filter(self.exist, self._said_to_be(door)):
            for context in contexts:
                if self.let_in(place, context, Trail.of(past)) is not None:
                    passed = _passed(context)
                    yield past if passed is None else past.asked(passed, let_in=True)

    def _pages_of(self, place: Location) -> set[Directive]:
        pages = [place.context.error_pages, *(named_children(b, "error_page") for b in place.bodies())]
        return {page for context in pages for page in context}

    def _ways_on(self, arrival: Arrival) -> Iterator[Way]:
        place = arrival.place
        context, body = place.context, place.directive.body
        pages = {page for page in self._pages_of(place) if page.args and not arrival.past.paged}
        if arrival.asked:  # it says 404 to clients, and no more
            yield from (Way(p.args[-1], "page", believed=False) for p in pages if "404" in p.args[:-1])
            return
        onward = place.ends(self.known, arrival.paths)
        excepts = named_children(body, "limit_except")
        stays = any(end.how == "stays" for end in onward)
        list_is_asked = stays or bool(excepts)  # those that limit_except is for have no rewrites
        contexts = [*([context] if stays else ()), *(context.enter(child.body) for child in excepts)]
        come = Trail.of(arrival.past, arrival.paths, self.known)._replace(places=(place,))
        opened = [each for each in contexts if self.let_in(place, each, come) is not None]
        said = _said_by_content(place)
        own_pages = said is None or not said <= _GATEWAY
        slash = set() if own_pages else {"301"}  # a directory that wants one is found out behind realip
        before = _BEFORE_REWRITES | {end.code for end in onward} | (slash if place.adds_slash() else set())
        # what is only for a version that it is not, or of which only a part is asked for
        before |= {"412", "416"} if "200" in before else set()
        limits = {status for d in context.limit_statuses for status in d.args} if context.limits else set()
        asks = {"401"} if opened and context.auth else set()
        later = _OWN - before - slash - {"403"} | limits | asks
        # Where only a list says 403, who comes by its page was kept out by it.
        files = not (place.passes() or has_handler(place))
        refuses = own_pages and not (files and not self._codes_of_folders(place, arrival.paths))
        by_list = not (refuses or "403" in limits) and all(
            checker.name == "auth_basic" for each in contexts for checker in each.auth
        )
        denying = [each.rules for each in contexts if "403" in each.denials] if by_list else [None]
        passed = dict.fromkeys(map(_passed, opened))
        for page in pages:
            *listed, target = page.args
            codes = {code for code in listed if not code.startswith("=")}
            if codes & before:
                yield Way(target, "page", believed=False)
            if not list_is_asked:
                continue
            if codes & later:
                yield Way(target, "page")
            elif opened and (rest := codes - {"403"}) and (said is None or rest & said):
                yield from (Way(target, "page", let_in_by=rules) for rules in passed)
            if "403" in codes:
                yield from (Way(target, "page", rules) for rules in denying)
        yield from (Way(end.target, "rewritten", believed=False) for end in onward if end.how == "moved")
        # an "if" whose settings are in effect has none
        tries = context in opened and any(end.how == "stays" and end.inside is None for end in onward)
        for child in (*body, *self.server.body) if tries else ():
            if child.name == "try_files" and not child.args[-1].startswith("="):
                yield Way(child.args[-1], "handed", let_in_by=_passed(context))


def _passed(context: Context) -> tuple[Directive, ...] | None:
    """The list that has let in all who were let in; None: something else will do."""
    return context.rules if context.satisfying_checker is None else None


def _added(here: _Arrivals, come: Iterable[Arrival]) -> list[Arrival]:
    """Note that requests come so: those that were not known."""
    new = []
    for there in come:
        known = here[there.place]
        if not any(_is_within(there, other) for other in known):
            known[:] = [*(other for other in known if not _is_within(other, there)), there]
            new.append(there)
    return new


def _is_within(arrival: Arrival, other: Arrival) -> bool:
    """Are all its requests among those of ``other``, which come to the same place?"""
    return arrival[1:3] == other[1:3] and arrival.past.is_within(other.past)


def _said_by_content(place: Location) -> frozenset[str] | None:
    """The codes of what answers at ``place`` for which an ``error_page`` is asked; None: any."""
    body = place.directive.body
    # What a server behind answers has no error_page unless nginx is told so.
    if any(d.args == ("on",) for d in place.context.intercepts):
        return None
    # Neither an "if" nor a limit_except has the try_files around it.
    around = not any(child.name in ("if", "limit_except") for child in body)
    lasts = [d.args[-1] for d in named_children(body, "try_files")]
    tried = {last[1:] for last in lasts if last.startswith("=")}
    if around and try_files_target(body) is not None:
        return frozenset(tried)
    if has_handler(place):
        return None
    passing = [{d.name for d in each} & PASSES for each in place.bodies()]
    gateway = _GATEWAY | ({"404"} if any("memcached_pass" in names for names in passing) else set())
    if passing[0] and not lasts:
        return gateway
    return _OF_FILES | tried | (gateway if any(passing) else set())


def _sets_query(place: Location) -> bool:
    return any(
        "_by_lua" in d.name or (d.name == "set" and d.args[:1] == ("$args",))
        for body in place.bodies()
        for d in body
    )


def _returned_codes(directives: Iterable[Directive]) -> set[str]:
    return {d.args[0] for d in directives if d.name == "return" and d.args}


def _with_ifs(body: Sequence[Directive]) -> Iterator[Directive]:
    """The directives of a body and those in an ``if`` in it."""
    for directive in body:
        yield directive
        if directive.name == "if":
            yield from directive.body
