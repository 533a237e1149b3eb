"""How requests leave a rewrite phase: answered, rewritten or unchanged.

After ngx_http_rewrite_module.c and ngx_http_script.c.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from wgcluster.nginx.config.context import runs_lua_early
from wgcluster.nginx.config.pcre import beginning, pattern
from wgcluster.nginx.syntax.tree import Directive

REDIRECTS = frozenset({"301", "302", "303", "307", "308"})
# Regexes that match the rest of any path. Not with "$": "." matches no newline, and %0a is one.
_ANY_REST = frozenset({"", ".*", "(.*)"})
_CONSTANT = re.compile(
    r"\$(?:scheme|https|host|server_\w+|http_\w+|cookie_\w+|is_args|args|query_string|arg_\w+)"
)
_PATH = re.compile(r"\{?(?:document_|request_)?uri\b")
_OWN_PATH = re.compile(r"/|\$\{?(?:\d|(?:document_|request_)?uri\b)")
_OF_QUERY = re.compile(r"\$(?:is_args|args|query_string|arg_\w+)")


class Paths(NamedTuple):
    """What is known of the normalized paths of requests."""

    lead: str = "/"  # every path begins with it
    whole: bool = False  # and is no longer
    taken: tuple[str, ...] = ()  # prefixes that other locations take: no path begins with them
    one_line: bool = False  # no path has a newline

    def may_be(self, path: str) -> bool:
        """Can a path be ``path``?"""
        return path == self.lead or (path.startswith(self.lead) and not self.whole)

    def may_end_in(self, end: str) -> bool:
        """Can a path end with ``end``?"""
        return not self.whole or self.lead.endswith(end)

    def matched_by(self, regex: str) -> Literal["all", "some", "none"]:
        """Which paths the ``regex`` of a ``rewrite`` matches."""
        if self.whole and (compiled := pattern(regex)) is not None:
            return "all" if compiled.search(self.lead) else "none"
        if regex in _ANY_REST or regex == self.lead[:1]:
            return "all"
        if (start := beginning(regex)) is None:
            return "some"
        literal, rest = start
        if self.lead.startswith(literal):
            takes_rest = rest in _ANY_REST or (self.one_line and rest.removesuffix("$") in _ANY_REST)
            return "all" if takes_rest else "some"
        if not literal.startswith(self.lead) or any(literal.startswith(other) for other in self.taken):
            return "none"
        return "some"


class Known(NamedTuple):
    """What is known of the variables of a request."""

    values: frozenset[tuple[str, str]] = frozenset()
    conditions: frozenset[tuple[tuple[str, ...], bool]] = frozenset()  # of "if", with their results

    def holds(self, condition: tuple[str, ...]) -> bool | None:
        """Is the condition of an ``if`` true? None: unknown."""
        for truth in (False, True):
            if (condition, truth) in self.conditions:
                return truth
        value = dict(self.values).get(condition[0]) if condition else None
        if value is None and condition and _OF_QUERY.fullmatch(condition[0]) and ("$args", "") in self.values:
            value = ""
        if value is None:
            return None
        if len(condition) == 1:
            return value not in ("", "0")
        if len(condition) != 3 or condition[1] not in ("=", "!=") or "$" in condition[2]:
            return None
        return (value == condition[2]) == (condition[1] == "=")

    def having(self, condition: tuple[str, ...], truth: bool) -> Known:
        """With the result of a condition, if its variables keep their values all through the request."""
        variables = [word for word in condition if "$" in word]
        constant = all(_CONSTANT.fullmatch(word) for word in variables)
        return self._replace(conditions=self.conditions | {(condition, truth)}) if constant else self

    def with_query(self, query: str | None) -> Known:
        """With another query; None: an unknown one."""
        values = frozenset(pair for pair in self.values if pair[0] != "$args")
        of_others = frozenset(
            kept for kept in self.conditions if not any(_OF_QUERY.fullmatch(word) for word in kept[0])
        )
        return Known(values if query is None else values | {("$args", query)}, of_others)

    def without(self, name: str) -> Known:
        """Without what depends on the variable ``name``, which a ``set`` has changed."""
        if name == "$args":
            return self.with_query(None)
        kept = (kept for kept in self.conditions if name not in kept[0])
        return Known(frozenset(pair for pair in self.values if pair[0] != name), frozenset(kept))

    def moved_to(self, target: str) -> Known:
        """After a ``rewrite`` to ``target``, which changes the query if it has one."""
        return self.with_query(None) if "?" in target else self


ANY = Paths()
_SAME_PATH = ("^(.*)$", "$1")
NOTHING = Known()


class End(NamedTuple):
    """One way in which requests leave a rewrite phase."""

    how: Literal["returned", "redirected", "lua", "moved", "stays"]
    by: Directive | None  # that causes it
    paths: Paths
    known: Known
    inside: Directive | None = None  # the ``if`` whose settings are in effect

    @property
    def target(self) -> str:
        """Where a ``rewrite`` leads; "" for other ends."""
        return self.by.args[1] if self.by is not None and self.how == "moved" else ""

    @property
    def keeps_path(self) -> bool:
        """Is the path after a server's rewrite phase the one that was requested?"""
        return self.how == "stays" or self.target.partition("?")[0] in ("$1", "$uri", "$document_uri")

    @property
    def varies(self) -> bool:
        """Does the target depend on a variable, and can it differ from the requested path?"""
        if self.by is None or not is_varied(self.target):
            return False
        return self.by.args[:2] != _SAME_PATH and self.target not in ("$uri", "$document_uri")

    @property
    def code(self) -> str:
        """The status that is answered; "": none, or one that code decides."""
        if self.by is None or self.how not in ("returned", "redirected"):
            return ""
        if self.how == "redirected":
            return "301" if self.by.args[2:] == ("permanent",) else "302"
        first = self.by.args[0] if self.by.args else ""
        return first if first.isdigit() else "302"


