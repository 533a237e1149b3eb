"""Subrequests: what a place fetches from other locations goes past every list.

The access phase is left out for them (ngx_http_core_access_phase), by whichever module they are made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from wgcluster.nginx.audit.verdict import Verdict
from wgcluster.nginx.config.locations import Location
from wgcluster.nginx.syntax.tree import Directive

_CAPTURE = re.compile(r"""location\.capture\w*(?:\s*\(?\s*(["'])(?P<uri>/[^"'?\\]*)[^"'\\]*\1\s*[,)\s])?""")
# Code from elsewhere, but for libraries in wide use that fetch no location, and ngx by other names.
_FOREIGN = re.compile(
    r"""\b(?:dofile|loadfile|loadstring)\b|\bload\s*(?:[(\[]|["'][^\s,;)])
    |\brequire\b(?!\s*\(?\s*["'](?:bit|cjson|ffi|ngx|resty)\b)
    |\b_G\b|\bngx\s*(?:[\[,;)]|$)|=\s*ngx\b(?!\s*\.)|\bngx\.location\b(?!\s*\.\s*capture)""",
    re.VERBOSE,
)
_OF_LUA = ("access_by_lua", "content_by_lua", "rewrite_by_lua", "server_rewrite_by_lua")  # where it may fetch
_ECHO = {"echo_location": 0, "echo_location_async": 0, "echo_subrequest": 1, "echo_subrequest_async": 1}


class Fetch(NamedTuple):
    """A subrequest: who makes it, the URI it is for ("": not to be told), and how to do without it."""

    directive: Directive
    uri: str
    remedy: str
    unseen: bool = False  # what the code of the directive does is not known


def _runs_unseen(directive: Directive) -> bool:
    """Does it run code that is not in the configuration, or that nobody reads here?

    In other phases neither lua nor njs can fetch anything.
    """
    if directive.name in ("js_access", "js_content", "perl"):
        return True
    if not directive.name.startswith(_OF_LUA) or directive.name.endswith("_no_postpone"):
        return False
    code = directive.lua or " ".join(directive.args)
    return directive.name.endswith("_file") or _FOREIGN.search(code) is not None


def fetches(place: Location) -> Iterator[Fetch]:
    """What a request that is let in at ``place`` makes nginx fetch, of lua only what can be read here."""
    for mirror in place.context.mirrors:
        if mirror.args[:1] != ("off",):
            yield Fetch(mirror, "", 'write "mirror off;" into this location')
    for context in (place.context, *map(place.context.enter, place.bodies())):
        for fetch in context.fetches:
            off = '""' if fetch.name.startswith("add_") else "off"
            yield Fetch(fetch, "", f'write "{fetch.name} {off};" into this location')
    own = [d for body in place.bodies() for d in body]
    inherited = [d for d in place.context.auth if d.name.startswith(("access_by_lua", "js_access"))]
    for directive in dict.fromkeys((*own, *inherited)):
        if _runs_unseen(directive):
            remedy = "move it into a server of its own without guarded locations, and proxy_pass to that"
            if directive.name.startswith("access_by_lua") and directive not in own:
                remedy = 'write "access_by_lua_block { return }" into this location'
            yield Fetch(directive, "", remedy, unseen=True)
        elif "_by_lua" in directive.name and not directive.name.endswith("_file"):
            for found in _CAPTURE.finditer(directive.lua or " ".join(directive.args)):
                yield Fetch(directive, found["uri"] or "", "fetch only what is public there")
        elif directive.name in _ECHO:
            uri = "".join(directive.args[_ECHO[directive.name] :][:1]).partition("?")[0]
            yield Fetch(directive, "" if "$" in uri else uri, "fetch only what is public there")


def past_the_list(place: Location, is_public: Callable[[str], bool]) -> Verdict | None:
    """The leak of a public ``place`` that fetches what is not; None: it does not."""
    for fetch in fetches(place):
        if not fetch.uri or not is_public(fetch.uri):
            name, args = fetch.directive.name, " ".join(fetch.directive.args)
            does = f"{name} fetches {fetch.uri or 'other locations'} past every list"
            if fetch.unseen:
                does = f"{name} runs code that is not seen here: it may fetch what is guarded past every list"
            elif name == "mirror":
                does = f"mirror {args} sends each request on past every list"
            return Verdict("leaks", f"public, and {does}", fetch.remedy, fetch.directive)
    return None
