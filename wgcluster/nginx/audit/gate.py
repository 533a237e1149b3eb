"""The lists of one server: who is let in at which of its places."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from wgcluster.inventory.schema import GuardedSite
from wgcluster.nginx.audit.verdict import NO_TRAIL, Past, Questions, Trail, Verdict
from wgcluster.nginx.config.access import Families, common_client, is_within, may_spoof, opening
from wgcluster.nginx.config.context import Context
from wgcluster.nginx.config.find import listens_of, matches, matches_public
from wgcluster.nginx.config.locations import Location, is_page, locations_of, may_begin, resolve
from wgcluster.nginx.config.rewrite import (
    NOTHING,
    Known,
    beginning_of,
    ends,
    has_list,
    named_children,
    page_for,
    try_files_target,
)
from wgcluster.nginx.config.upstreams import may_be
from wgcluster.nginx.syntax.tree import Directive
from wgcluster.prefixes import Network

# An address that is written down may be of either family, whatever the server listens on.
_WRITTEN = Families(v4=True, v6=True)


class Gate:
    """One server block as clients meet it that are in none of the sites' ``allow``."""

    def __init__(
        self,
        server: Directive,
        http: Context,
        sites: Sequence[GuardedSite],
        allowed: Sequence[Network] = (),
        known: Known = NOTHING,
    ) -> None:
        self.server = server
        self.http = http
        self.known = known  # of each request to it
        self.sites = sites
        self.allowed = tuple(allowed) or tuple(n for site in sites for n in site.allow)
        self.families = Families.of(listens_of(server))
        self.context = http.enter(server.body)
        self.outer = locations_of(server, http)
        self.places = [p for top in self.outer for p in top.walk()]
        onward = ends(server.body, known=known, in_server=True)
        only = onward[0] if len(onward) == 1 else None
        self.server_move = only.target if only is not None and only.how == "moved" else None
        self.barred = [n for n in self.allowed if all(n in site.allow for site in sites)]

    def is_public(self, place: Location) -> bool:
        """Declared public by the operator, or in such a location, not named for the list and without one."""
        if place.key is None:
            return False
        if any(matches_public(place.key, wish) for site in self.sites for wish in site.public):
            return True
        named = any(matches(place.key, wish) for site in self.sites for wish in site.locations)
        own_list = named or has_list(place.directive.body)
        return place.parent is not None and not own_list and self.is_public(place.parent)

    def refuses(self, place: Location) -> bool:
        """Does the list in effect at ``place`` keep out who is not on it?"""
        return opening(place.context.rules, self.allowed_at(place), self.families) is None

    def passes_rewrites(self, place: Location) -> bool:
        """Do some requests there get as far as its list? Those that limit_except is for have no rewrites."""
        stays = any(end.how == "stays" for end in place.ends(self.known))
        return stays or bool(named_children(place.directive.body, "limit_except"))

    def is_open(self, place: Location, *, paged: bool = False) -> bool:
        """Is what a stranger gets there just what was declared public? ``paged``: as in a ``Trail``."""
        seen: list[Location] = []
        while self.is_public(place) and place not in seen:
            seen.append(place)
            onward = place.ends(self.known)
            moves = [end for end in onward if end.how == "moved"]
            if not moves or len(onward) > 1:
                opened = self.let_in(place, place.context, NO_TRAIL) is not None
                sent_on = try_files_target(place.directive.body) is not None or bool(moves)
                plain = paged or (self._denies_plainly(place) and not self._answers_by_page(place))
                return opened and not sent_on and plain
            there = self.target(moves[0].target, rewritten=True)
            if there is None:
                return False
            place = there
        return False

    def _answers_by_page(self, place: Location) -> bool:
        """Does an error_page answer what a ``return`` or a redirect there says?"""
        codes = {end.code for end in place.ends(self.known)} - {""}
        return any(page_for(place.context.error_pages, code) is not None for code in codes)

    def _denies_plainly(self, place: Location) -> bool:
        """Does who is kept out of it, by any method, get no more than a file, or what is public as well?"""
        excepts = named_children(place.directive.body, "limit_except")
        contexts = (place.context, *(place.context.enter(child.body) for child in excepts))
        pages = [page_for(context.error_pages, code) for context in contexts for code in context.denials]
        targets = {page[0] for page in pages if page is not None}
        return all(
            there is not None and (self._is_as_declared(there) or is_page(there, target))
            for target in targets
            for there in self.named_by(target) or (None,)
        )

    def _is_as_declared(self, place: Location) -> bool:
        """Declared public, and no list there is only for what a rewrite phase does not answer?"""
        opened = self.let_in(place, place.context, NO_TRAIL) is not None
        return self.is_public(place) and (opened or all(e.how == "stays" for e in place.ends(self.known)))

    def allowed_at(self, place: Location) -> Sequence[Network]:
        """Who may pass at ``place``: those of the site that names it, else of all sites of the server."""
        if place.key is not None:
            for site in self.sites:
                if site.scope == "location" and any(matches(place.key, w) for w in site.locations):
                    return site.allow
        return self.allowed

    def target(self, target: str, *, rewritten: bool = False) -> Location | None:
        """Where a request for ``target`` goes on. After a rewrite of a location the server's is not asked."""
        if target.startswith("@"):
            return next((p for p in self.places if p.named and p.name == target), None)
        uri = beginning_of(target if rewritten else self.server_move or target)
        own = self.outer[-1] if self.outer and self.outer[-1].key is None else None
        return resolve(self.outer, uri) or own

    def landings(self, target: str) -> list[Location]:
        """All places that a request may be rewritten to by ``target``, as far as its beginning tells."""
        return [place for place in self.places if not place.named and may_begin(place, beginning_of(target))]

    @cached_property
    def landed_on(self) -> frozenset[Location]:
        """The places that some rewrite here may lead to, as a variable in its target says."""
        rewritten = ends(self.server.body, known=self.known, in_server=True)
        onward = [*rewritten, *(end for place in self.places for end in place.ends(self.known))]
        targets = {end.target for end in onward if end.varies}
        return frozenset(place for target in targets for place in self.landings(target))

    def named_by(self, target: str) -> list[Location]:
        """The places that ``target`` may mean: more than one where a variable stands in a name."""
        if not (target.startswith("@") and "$" in target):
            there = self.target(target)
            return [] if there is None else [there]
        return [place for place in self.places if place.named and may_be(target, place.name)]

    def let_in(self, place: Location, context: Context, seen: Trail) -> Verdict | None:
        """Why the access phase lets a client in that is not on the list; None: it does not."""
        allowed = self.allowed_at(place)
        opened = opening(context.rules, allowed, self.families)
        if opened is not None and self._fits(context, seen, allowed):
            return self._open(place, opened)
        if (checker := context.satisfying_checker) is not None:
            reason = f"satisfy any: who passes {checker.name} need not pass the list"
            if not checker.name.startswith(("auth_", "access_by_lua", "js_access")):
                reason = f"satisfy any: {checker.name} may check clients, and whom it lets in passes the list"
            return Verdict("leaks", reason, 'write "satisfy all;", or take it out', context.satisfy)
        if context.lua_first is not None and (
            lua := [d for d in context.auth if d.name.startswith("access_by_lua")]
        ):
            reason = f"access_by_lua_no_postpone: {lua[0].name} runs before the list and may answer"
            return Verdict("leaks", reason, "switch access_by_lua_no_postpone off", context.lua_first)
        if (realip := self._forgeable(context, seen, allowed)) is not None:
            word = realip.args[0] if realip.args else ""
            reason = f"set_real_ip_from {word}: clients there may name any address as theirs"
            remedy = f'if only your proxy is at {word}, add {word} to "allow"; else name just its address'
            if word in ("0.0.0.0/0", "::/0"):
                remedy = 'name just the address of your proxy, and add it to "allow"'
            return Verdict("leaks", reason, remedy, realip)
        return None

    def _forgeable(self, context: Context, seen: Trail, allowed: Sequence[Network]) -> Directive | None:
        """Whose word a client can give that may not pass, for an address that is let in here."""
        for at, directive in self._trusted(context, seen):
            before = [asked for asked in seen.lists if asked.at < at]
            since = [asked for asked in seen.lists if asked.at >= at]
            since.append(Questions(len(seen.places), context.rules, let_in=True))
            if may_spoof(directive, allowed, *_parted(before)) and _some_client(since):
                return directive
        return None

    def exist(self, past: Past) -> bool:
        """Are there requests of strangers that lists before have treated so?"""
        before = [asked for asked in past.lists if asked.at < -1]
        since = [asked for asked in past.lists if asked.at >= -1]
        if past.forged_by is not None:
            return may_spoof(past.forged_by, self.barred, *_parted(before)) and _some_client(since)
        let_in, denied_by = _parted(since)
        if common_client(let_in, self.barred, self.families, denied_by=denied_by) is not None:
            return True
        return any(may_spoof(d, self.barred, (), ()) for d in self.context.trusted) and _some_client(since)

    def _fits(self, context: Context, seen: Trail, barred: Sequence[Network]) -> bool:
        """Is there a client, none of ``barred``, that this list and those before it all treat so?"""
        if seen.forged_by is not None:
            return False  # it is not itself any more
        if not seen.lists:
            return True
        let_in, denied_by = _parted(seen.lists)
        return common_client([*let_in, context.rules], barred, self.families, denied_by=denied_by) is not None

    def _trusted(self, context: Context, seen: Trail) -> Iterator[tuple[int, Directive]]:
        """Whom the places that the request went through believe, by where they stand on its way.

        An address once replaced stays replaced; the server's own are asked at the very start.
        """
        if seen.forged_by is not None:
            yield -1, seen.forged_by
            return
        yield from ((-1, directive) for directive in self.context.trusted)
        for at, place in enumerate(seen.places):
            # realip works just before access.
            heard = context if at == len(seen.places) - 1 else place.context
            for directive in () if at in seen.early else self.heard(heard):
                yield at, directive

    def heard(self, context: Context) -> tuple[Directive, ...]:
        """Those that ``context`` believes and the server has not: an address once replaced stays replaced.

        What the server has asked already is asked again only for another header.
        """
        if context.real_ip_header != self.context.real_ip_header:
            return context.trusted
        return tuple(d for d in context.trusted if not is_within(d, self.context.trusted))

    def _open(self, place: Location, opened: Directive | str) -> Verdict:
        own = has_list(place.directive.body)
        outer = place.parent.context if place.parent else self.context
        remedy = f'add "{place.name}" to "locations" or to "public", or use "scope": "server"'
        if place.key is None:
            remedy = 'add a "location /" and name it, or use "scope": "server"'
            if place.context.root is None and isinstance(opened, str):
                opened = f"{opened}, and without a root nginx serves its own folder html"
                remedy = 'add "location / { return 404; }", or use "scope": "server"'
        if own and opening(outer.rules, self.allowed, self.families) is None:
            remedy = 'take them out, or name the location in "locations" or "public"'
            return Verdict("leaks", "its own allow and deny drop the outer list", remedy)
        if isinstance(opened, Directive):
            reason = f"allow {' '.join(opened.args)} lets in who is not on the list: the first match wins"
            return Verdict("leaks", reason, 'take it out, or add its network to the site\'s "allow"', opened)
        return Verdict("leaks", opened, remedy)


def _parted(lists: Iterable[Questions]) -> tuple[list[tuple[Directive, ...]], list[tuple[Directive, ...]]]:
    """The lists that have let a request in, and those that have kept it out."""
    lists = tuple(lists)
    return [a.rules for a in lists if a.let_in], [a.rules for a in lists if not a.let_in]


def _some_client(lists: Iterable[Questions]) -> bool:
    """Is there an address that can be written down and that they all treat so?"""
    let_in, denied_by = _parted(lists)
    return common_client(let_in, (), _WRITTEN, denied_by=denied_by) is not None
