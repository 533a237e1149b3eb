"""Subrequests: what a place fetches from other locations goes past every list.

The access phase is left out for them (ngx_http_core_access_phase), by whichever module they are made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from .places import Place
from .tree import Directive
from .verdict import Verdict

_CAPTURE = re.compile(r"""location\.capture\w*(?:\s*\(?\s*(["'])(?P<uri>/[^"'?\\]*)[^"'\\]*\1\s*[,)\s])?""")
_ECHO = {"echo_location": 0, "echo_location_async": 0, "echo_subrequest": 1, "echo_subrequest_async": 1}


class Fetch(NamedTuple):
    """A subrequest: who makes it, the URI it is for ("": not to be told), and how to do without it."""

    directive: Directive
    uri: str
    remedy: str


def fetches(place: Place) -> Iterator[Fetch]:
    """What a request that is let in at ``place`` makes nginx fetch, of lua only what can be read here."""
    for mirror in place.level.mirrors:
        if mirror.args[:1] != ("off",):
            yield Fetch(mirror, "", 'write "mirror off;" into this location')
    for level in (place.level, *map(place.level.enter, place.bodies())):
        for fetch in level.fetches:
            off = '""' if fetch.name.startswith("add_") else "off"
            yield Fetch(fetch, "", f'write "{fetch.name} {off};" into this location')
    inherited = [d for d in place.level.auth if d.name.startswith("access_by_lua")]
    for directive in (*(d for body in place.bodies() for d in body), *inherited):
        if "_by_lua" in directive.name and not directive.name.endswith("_file"):
            for found in _CAPTURE.finditer(directive.lua or " ".join(directive.args)):
                yield Fetch(directive, found["uri"] or "", "fetch only what is public there")
        elif directive.name in _ECHO:
            uri = "".join(directive.args[_ECHO[directive.name] :][:1]).partition("?")[0]
            yield Fetch(directive, "" if "$" in uri else uri, "fetch only what is public there")


def past_the_list(place: Place, is_public: Callable[[str], bool]) -> Verdict | None:
    """The leak of a public ``place`` that fetches what is not; None: it does not."""
    for fetch in fetches(place):
        if not fetch.uri or not is_public(fetch.uri):
            name, args = fetch.directive.name, " ".join(fetch.directive.args)
            does = f"{name} fetches {fetch.uri or 'other locations'} past every list"
            if name == "mirror":
                does = f"mirror {args} sends each request on past every list"
            return Verdict("leaks", f"public, and {does}", fetch.remedy, fetch.directive)
    return None
