"""The lines that guard a site, and the blocks they go first into."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from wgcluster.inventory.schema import GuardedSite
from wgcluster.nginx.audit.judge import closing
from wgcluster.nginx.config.access import lets_in_only
from wgcluster.nginx.config.find import (
    Key,
    covers,
    find_servers,
    is_wished,
    listens_of,
    locations,
    names_of,
    servers,
)
from wgcluster.nginx.config.rewrite import has_list
from wgcluster.nginx.syntax.errors import position
from wgcluster.nginx.syntax.includes import expanded
from wgcluster.nginx.syntax.tree import Directive, parse

ACME = "/.well-known/acme-challenge"


class Problem(NamedTuple):
    """Something wrong at ``start:end`` of the text that is being worked on."""

    start: int
    end: int
    message: str
    remedy: str = ""


class Wish(NamedTuple):
    """A line to go first into a block."""

    block: Directive
    line: str


class Lines:
    """The lines that guard one site, each with the block it goes first into; and what stands in the way."""

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

    def __iter__(self) -> Iterator[Wish | Problem]:
        site = self.site
        found = find_servers(self.tree, site.server_name)
        if not found:
            yield _no_server(self.text, self.tree, site, self.files)
            return
        whole = {server.start: expanded(server, self.trees) for server in found}
        closed = {server.start: closing(whole[server.start], [site]) for server in found}
        if all(closed.values()):
            message = (
                f"every server of {site.server_name} only redirects or refuses: there is nothing to guard"
            )
            remedy = "name the file and the server that has the service"
            yield Problem(found[0].start, found[0].opened, message, remedy)
        for server in found:
            elsewhere = [(k, d) for k, d in locations(whole[server.start]) if d.file != server.file]
            if closed[server.start]:  # nothing of the service is there; the challenge may be
                if closed[server.start] == "locations":
                    steps = (step for wish in site.public for step in self._public(server, wish, elsewhere))
                    yield from (step for step in steps if isinstance(step, Wish))
                continue
            if site.scope == "server":
                yield Wish(server, self.include)
                yield from _foreign_rules(server, "the server", site)
            else:
                for wish in site.locations:
                    yield from self._location(server, wish, elsewhere)
            for wish in site.public:
                yield from self._public(server, wish, elsewhere)

    def _location(
        self, server: Directive, wish: str, elsewhere: Sequence[tuple[Key, Directive]]
    ) -> Iterator[Wish | Problem]:
        text, there = self.text, list(locations(server))
        found = [block for key, block in there if is_wished(key, wish)]
        included = [block for key, block in elsewhere if is_wished(key, wish)]
        scope = 'or guard the whole server with "scope": "server"'
        if len(found) == 1:
            yield Wish(found[0], self.include)
            yield from _foreign_rules(found[0], f'location "{wish}"', self.site)
        elif found:
            at = ", ".join(f"line {position(text, block.start)[0]}" for block in found)
            message = f'location "{wish}" stands {len(found)} times in this server ({at})'
            yield Problem(found[1].start, found[1].opened, message, f"leave one of them, {scope}")
        elif included:
            message = f'location "{wish}" of this server is included from {place_of(included[0], self.files)}'
            remedy = 'guard the whole server with "scope": "server": included locations are guarded, too'
            yield Problem(server.start, server.opened, f"{message}; only the site file is edited", remedy)
        else:
            listen = ", ".join(listens_of(server))
            message = f'no location "{wish}" in this server of {self.site.server_name} (listen {listen})'
            remedy = f"name one of those there are ({_listed(text, there)}), {scope}"
            yield Problem(server.start, server.opened, message + self._unread(server), remedy)

    def _unread(self, server: Directive) -> str:
        """The includes that nobody has looked into."""
        left = [d.args[0] for d in expanded(server, self.trees).walk() if d.name == "include" and d.args]
        return f"; what {', '.join(left)} may hold is not known" if left else ""

    def _public(
        self, server: Directive, wish: str, elsewhere: Sequence[tuple[Key, Directive]]
    ) -> Iterator[Wish | Problem]:
        """``allow all`` first in each location that ``wish`` means; the challenge's is added if missing."""
        text, there = self.text, list(locations(server))
        found = [block for key, block in there if covers(key, wish)]
        for block in found:
            if _opens(block):
                continue  # nothing of ours is needed
            yield Wish(block, "allow all;")
            if has_list(block.body):
                message = f'location "{wish}" is declared public and has allow and deny of its own'
                yield Problem(
                    block.start, block.opened, message, "take them out, or do not declare it public"
                )
        included = [block for key, block in elsewhere if covers(key, wish)]
        for block in included:
            listed = self.site.scope == "server" or has_list(server.body) or has_list(block.body)
            if listed and not _opens(block):
                message = (
                    f'public location "{wish}" is included from {place_of(block, self.files)}, behind a list'
                )
                remedy = 'write "allow all;" into it there; only the site file is edited'
                yield Problem(server.start, server.opened, message, remedy)
        if found or included:
            return
        path = wish.strip().removeprefix("^~").strip()
        if path.startswith(ACME) and self.site.acme_root:
            root = _word(self.site.acme_root)
            yield Wish(server, f"location ^~ {path} {{ allow all; root {root}; }}")
            return
        message = f'no public location "{wish}" in this server of {self.site.server_name}'
        remedy = f"write it into the file, or name one of those there are ({_listed(text, there)})"
        if path.startswith(ACME):
            remedy = 'give "acme_root", the webroot of the challenge, and the location will be added'
        yield Problem(server.start, server.opened, message + self._unread(server), remedy)


def _opens(block: Directive) -> bool:
    """Does it let everyone in by its own first rule?"""
    rules = [(c.name, c.args) for c in block.body if c.name in ("allow", "deny")]
    return rules[:1] == [("allow", ("all",))]


def _foreign_rules(block: Directive, what: str, site: GuardedSite) -> Iterator[Problem]:
    """Rules that our list, which comes first and ends in ``deny all``, would silently make void."""
    for child in block.body:
        harmless = (child.name, child.args) == ("deny", ("all",)) or lets_in_only(child, site.allow)
        if child.name in ("allow", "deny") and not harmless:
            rule = " ".join([child.name, *child.args])
            message = f'"{rule}" in {what} would never be asked: the list of the VPN goes before it'
            remedy = 'take it out; a network that is to pass as well goes into the site\'s "allow"'
            yield Problem(child.start, child.end, message, remedy)


def _listed(text: str, there: Sequence[tuple[Key, Directive]]) -> str:
    return ", ".join(f'"{key}" line {position(text, block.start)[0]}' for key, block in there) or "none"


def _word(value: str) -> str:
    """``value`` as one word of nginx's."""
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
    message = f'no server with server_name "{site.server_name}"'
    others = [path for path, other in files.items() if other != text and site.server_name in other]
    for path in others:
        if found := find_servers(parse(files[path], path), site.server_name):
            return Problem(0, 0, message, f"one is at {place_of(found[0], files)}: name that file")
    return Problem(0, 0, message, f"name one of those there are ({listing})")


def place_of(directive: Directive, files: Mapping[str, str]) -> str:
    text = files.get(directive.file)
    return directive.file if text is None else f"{directive.file}:{position(text, directive.start)[0]}"