class _State(NamedTuple):
    paths: Paths
    known: Known
    pending: Directive | None = None  # the rewrite that has changed the path
    inside: Directive | None = None


def ends(
    body: Sequence[Directive], paths: Paths = ANY, known: Known = NOTHING, *, in_server: bool = False
) -> tuple[End, ...]:
    """Every way in which requests can leave the rewrite phase.

    Args:
        body: the directives of the server or location.
        paths: of the requests.
        known: of their variables.
    """
    script = _Script(in_server=in_server)
    left = script.run(body, {_State(paths, known): None})
    for state in left:
        script.stop(state)
    lua = next((child for child in body if runs_lua_early(child)), None)
    if lua is None:
        return tuple(script.ends)
    # It runs after all of them, and before nginx looks for a changed path.
    return tuple(
        dict.fromkeys(
            end if end.how in ("returned", "redirected") else End("lua", lua, end.paths, end.known)
            for end in script.ends
        )
    )


class _Script:
    """Runs directives as nginx does, on every state that a request can be in."""

    def __init__(self, *, in_server: bool) -> None:
        self.in_server = in_server
        self.ends: dict[End, None] = {}

    def run(self, body: Sequence[Directive], states: dict[_State, None]) -> dict[_State, None]:
        """The states after the last directive of ``body``."""
        for child in body:
            step = {
                "return": self._return,
                "break": self._break,
                "rewrite": self._rewrite,
                "if": self._if,
            }.get(child.name)
            if step is not None:
                states = dict.fromkeys(after for state in states for after in step(child, state))
            elif child.name == "set" and child.args:
                name = child.args[0]
                states = dict.fromkeys(s._replace(known=s.known.without(name)) for s in states)
        return states

    def stop(self, state: _State) -> None:
        """The end of the phase, or ``last``: nginx looks for the location of a changed path."""
        how: Literal["moved", "stays"] = "stays" if state.pending is None else "moved"
        self._end(how, state.pending, state)

    def _end(
        self, how: Literal["returned", "redirected", "moved", "stays"], by: Directive | None, state: _State
    ) -> None:
        self.ends[End(how, by, state.paths, state.known, state.inside)] = None

    def _return(self, child: Directive, state: _State) -> Iterator[_State]:
        self._end("returned", child, state)
        return iter(())

    def _break(self, child: Directive, state: _State) -> Iterator[_State]:
        # In a server nginx looks for the location afterwards, by the path as it is then.
        self.stop(state if self.in_server else state._replace(pending=None))
        return iter(())

    def _rewrite(self, child: Directive, state: _State) -> Iterator[_State]:
        how = rewrites(child)
        matched = state.paths.matched_by(child.args[0]) if how else "none"
        if matched != "all":
            yield state
        if matched == "none":
            return
        if how == "answer":
            self._end("redirected", child, state)
            return
        lead, variable, _ = child.args[1].partition("?")[0].partition("$")
        if child.args[:2] == _SAME_PATH:
            paths = state.paths._replace(one_line=True)
        else:
            paths = Paths(lead, whole=not variable)
        changed = state._replace(paths=paths, known=state.known.moved_to(child.args[1]), pending=child)
        if how == "break":
            yield from self._break(child, changed)
        elif child.args[2:] == ("last",):
            self.stop(changed)
        else:
            yield changed

    def _if(self, child: Directive, state: _State) -> Iterator[_State]:
        condition = _condition(child)
        truth = state.known.holds(condition)
        after: dict[_State, None] = {}
        if truth is not False:
            inside = state._replace(inside=child, known=state.known.having(condition, True))
            after = self.run(child.body, {inside: None})
            # Forget the condition: to keep both results would double the states with every "if".
            kept = state.known.conditions
            yield from (
                s._replace(known=s.known._replace(conditions=s.known.conditions & kept)) for s in after
            )
        if truth is not True:
            yield state if after else state._replace(known=state.known.having(condition, False))


