"""What a client that may not pass really gets at each place of a server.

nginx's phases, in their order (ngx_http_core_module.h): server rewrite, find config, rewrite, access,
content. ``return``, ``rewrite`` and ``if`` are of the rewrite phases, so they answer before any list is
asked; ``error_page``, ``try_files`` and ``rewrite … last`` send the request through the phases again at
another place, named ones too; subrequests (mirror, auth_request) skip the access phase.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from ..plan import GuardedSite
from ..prefixes import Network
from .access import Level, opening, runs_lua_early
from .gate import Gate
from .places import Place, climbs, is_page, sends_on
from .rewrite import (
    EVERYTHING,
    REDIRECTS,
    handed_on,
    has_list,
    moved,
    named_children,
    page_for,
    rewrites,
)
from .subrequest import past_the_list
from .tree import Directive
from .verdict import NO_TRAIL, Trail, Verdict, redirected

_ASIDE = frozenset({"error_page", "auth_request", "mirror"})
# Codes of requests that nginx cannot read, or not so: it says them before it looks for a location.
_EARLY = frozenset({"400", "405", "408", "414", "421", "494", "495", "496", "497", "501", "505"})
# All that it says of its own until the list has been asked; another code is that of a "return" or a service.
_OWN = _EARLY | {"301", "403", "411", "412", "413", "415", "500", "503"}


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


class ServerJudge(Gate):
    """The verdicts on one server block, for clients that are in none of the sites' ``allow``."""

    def __init__(
        self, server: Directive, http: Level, sites: Sequence[GuardedSite], allowed: Sequence[Network] = ()
    ) -> None:
        super().__init__(server, http, sites, allowed)
        self.server_answer = self._answer(server.body, self.level, has_list(server.body), NO_TRAIL)
        if self.server_answer is None and http.lua_rewrite is not None:  # what is inherited runs as well
            self.server_answer = _lua(http.lua_rewrite)
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
            verdict = self._follow(self.server_move, NO_TRAIL, f"the server rewrites to {self.server_move}")
            return self._public(place, verdict) if self.is_public(place) else verdict
        if place.named and place not in self._reached:
            return Verdict("guarded", "a named location that is only reached behind a list")
        if place.internal and (refused := self._refused(place, NO_TRAIL, "404")).kind == "leaks":
            return refused
        if place.internal and self._reached.get(place, "page") == "page" and not place.passes():
            return Verdict("guarded", "internal: no request from outside ends here, but for an error page")
        if place.internal and place not in self._reached:
            return Verdict("guarded", "internal: no request from outside ends here")
        verdict = self._meets(place, NO_TRAIL)
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

    # What happens to a request that has come to a place --------------------------------------------

    def _meets(self, place: Place, seen: Trail) -> Verdict:
        """A denied client's request is processed at ``place``; ``seen``: where it came from."""
        if place in seen.places:
            return Verdict("guarded", "goes round in a circle until nginx ends it with 500")
        seen = seen._replace(places=(*seen.places, place))
        if place.key is not None:
            body = place.directive.body
            if not seen.got and (leak := self._other_methods(place, seen)) is not None:
                return leak
            own = has_list(body)
            answer = self._answer(body, place.level, own, seen)
            if answer is not None:
                return answer
            if (target := moved(body)) is not None:
                return self._follow(target, seen, f"rewritten to {target}", rewritten=True)
        elif not self._serves(place):
            return self._nothing(place, seen)
        return self._asked(place, seen)

    def _nothing(self, place: Place, seen: Trail) -> Verdict:
        """No location matches and no root is set: 403 or 404, unless an error_page answers."""
        codes = ["403"] if any(rule.name == "deny" for rule in place.level.rules) else []
        if opening(place.level.rules, self.allowed, self.families) is not None:  # some strangers pass
            codes.append("404")
        for code in codes:
            if (refused := self._refused(place, seen, code)).kind == "leaks":
                return refused
        return Verdict("closed", "nothing is served here: no location matches, no root is set")

    def _serves(self, place: Place) -> bool:
        return place.level.root is not None or any(c.name == "try_files" for c in place.directive.body)

    def serves_default(self, place: Place) -> bool:
        """Does it give strangers files of the folder that nginx takes where no root is set?"""
        rewritten = self.server_answer is not None or self.server_move is not None
        unset = place.key is None and place.level.root is None
        return unset and not rewritten and self.let_in(place, place.level, NO_TRAIL) is not None

    def _asked(self, place: Place, seen: Trail) -> Verdict:
        """The access phase at ``place``, and what follows where it lets the client in."""
        leak = self.let_in(place, place.level, seen)
        if leak is None:
            return self._refused(place, seen)
        if (target := handed_on(place.directive.body)) is not None:
            if place.level.any_will_do is None:
                seen = seen._replace(passed=(*seen.passed, place.level.rules))
            return self._follow(target, seen, f"try_files goes on to {target}")
        return leak

    def _other_methods(self, place: Place, seen: Trail) -> Verdict | None:
        """The leak through ``limit_except``: its methods have a level of their own, without the rewrites."""
        for child in named_children(place.directive.body, "limit_except"):
            leak = self.let_in(place, place.level.enter(child.body), seen)
            if leak is not None and handed_on(place.directive.body) is not None:  # it has no try_files
                refusals = (self._refused(place, seen, code) for code in ("403", "404", "405"))
                leak = next((verdict for verdict in refusals if verdict.kind == "leaks"), None)
                if leak is not None:
                    return leak
            elif leak is not None:
                reason = f"limit_except {' '.join(child.args)}: for other methods, {leak.reason}"
                return Verdict("leaks", reason, "take allow, deny and satisfy out of limit_except", child)
            elif (refused := self._refused(place, seen)).kind == "leaks":
                return refused
        return None

    def _refused(self, place: Place, seen: Trail, code: str = "403") -> Verdict:
        """nginx itself says 403 (or ``code``): who writes the answer?"""
        if seen.paged:
            return Verdict("guarded", "the list is asked first")
        pages = [place.level.error_pages, *(named_children(b, "error_page") for b in place.bodies())]
        for target, directive in [found for page in pages for found in [page_for(page, code)] if found]:
            follow = self._follow(
                target, seen.by_page(target, place.level), f"its {code} is answered by {target}"
            )
            if follow.kind != "leaks":
                continue
            there = self.target(target)
            if there is None or not (self.is_open(there) or is_page(there, target)):
                return Verdict(
                    "leaks", follow.reason, f"guard {target}, or take error_page {code} out", directive
                )
        return Verdict("guarded", "the list is asked first")

    # Before the list ---------------------------------------------------------------------------------

    def _answer(self, body: Sequence[Directive], level: Level, own_list: bool, seen: Trail) -> Verdict | None:
        """What the rewrite phase answers by itself; None: it lets the request go on, always or mostly."""
        for child in body:
            if child.name == "return":
                return self._returned(child, level, own_list, seen)
            if child.name == "break" or (rewrites(child) == "break" and child.args[0] in EVERYTHING):
                return None
            if child.name == "if":
                inner = self._answer(child.body, level.enter(child.body), own_list, seen)
                if inner is not None and inner.kind == "leaks":
                    return inner
            elif child.name == "rewrite" and rewrites(child) == "answer":
                code = "301" if child.args[2:] == ("permanent",) else "302"
                paged = self._paged(f"the {code} of rewrite {child.args[0]}", code, level, seen)
                verdict = paged or redirected(child, child.args[1], own_list)
                if verdict.kind == "leaks" or child.args[0] in EVERYTHING:
                    return verdict
            elif runs_lua_early(child):
                return _lua(child)
            elif child.name == "rewrite" and rewrites(child) == "last" and child.args[0] in EVERYTHING:
                return None
        return None

    def _returned(self, directive: Directive, level: Level, own_list: bool, seen: Trail) -> Verdict | None:
        args = directive.args
        code, text = (args[0], args[1] if len(args) > 1 else None) if args else ("", None)
        if not code.isdigit():
            paged = self._paged(f"the 302 of return {code}", "302", level, seen)
            return paged or redirected(directive, code, own_list)
        paged = (
            self._paged(f"return {code}", code, level, seen) if text is None or code in REDIRECTS else None
        )
        if paged is not None:
            return paged
        if code in REDIRECTS:
            return redirected(directive, text or "", own_list)
        if int(code) >= 400:
            return Verdict("closed", f"answers {code} whoever asks", "", directive)
        if text is None and not own_list:
            return Verdict("closed", f"answers {code} with nothing in it", "", directive)
        reason = f"return {code} runs before the list: whoever asks is served"
        return Verdict("leaks", reason, "put what it answers into a file or behind a proxy_pass", directive)

    def _paged(self, what: str, code: str, level: Level, seen: Trail) -> Verdict | None:
        """The answer of an ``error_page`` to the ``code`` that ``what`` gives; None: there is none."""
        page = None if seen.paged else page_for(level.error_pages, code)
        if page is None:
            return None
        return self._follow(page[0], seen.by_page(page[0], level), f"{what} is answered by {page[0]}")

    def _follow(self, target: str, seen: Trail, how: str, *, rewritten: bool = False) -> Verdict:
        if target.startswith(("http://", "https://")):
            return Verdict("closed", f"{how}: a redirect")
        if target.startswith("$") or (target.startswith("/$")):
            return Verdict("leaks", f"{how}: a variable says where that is", "write the target out")
        place = self.target(target, rewritten=rewritten)
        if place is None:
            return Verdict("closed", f"{how}: there is no such location")
        met = self._meets(place, seen)
        return met._replace(reason=f"{how}: {met.reason}")

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
        opened = entered or self._meets(place, NO_TRAIL).kind == "leaks"
        from_outside = not place.internal
        codes = _OWN | _returned_codes(d for body in place.bodies() for d in body)
        bodies = [place.level.error_pages, *(named_children(b, "error_page") for b in place.bodies())]
        for page in {d for pages in bodies for d in pages}:
            *listed, target = page.args or ("",)
            early = codes | ({"404"} if place.internal else set())
            if place.level.limits:  # of the phase before the list
                early = early | {status for d in place.level.limit_statuses for status in d.args}
            if opened or set(listed) & early:
                yield target, "page" if target.startswith("/") and "$" not in target else "moved"
        for body in (*place.bodies(), self.server.body):
            for child in body:
                if from_outside and child.name == "rewrite" and rewrites(child) == "last":
                    yield child.args[1], "rewritten" if body is not self.server.body else "server"
                elif opened and child.name == "try_files" and child.args:
                    yield child.args[-1], "moved"


def _lua(directive: Directive) -> Verdict:
    reason = f"{directive.name} runs before the list and may answer"
    return Verdict("leaks", reason, "move it to access_by_lua, which runs after the list", directive)


def _returned_codes(directives: Iterable[Directive]) -> set[str]:
    return {d.args[0] for d in directives if d.name == "return" and d.args}


def _with_ifs(body: Sequence[Directive]) -> Iterator[Directive]:
    """The directives of a body and those in an ``if`` in it."""
    for directive in body:
        yield directive
        if directive.name == "if":
            yield from directive.body
