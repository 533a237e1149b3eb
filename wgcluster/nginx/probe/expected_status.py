"""The status that a denied client should get for a path, by the rewrites and the audit's verdict."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from wgcluster.nginx.audit.judge import ServerJudge
from wgcluster.nginx.config.locations import PASSES, Location, resolve
from wgcluster.nginx.config.pcre import pattern
from wgcluster.nginx.config.rewrite import named_children, page_for, rewrites, try_files_target
from wgcluster.nginx.syntax.tree import Directive

Expected = Literal["denied", "closed", "served"]
_MAX_TURNS = 10  # nginx answers 500 after as many rewrites (ngx_http_core_post_rewrite_phase)
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


class Expectation(NamedTuple):
    """``location``: where the request ends; ``statuses``: the right ones, empty for "served": any but 403."""

    location: Location
    kind: Expected
    statuses: frozenset[int]


class Unknown(NamedTuple):
    """Why the configuration alone does not tell the status."""

    reason: str


def expected_at(judge: ServerJudge, location: Location, uri: str) -> Expectation | Unknown:
    """What a denied client should get.

    Args:
        location: the one that nginx chooses for ``uri``.
        uri: a normalized path.
    """
    codes = _codes(judge.server.body)
    if judge.server_answer is not None:
        return _expectation(judge, location, judge.verdict(location).kind, codes)
    onward = _rewritten(judge.server.body, uri, in_server=True)
    for _ in range(_MAX_TURNS):
        if isinstance(onward, Unknown):
            return onward
        if onward is not None:
            uri, there = onward, _location(judge, onward)
            if there is None or there.internal:  # internal locations can be reached by rewrites
                return Unknown(f"a rewrite sends it to {uri}")
            location = there
        if (folder := _missing_slash(judge.outer, uri)) is not None:
            if onward is not None and folder.internal:
                return Unknown(f"a rewrite sends it to {uri}")
            codes |= {404 if folder.internal else 301}
            return _expectation(judge, folder, "closed", codes)
        if location.internal:
            return _expectation(judge, location, "closed", codes | {404})
        if location.key is None:
            break
        codes |= _codes(location.directive.body)
        onward = _rewritten(location.directive.body, uri, in_server=False)
        if onward is None:
            break
    else:
        return Expectation(location, "closed", frozenset({500}))
    verdict = judge.verdict(location)
    if verdict.kind == "public" and 403 in codes:
        return Unknown("declared public, and answers 403 itself")
    if verdict.kind == "public" and (why := _why_refused(judge, location)):
        return Unknown(why)
    if (
        verdict.kind in ("guarded", "closed")
        and (target := try_files_target(location.directive.body)) is not None
    ):
        return Unknown(f"try_files sends on to {target} whom the list lets in")
    return _expectation(judge, location, verdict.kind, codes)


def _expectation(
    judge: ServerJudge, location: Location, kind: str, codes: frozenset[int]
) -> Expectation | Unknown:
    if kind == "public":
        return Expectation(location, "served", frozenset())
    answered = judge.server_answer is not None
    if kind != "closed":
        right = frozenset({403}) | {code for code in codes if code >= 300}
    elif location.key is None and not answered:  # where no location matches, nginx answers 403 or 404
        right = frozenset({403, 404}) | {code for code in codes if code >= 300}
    else:
        right = codes or frozenset({403, 404})
    context = judge.context if answered else location.context
    pages = [context.error_pages, *(named_children(body, "error_page") for body in location.bodies())]
    for code in tuple(right):
        for found in (page_for(listed, str(code)) for listed in pages):
            if found and (found[0].startswith("http") or found[1].args[-2].startswith("=")):
                return Unknown(f"what answers its {code} is for an error_page to say")
            page = judge.target(found[0]) if found else None
            if page is not None and any(end.how == "moved" for end in page.ends(judge.known)):
                return Unknown(f"its {code} is answered by {page.name}, which sends it on")
            if page is not None:  # the page may be guarded, or its file missing
                right |= _codes(page.directive.body) | {403, 404}
    if context.auth:
        right |= {401}
    if context.limits:
        right |= {429, 503}
    return Expectation(location, "closed" if kind == "closed" else "denied", right)


def _codes(body: Sequence[Directive]) -> frozenset[int]:
    """The statuses that the rewrite phase can answer, 0 for 444."""
    found: set[int] = set()
    for child in _with_ifs(body):
        if child.name == "return" and child.args:
            code = int(child.args[0]) if child.args[0].isdigit() else 302
            found.add(0 if code == 444 else code)
        elif rewrites(child) == "answer":
            found.add(301 if child.args[2:] == ("permanent",) else 302)
        elif child.name == "ssl_verify_client" and child.args == ("on",):
            found.add(400)
    return frozenset(found)


def _with_ifs(body: Sequence[Directive]) -> Iterator[Directive]:
    for child in body:
        yield child
        if child.name == "if":
            yield from child.body


def _rewritten(body: Sequence[Directive], uri: str, *, in_server: bool) -> str | Unknown | None:
    """The path for which nginx looks for a location again after ``body``; None: it does not."""
    changed, again, may_end = uri, False, False
    for child in body:
        if child.name in ("break", "return"):
            break
        may_end = may_end or (child.name == "if" and _may_end(child, in_server=in_server))
        if child.name == "if":
            inner = [d for d in child.body if rewrites(d) in ("last", "break")]
            if any((p := pattern(d.args[0])) is None or p.search(changed) for d in inner):
                return Unknown("a rewrite in an if may send it on")
        how = rewrites(child)
        if how in ("last", "break"):
            regex = pattern(child.args[0])
            if regex is None:
                return Unknown(f"only nginx can read the regex of rewrite {child.args[0]}")
            match = regex.search(changed)
            if match is None:
                continue
            target = _replaced(child.args[1], match, changed)
            if target is None:
                return Unknown(f"a variable says where rewrite {child.args[0]} sends it")
            if may_end:
                return Unknown("an if may end the rewriting before it sends it on")
            changed, again = target.partition("?")[0], True
            if len(child.args) > 2:
                if how == "break" and not in_server:
                    return None  # it stays in the location, whatever its URI now is
                break
        elif how == "answer" and (regex := pattern(child.args[0])) is not None and regex.search(changed):
            break
    return changed if again else None


def _may_end(directive: Directive, *, in_server: bool) -> bool:
    """Can an ``if`` end the rewrite phase before the directives after it?

    In a server ``last`` is like ``break``; in a location it leads to another one.
    """
    flags = ("break", "last") if in_server else ("break",)
    return any(
        d.args[2:] in [(f,) for f in flags] if rewrites(d) else d.name == "break" for d in directive.body
    )


def _replaced(text: str, match: re.Match[str] | None, uri: str) -> str | None:
    """``text`` with its variables put in; None if one is unknown."""
    unknown = False

    def value(found: re.Match[str]) -> str:
        nonlocal unknown
        name = found[1] or found[2]
        if name in ("uri", "request_uri", "document_uri"):
            return uri
        if match is not None and name.isdigit() and int(name) <= match.re.groups:
            return match[int(name)] or ""
        unknown = True
        return ""

    replaced = _VARIABLE.sub(value, text)
    return None if unknown else replaced


def _location(judge: ServerJudge, uri: str) -> Location | None:
    own = judge.outer[-1] if judge.outer[-1].key is None else None
    return resolve(judge.outer, uri) or own


def _missing_slash(siblings: Sequence[Location], uri: str) -> Location | None:
    """The proxied location that ``uri`` lacks only the last slash of: nginx answers 301, before any list."""
    static = [p for p in siblings if p.key is not None and p.key.modifier in ("", "^~", "=")]
    named = {p.key.pattern: p for p in static if p.key is not None}
    folder = named.get(f"{uri}/")
    if uri not in named and folder is not None:
        return folder if any(child.name in PASSES for child in folder.directive.body) else None
    around = [p for p in static if p.key and p.key.modifier != "=" and uri.startswith(p.key.pattern)]
    best = max(around, key=lambda p: len(p.key.pattern) if p.key else 0, default=None)
    return None if best is None else _missing_slash(best.children, uri)


def _why_refused(judge: ServerJudge, location: Location) -> str:
    """Why a public location may answer 403: its rules, its 404 page, or the end of its try_files."""
    rules = location.context.rules
    if rules and rules[0].args != ("all",) and any(rule.name == "deny" for rule in rules):
        return "declared public, and has a list"
    page = page_for(location.context.error_pages, "404")
    there = judge.target(page[0]) if page else None
    if page and not location.passes() and (there is None or judge.refuses(there)):
        return f"its 404 is answered by {page[0]}, which is behind a list"
    for child in location.directive.body:
        if child.name == "try_files" and child.args and not child.args[-1].startswith("="):
            after = judge.target(child.args[-1])
            if after is not location and (after is None or judge.verdict(after).kind != "public"):
                return f"try_files goes on to {child.args[-1]}"
    return ""
