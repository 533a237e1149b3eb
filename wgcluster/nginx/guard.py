"""The list spliced into a site file: the smallest diff that guards what the operator named."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..plan import GuardedSite
from .errors import Fault, NginxError, fault_at, position
from .find import Key, covers, find_servers, is_wished, listens_of, locations, names_of, servers
from .judge import closes_server
from .site import list_path
from .splice import apply, first_inside, removals
from .tree import Directive, parse

ACME = "/.well-known/acme-challenge"


def guard(
    text: str, sites: Sequence[GuardedSite], list_file: Callable[[GuardedSite], str] = list_path
) -> str:
    """``text``, one site file, with the lines that guard ``sites`` (those of this file) and no others of ours.

    Whatever an earlier run put in is taken out first, so a second run changes nothing and a changed wish
    moves only our lines. Raises NginxSyntaxError if nginx would not read the file, and NginxError with
    every reason at once if a server or location cannot be found or cannot be guarded safely.
    """
    file = sites[0].file if sites else ""
    removed = removals(text, parse(text, file))
    bare = apply(text, removed)
    tree = parse(bare, file)
    lines: dict[int, tuple[Directive, list[str]]] = {}  # by offset: what goes first into which block
    faults: list[Fault] = []
    for site in sites:
        found, wrong = _wishes(bare, tree, site, list_file(site))
        faults += wrong
        for block, line in found:
            ours = lines.setdefault(block.start, (block, []))[1]
            if line not in ours:
                ours.append(line)
    if faults:
        raise NginxError(faults)
    return apply(bare, [first_inside(bare, block, ours) for block, ours in lines.values()])


def _wishes(
    text: str, tree: Sequence[Directive], site: GuardedSite, list_file: str
) -> tuple[list[tuple[Directive, str]], list[Fault]]:
    """The lines that guard one site, each with the block it goes first into; and what stands in the way."""
    found = find_servers(tree, site.server_name)
    if not found:
        return [], [_no_server(text, tree, site)]
    wishes: list[tuple[Directive, str]] = []
    faults: list[Fault] = []
    include = f"include {list_file};"
    open_servers = [server for server in found if not closes_server(server)]
    if not open_servers:
        message = f"every server of {site.server_name} only redirects or refuses: there is nothing to guard"
        faults.append(Fault(site.file, *position(text, found[0].start), message))
    for server in open_servers:
        if site.scope == "server":
            wishes.append((server, include))
        else:
            for wish in site.locations:
                block = _one_location(text, server, wish, site, faults)
                if block is not None:
                    wishes.append((block, include))
        for wish in site.public:
            public = [block for key, block in locations(server) if covers(key, wish)]
            for block in public:
                if not _starts_open(block):
                    wishes.append((block, "allow all;"))
            if not public:
                faults += _added(text, server, wish, site, wishes)
    return wishes, faults


def _starts_open(block: Directive) -> bool:
    """Its first access rule is an ``allow all`` already: nothing of ours is needed."""
    rules = [c for c in block.body if c.name in ("allow", "deny")]
    return bool(rules) and (rules[0].name, rules[0].args) == ("allow", ("all",))


def _one_location(
    text: str, server: Directive, wish: str, site: GuardedSite, faults: list[Fault]
) -> Directive | None:
    there = list(locations(server))
    found = [block for key, block in there if is_wished(key, wish)]
    if len(found) == 1:
        return found[0]
    if found:
        at = ", ".join(f"line {position(text, block.start)[0]}" for block in found)
        message = f'location "{wish}" stands {len(found)} times in this server ({at})'
        remedy = 'leave one of them, or guard the whole server with "scope": "server"'
        faults.append(fault_at(text, found[1].start, found[1].opened, message, file=site.file, remedy=remedy))
        return None
    listing = _listed(text, there)
    message = (
        f'no location "{wish}" in this server of {site.server_name} (listen {", ".join(listens_of(server))})'
    )
    remedy = f'name one of those there are ({listing}), or guard the whole server with "scope": "server"'
    faults.append(fault_at(text, server.start, server.opened, message, file=site.file, remedy=remedy))
    return None


def _listed(text: str, there: Sequence[tuple[Key, Directive]]) -> str:
    return ", ".join(f'"{key}" line {position(text, block.start)[0]}' for key, block in there) or "none"


def _added(
    text: str, server: Directive, wish: str, site: GuardedSite, wishes: list[tuple[Directive, str]]
) -> list[Fault]:
    """Add the challenge location that the file lacks; only this one can be made up from its name."""
    path = wish.strip().removeprefix("^~").strip()
    if path.startswith(ACME) and site.acme_root:
        wishes.append((server, f"location ^~ {path} {{ allow all; root {_word(site.acme_root)}; }}"))
        return []
    message = f'no public location "{wish}" in this server of {site.server_name}'
    if path.startswith(ACME):
        remedy = 'give "acme_root", the webroot of the challenge, and the location will be added'
    else:
        remedy = f"write it into the file, or name one of those there are ({_listed(text, list(locations(server)))})"
    return [fault_at(text, server.start, server.opened, message, file=site.file, remedy=remedy)]


def _word(value: str) -> str:
    """``value`` as one word of nginx's."""
    if value and not any(c in " \t\r\n;{}\"'#\\$" for c in value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _no_server(text: str, tree: Sequence[Directive], site: GuardedSite) -> Fault:
    there = [
        f'"{" ".join(names_of(s))}" on {", ".join(listens_of(s))}, line {position(text, s.start)[0]}'
        for s in servers(tree)
    ]
    listing = (
        "; ".join(there)
        or "none: the file may hold only a part of a server; name the file with the server block"
    )
    message = f'no server with server_name "{site.server_name}"'
    return Fault(site.file, 0, 0, message, remedy=f"name one of those there are ({listing})")
