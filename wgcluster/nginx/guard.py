"""The list spliced into a site file: the smallest diff that guards what the operator named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from ..plan import GuardedSite
from .audit import judge_all
from .errors import Fault, NginxError, fault_at, position
from .find import Key, covers, find_servers, is_wished, listens_of, locations, names_of, servers
from .judge import closing
from .rewrite import has_list
from .site import allow_list, list_path
from .splice import Edit, apply, first_inside, removals, shifted
from .tree import Directive, parse

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


def guard(
    text: str, sites: Sequence[GuardedSite], list_file: Callable[[GuardedSite], str] = list_path
) -> str:
    """``text``, one site file, with the lines that guard ``sites`` (those of this file), no others of ours.

    Whatever an earlier run put in is taken out first, so a second run changes nothing and a changed wish
    moves only our lines. The outcome is audited before it is handed out. Raises NginxSyntaxError if nginx
    would not read the file, and NginxError with every reason at once if a server or location cannot be
    found or cannot be guarded safely.
    """
    file = sites[0].file if sites else ""
    removed = removals(text, parse(text, file))
    bare = apply(text, removed)
    tree = parse(bare, file)
    lines: dict[int, tuple[Directive, list[str]]] = {}  # by offset: what goes first into which block
    problems: list[Problem] = []
    for site in sites:
        for step in _steps(bare, tree, site, list_file(site)):
            if isinstance(step, Problem):
                problems.append(step)
            elif step.line not in (ours := lines.setdefault(step.block.start, (step.block, []))[1]):
                ours.append(step.line)
    if not problems:
        edits = [first_inside(bare, block, ours) for block, ours in lines.values()]
        outcome = apply(bare, edits)
        problems = list(_leaks(outcome, edits, sites, list_file))
        if not problems:
            return outcome
    raise NginxError(_faults(text, removed, file, problems))


def _faults(text: str, removed: Sequence[Edit], file: str, problems: Iterable[Problem]) -> Iterator[Fault]:
    """The problems of the bare text with their places in the file as it is."""

    def there(offset: int) -> int:
        for edit in removed:
            if offset >= edit.start:
                offset += edit.end - edit.start
        return offset

    for start, end, message, remedy in sorted(dict.fromkeys(problems)):
        if start == end:  # about the file as a whole
            yield Fault(file, 0, 0, message, remedy=remedy)
        else:
            yield fault_at(text, there(start), there(end), message, file=file, remedy=remedy)


def _leaks(
    outcome: str, edits: Sequence[Edit], sites: Sequence[GuardedSite], list_file: Callable[[GuardedSite], str]
) -> Iterator[Problem]:
    """What would still leak in the spliced file, at its place in the text without our lines."""
    lists = {list_file(site): allow_list(site) for site in sites}
    file = sites[0].file if sites else ""
    for judged in judge_all({file: outcome}, sites, lists):
        if judged.verdict.kind == "leaks" and judged.blame.file == file:
            block = judged.blame
            end = block.opened if block.is_block else block.end
            message = f'location "{judged.location}" would leak: {judged.verdict.reason}'
            yield Problem(shifted(block.start, edits), shifted(end, edits), message, judged.verdict.remedy)


def _steps(
    text: str, tree: Sequence[Directive], site: GuardedSite, list_file: str
) -> Iterator[Wish | Problem]:
    """The lines that guard one site, each with the block it goes first into; and what stands in the way."""
    found = find_servers(tree, site.server_name)
    if not found:
        yield _no_server(text, tree, site)
        return
    include = f"include {list_file};"
    closed = {server.start: closing(server, [site]) for server in found}
    if all(closed.values()):
        message = f"every server of {site.server_name} only redirects or refuses: there is nothing to guard"
        remedy = "name the file and the server that has the service"
        yield Problem(found[0].start, found[0].opened, message, remedy)
    for server in found:
        if closed[server.start]:  # nothing of the service is there; the challenge may be
            if closed[server.start] == "locations":
                steps = (step for wish in site.public for step in _public(text, server, wish, site))
                yield from (step for step in steps if isinstance(step, Wish))
            continue
        if site.scope == "server":
            yield Wish(server, include)
            yield from _foreign_rules(server, "the server")
        else:
            for wish in site.locations:
                yield from _location(text, server, wish, site, include)
        for wish in site.public:
            yield from _public(text, server, wish, site)


def _location(
    text: str, server: Directive, wish: str, site: GuardedSite, include: str
) -> Iterator[Wish | Problem]:
    there = list(locations(server))
    found = [block for key, block in there if is_wished(key, wish)]
    scope = 'or guard the whole server with "scope": "server"'
    if len(found) == 1:
        yield Wish(found[0], include)
        yield from _foreign_rules(found[0], f'location "{wish}"')
    elif found:
        at = ", ".join(f"line {position(text, block.start)[0]}" for block in found)
        message = f'location "{wish}" stands {len(found)} times in this server ({at})'
        yield Problem(found[1].start, found[1].opened, message, f"leave one of them, {scope}")
    else:
        listen = ", ".join(listens_of(server))
        message = f'no location "{wish}" in this server of {site.server_name} (listen {listen})'
        remedy = f"name one of those there are ({_listed(text, there)}), {scope}"
        yield Problem(server.start, server.opened, message, remedy)


def _foreign_rules(block: Directive, what: str) -> Iterator[Problem]:
    """Rules that our list, which comes first and ends in ``deny all``, would silently make void."""
    for child in block.body:
        if child.name in ("allow", "deny") and (child.name, child.args) != ("deny", ("all",)):
            rule = " ".join([child.name, *child.args])
            message = f'"{rule}" in {what} would never be asked: the list of the VPN goes before it'
            remedy = 'take it out; a network that is to pass as well goes into the site\'s "allow"'
            yield Problem(child.start, child.end, message, remedy)


def _public(text: str, server: Directive, wish: str, site: GuardedSite) -> Iterator[Wish | Problem]:
    """``allow all`` first in each location that ``wish`` means; the challenge's is added if missing."""
    there = list(locations(server))
    found = [block for key, block in there if covers(key, wish)]
    for block in found:
        rules = [(c.name, c.args) for c in block.body if c.name in ("allow", "deny")]
        if rules[:1] == [("allow", ("all",))]:
            continue  # open already: nothing of ours is needed
        yield Wish(block, "allow all;")
        if has_list(block.body):
            message = f'location "{wish}" is declared public and has allow and deny of its own'
            yield Problem(block.start, block.opened, message, "take them out, or do not declare it public")
    if found:
        return
    path = wish.strip().removeprefix("^~").strip()
    if path.startswith(ACME) and site.acme_root:
        yield Wish(server, f"location ^~ {path} {{ allow all; root {_word(site.acme_root)}; }}")
        return
    message = f'no public location "{wish}" in this server of {site.server_name}'
    remedy = f"write it into the file, or name one of those there are ({_listed(text, there)})"
    if path.startswith(ACME):
        remedy = 'give "acme_root", the webroot of the challenge, and the location will be added'
    yield Problem(server.start, server.opened, message, remedy)


def _listed(text: str, there: Sequence[tuple[Key, Directive]]) -> str:
    return ", ".join(f'"{key}" line {position(text, block.start)[0]}' for key, block in there) or "none"


def _word(value: str) -> str:
    """``value`` as one word of nginx's."""
    if value and not any(c in " \t\r\n;{}\"'#\\$" for c in value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _no_server(text: str, tree: Sequence[Directive], site: GuardedSite) -> Problem:
    there = [
        f'"{" ".join(names_of(s)) or "(no name)"}" on {", ".join(listens_of(s))}, '
        f"line {position(text, s.start)[0]}"
        for s in servers(tree)
    ]
    listing = "; ".join(there) or "none; is this a part of a server? name the file with the server block"
    message = f'no server with server_name "{site.server_name}"'
    return Problem(0, 0, message, f"name one of those there are ({listing})")
