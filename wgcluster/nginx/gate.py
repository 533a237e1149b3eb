"""The lists of one server: who is let in at which of its places."""

from __future__ import annotations

from collections.abc import Sequence

from ..plan import GuardedSite
from ..prefixes import Network
from .access import Families, Level, common_client, forgeable, opening
from .find import covers, is_wished, listens_of
from .places import Place, places_of, resolve
from .rewrite import always_returns, handed_on, has_list, may_move, moved, page_for, rewrites
from .tree import Directive
from .verdict import NO_TRAIL, Trail, Verdict


class Gate:
    """One server block as clients meet it that are in none of the sites' ``allow``."""

    def __init__(
        self, server: Directive, http: Level, sites: Sequence[GuardedSite], allowed: Sequence[Network] = ()
    ) -> None:
        self.server = server
        self.sites = sites
        self.allowed = tuple(allowed) or tuple(n for site in sites for n in site.allow)
        self.families = Families.of(listens_of(server))
        self.level = http.enter(server.body)
        self.outer = places_of(server, http)
        self.places = [p for top in self.outer for p in top.walk()]
        self.server_move = moved(server.body, in_server=True)
        # set_real_ip_from of the places that a request may have come through before
        self.tainted: dict[Place, frozenset[Directive]] = {}

    def is_public(self, place: Place) -> bool:
        """Declared public by the operator, or inside such a location and without a list of its own."""
        if place.key is None:
            return False
        if any(covers(place.key, wish) for site in self.sites for wish in site.public):
            return True
        return (
            place.parent is not None and not has_list(place.directive.body) and self.is_public(place.parent)
        )

    def refuses(self, place: Place) -> bool:
        """Does the list in effect at ``place`` keep out who is not on it?"""
        return opening(place.level.rules, self.allowed_at(place), self.families) is None

    def is_open(self, place: Place) -> bool:
        """Is what a stranger gets there just what was declared public?"""
        seen: list[Place] = []
        while self.is_public(place) and place not in seen:
            seen.append(place)
            body = place.directive.body
            onward = moved(body)
            if onward is None:
                opened = self.let_in(place, place.level, NO_TRAIL) is not None
                sent_on = handed_on(body) is not None or any(may_move(body))
                return opened and not sent_on and not self._answers_by_page(place)
            there = self.target(onward, rewritten=True)
            if there is None:
                return False
            place = there
        return False

    def _answers_by_page(self, place: Place) -> bool:
        """Does an error_page answer what a ``return`` or a redirect there says?"""
        directives = [d for body in place.bodies() for d in body]
        codes = {d.args[0] for d in directives if d.name == "return" and d.args}
        if any(rewrites(d) == "answer" for d in directives):
            codes |= {"301", "302"}
        return any(page_for(place.level.error_pages, code) is not None for code in codes)

    def allowed_at(self, place: Place) -> Sequence[Network]:
        """Who may pass at ``place``: those of the site that names it, else of all sites of the server."""
        if place.key is not None:
            for site in self.sites:
                if site.scope == "location" and any(is_wished(place.key, w) for w in site.locations):
                    return site.allow
        return self.allowed

    def target(self, target: str, *, rewritten: bool = False) -> Place | None:
        """Where a request for ``target`` goes on. After a rewrite of a location the server's is not asked."""
        if target.startswith("@"):
            return next((p for p in self.places if p.named and p.name == target), None)
        uri = (target if rewritten else self.server_move or target).partition("?")[0].partition("$")[0]
        own = self.outer[-1] if self.outer and self.outer[-1].key is None else None
        return resolve(self.outer, uri) or own

    def let_in(self, place: Place, level: Level, seen: Trail) -> Verdict | None:
        """Why the access phase lets a client in that is not on the list; None: it does not."""
        allowed = self.allowed_at(place)
        opened = opening(level.rules, allowed, self.families)
        if opened is not None and self._fits(level, seen, allowed):
            return self._open(place, opened)
        if (checker := level.any_will_do) is not None:
            reason = f"satisfy any: who passes {checker.name} need not pass the list"
            return Verdict("leaks", reason, 'write "satisfy all;", or take it out', level.satisfy)
        if level.lua_first is not None and (
            lua := [d for d in level.auth if d.name.startswith("access_by_lua")]
        ):
            reason = f"access_by_lua_no_postpone: {lua[0].name} runs before the list and may answer"
            return Verdict("leaks", reason, "switch access_by_lua_no_postpone off", level.lua_first)
        # Where nobody at all may pass a forged address is no use.
        useful = opening(level.rules, (), self.families) is not None
        if useful and (realip := self._forgeable(level, seen, allowed)) is not None:
            word = realip.args[0] if realip.args else ""
            reason = f"set_real_ip_from {word}: clients there may name any address as theirs"
            remedy = f'if only your proxy is at {word}, add {word} to "allow"; else name just its address'
            if word in ("0.0.0.0/0", "::/0"):
                remedy = 'name just the address of your proxy, and add it to "allow"'
            return Verdict("leaks", reason, remedy, realip)
        return None

    def _forgeable(self, level: Level, seen: Trail, allowed: Sequence[Network]) -> Directive | None:
        """Whose word a client may forge on its way here."""
        trusted = self._trusted(seen)
        later = forgeable([d for d in trusted if d not in self.level.trusted], allowed)
        if later is not None or not self._fits(level, seen, ()):
            return later  # lists before saw the client's own address, unless the server had it replaced
        return forgeable(trusted, allowed)

    def _fits(self, level: Level, seen: Trail, barred: Sequence[Network]) -> bool:
        """Is there a client, none of ``barred``, that this list and those before it all let in?"""
        lists = (*seen.passed, level.rules)
        return not seen.passed or common_client(lists, barred, self.families) is not None

    def _trusted(self, seen: Trail) -> list[Directive]:
        """Whom the places that the request went through believe: an address once replaced stays replaced."""
        trusted = list(self.level.trusted)  # asked at the very start, with the server's own
        for place in seen.places[:1]:
            trusted += sorted(self.tainted.get(place, ()), key=lambda d: d.start)
        for place in seen.places:
            trusted += place.level.trusted if place is seen.places[-1] else self.believed(place)
        return trusted

    def believed(self, place: Place) -> Sequence[Directive]:
        """realip works just before access: not where the rewrite phase sends every request on."""
        if place.key and (moved(place.directive.body) is not None or always_returns(place.directive.body)):
            return ()
        return place.level.trusted

    def _open(self, place: Place, opened: Directive | str) -> Verdict:
        own = has_list(place.directive.body)
        outer = place.parent.level if place.parent else self.level
        remedy = f'add "{place.name}" to "locations" or to "public", or use "scope": "server"'
        if place.key is None:
            remedy = 'add a "location /" and name it, or use "scope": "server"'
        if own and opening(outer.rules, self.allowed, self.families) is None:
            remedy = 'take them out, or name the location in "locations" or "public"'
            return Verdict("leaks", "its own allow and deny drop the outer list", remedy)
        if isinstance(opened, Directive):
            reason = f"allow {' '.join(opened.args)} lets in who is not on the list: the first match wins"
            return Verdict("leaks", reason, 'take it out, or add its network to the site\'s "allow"', opened)
        return Verdict("leaks", opened, remedy)
