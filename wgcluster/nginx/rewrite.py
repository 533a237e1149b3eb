"""What the directives of the rewrite phases, and error_page, do to a request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from .tree import Directive

REDIRECTS = frozenset({"301", "302", "303", "307", "308"})
# Patterns of ``rewrite`` that every URI matches.
EVERYTHING = frozenset(
    {"^", "^/", ".*", "/", "^.*", "^.*$", "(.*)", "^(.*)", "^(.*)$", "^/(.*)$", "^/(.*)", "^/.*$"}
)


def has_list(body: Sequence[Directive]) -> bool:
    """Does this level have access rules of its own?"""
    return any(child.name in ("allow", "deny") for child in body)


def named_children(body: Sequence[Directive], name: str) -> tuple[Directive, ...]:
    return tuple(child for child in body if child.name == name)


def rewrites(directive: Directive) -> Literal["", "answer", "break", "last"]:
    if directive.name != "rewrite" or len(directive.args) < 2:
        return ""
    flag = directive.args[2] if len(directive.args) > 2 else ""
    if flag in ("redirect", "permanent") or directive.args[1].startswith(("http://", "https://", "$scheme")):
        return "answer"
    return "break" if flag == "break" else "last"


def escapes(directive: Directive, *, in_server: bool = False) -> bool:
    """May it, under a condition, end the rewriting here, so that what stands behind it is not asked?

    In a server ``last`` does as ``break``; in a location it leads to another one.
    """
    ends = ("break", "last") if in_server else ("break",)
    inside = directive.body if directive.name == "if" else (directive,)
    return any(d.args[2] in ends if d.name == "rewrite" and d.args[2:] else d.name == "break" for d in inside)


def moved(body: Sequence[Directive], *, in_server: bool = False) -> str | None:
    """Where every request is rewritten to, if it is."""
    for child in body:
        if rewrites(child) == "last" and child.args[0] in EVERYTHING:
            return child.args[1]
        if child.name == "return" or escapes(child, in_server=in_server):
            return None
    return None


def may_move(body: Sequence[Directive], *, in_server: bool = False) -> Iterator[Directive]:
    """The rewrites by which some requests, but not all, go on somewhere else that is written out."""
    escaped = False
    for child in body:
        if child.name in ("return", "break"):
            return
        everything = rewrites(child) == "last" and child.args[0] in EVERYTHING
        if everything and not escaped:
            return
        for directive in child.body if child.name == "if" else (child,):
            leads_on = rewrites(directive) == "last" or (in_server and rewrites(directive) == "break")
            if leads_on and not directive.args[1].startswith(("$", "/$")):
                yield directive
        if everything:
            return
        escaped = escaped or escapes(child, in_server=in_server)


def always_returns(body: Sequence[Directive]) -> bool:
    """Does every request that comes here end at a ``return``?"""
    for child in body:
        if child.name == "return":
            return True
        if escapes(child):
            return False
    return False


def page_for(pages: Sequence[Directive], code: str) -> tuple[str, Directive] | None:
    """The target of the first ``error_page`` for ``code`` (ngx_http_special_response_handler)."""
    for page in pages:
        if code in page.args[:-1]:
            return page.args[-1], page
    return None


def handed_on(body: Sequence[Directive]) -> str | None:
    """Where ``try_files "" TARGET`` sends every request: it has no file to find."""
    for child in body:
        if child.name == "try_files" and not any(child.args[:-1]):
            return child.args[-1]
    return None
