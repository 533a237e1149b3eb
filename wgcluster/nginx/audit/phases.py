"""The phases of a request at one place after the other: who answers it, and is the list asked before?

In their order (ngx_http_core_module.h): server rewrite, find config, rewrite, access, content. ``return``,
``rewrite`` and ``if`` are of the rewrite phases, so they answer before any list is asked; ``error_page``,
``try_files`` and ``rewrite … last`` send the request through the phases again at another place, named ones
too.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from wgcluster.nginx.audit.gate import Gate
from wgcluster.nginx.audit.verdict import GET, NO_TRAIL, Coming, Trail, Verdict, redirected, worst
from wgcluster.nginx.config.context import Context
from wgcluster.nginx.config.locations import Location, is_page
from wgcluster.nginx.config.rewrite import (
    ANY,
    REDIRECTS,
    End,
    Paths,
    answers_all,
    begins_with_slash,
    ends,
    has_list,
    is_varied,
    named_children,
    page_for,
    try_files_target,
)
from wgcluster.nginx.syntax.tree import Directive

_MAX_TURNS = 10  # nginx gives up on a request that is sent on as often, with 500
_CIRCLE = Verdict("guarded", "goes round in a circle until nginx ends it with 500")


class Phases(Gate):
    """One server block, and what becomes of a denied client's request at each of its places."""

    @cached_property
    def server_answer(self) -> Verdict | None:
        """What the server says itself whatever is asked for; None: some requests come to its locations."""
        onward = ends(self.server.body, known=self.known, in_server=True)
        if answers_all(onward):
            has_own = has_list(self.server.body)
            return worst(self._answered(end, has_own, self.context, NO_TRAIL) for end in onward)
        lua = self.http.lua_rewrite  # what is inherited runs as well
        return None if lua is None else _lua(lua)

    def meets(self, place: Location, seen: Trail) -> Verdict:
        """A denied client's request is processed at ``place``; ``seen``: where it came from."""
        seen = seen._replace(places=(*seen.places, place))
        # Who comes again as he was meets the same again; but an address may have been forged in between.
        believed = frozenset(directive for _, directive in self._trusted(place.context, seen))
        coming = Coming(place, seen.paths, seen.known, seen.methods, seen.paged, believed)
        if coming in seen.met:
            return _CIRCLE
        seen = seen._replace(met=seen.met | {coming})
        if place.key is None:
            return self._asked(place, place.context, seen)
        if (leak := self._other_methods(place, seen)) is not None:
            return leak
        for child in named_children(place.directive.body, "limit_except"):
            seen = seen.with_methods(_methods(child))
        return worst(self._met(place, seen))

    def _met(self, place: Location, seen: Trail) -> Iterator[Verdict]:
        """What becomes of the request by each way out of the rewrite phase."""
        onward = place.ends(seen.known, seen.paths)
        dead_list = has_list(place.directive.body) and answers_all(onward)
        for end in onward:
            context = place.context.enter(end.inside.body) if end.inside else place.context
            after = seen._replace(paths=end.paths, known=end.known)
            if end.how == "stays":
                yield self._asked(place, context, after, end.inside)
            elif end.how == "moved":
                verdict = self._moved(end, after.left_early(), sole=len(onward) == 1)
                if verdict is not None:
                    yield verdict
            else:
                yield self._answered(end, dead_list, context, after.left_early())

    def _moved(self, end: End, seen: Trail, *, sole: bool) -> Verdict | None:
        """Where a rewrite leads; None: to what is public, or what a client can ask for itself."""
        there = self.target(end.target, rewritten=True)
        is_open = there is not None and self.is_open(there, paged=seen.paged)
        if not sole and (_names_any(end.target) or there is None or is_open):
            return None
        if is_open and not _names_any(end.target):
            return Verdict("closed", f"rewritten to {end.target}, which is public")
        how = f"rewritten to {end.target}" if sole else f"may be rewritten to {end.target}"
        return self.follow(end.target, seen, how, rewritten=True)

    def at_server(self, place: Location) -> Iterator[tuple[End, Verdict | None]]:
        """How requests for ``place`` leave the server's own rewrites; a verdict where not for a place."""
        onward = ends(self.server.body, place.paths(), self.known, in_server=True)
        for end in onward:
            seen = NO_TRAIL._replace(known=end.known)
            any_path = _names_any(end.target)
            lands = is_varied(end.target) and place in self.landings(end.target)
            if any_path and not begins_with_slash(end.target):
                yield end, self.follow(end.target, seen, f"the server: rewritten to {end.target}")
            elif end.keeps_path or lands or (any_path and len(onward) > 1):
                yield end, None  # it is for a place that is judged by itself
            elif end.how == "moved":
                verdict = self._moved(end, seen, sole=len(onward) == 1)
                if verdict is not None:
                    yield end, verdict._replace(reason=f"the server: {verdict.reason}")
            else:
                dead_list = has_list(self.server.body) and answers_all(onward)
                yield end, self._answered(end, dead_list, self.context, seen._replace(paths=end.paths))

    def _codes_of_folders(self, place: Location, paths: Paths | None) -> tuple[str, ...]:
        """403, where a folder may be asked for, for it may lack an index (ngx_http_core_content_phase)."""
        paths = paths or place.paths()
        # in nginx's own folder, where no root is set, there are only files
        asked = paths.may_end_in("/") if place.context.root is not None else paths.may_be("/")
        return ("403",) if asked else ()

    def _asked(
        self, place: Location, context: Context, seen: Trail, inside: Directive | None = None
    ) -> Verdict:
        """The access phase at ``place``, and what follows where it lets the client in.

        ``inside``: the ``if`` whose settings are in effect; a try_files is none of them.
        """
        leak = self.let_in(place, context, seen)
        if leak is None:
            return self._kept_out(context, seen)
        if (target := try_files_target(place.directive.body)) is not None:
            if inside is not None:
                return leak
            passed = self._passed(context, seen)
            if (code := target.removeprefix("=")) != target:
                verdict = self.refused(context, passed, code)
                verdict = verdict if verdict.kind == "leaks" else Verdict("closed", f"answers {code} at best")
            else:
                verdict = self.follow(target, passed.on_to(target), f"try_files goes on to {target}")
            if verdict.kind == "leaks" or not context.denials:
                return verdict
            refused = self._kept_out(context, seen)
            return refused if refused.kind == "leaks" else verdict
        return leak

    def _passed(self, context: Context, seen: Trail) -> Trail:
        """The access phase lets it in; by its list, where nothing else will do."""
        return seen.asked(context.rules, let_in=True) if context.satisfying_checker is None else seen

    def _kept_out(self, context: Context, seen: Trail) -> Verdict:
        """The list says 403, or the password behind it 401; a limit may say so before the list is asked."""
        listed = {status for d in context.limit_statuses for status in d.args} if context.limits else set()
        denies = any(rule.name == "deny" for rule in context.rules)
        denied = seen.asked(context.rules, let_in=False) if denies else seen
        codes = context.denials or ("403",)  # of those before, where none that could come is denied here
        return worst(self.refused(context, seen if code in listed else denied, code) for code in codes)

    def _other_methods(self, place: Location, seen: Trail) -> Verdict | None:
        """The leak through ``limit_except``: its methods have a level of their own, without the rewrites."""
        for child in named_children(place.directive.body, "limit_except"):
            if seen.methods is not None and seen.methods <= _methods(child):
                continue
            context = place.context.enter(child.body)
            leak = self.let_in(place, context, seen)
            if leak is not None and try_files_target(place.directive.body) is not None:  # it has no try_files
                codes = ("404", "405", *self._codes_of_folders(place, seen.paths))
                found = [self.refused(context, seen, code) for code in codes]
                if context.denials:  # some are let in, others not
                    found.append(self._kept_out(context, seen))
                leak = next((verdict for verdict in found if verdict.kind == "leaks"), None)
                if leak is not None:
                    return leak
            elif leak is not None:
                reason = f"limit_except {' '.join(child.args)}: for other methods, {leak.reason}"
                return Verdict("leaks", reason, "take allow, deny and satisfy out of limit_except", child)
            elif (refused := self._kept_out(context, seen)).kind == "leaks":
                return refused
        return None

    def refused(self, context: Context, seen: Trail, code: str = "403") -> Verdict:
        """nginx itself says 403 (or ``code``): who writes the answer?"""
        found = None if seen.paged else page_for(context.error_pages, code)
        if found is not None:
            target, directive = found
            by_page = seen.by_page(target, context)
            follow = self.follow(target, by_page, f"its {code} is answered by {target}")
            shown = [
                self.is_open(there, paged=by_page.paged) or is_page(there, target)
                for there in self.named_by(target)
            ]
            if follow.kind == "leaks" and not (shown and all(shown)):
                remedy = f"guard {target}, or take error_page {code} out"
                return Verdict("leaks", follow.reason, remedy, directive)
        return Verdict("guarded", "the list is asked first")

    # Before the list ---------------------------------------------------------------------------------

    def _answered(self, end: End, dead_list: bool, context: Context, seen: Trail) -> Verdict:
        """What a rewrite phase answers by itself; ``dead_list``: and it always does, beside a list."""
        assert end.by is not None
        own_list = dead_list and not seen.sent and len(seen.places) <= 1  # it is said there
        if end.how == "lua":
            return _lua(end.by)
        if end.how == "returned":
            return self._returned(end.by, context, own_list, seen)
        paged = self._paged(f"the {end.code} of rewrite {end.by.args[0]}", end.code, context, seen)
        return paged or redirected(end.by, end.by.args[1], own_list)

    def _returned(self, directive: Directive, context: Context, own_list: bool, seen: Trail) -> Verdict:
        args = directive.args
        # an empty text is none (ngx_http_send_response)
        code, text = (args[0], (args[1] or None) if len(args) > 1 else None) if args else ("", None)
        if not code.isdigit():
            paged = self._paged(f"the 302 of return {code}", "302", context, seen)
            return paged or redirected(directive, code, own_list)
        paged = (
            self._paged(f"return {code}", code, context, seen) if text is None or code in REDIRECTS else None
        )
        if paged is not None:
            return paged
        if (fetch := _fetched_into(code, text, context)) is not None:
            off = "off" if fetch.name == "ssi" else '""'
            reason = f"return {code} runs before the list, and {fetch.name} fetches other locations into it"
            return Verdict("leaks", reason, f'write "{fetch.name} {off};" into this location', fetch)
        if code in REDIRECTS:
            return redirected(directive, text or "", own_list)
        if int(code) >= 400:
            return Verdict("closed", f"answers {code} whoever asks", "", directive)
        if text is None and not own_list:
            return Verdict("closed", f"answers {code} with nothing in it", "", directive)
        reason = f"return {code} runs before the list: whoever asks is served"
        return Verdict("leaks", reason, "put what it answers into a file or behind a proxy_pass", directive)

    def _paged(self, what: str, code: str, context: Context, seen: Trail) -> Verdict | None:
        """The answer of an ``error_page`` to the ``code`` that ``what`` gives; None: there is none."""
        page = None if seen.paged else page_for(context.error_pages, code)
        if page is None:
            return None
        by_page = seen.by_page(page[0], context)
        verdict = self.follow(page[0], by_page, f"{what} is answered by {page[0]}")
        there = self.named_by(page[0])
        if verdict.kind != "leaks" or not there:
            return verdict
        if all(self.is_open(place, paged=by_page.paged) for place in there):
            return Verdict("closed", f"{what} is answered by {page[0]}, which is public")
        as_file = all(is_page(place, page[0]) for place in there)
        return Verdict("closed", f"{what} is answered by a file") if as_file else verdict

    def follow(self, target: str, seen: Trail, how: str, *, rewritten: bool = False) -> Verdict:
        """The request goes on to ``target``; after a rewrite of a location the server's own are not run."""
        if target.startswith(("http://", "https://")):
            return Verdict("closed", f"{how}: a redirect")
        if _names_any(target):
            return Verdict("leaks", f"{how}: a variable says where that is", "write the target out")
        if seen.turns == _MAX_TURNS:
            return _CIRCLE
        seen = seen._replace(turns=seen.turns + 1)
        met = worst(self._there(target, seen, rewritten=rewritten))
        return met._replace(reason=f"{how}: {met.reason}")

    def _there(self, target: str, seen: Trail, *, rewritten: bool) -> Iterator[Verdict]:
        path, variable, _ = target.partition("?")[0].partition("$")
        paths = (seen.paths or ANY) if target.startswith("@") else Paths(path, whole=not variable)
        again = not rewritten and not target.startswith("@")
        onward = ends(self.server.body if again else (), paths, seen.known, in_server=True)
        for end in onward:
            after = seen._replace(paths=end.paths, known=end.known)
            if end.how == "stays" or _names_any(end.target):
                named = target.startswith("@")
                found = self.named_by(target) if named else [self.target(target, rewritten=True)]
                there = [place for place in found if place is not None]
                if is_varied(target) and not named and seen.places and seen.places[-1] in there:
                    others = (place for place in self.landings(target) if place not in seen.places)
                    there = [place for place in others if not self.is_open(place)] or there
                yield from (self.meets(place, after) for place in there)
                if not there:
                    yield Verdict("closed", "there is no such location")
            elif end.how == "moved":
                verdict = self._moved(end, after, sole=len(onward) == 1)
                if verdict is not None:
                    yield verdict
            else:
                yield self._answered(end, False, self.context, after)


def _fetched_into(code: str, text: str | None, context: Context) -> Directive | None:
    """What puts other locations into the text of a ``return``: past every list, as subrequests are."""
    includes = text is not None and code not in REDIRECTS and ("$" in text or "<!--#" in text)
    for fetch in context.fetches:
        if (fetch.name == "ssi" and includes) or (fetch.name.startswith("add_") and code == "200"):
            return fetch
    return None


def _names_any(target: str) -> bool:
    """Does a variable say from its beginning on where it leads?"""
    return target.startswith(("$", "/$"))


def _methods(limit_except: Directive) -> frozenset[str]:
    """Those that it is not for; GET stands for HEAD too."""
    named = frozenset(limit_except.args)
    return named | GET if "GET" in named else named


def _lua(directive: Directive) -> Verdict:
    reason = f"{directive.name} runs before the list and may answer"
    return Verdict("leaks", reason, "move it to access_by_lua, which runs after the list", directive)
