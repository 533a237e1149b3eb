"""Which lines guard a site, and which blocks they are inserted into."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from wgcluster.inventory.schema import GuardedSite
from wgcluster.nginx.audit.judge import closing
from wgcluster.nginx.config.access import allows_only
from wgcluster.nginx.config.find import (
    Key,
    find_servers,
    listens_of,
    locations,
    matches,
    matches_public,
    names_of,
    servers,
)
from wgcluster.nginx.config.rewrite import has_list
from wgcluster.nginx.syntax.errors import position, worded
from wgcluster.nginx.syntax.includes import expanded
from wgcluster.nginx.syntax.tree import Directive, parse

ACME = "/.well-known/acme-challenge"


class Problem(NamedTuple):
    """Something wrong at ``start:end`` of the text."""

    start: int
    end: int
    message: str
    remedy: str
    code: str


def problem(start: int, end: int, code: str, **fields: object) -> Problem:
    return Problem(start, end, *worded(code, **fields), code)


class Insertion(NamedTuple):
    """A line to insert at the beginning of a block."""

    block: Directive
    line: str


class Insertions:
    """The insertions that guard one site, and the problems that prevent them.

    Args:
        text: the site file, without lines of ours.
        tree: the same, parsed.
        list_file: path of the site's access list on the host.
        files: the other texts of the configuration by path, with ``trees`` parsed.
    """

    def __init__(
        self,
        text: str,
        tree: Sequence[Directive],
        site: GuardedSite,
        list_file: str,
        files: Mapping[str, str],
        trees: Mapping[str, tuple[Directive, ...]],
    ) -> None:
        self.text = text
        self.tree = tree
        self.site = site
        self.include = f"include {list_file};"
        self.files = files
        self.trees = trees

    def __iter__(self) -> Iterator[Insertion | Problem]:
        site = self.site
        found = find_servers(self.tree, site.server_name)
        if not found:
            yield _no_server(self.text, self.tree, site, self.files)
            return
        whole = {server.start: expanded(server, self.trees) for server in found}
        closed = {server.start: closing(whole[server.start], [site]) for server in found}
        if all(closed.values()):
            name = site.server_name
            yield problem(found[0].start, found[0].opened, "nginx.nothing-to-guard", site=name)
        for server in found:
            in_includes = [(k, d) for k, d in locations(whole[server.start]) if d.file != server.file]
            if closed[server.start]:  # it has none of the service, but may have the challenge
                if closed[server.start] == "locations":
                    steps = (
                        step
                        for selector in site.public
                        for step in self._public(server, selector, in_includes)
                    )
                    yield from (step for step in steps if isinstance(step, Insertion))
                continue
            if site.scope == "server":
                yield Insertion(server, self.include)
                yield from _foreign_rules(server, "the server", site)
            else:
                for selector in site.locations:
                    yield from self._location(server, selector, in_includes)
            for selector in site.public:
                yield from self._public(server, selector, in_includes)

    def _location(
        self, server: Directive, selector: str, in_includes: Sequence[tuple[Key, Directive]]
    ) -> Iterator[Insertion | Problem]:
        text, there = self.text, list(locations(server))
        found = [block for key, block in there if matches(key, selector)]
        matching = [block for key, block in in_includes if matches(key, selector)]
        at = (server.start, server.opened)
        if len(found) == 1:
            yield Insertion(found[0], self.include)
            yield from _foreign_rules(found[0], f'location "{selector}"', self.site)
        elif found:
            lines = ", ".join(f"line {position(text, block.start)[0]}" for block in found)
            at = (found[1].start, found[1].opened)
            count = len(found)
            yield problem(*at, "nginx.duplicate-location", location=selector, count=count, lines=lines)
        elif matching:
            place = line_of(matching[0], self.files)
            yield problem(*at, "nginx.included-location", location=selector, place=place)
        else:
            yield problem(
                *at,
                "nginx.no-location",
                location=selector,
                site=self.site.server_name,
                listen=", ".join(listens_of(server)),
                unread=self._unread(server),
                locations=_listed(text, there),
            )

    def _unread(self, server: Directive) -> str:
        """A hint at includes whose files are not at hand."""
        left = [d.args[0] for d in expanded(server, self.trees).walk() if d.name == "include" and d.args]
        return f"; what {', '.join(left)} may hold is not known" if left else ""

    def _public(
        self, server: Directive, selector: str, in_includes: Sequence[tuple[Key, Directive]]
    ) -> Iterator[Insertion | Problem]:
        """``allow all`` first in each location that ``selector`` names; adds a challenge location."""
        text, there = self.text, list(locations(server))
        found = [block for key, block in there if matches_public(key, selector)]
        at = (server.start, server.opened)
        for block in found:
            if _opens(block):
                continue
            yield Insertion(block, "allow all;")
            if has_list(block.body):
                yield problem(block.start, block.opened, "nginx.own-list", location=selector)
        matching = [block for key, block in in_includes if matches_public(key, selector)]
        for block in matching:
            listed = self.site.scope == "server" or has_list(server.body) or has_list(block.body)
            if listed and not _opens(block):
                place = line_of(block, self.files)
                yield problem(*at, "nginx.included-public", location=selector, place=place)
        if found or matching:
            return
        path = selector.strip().removeprefix("^~").strip()
        if path.startswith(ACME) and self.site.acme_root:
            root = _word(self.site.acme_root)
            yield Insertion(server, f"location ^~ {path} {{ allow all; root {root}; }}")
            return
        name, unread = self.site.server_name, self._unread(server)
        if path.startswith(ACME):
            yield problem(*at, "nginx.no-challenge-location", location=selector, site=name, unread=unread)
        else:
            names = _listed(text, there)
            yield problem(
                *at, "nginx.no-public-location", location=selector, site=name, unread=unread, locations=names
            )


def _opens(block: Directive) -> bool:
    """Is its first access rule ``allow all``?"""
    rules = [(c.name, c.args) for c in block.body if c.name in ("allow", "deny")]
    return rules[:1] == [("allow", ("all",))]


def _foreign_rules(block: Directive, what: str, site: GuardedSite) -> Iterator[Problem]:
    """Rules that would have no effect behind our list, which ends in ``deny all``."""
    for child in block.body:
        harmless = (child.name, child.args) == ("deny", ("all",)) or allows_only(child, site.allow)
        if child.name in ("allow", "deny") and not harmless:
            rule = " ".join([child.name, *child.args])
            yield problem(child.start, child.end, "nginx.rule-without-effect", rule=rule, what=what)


def _listed(text: str, there: Sequence[tuple[Key, Directive]]) -> str:
    return ", ".join(f'"{key}" line {position(text, block.start)[0]}' for key, block in there) or "none"


def _word(value: str) -> str:
    """``value`` quoted as one word, if it needs to be."""
    if value and not any(c in " \t\r\n;{}\"'#\\$" for c in value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _no_server(text: str, tree: Sequence[Directive], site: GuardedSite, files: Mapping[str, str]) -> Problem:
    there = [
        f'"{" ".join(names_of(s)) or "(no name)"}" on {", ".join(listens_of(s))}, '
        f"line {position(text, s.start)[0]}"
        for s in servers(tree)
    ]
    listing = "; ".join(there) or "none; is this a part of a server? name the file with the server block"
    hint = f"name one of those there are ({listing})"
    others = [path for path, other in files.items() if other != text and site.server_name in other]
    for path in others:
        if found := find_servers(parse(files[path], path), site.server_name):
            hint = f"one is at {line_of(found[0], files)}: name that file"
            break
    return problem(0, 0, "nginx.no-server", site=site.server_name, hint=hint)


def line_of(directive: Directive, files: Mapping[str, str]) -> str:
    """FILE:LINE of a directive, or FILE alone if its text is not at hand."""
    text = files.get(directive.file)
    return directive.file if text is None else f"{directive.file}:{position(text, directive.start)[0]}"
