"""The locations of a server, and what the server itself does where none matches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from wgcluster.nginx.config.context import Context
from wgcluster.nginx.config.find import Key, location_key
from wgcluster.nginx.config.pcre import beginning, hits
from wgcluster.nginx.config.rewrite import NOTHING, End, Known, Paths, ends, rewrites, try_files_target
from wgcluster.nginx.syntax.tree import Directive

PASSES = frozenset({"proxy_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass", "memcached_pass"})
# Directives of content handlers that serve neither files nor an upstream, widely used third-party modules
# included.
_HANDLERS = frozenset(
    {"api", "echo", "echo_exec", "empty_gif", "js_content", "perl", "report_uploads", "stub_status",
     "vhost_traffic_status_display", "vod"}
)  # fmt: skip
_ALL = frozenset({"^", "^/", "^.*$", "^(.*)$", ".*", "(.*)", "^.*", "^(.*)"})  # but for paths with a newline
_HANDLER_FAMILIES = ("content_by_lua", "nchan_", "push_stream_", "rtmp_")


@dataclass(slots=True, eq=False)
class Location:
    """One location and its context. ``key`` None: the server itself, where no location matches."""

    key: Key | None
    directive: Directive
    context: Context
    parent: Location | None = None
    children: list[Location] = field(default_factory=list)
    siblings: Sequence[Location] = ()  # in the same block, itself included

    @property
    def name(self) -> str:
        return str(self.key) if self.key else "(no location)"

    @property
    def named(self) -> bool:
        return self.key is not None and self.key.modifier == "@"

    @property
    def internal(self) -> bool:
        """Is it declared ``internal``, or a location around it?"""
        own = self.key is not None and any(c.name == "internal" for c in self.directive.body)
        return own or (self.parent is not None and self.parent.internal)

    def ends(self, known: Known = NOTHING, paths: Paths | None = None) -> tuple[End, ...]:
        """How requests leave its rewrite phase.

        Args:
            paths: of the requests; None: all that match the location.
        """
        paths = paths or self.paths()
        return ends(self.directive.body if self.key else (), paths, known)

    def walk(self) -> Iterator[Location]:
        yield self
        for child in self.children:
            yield from child.walk()

    def outward(self) -> Iterator[Location]:
        """Itself and the locations around it, the outermost last."""
        yield self
        if self.parent is not None:
            yield from self.parent.outward()

    def bodies(self) -> Iterator[Sequence[Directive]]:
        """Its own body, then those of each ``if`` and ``limit_except`` in it."""
        yield self.directive.body
        for child in self.directive.body:
            if child.name in ("if", "limit_except"):
                yield child.body

    def paths(self) -> Paths:
        """The paths of requests that nginx matches with it, before it rewrites them."""
        if self.named:
            return Paths()
        if self.key is not None and self.key.modifier == "=":
            return Paths(self.key.pattern, whole=True)
        lead = max(("/", *(location.lead() for location in self.outward())), key=len)
        if self.key is not None and self.key.modifier not in ("", "^~"):
            return Paths(lead)
        others = [p.key for p in (*self.siblings, *self.children) if p.key]
        taken = [key.pattern for key in others if key.modifier in ("", "^~")]
        if self.key is None or self.key.modifier == "":  # regexes come before it
            starts = [beginning(p.key.pattern) for p in self.siblings if p.key and p.key.modifier == "~"]
            taken += [start[0] for start in starts if start is not None and start[1] == ""]
        return Paths(lead, taken=tuple(other for other in taken if len(other) > len(lead)))

    def lead(self) -> str:
        """The literal text that every matching path begins with."""
        modifier, pattern = self.key or ("", "/")
        if modifier in ("", "^~", "="):
            return pattern
        start = beginning(pattern) if modifier == "~" else None
        return start[0] if start else ""

    def passes(self) -> list[Directive]:
        """Its ``proxy_pass`` and their like."""
        return [d for body in self.bodies() for d in body if d.name in PASSES]

    def passes_all(self) -> bool:
        """Is every request passed to an upstream? An ``if`` inherits that."""
        return any(d.name in PASSES for d in self.directive.body)

    def adds_slash(self) -> bool:
        """Does nginx redirect here what lacks the last slash (``auto_redirect`` of upstream modules)?"""
        if self.key is None or self.key.modifier not in ("", "^~", "="):
            return False
        return self.key.pattern.endswith("/") and self.key.pattern != "/" and bool(self.passes())


def locations_of(server: Directive, context: Context) -> list[Location]:
    """The outermost locations of ``server``; last the server itself, unless ``location /`` matches all."""
    inside = context.enter(server.body)
    outer = [_location(d, inside, None) for d in server.body if d.name == "location" and d.is_block]
    if not any(p.key in (("", "/"), ("^~", "/")) for p in outer):
        outer.append(Location(None, server, inside))
    return _side_by_side(outer)


def _side_by_side(siblings: list[Location]) -> list[Location]:
    for location in siblings:
        location.siblings = siblings
    return siblings


def _location(directive: Directive, context: Context, parent: Location | None) -> Location:
    location = Location(location_key(directive.args), directive, context.enter(directive.body), parent)
    inner = [
        _location(d, location.context, location)
        for d in directive.body
        if d.name == "location" and d.is_block
    ]
    location.children = _side_by_side(inner)
    return location


def resolve(outer: Sequence[Location], uri: str) -> Location | None:
    """The location that nginx chooses (ngx_http_core_find_location); None: none matches.

    Args:
        outer: the outermost locations of a server.
        uri: a normalized path.
    """
    return _find(outer, uri)[0]


def may_begin(location: Location, lead: str) -> bool:
    """Can a path that begins with ``lead`` match ``location``?"""
    paths = location.paths()
    if any(lead.startswith(other) for other in paths.taken):
        return False
    return paths.lead.startswith(lead) or (lead.startswith(paths.lead) and not paths.whole)


def _find(siblings: Sequence[Location], uri: str) -> tuple[Location | None, bool]:
    """The location among ``siblings`` or inside them; True: regexes further out are not tried."""
    prefixes = [
        p for p in siblings if p.key and p.key.modifier in ("", "^~") and uri.startswith(p.key.pattern)
    ]
    for location in siblings:
        if location.key and location.key.modifier == "=" and location.key.pattern == uri:
            return location, True
    best = max(prefixes, key=lambda p: len(p.key.pattern) if p.key else 0, default=None)
    found = best
    if best is not None:
        nested, final = _find(best.children, uri)
        if final:
            return nested, True
        found = nested or best
    if best is None or best.key is None or best.key.modifier != "^~":
        for location in siblings:
            if _regex_hits(location.key, uri):
                return _find(location.children, uri)[0] or location, True
    return found, False


def _regex_hits(key: Key | None, uri: str) -> bool:
    """Is it a regex that matches? One that only PCRE can read counts as no match."""
    return (
        key is not None
        and key.modifier in ("~", "~*")
        and hits(key.pattern, uri, caseless=key.modifier == "~*")
    )


def is_page(location: Location, target: str) -> bool:
    """Is ``target``, a URI or a named location, served as a plain file, such as an error page?"""
    active = PASSES | {"return", "rewrite", "try_files", "add_before_body", "add_after_body", "ssi"}
    names = {d.name for body in location.bodies() for d in body}
    names |= {d.name for d in location.context.fetches}
    runs = any("_by_lua" in name or name.startswith("echo_") for name in names)
    # the index of a folder is served by an internal redirect
    as_file = names_page(target) and not target.partition("?")[0].endswith("/")
    if location.named:
        return not names & (active - {"rewrite", "try_files"}) and not runs and _is_one_file(location)
    return as_file and not names & active and not runs and not has_handler(location)


def _is_one_file(location: Location) -> bool:
    """Does a named location serve one file, whatever the path?"""
    tries = [d.args for d in location.directive.body if d.name == "try_files"]
    if tries:  # no variable, and a status at the end
        return not any("$" in arg for arg in tries[0]) and tries[0][-1].startswith("=")
    written = [d.args for d in location.directive.body if rewrites(d) == "break"]
    for_all = any(args[0] in _ALL and "$" not in args[1] for args in written)
    stays = all(end.how == "stays" for end in location.ends())
    return for_all and stays and len(written) == 1 and not has_handler(location)


def names_page(target: str) -> bool:
    """Is it a path without variables, ``$status`` aside?"""
    return target.startswith("/") and "$" not in target.replace("$status", "")


def has_handler(location: Location) -> bool:
    """Does a content handler answer here, and not an upstream or a file?"""
    names = {d.name for body in location.bodies() for d in body}
    return bool(names & _HANDLERS) or any(
        name.startswith(_HANDLER_FAMILIES) or (name.endswith("_pass") and name not in PASSES)
        for name in names
    )


def answers_itself(location: Location) -> bool:
    """Is no file served here, because of a ``return``, a content handler or ``try_files "" …``?"""
    returns = any(d.name == "return" for d in location.directive.body)
    return returns or has_handler(location) or try_files_target(location.directive.body) is not None


def may_redirect(location: Location) -> bool:
    """Can an answer from here cause an internal redirect, also to internal and named locations?"""
    return any(_may_redirect(child, body) for body in location.bodies() for child in body)


def _may_redirect(directive: Directive, siblings: Sequence[Directive]) -> bool:
    name = directive.name
    if name in PASSES:
        module = name.removesuffix("_pass")
        ignored = [d.args for d in siblings if d.name == f"{module}_ignore_headers"]
        return not any("X-Accel-Redirect" in headers for headers in ignored)
    if "_by_lua" in name:
        code = directive.lua or " ".join(directive.args)
        return name.startswith("content_by_lua") or "ngx.exec" in code or "set_uri" in code
    return name == "echo_exec" or (name == "index" and any(arg.startswith("/") for arg in directive.args))
