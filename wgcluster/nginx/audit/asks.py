"""Which paths a place asks the servers behind it for.

After ngx_http_proxy_create_request and ngx_http_proxy_eval: what a rewrite has changed is asked for as it is;
else a path in the URL stands for the location's; one with variables is asked for as they have it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import NamedTuple

from wgcluster.nginx.audit.folders import climbing, rewritten
from wgcluster.nginx.config.locations import PASSES, Location
from wgcluster.nginx.config.pcre import beginning
from wgcluster.nginx.config.upstreams import Routing, upstreams_at
from wgcluster.nginx.syntax.tree import Directive

_PATH = re.compile(r"(?:\w+://)?(?:unix:[^:]*:?|\[[^\]]*\](?::\d+)?|[^/$]*)(.*)", re.DOTALL)
_SAME = ("$request_uri", "$uri", "$document_uri")
# Where a script's name and folder tell what is asked for, or a key.
_OTHERWISE = frozenset({"fastcgi_pass", "memcached_pass"})


class Asks(NamedTuple):
    """The server behind is asked for ``lead`` and what follows, by a request for ``uri`` and what follows."""

    place: Location
    address: str
    lead: str
    uri: str  # "": a rewrite or a variable makes it
    directive: Directive


def asks(place: Location, server: Directive, routing: Routing) -> Iterator[Asks]:
    """All that requests which come to ``place`` ask for."""
    own = _own(place)
    for upstream in upstreams_at(place, server, routing) if own else ():
        address = routing.normalized(upstream.address)
        if upstream.directive.name not in PASSES - _OTHERWISE or "$" in address:
            continue
        changed = [folder.rstrip("/") + "/" for folder in rewritten(place)]
        for folder in changed:
            yield Asks(place, address, folder, "", upstream.directive)
        path = _PATH.fullmatch(upstream.url)
        written, dollar, name = (path[1] if path else "").partition("$")
        written = re.sub("/+", "/", written)
        if f"{dollar}{name}".startswith(_SAME):
            yield Asks(place, address, written.rstrip("/") + own, own, upstream.directive)
        elif dollar:
            regex = place.key.pattern if place.key else ""
            yield Asks(place, address, climbing(written, regex) or written or "/", "", upstream.directive)
        elif not written:
            yield from () if changed else (Asks(place, address, own, own, upstream.directive),)
        else:
            yield Asks(place, address, written, own, upstream.directive)
            if written.endswith("/") and not own.endswith("/") and written != "/":  # by OWN../
                above = posixpath.dirname(written.rstrip("/")).rstrip("/") + "/"
                yield Asks(place, address, above, f"{own}../", upstream.directive)


def _own(place: Location) -> str:
    """What the paths of its requests begin with; "": a named location has any."""
    if place.key is None:
        return "/"
    if place.key.modifier in ("~", "~*"):
        start = beginning(place.key.pattern)
        return start[0] if start is not None else ""
    return "" if place.named else place.key.pattern