def is_varied(target: str) -> bool:
    """Does the path of a rewrite's target depend on a variable?"""
    return "$" in target.partition("?")[0]


def begins_with_slash(target: str) -> bool:
    """Is the target a path in any case, as far as captures and nginx's own variables tell?"""
    return _OWN_PATH.match(target) is not None


def beginning_of(target: str) -> str:
    """The literal text that every path made from ``target`` begins with."""
    lead, _, variable = target.partition("?")[0].partition("$")
    return f"{lead}/" if _PATH.match(variable) else lead


def answers_all(onward: Iterable[End]) -> bool:
    """Does the rewrite phase answer every request?"""
    return not any(end.how in ("moved", "stays") for end in onward)


def _condition(directive: Directive) -> tuple[str, ...]:
    """The words of an ``if`` without its parentheses."""
    words = list(directive.args)
    if words:
        words[0] = words[0].removeprefix("(")
        words[-1] = words[-1].removesuffix(")")
    ends = (1 if directive.args[:1] == ("(",) else 0), (-1 if directive.args[-1:] == (")",) else None)
    return tuple(words[slice(*ends)])


def has_list(body: Sequence[Directive]) -> bool:
    """Does this block have access rules of its own?"""
    return any(child.name in ("allow", "deny") for child in body)


def named_children(body: Sequence[Directive], name: str) -> tuple[Directive, ...]:
    """The directives called ``name`` in ``body``."""
    return tuple(child for child in body if child.name == name)


def rewrites(directive: Directive) -> Literal["", "answer", "break", "last"]:
    """What follows if the ``rewrite`` matches; "" for other directives. "answer": a redirect."""
    if directive.name != "rewrite" or len(directive.args) < 2:
        return ""
    flag = directive.args[2] if len(directive.args) > 2 else ""
    if flag in ("redirect", "permanent") or directive.args[1].startswith(("http://", "https://", "$scheme")):
        return "answer"
    return "break" if flag == "break" else "last"


def page_for(pages: Sequence[Directive], code: str) -> tuple[str, Directive] | None:
    """Target and directive of the first ``error_page`` for ``code`` (ngx_http_special_response_handler)."""
    for page in pages:
        if code in page.args[:-1]:
            return page.args[-1], page
    return None


def try_files_target(body: Sequence[Directive]) -> str | None:
    """The target of ``try_files "" TARGET``, which redirects every request internally."""
    for child in body:
        if child.name == "try_files" and not any(child.args[:-1]):
            return child.args[-1]
    return None
