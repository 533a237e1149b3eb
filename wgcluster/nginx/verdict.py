"""What becomes of a denied client, and the way its request has come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from .access import Level
from .places import Place
from .rewrite import NOTHING, Known, Paths
from .tree import Directive

Kind = Literal["guarded", "public", "leaks", "closed"]


class Verdict(NamedTuple):
    """What becomes of a denied client, why, and what the operator can do about it."""

    kind: Kind
    reason: str
    remedy: str = ""
    at: Directive | None = None  # the line to blame, where it is not the location's own


class Asked(NamedTuple):
    """A list that was asked on the way: at which of the trail's places, and did it let the request in?"""

    at: int
    rules: tuple[Directive, ...]
    let_in: bool


class Trail(NamedTuple):
    """The places a request came through, and what has become of it on the way."""

    places: tuple[Place, ...] = ()
    got: bool = False  # it has become a GET
    paged: bool = False  # no further error_page is asked
    lists: tuple[Asked, ...] = ()
    paths: Paths | None = None  # where it has come on; None: any that come to its place
    known: Known = NOTHING
    turns: int = 0

    def by_page(self, target: str, level: Level) -> Trail:
        """On to ``target``: a URI makes the request a GET, a named location leaves it as it is."""
        got = self.got or target.startswith("/")
        return self.on_to(target)._replace(got=got, paged=not level.pages_recurse)

    def on_to(self, target: str) -> Trail:
        """On to ``target``: a URI brings its own query, or none."""
        if not target.startswith("/"):
            return self
        return self._replace(known=self.known.with_query(None if "?" in target or "$" in target else ""))

    def asked(self, rules: tuple[Directive, ...], *, let_in: bool) -> Trail:
        """The list of the last place was asked."""
        return self._replace(lists=(*self.lists, Asked(len(self.places) - 1, rules, let_in)))


NO_TRAIL = Trail()


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Of all the ways that a request may take: a leak, else what a list guards, else an answer."""
    found: list[Verdict] = []
    for verdict in verdicts:
        if verdict.kind == "leaks":
            return verdict
        found.append(verdict)
    guarded = (verdict for verdict in found if verdict.kind != "closed")
    return next(guarded, found[0] if found else Verdict("closed", "nothing comes here"))


def redirected(directive: Directive, target: str, own_list: bool) -> Verdict:
    """A redirect gives away nothing of the service; but beside a list it shows that the list is dead."""
    if target.startswith("https://") or not own_list:
        return Verdict("closed", f"answers with a redirect to {target}", "", directive)
    reason = f"{directive.name} runs before the list here: whoever asks is redirected to {target}"
    return Verdict("leaks", reason, 'declare this location "public", or take the redirect out', directive)
