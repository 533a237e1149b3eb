"""What becomes of a denied client, and the way its request has come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from wgcluster.nginx.config.context import Context
from wgcluster.nginx.config.locations import Location
from wgcluster.nginx.config.rewrite import NOTHING, Known, Paths
from wgcluster.nginx.syntax.tree import Directive

Kind = Literal["guarded", "public", "leaks", "closed"]


class Verdict(NamedTuple):
    """What becomes of a denied client, why, and what the operator can do about it."""

    kind: Kind
    reason: str
    remedy: str = ""
    at: Directive | None = None  # the line to blame, where it is not the location's own


class Questions(NamedTuple):
    """A list that was asked on the way: at which of the trail's places, and did it let the request in?"""

    at: int  # -1: before the first of them; -2: and that by the address which was its own
    rules: tuple[Directive, ...]
    let_in: bool


class Past(NamedTuple):
    """What has become of requests on their way to a place."""

    forged_by: Directive | None = None  # the set_real_ip_from by which their address was replaced
    lists: frozenset[Questions] = frozenset()  # that all of them were asked by
    paged: bool = False  # an error_page was asked, and none is asked again
    gets: bool = False  # that, or a service, has made them GETs
    query: str | None = None  # what they have now; None: any
    sent_by: str = ""  # the public place whose service has sent them on to here
    by_page: bool = False  # they come by an error_page, and if it is a file that gives nothing else away

    def forged(self, directive: Directive) -> Past:
        """They name another address as theirs."""
        before = frozenset(asked._replace(at=-2) for asked in self.lists)
        return self._replace(forged_by=directive, lists=before)

    def asked(self, rules: tuple[Directive, ...], *, let_in: bool) -> Past:
        """The list was asked."""
        return self._replace(lists=self.lists | {Questions(-1, rules, let_in)})

    def is_within(self, other: Past) -> bool:
        """Are all such requests among those of ``other``?"""
        return (
            self.forged_by is other.forged_by
            and self.lists >= other.lists
            and self.paged == other.paged
            and self.gets >= other.gets
            and other.query in (None, self.query)
            and (self.sent_by != "" or other.sent_by == "")
            and self.by_page >= other.by_page
        )


class Coming(NamedTuple):
    """All that says what a request meets at a place, but for lists asked before: they only bar more."""

    place: Location
    paths: Paths | None
    known: Known
    methods: frozenset[str] | None
    paged: bool
    believed: frozenset[Directive]  # what may have replaced its address


GET = frozenset({"GET", "HEAD"})


class Trail(NamedTuple):
    """The places a request came through, and what has become of it on the way."""

    places: tuple[Location, ...] = ()
    methods: frozenset[str] | None = None  # one of these; None: any
    sent: bool = False  # to the first place by a service behind another: no client asks there
    forged_by: Directive | None = None  # by whose word its address was replaced before it came to the first
    early: frozenset[int] = frozenset()  # the places that it left before realip works
    paged: bool = False  # no further error_page is asked
    lists: tuple[Questions, ...] = ()
    paths: Paths | None = None  # where it has come on; None: any that come to its place
    known: Known = NOTHING
    turns: int = 0
    met: frozenset[Coming] = frozenset()

    @classmethod
    def of(cls, past: Past, paths: Paths | None = None, known: Known = NOTHING) -> Trail:
        """That of requests which come to a place so; ``known`` of all that come to the server."""
        return cls(
            methods=GET if past.gets else None,
            sent=past.sent_by != "",
            forged_by=past.forged_by,
            paged=past.paged,
            lists=tuple(past.lists),
            paths=paths,
            known=known if past.query is None else known.with_query(past.query),
        )

    def by_page(self, target: str, context: Context) -> Trail:
        """On to ``target``: a URI makes the request a GET, a named location leaves it as it is."""
        methods = GET if target.startswith("/") else self.methods
        return self.on_to(target)._replace(methods=methods, paged=not context.pages_recurse)

    def on_to(self, target: str) -> Trail:
        """On to ``target``: a URI brings its own query, or none."""
        if not target.startswith("/"):
            return self
        return self._replace(known=self.known.with_query(None if "?" in target or "$" in target else ""))

    def left_early(self) -> Trail:
        """The rewrite phase of the last place has sent it on."""
        return self._replace(early=self.early | {len(self.places) - 1})

    def with_methods(self, methods: frozenset[str]) -> Trail:
        """It is none of the others."""
        return self._replace(methods=methods if self.methods is None else methods & self.methods)

    def asked(self, rules: tuple[Directive, ...], *, let_in: bool) -> Trail:
        """The list of the last place was asked."""
        return self._replace(lists=(*self.lists, Questions(len(self.places) - 1, rules, let_in)))


NO_TRAIL = Trail()


# Of all the ways that a request may take: a leak, what is open as declared, what a list guards, an answer.
_WORST: tuple[Kind, ...] = ("leaks", "public", "guarded", "closed")


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict on a place, from those on each of the ways that a request may take; a leak ends it."""
    found: list[Verdict] = []
    for verdict in verdicts:
        if verdict.kind == "leaks":
            return verdict
        found.append(verdict)
    nothing = Verdict("closed", "nothing comes here")
    return min(found, key=lambda verdict: _WORST.index(verdict.kind), default=nothing)


def redirected(directive: Directive, target: str, own_list: bool) -> Verdict:
    """A redirect gives away nothing of the service; but beside a list it shows that the list is dead."""
    if target.startswith(("https://", "$scheme://")) or not own_list:
        return Verdict("closed", f"answers with a redirect to {target}", "", directive)
    reason = f"{directive.name} runs before the list here: whoever asks is redirected to {target}"
    return Verdict("leaks", reason, 'declare this location "public", or take the redirect out', directive)
