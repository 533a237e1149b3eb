"""Each location of each guarded server: guarded, public, closed, or leaking, and why."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from wgcluster.inventory.schema import GuardedSite
from wgcluster.nginx.audit.bypass import Bypasses, is_plain
from wgcluster.nginx.audit.judge import ServerJudge
from wgcluster.nginx.audit.selfproxy import Guarded, SelfProxies
from wgcluster.nginx.audit.targets import targets_at
from wgcluster.nginx.audit.verdict import Kind, Verdict
from wgcluster.nginx.config.context import Context
from wgcluster.nginx.config.find import find_servers, listens_of, names_of, servers
from wgcluster.nginx.config.locations import Location
from wgcluster.nginx.config.site import allow_list, list_path
from wgcluster.nginx.config.upstreams import Routing, open_streams
from wgcluster.nginx.syntax.errors import position
from wgcluster.nginx.syntax.includes import effective
from wgcluster.nginx.syntax.splice import Spliced
from wgcluster.nginx.syntax.tree import Directive

_REDIRECT = re.compile(r"https://(?P<host>\$\{?\w+\}?|[^:/?$]+)(?::(?P<port>\d+))?")
_OWN_NAME = frozenset({"$host", "$http_host", "$server_name"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One location as a client sees it that is not on the list.

    ``kind`` (in JSON: "class") is "guarded" (403), "public" (declared so), "closed" (redirects or refuses
    by itself and gives away nothing of the service) or "leaks".
    """

    file: str
    line: int
    server: str  # its names as written, or "_" where it has none
    listen: str  # its addresses, ", " between them
    location: str  # "/", "= /admin", "@app", or "(no location)"
    kind: Kind
    reason: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str | int]:
        """For JSON: the keys of the issue, and "remedy"."""
        return {
            "file": self.file,
            "line": self.line,
            "server": self.server,
            "listen": self.listen,
            "location": self.location,
            "class": self.kind,
            "reason": self.reason,
            "remedy": self.remedy,
        }


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict with the directives it is about; ``guard`` marks them in the text."""

    server: Directive
    location: str
    verdict: Verdict
    blame: Directive


def audit(
    files: Mapping[str, str],
    sites: Sequence[GuardedSite],
    changed: Mapping[str, Spliced] | None = None,
) -> list[Finding]:
    """Every location of every server of ``sites`` in the configuration that ``files`` make up together.

    ``files`` is what ``parse_dump`` gives for a host, or site files at hand by their path; a list of ours
    that is not among them counts as it would be written now. Other servers appear only where they leak what
    a guarded one serves. A site that no server answers for is a finding, too: "leaks", line 0. ``changed``:
    which of ``files`` are not yet so; their lines are told as they are in the text they are made from.

    Raises NginxSyntaxError where nginx would refuse a file.
    """
    findings = []
    for judged in judge_all(files, sites):
        at, server, verdict = judged.blame, judged.server, judged.verdict
        if (spliced := (changed or {}).get(at.file)) is not None:
            line = position(spliced.origin, spliced.back(at.start))[0]
        else:
            line = position(files[at.file], at.start)[0] if at.file in files else 0
        name = " ".join(names_of(server)) or "_"
        listen = ", ".join(listens_of(server))
        findings.append(
            Finding(
                at.file, line, name, listen, judged.location, verdict.kind, verdict.reason, verdict.remedy
            )
        )
    tree = effective(files)
    for site in sites:
        if not _servers_of(tree, site):
            remedy = "enable the site, or correct its name"
            reason = f'no server answers for "{site.server_name}": nothing is guarded'
            findings.append(
                Finding(site.file, 0, site.server_name, "", "(no server)", "leaks", reason, remedy)
            )
    return findings


def judge_all(
    files: Mapping[str, str], sites: Sequence[GuardedSite], extra: Mapping[str, str] | None = None
) -> list[Judged]:
    """The verdicts behind ``audit``, with the directives they are about; ``extra``: lists at other paths."""
    tree = effective_with_lists(files, sites, extra)
    blocks = server_blocks(tree)
    guarded = sites_of_servers(tree, sites)
    routing = Routing.of(tree, (address for site in sites for address in site.addresses))
    judges = {
        s: ServerJudge(s, context, guarded[s], known=routing.known_at(s))
        for s, context in blocks
        if s in guarded
    }
    verdicts = {server: judge.verdicts() for server, judge in judges.items()}
    own = SelfProxies(
        (Guarded(judge, [p for p, v in verdicts[s] if _is_hidden(p, v)]) for s, judge in judges.items()),
        routing,
    )
    bypasses = Bypasses(routing, own, {server: context.enter(server.body) for server, context in blocks})
    for server, judge in judges.items():
        bypasses.caches.add(judge, (place for place, v in verdicts[server] if v.kind == "guarded"))
    judged: list[Judged] = []
    for server, judge in judges.items():
        hidden = {p: targets_at(p, server, routing) for p, v in verdicts[server] if _is_hidden(p, v)}
        for place, verdict in verdicts[server]:
            if verdict.kind == "public":
                verdict = bypasses.of_public(judge, place, hidden) or verdict
            elif verdict.kind == "guarded":
                verdict = bypasses.caches.leak(judge, place, guarded=True) or verdict
            judged.append(_judged(server, place, verdict))
            _note_targets(bypasses, judge, place, verdict)
    allowed = tuple({n: None for site in sites for n in site.allow})
    others = {
        server: ServerJudge(server, context, (), allowed, routing.known_at(server))
        for server, context in blocks
        if server not in guarded
    }
    for server, judge in judges.items():
        for place, verdict in verdicts[server]:
            if verdict.kind in ("guarded", "leaks") and not judge.answers_nobody(place):
                bypasses.follow(place, judge, others)
    own.add(Guarded(judge, bypasses.also_hidden(judge)) for judge in others.values())
    for server, judge in others.items():
        judged += (_judged(server, place, verdict) for place, verdict in bypasses.of_other(judge))
    judged += _answered_elsewhere(judges, verdicts, others, routing)
    for stream in open_streams(tree, allowed, routing):
        if (leak := bypasses.of_stream(stream)) is not None:
            judged.append(Judged(stream.directive, "(stream)", leak, stream.directive))
    return judged


def _note_targets(bypasses: Bypasses, judge: ServerJudge, location: Location, verdict: Verdict) -> None:
    """Remember what is behind a location, to find other ways to it."""
    targets = targets_at(location, judge.server, bypasses.routing)
    if verdict.kind in ("guarded", "leaks"):
        bypasses.hidden.add(() if judge.answers_nobody(location) else targets)
    elif verdict.kind == "public" and is_plain(location):  # some kinds of files do not open a folder
        for target in targets:
            if target.kind == "files":
                bypasses.shown.add(target.where)


def _answered_elsewhere(
    judges: Mapping[Directive, ServerJudge],
    verdicts: Mapping[Directive, Sequence[tuple[Location, Verdict]]],
    others: Mapping[Directive, ServerJudge],
    routing: Routing,
) -> Iterator[Judged]:
    """The servers to which sites that only redirect do so: they have another name, and nothing is guarded."""
    by_site: dict[GuardedSite, list[Directive]] = {}
    for server, judge in judges.items():
        for site in judge.sites:
            by_site.setdefault(site, []).append(server)
    for site, mine in by_site.items():
        if any(
            verdict.kind not in ("closed", "public") for server in mine for _, verdict in verdicts[server]
        ):
            continue
        name = site.server_name.partition(":")[0].lower()
        if name in ("", "default"):
            continue
        ports = {port for server in mine for port in _sent_to(server, name)}
        sockets = [socket for endpoint, socket in routing.sockets.items() if endpoint.port in ports]
        chosen = dict.fromkeys(socket.chosen(name) for socket in sockets)
        for server in (s for s in chosen if find_servers([s], name)):  # and not for being the default
            leaks = (p for p, v in others[server].verdicts() if v.kind == "leaks") if server in others else ()
            if (place := next(iter(leaks), None)) is not None:
                names = " ".join(names_of(server)) or "default"
                reason = f"answers for {name}, whose own servers only redirect to here: nothing guards it"
                remedy = f'write "{names}", as it is named here, as "server_name" of the site'
                yield _judged(server, place, Verdict("leaks", reason, remedy))


def _sent_to(server: Directive, name: str) -> Iterator[int]:
    """The ports of its own name that a server redirects to."""
    for directive in server.walk():
        target = directive.args[-1] if directive.name == "return" and directive.args else ""
        target = directive.args[1] if directive.name == "rewrite" else target
        host = match["host"].lower() if (match := _REDIRECT.match(target)) else ""
        if match and re.sub(r"[{}]", "", host) in (*_OWN_NAME, name):
            yield int(match["port"] or 443)


def effective_with_lists(
    files: Mapping[str, str], sites: Sequence[GuardedSite], extra: Mapping[str, str] | None = None
) -> tuple[Directive, ...]:
    """The effective configuration, the lists of ``sites`` as they would be written now where they lack."""
    lists = {list_path(site): allow_list(site) for site in sites}
    return effective(files, {**lists, **(extra or {})})


def server_blocks(tree: Sequence[Directive]) -> list[tuple[Directive, Context]]:
    """Every http server with what is in effect around it, in nginx's order."""
    http = Context().enter(tree)  # site files at hand stand where an http block would be
    blocks: list[tuple[Directive, Context]] = []
    for directive in tree:
        if directive.name == "http":
            context = Context().enter(directive.body)
            blocks += [(server, context) for server in servers([directive])]
        elif directive.name == "server" and directive.is_block:
            blocks.append((directive, http))
    return blocks


