"""What becomes of a denied client, and the way its request has come."""

from __future__ import annotations

from typing import Literal, NamedTuple

from .access import Level
from .places import Place
from .tree import Directive

Kind = Literal["guarded", "public", "leaks", "closed"]


class Verdict(NamedTuple):
    """What becomes of a denied client, why, and what the operator can do about it."""

    kind: Kind
    reason: str
    remedy: str = ""
    at: Directive | None = None  # the line to blame, where it is not the location's own


class Trail(NamedTuple):
    """The places a request came through, and what an error_page on the way has done to it."""

    places: tuple[Place, ...] = ()
    got: bool = False  # it has become a GET
    paged: bool = False  # no further error_page is asked
    passed: tuple[tuple[Directive, ...], ...] = ()  # lists that have let it in

    def by_page(self, target: str, level: Level) -> Trail:
        """On to ``target``: a URI makes the request a GET, a named location leaves it as it is."""
        got = self.got or target.startswith("/")
        return self._replace(got=got, paged=not level.pages_recurse)


NO_TRAIL = Trail()


def redirected(directive: Directive, target: str, own_list: bool) -> Verdict:
    """A redirect gives away nothing of the service; but beside a list it shows that the list is dead."""
    if target.startswith("https://") or not own_list:
        return Verdict("closed", f"answers with a redirect to {target}", "", directive)
    reason = f"{directive.name} runs before the list here: whoever asks is redirected to {target}"
    return Verdict("leaks", reason, 'declare this location "public", or take the redirect out', directive)
