"""The phases of a request at one place after the other: who answers it, and is the list asked before?

In their order (ngx_http_core_module.h): server rewrite, find config, rewrite, access, content. ``return``,
``rewrite`` and ``if`` are of the rewrite phases, so they answer before any list is asked; ``error_page``,
``try_files`` and ``rewrite … last`` send the request through the phases again at another place, named ones
too.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..plan import GuardedSite
from ..prefixes import Network
from .access import Level, runs_lua_early
from .gate import Gate
from .places import Place, is_page, may_match
from .rewrite import (
    EVERYTHING,
    REDIRECTS,
    escapes,
    handed_on,
    has_list,
    may_move,
    moved,
    named_children,
    page_for,
    rewrites,
)
from .tree import Directive
from .verdict import NO_TRAIL, Trail, Verdict, redirected


class Phases(Gate):
    """One server block, and what becomes of a denied client's request at each of its places."""

    def __init__(
        self, server: Directive, http: Level, sites: Sequence[GuardedSite], allowed: Sequence[Network] = ()
    ) -> None:
        super().__init__(server, http, sites, allowed)
        self.server_answer = self._answer(server.body, self.level, has_list(server.body), NO_TRAIL)
        if self.server_answer is None and http.lua_rewrite is not None:  # what is inherited runs as well
            self.server_answer = _lua(http.lua_rewrite)

    def meets(self, place: Place, seen: Trail) -> Verdict:
        """A denied client's request is processed at ``place``; ``seen``: where it came from."""
        if place in seen.places:
            return Verdict("guarded", "goes round in a circle until nginx ends it with 500")
        seen = seen._replace(places=(*seen.places, place))
        if place.key is not None:
            body = place.directive.body
            if not seen.got and (leak := self._other_methods(place, seen)) is not None:
                return leak
            if (leak := self.sent_elsewhere(body, place, seen)) is not None:
                return leak
            own = has_list(body)
            answer = self._answer(body, place.level, own, seen)
            if answer is not None:
                return answer
            if (target := moved(body)) is not None:
                return self.follow(target, seen, f"rewritten to {target}", rewritten=True)
        elif not self._serves(place):
            return self._nothing(place, seen)
        return self._asked(place, seen)

    def sent_elsewhere(self, body: Sequence[Directive], place: Place, seen: Trail) -> Verdict | None:
        """The leak through a rewrite of ``body`` that moves some of the requests for ``place``."""
        for rewrite in may_move(body, in_server=not seen.places):
            target = rewrite.args[1]
            there = self.target(target, rewritten=bool(seen.places))
            if there is None or self.is_open(there) or not may_match(rewrite.args[0], place):
                continue
            verdict = self.follow(target, seen, f"may be rewritten to {target}", rewritten=bool(seen.places))
            if verdict.kind == "leaks":
                return verdict
        return None

    def _nothing(self, place: Place, seen: Trail) -> Verdict:
        """No location matches and no root is set: 403 or 404, unless an error_page answers."""
        codes = ["403"] if any(rule.name == "deny" for rule in place.level.rules) else []
        if self.let_in(place, place.level, seen) is not None:  # some strangers pass
            codes.append("404")
        for code in codes:
            if (refused := self.refused(place, seen, code)).kind == "leaks":
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
            return self.refused(place, seen)
        if (target := handed_on(place.directive.body)) is not None:
            passed = seen
            if place.level.any_will_do is None:
                passed = seen._replace(passed=(*seen.passed, place.level.rules))
            verdict = self.follow(target, passed, f"try_files goes on to {target}")
            some_are_denied = any(rule.name == "deny" for rule in place.level.rules)
            if verdict.kind == "leaks" or not some_are_denied:
                return verdict
            refused = self.refused(place, seen)
            return refused if refused.kind == "leaks" else verdict
        return leak

    def _other_methods(self, place: Place, seen: Trail) -> Verdict | None:
        """The leak through ``limit_except``: its methods have a level of their own, without the rewrites."""
        for child in named_children(place.directive.body, "limit_except"):
            leak = self.let_in(place, place.level.enter(child.body), seen)
            if leak is not None and handed_on(place.directive.body) is not None:  # it has no try_files
                refusals = (self.refused(place, seen, code) for code in ("403", "404", "405"))
                leak = next((verdict for verdict in refusals if verdict.kind == "leaks"), None)
                if leak is not None:
                    return leak
            elif leak is not None:
                reason = f"limit_except {' '.join(child.args)}: for other methods, {leak.reason}"
                return Verdict("leaks", reason, "take allow, deny and satisfy out of limit_except", child)
            elif (refused := self.refused(place, seen)).kind == "leaks":
                return refused
        return None

    def refused(self, place: Place, seen: Trail, code: str = "403") -> Verdict:
        """nginx itself says 403 (or ``code``): who writes the answer?"""
        if seen.paged:
            return Verdict("guarded", "the list is asked first")
        pages = [place.level.error_pages, *(named_children(b, "error_page") for b in place.bodies())]
        for target, directive in [found for page in pages for found in [page_for(page, code)] if found]:
            follow = self.follow(
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
        escaped = False  # some requests may have gone on
        for child in body:
            if child.name == "return":
                verdict = self._returned(child, level, own_list, seen)
                return None if escaped and verdict is not None and verdict.kind != "leaks" else verdict
            if child.name == "break" or (rewrites(child) == "break" and child.args[0] in EVERYTHING):
                return None
            escaped = escaped or escapes(child, in_server=body is self.server.body)
            if child.name == "if":
                inner = self._answer(child.body, level.enter(child.body), own_list, seen)
                if inner is not None and inner.kind == "leaks":
                    return inner
            elif child.name == "rewrite" and rewrites(child) == "answer":
                code = "301" if child.args[2:] == ("permanent",) else "302"
                paged = self._paged(f"the {code} of rewrite {child.args[0]}", code, level, seen)
                verdict = paged or redirected(child, child.args[1], own_list)
                if verdict.kind == "leaks" or (child.args[0] in EVERYTHING and not escaped):
                    return verdict
                if child.args[0] in EVERYTHING:
                    return None
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
        return self.follow(page[0], seen.by_page(page[0], level), f"{what} is answered by {page[0]}")

    def follow(self, target: str, seen: Trail, how: str, *, rewritten: bool = False) -> Verdict:
        if target.startswith(("http://", "https://")):
            return Verdict("closed", f"{how}: a redirect")
        if target.startswith("$") or (target.startswith("/$")):
            return Verdict("leaks", f"{how}: a variable says where that is", "write the target out")
        place = self.target(target, rewritten=rewritten)
        if place is None:
            return Verdict("closed", f"{how}: there is no such location")
        met = self.meets(place, seen)
        return met._replace(reason=f"{how}: {met.reason}")


def _lua(directive: Directive) -> Verdict:
    reason = f"{directive.name} runs before the list and may answer"
    return Verdict("leaks", reason, "move it to access_by_lua, which runs after the list", directive)