def sites_of_servers(
    tree: Sequence[Directive], sites: Sequence[GuardedSite]
) -> dict[Directive, list[GuardedSite]]:
    """The servers that are to be guarded, with the sites they answer for."""
    guarded: dict[Directive, list[GuardedSite]] = {}
    for site in sites:
        for server in _servers_of(tree, site):
            guarded.setdefault(server, []).append(site)
    return guarded


def _servers_of(tree: Sequence[Directive], site: GuardedSite) -> list[Directive]:
    """Those of its own file and, as other files may answer for the name, too, those of all.

    A dump may know the file by a link in another folder, so the last part of the path has to do.
    """
    name = posixpath.basename(site.file)
    own = find_servers([s for s in servers(tree) if posixpath.basename(s.file) == name], site.server_name)
    if own and site.server_name.partition(":")[0] in ("", "default"):
        return own  # each file may have a default server, on addresses of its own
    return list(dict.fromkeys([*own, *find_servers(tree, site.server_name)]))


def _judged(server: Directive, place: Location, verdict: Verdict) -> Judged:
    blame = verdict.at if verdict.kind == "leaks" and verdict.at is not None else place.directive
    return Judged(server, place.name, verdict, blame)


def _is_hidden(place: Location, verdict: Verdict) -> bool:
    return verdict.kind == "guarded" and not place.internal and not place.named
