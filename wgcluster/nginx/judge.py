"""What a client that may not pass really gets at each place of a server.

nginx's phases, in their order (ngx_http_core_module.h): server rewrite, find config, rewrite, access,
content. ``return``, ``rewrite`` and ``if`` are of the rewrite phases, so they answer before any list is
asked; ``error_page``, ``try_files`` and ``rewrite … last`` send the request through the phases again at
another place, named ones too; subrequests (mirror, auth_request) skip the access phase.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from ..plan import GuardedSite
from ..prefixes import Network
from .access import Families, Level, forgeable, opening
from .find import covers, is_wished, listens_of
from .places import Place, is_page, places_of, resolve
from .rewrite import (
    EVERYTHING,
    REDIRECTS,
    always_returns,
    handed_on,
    has_list,
    moved,
    named_children,
    page_for,
    rewrites,
)
from .tree import Directive

Kind = Literal["guarded", "public", "leaks", "closed"]
# Codes that no client can cause before the access list is asked: they come from the content.
_LATE = frozenset({"401", "404", "502", "504"})


class Verdict(NamedTuple):
    """What becomes of a denied client, why, and what the operator can do about it."""

    kind: Kind
    reason: str
    remedy: str = ""
    at: Directive | None = None  # the line to blame, where it is not the location's own


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


class Trail(NamedTuple):
    """The places a request came through, and what an error_page on the way has done to it."""

    places: tuple[Place, ...] = ()
    got: bool = False  # it has become a GET
    paged: bool = False  # no further error_page is asked

    def by_page(self, target: str, level: Level) -> Trail:
        """On to ``target``: a URI makes the request a GET, a named location leaves it as it is."""
        return Trail(self.places, self.got or target.startswith("/"), not level.pages_recurse)


NO_TRAIL = Trail()


class ServerJudge:
    """The verdicts on one server block, for clients that are in none of the sites' ``allow``."""

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
        # set_real_ip_from of the places that a request may have come through before
        self._tainted: dict[Place, frozenset[Directive]] = {}
        self.server_move = moved(server.body)
        self.server_answer = self._answer(server.body, self.level, has_list(server.body), NO_TRAIL)
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
        return self._public(place, verdict) if self.is_public(place) else verdict

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

    def _is_open(self, place: Place) -> bool:
        """Is what a stranger gets there just what was declared public?"""
        opened = self._let_in(place, place.level, NO_TRAIL) is not None
        return self.is_public(place) and opened and handed_on(place.directive.body) is None

    def _public(self, place: Place, verdict: Verdict) -> Verdict:
        if verdict.kind == "guarded":
            return Verdict("guarded", "declared public, but a list is in effect here and denies")
        if verdict.kind == "leaks" and place.key and self._let_in(place, place.level, NO_TRAIL) is None:
            return verdict  # the list denies, and the answer to that is more than was declared public
        mirrors = [m for m in place.level.mirrors if m.args[:1] != ("off",)]
        if mirrors:
            reason = f"public, and mirror {' '.join(mirrors[0].args)} sends each request on past every list"
            return Verdict("leaks", reason, 'write "mirror off;" into this location', mirrors[0])
        for body in place.bodies():
            for child in body:
                ssi = child.name == "ssi" and child.args == ("on",)
                if ssi or child.name in ("add_before_body", "add_after_body", "post_action"):
                    reason = f"public, and {child.name} fetches other locations past every list"
                    return Verdict("leaks", reason, f"take {child.name} out of this location", child)
        closed = f"; {verdict.reason}" if verdict.kind == "closed" else ""
        return Verdict("public", f"declared public{closed}")

    def allowed_at(self, place: Place) -> Sequence[Network]:
        """Who may pass at ``place``: those of the site that names it, else of all sites of the server."""
        if place.key is not None:
            for site in self.sites:
                if site.scope == "location" and any(is_wished(place.key, w) for w in site.locations):
                    return site.allow
        return self.allowed

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
                return self._follow(target, seen, f"rewritten to {target}")
        elif not self._serves(place):
            return self._nothing(place, seen)
        return self._asked(place, seen)

    def _nothing(self, place: Place, seen: Trail) -> Verdict:
        """No location matches and no root is set: 403 or 404, unless an error_page answers."""
        denied = opening(place.level.rules, self.allowed, self.families) is None
        refused = self._refused(place, seen, "403" if denied else "404")
        if refused.kind == "leaks":
            return refused
        return Verdict("closed", "nothing is served here: no location matches, no root is set")

    def _serves(self, place: Place) -> bool:
        return place.level.root is not None or any(c.name == "try_files" for c in place.directive.body)

    def _asked(self, place: Place, seen: Trail) -> Verdict:
        """The access phase at ``place``, and what follows where it lets the client in."""
        leak = self._let_in(place, place.level, seen)
        if leak is None:
            return self._refused(place, seen)
        if (target := handed_on(place.directive.body)) is not None:
            return self._follow(target, seen, f"try_files goes on to {target}")
        return leak

    def _other_methods(self, place: Place, seen: Trail) -> Verdict | None:
        """The leak through ``limit_except``: its methods have a level of their own, without the rewrites."""
        for child in named_children(place.directive.body, "limit_except"):
            leak = self._let_in(place, place.level.enter(child.body), seen)
            if leak is not None and handed_on(place.directive.body) is not None:  # it has no try_files
                refusals = (self._refused(place, seen, code) for code in ("404", "405"))
                leak = next((verdict for verdict in refusals if verdict.kind == "leaks"), None)
                if leak is not None:
                    return leak
            elif leak is not None:
                reason = f"limit_except {' '.join(child.args)}: for other methods, {leak.reason}"
                return Verdict("leaks", reason, "take allow, deny and satisfy out of limit_except", child)
            elif (refused := self._refused(place, seen)).kind == "leaks":
                return refused
        return None

    def _let_in(self, place: Place, level: Level, seen: Trail) -> Verdict | None:
        """Why the access phase lets a client in that is not on the list; None: it does not."""
        allowed = self.allowed_at(place)
        opened = opening(level.rules, allowed, self.families)
        if opened is not None:
            return self._open(place, opened)
        if (checker := level.any_will_do) is not None:
            reason = f"satisfy any: who passes {checker.name} need not pass the list"
            return Verdict("leaks", reason, 'write "satisfy all;", or take it out', level.satisfy)
        # Where nobody at all may pass a forged address is no use.
        useful = opening(level.rules, (), self.families) is not None
        if useful and (realip := forgeable(self._trusted(seen), allowed)) is not None:
            word = realip.args[0] if realip.args else ""
            reason = f"set_real_ip_from {word}: clients there may name any address as theirs"
            remedy = f'if only your proxy is at {word}, add {word} to "allow"; else name just its address'
            if word in ("0.0.0.0/0", "::/0"):
                remedy = 'name just the address of your proxy, and add it to "allow"'
            return Verdict("leaks", reason, remedy, realip)
        return None

    def _trusted(self, seen: Trail) -> list[Directive]:
        """Whom the places that the request went through believe: an address once replaced stays replaced."""
        trusted = list(self.level.trusted)  # asked at the very start, with the server's own
        for place in seen.places[:1]:
            trusted += sorted(self._tainted.get(place, ()), key=lambda d: d.start)
        for place in seen.places:
            trusted += place.level.trusted if place is seen.places[-1] else self._believed(place)
        return trusted

    def _believed(self, place: Place) -> Sequence[Directive]:
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
            if there is None or not (self._is_open(there) or is_page(there, target)):
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
                verdict = _redirected(child, child.args[1], own_list)
                if verdict.kind == "leaks" or child.args[0] in EVERYTHING:
                    return verdict
            elif child.name.startswith(("rewrite_by_lua", "server_rewrite_by_lua")):
                reason = f"{child.name} runs before the list and may answer"
                return Verdict("leaks", reason, "move it to access_by_lua, which runs after the list", child)
            elif child.name == "rewrite" and rewrites(child) == "last" and child.args[0] in EVERYTHING:
                return None
        return None

    def _returned(self, directive: Directive, level: Level, own_list: bool, seen: Trail) -> Verdict | None:
        args = directive.args
        code, text = (args[0], args[1] if len(args) > 1 else None) if args else ("", None)
        if not code.isdigit():
            return _redirected(directive, code, own_list)
        if (
            not seen.paged
            and (text is None or code in REDIRECTS)
            and (page := page_for(level.error_pages, code))
        ):
            return self._follow(
                page[0], seen.by_page(page[0], level), f"return {code} is answered by {page[0]}"
            )
        if code in REDIRECTS:
            return _redirected(directive, text or "", own_list)
        if int(code) >= 400:
            return Verdict("closed", f"answers {code} whoever asks", "", directive)
        if text is None and not own_list:
            return Verdict("closed", f"answers {code} with nothing in it", "", directive)
        reason = f"return {code} runs before the list: whoever asks is served"
        return Verdict("leaks", reason, "put what it answers into a file or behind a proxy_pass", directive)

    def _follow(self, target: str, seen: Trail, how: str) -> Verdict:
        if target.startswith(("http://", "https://")):
            return Verdict("closed", f"{how}: a redirect")
        if target.startswith("$") or (target.startswith("/$")):
            return Verdict("leaks", f"{how}: a variable says where that is", "write the target out")
        place = self.target(target)
        if place is None:
            return Verdict("closed", f"{how}: there is no such location")
        met = self._meets(place, seen)
        return met._replace(reason=f"{how}: {met.reason}")

    def target(self, target: str) -> Place | None:
        if target.startswith("@"):
            return next((p for p in self.places if p.named and p.name == target), None)
        uri = (self.server_move or target).partition("?")[0].partition("$")[0]
        own = self.outer[-1] if self.outer and self.outer[-1].key is None else None
        return resolve(self.outer, uri) or own

    # Which named and internal locations strangers can come to ---------------------------------------

    def _find_reached(self) -> dict[Place, str]:
        """Those that a denied client's request can be sent on to: "page" by an error_page, else "moved"."""
        reached: dict[Place, str] = {}
        if any(rewrites(d) in ("last", "break") for top in self.server.body for d in _with_if(top)):
            # A rewrite in the server makes a request an internal one.
            reached |= {place: "moved" for place in self.places if place.internal}
        work = [p for p in self.places if not p.named]
        while work:
            place = work.pop()
            if place.internal and place not in reached and not place.level.error_pages:
                continue
            taint = self._tainted.get(place, frozenset()) | frozenset(self._believed(place))
            for target, how in self._ways_on(place):
                there = self.target(target)
                if there is None or there is place:
                    continue
                before = (self._tainted.get(there, frozenset()), reached.get(there))
                self._tainted[there] = before[0] | taint
                if (there.named or there.internal) and before[1] != "moved":
                    reached[there] = how
                if before != (self._tainted[there], reached.get(there)):  # it only ever grows
                    work.append(there)
        return reached

    def _ways_on(self, place: Place) -> Iterable[tuple[str, str]]:
        opened = self._meets(place, NO_TRAIL).kind in ("leaks", "public")
        from_outside = not place.internal
        codes = {c.args[0] for body in place.bodies() for c in body if c.name == "return" and c.args}
        bodies = [place.level.error_pages, *(named_children(b, "error_page") for b in place.bodies())]
        for page in {d for pages in bodies for d in pages}:
            *listed, target = page.args or ("",)
            listed = [code for code in listed if code.isdigit()]
            late = _LATE - {"404"} if place.internal else _LATE
            if opened or (set(listed) - late) or codes & set(listed):
                yield target, "page" if target.startswith("/") and "$" not in target else "moved"
        for body in (*place.bodies(), self.server.body):
            for child in body:
                if from_outside and child.name == "rewrite" and rewrites(child) == "last":
                    yield child.args[1], "moved"
                elif opened and child.name == "try_files" and child.args:
                    yield child.args[-1], "moved"


def _redirected(directive: Directive, target: str, own_list: bool) -> Verdict:
    """A redirect gives away nothing of the service; but beside a list it shows that the list is dead."""
    if target.startswith("https://") or not own_list:
        return Verdict("closed", f"answers with a redirect to {target}", "", directive)
    reason = f"{directive.name} runs before the list here: whoever asks is redirected to {target}"
    return Verdict("leaks", reason, 'declare this location "public", or take the redirect out', directive)


def _with_if(directive: Directive) -> Iterable[Directive]:
    """The directive, or those in it if it is an ``if``."""
    return directive.body if directive.name == "if" else (directive,)
