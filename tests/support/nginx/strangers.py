"""What clients that are not on the list get at each place of the random servers, and what the audit says."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.support.nginx.real import Answer, Running, free_ports, running
from tests.support.nginx.worlds import FRIEND, PASSWORD, STRANGERS, Maker, Server, Spot, dump, prepare, world
from wgcluster.nginx.audit.audit import Finding, audit
from wgcluster.nginx.syntax.includes import parse_dump
from wgcluster.nginx.syntax.tree import parse


def forged(address: str) -> tuple[str, ...]:
    """What says that the request is that of ``address``."""
    return f"X-Forwarded-For: {address}", f"X-Real-IP: {address}", f"Forwarded: for={address}"


def requests(strangers: Sequence[str]) -> Iterator[dict[str, object]]:
    """The ways in which a stranger tries; the plain one first."""
    told = [(), *(forged(address) for address in (FRIEND, *STRANGERS, "::1"))]
    for method in ("GET", "POST"):
        for headers in (*told, *((PASSWORD, *more) for more in told[:2])):
            for source in strangers:
                yield {"source": source, "method": method, "headers": headers}


def _trail(answer: Answer) -> str:
    """The places that it came through, each as "." and its number."""
    found = re.search(r"^x-trail: (\S*)", answer.headers, re.I | re.M)
    return found[1] if found else ""


def wrong_with(finding: Finding, answers: list[Answer], public: list[str]) -> str:
    """Why the class does not tell what a stranger really gets; "" if it does.

    ``public``: the marks of what is declared public; that a guarded place hands on to it is no leak.
    """
    served = [a for a in answers if "SECRET" in a.body and not any(mark in a.body for mark in public)]
    if finding.kind in ("guarded", "closed") and served:
        return f"{finding.kind}, but served: {served[0].body!r}"
    told = answers[0].body not in ("", "refused")  # an error_page may give a refusal the status 200
    if finding.kind == "guarded" and answers[0].status == 200 and told and not public:
        return f"guarded, but answers {answers[0].status}"
    if finding.kind == "leaks" and not served and all(a.status >= 400 for a in answers):
        return f"leaks, but nobody gets anything: {[a.status for a in answers]}"
    if finding.reason == "declared public" and all(
        a.status == 403 and "SECRET" not in a.body for a in answers
    ):
        return "public, but refused"
    return ""


@dataclass
class Asker:
    """All that strangers get at one server."""

    nginx: Running
    port: int
    server: Server
    findings: dict[str, Finding]  # by location
    seen: set[str] = field(default_factory=set)  # the marks of places
    passed: set[int] = field(default_factory=set)  # places that a request went through which got something

    def __post_init__(self) -> None:
        self.open_spots = [s for s in self.server.spots if self.findings[s.name].kind == "public"]
        self.public = [s.marker for s in self.open_spots]
        self.named = [s for s in self.server.spots if s.name.startswith("@")]
        self.queries = ("", "?y=1") if "$arg_y" in self.server.text else ("",)

    def ask(self, uri: str) -> list[Answer]:
        host = self.server.host
        answers = [self.nginx.ask(self.port, host, uri, **how) for how in requests(self.server.strangers)]  # type: ignore[arg-type]
        for answer in answers:
            self.seen.update(s.marker for s in self.server.spots if s.marker in answer.body)
            if "SECRET" in answer.body:
                self.passed.update(map(int, re.findall(r"[.](\d+)", _trail(answer))))
        return answers

    def is_page(self, spot: Spot) -> bool:
        """Is it there for an error_page? Such a one is not taken for what services send requests on to."""
        targets = re.findall(r"error_page [^;]* (\S+);", self.server.text)
        return any(target in (spot.name, f"{spot.uri.removesuffix('x')}page") for target in targets)

    def declared_public(self) -> set[str]:
        """The locations declared public, and those in them that are not named and have no own list."""
        site = self.server.site
        if site is None:
            return set()
        found = set(site.public)
        for directive in (d for top in parse(self.server.text) for d in top.walk() if d.name == "location"):
            inner = [d for d in directive.body if d.name == "location"]
            if " ".join(directive.args) not in found:
                continue
            plain = [d for d in inner if not {"allow", "deny", "include"} & {c.name for c in d.body}]
            found |= {" ".join(d.args) for d in plain} - set(site.locations)
        return found

    def ask_services(self, spot: Spot) -> None:
        """Have what answers at public places send requests on to ``spot``, which may be down."""
        declared = self.declared_public()
        doors = [s for s in self.server.spots if s in self.open_spots or s.name in declared]
        entries = [s for s in self.server.spots if not s.name.startswith("@")]
        to_spot = [spot.uri + query for query in self.queries]
        if not spot.name.startswith("="):
            to_spot.append(f"{spot.uri}%0ay")
            if "/" in spot.uri and "error_page 403" in self.server.text:  # of a folder without an index
                to_spot.append(spot.uri[: spot.uri.rindex("/") + 1])
        at = self.server.spots.index
        for door in doors:
            told = [f"by={door.mark}&to={to}" for to in to_spot]
            told += [f"{told[0]}&down={down}" for down in {spot.mark, *(e.mark for e in entries)}]
            # a hidden one has to be sent on to itself, or to what it is a page of
            hidden = [other for other in self.server.spots if other.hidden and not self.is_page(other)]
            to_door = [door] if door in hidden else hidden if door.hidden else []
            then = f"then={door.mark}&on={spot.uri}"
            told += [
                f"by={first.mark}&to={first_to.uri}{query}&{then}"
                for first in doors
                for first_to in to_door
                for query in self.queries
            ]
            for uri in (uri for entry in entries for uri in (entry.uri, *self.lacking_slash(entry))):
                for query in self.queries:
                    for words in told:
                        answers = self.ask(f"{uri}{query or '?'}&{words}")
                        # What no location matches writes nothing down.
                        sent_on = any(f".{at(door)}." in _trail(a) and "SECRET" in a.body for a in answers)
                        if spot.name == "(no location)" and "down" not in words and sent_on:
                            self.passed.add(at(spot))

    def lacking_slash(self, spot: Spot) -> list[str]:
        """Its folder as nginx answers with a 301, where something becomes of that."""
        folder = spot.uri[: spot.uri.rindex("/")]
        return [folder] if folder and "error_page 301" in self.server.text else []

    def ask_at(self, spot: Spot) -> list[Answer]:
        at = self.server.spots.index
        tails = [
            "",
            *(f"&down={other.mark}" for other in (spot, *self.named)),
            *(f"&down={other.mark}&via=.{at(spot)}.{at(other)}" for other in self.named),
        ]
        uris = [f"{spot.uri}{query or '?' * bool(tail)}{tail}" for query in self.queries for tail in tails]
        if not spot.name.startswith("="):  # its folder, and a newline: some patterns end where a line does
            folder = spot.uri[: spot.uri.rindex("/") + 1]
            uris += [path + query for path in (folder, f"{spot.uri}%0ay") for query in self.queries]
        for uri in self.lacking_slash(spot):  # it may belong to another place
            self.ask(uri)
        return [answer for uri in uris for answer in self.ask(uri)]

    def disagreements(self) -> tuple[list[str], list[str]]:
        """The places that are worse than their class; those called a leak that nobody gets through."""
        wrong: list[str] = []
        doubtful: list[tuple[Spot, str]] = []
        for spot in self.server.spots:
            finding = self.findings[spot.name]
            if (spot.hidden and not self.is_page(spot)) or "may send on" in finding.reason:
                self.ask_services(spot)
            if spot.hidden:
                continue
            if why := wrong_with(finding, self.ask_at(spot), self.public):
                story = f"{self.server.host} {spot.name}: {why}\n  {finding.reason}\n  {self.server.text}"
                if finding.kind in ("leaks", "public"):
                    self.ask_services(spot)  # as who was forged where a service answers
                    doubtful.append((spot, story))
                else:
                    wrong.append(story)
        for spot in self.server.spots:
            finding = self.findings[spot.name]
            if spot.marker in self.seen and finding.kind in ("guarded", "closed"):
                wrong.append(
                    f"{self.server.host} {spot.name}: {finding.kind}, but seen\n  {self.server.text}"
                )
        # A place that is refused when asked for, and reached by another way, is a leak all the same.
        at = self.server.spots.index
        cautious = [
            story for spot, story in doubtful if at(spot) not in self.passed and spot.marker not in self.seen
        ]
        return wrong, cautious


def disagreements(seeds: range) -> tuple[dict[str, int], list[str], list[str]]:
    """One server a seed, all in one nginx: how often each class came up, and where the truth is another.

    First the places that are worse than their class, then those called a leak, or declared public, where no
    stranger got through.
    """
    (port,) = free_ports(1)
    servers = [Maker(random.Random(seed), seed, port).server() for seed in seeds]
    counts: dict[str, int] = {}
    wrong: list[str] = []
    cautious: list[str] = []
    with running(world(servers), ready=port, prepare=prepare) as nginx:
        files = parse_dump(dump(nginx.folder))
        by_host: dict[str, dict[str, Finding]] = {}
        for finding in audit(files, [s.site for s in servers if s.site]):
            by_host.setdefault(finding.server, {}).setdefault(finding.location, finding)
        for server in servers:
            asker = Asker(nginx, port, server, by_host[server.host])
            for spot in server.spots:
                kind = asker.findings[spot.name].kind
                counts[kind] = counts.get(kind, 0) + 1
            worse, doubtful = asker.disagreements()
            wrong += worse
            cautious += doubtful
    return counts, wrong, cautious
