"""Random servers for a real nginx, and what a client that is not on the list gets at each of their places."""

from __future__ import annotations

import base64
import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path

from tests.nginx.real import NGINX, Answer, free_ports, http_paths, running
from wgcluster.nginx import Finding, audit, parse_dump
from wgcluster.plan import GuardedSite

FRIEND, STRANGERS = "127.0.0.2", ("127.0.0.1", "127.0.0.3", "127.0.0.9")
LIST = "include @FOLDER@/list.conf;"
BACK = "proxy_pass http://unix:@FOLDER@/back:"  # a socket: ports would not last for so many requests
AUTH = "auth_basic x; auth_basic_user_file @FOLDER@/users;"
REALIP = "real_ip_header X-Forwarded-For;"
PASSWORD = "Authorization: Basic " + base64.b64encode(b"u:p").decode()
# Files that requests are sent on to.
FILES = (
    "index.html",
    "other",
    "else",
    "elsewhere",
    *(f"l{i}/{name}" for i in range(4) for name in ("page", "moved", "x")),
)


@dataclass
class Spot:
    """A location and the request that ends up in it."""

    name: str
    uri: str
    marker: str
    hidden: bool = False  # named or internal: it cannot be asked for


@dataclass
class Server:
    """One generated server block."""

    host: str
    text: str
    spots: list[Spot] = field(default_factory=list)
    site: GuardedSite | None = None


class Maker:
    """Makes one server; every choice comes from ``r``."""

    def __init__(self, r: random.Random, number: int, port: int) -> None:
        self.r = r
        self.number = number
        self.port = port
        self.spots: list[Spot] = []
        self.named: list[str] = [f"@n{i}" for i in range(r.randint(0, 2))]
        self.tops = [f"l{i}" for i in range(r.randint(1, 4))]

    def pick(self, *choices: tuple[float, str]) -> str:
        return self.r.choices([text for _, text in choices], [weight for weight, _ in choices])[0]

    def rules(self, none: float) -> str:
        return self.pick(
            (none, ""),
            (6, LIST),
            (1, f"allow {FRIEND}; deny all;"),
            (1, "deny all;"),
            (1, "allow all;"),
            (0.6, "allow 127.0.0.0/8; deny all;"),
            (0.4, "deny 127.0.0.8/29;"),
            (0.6, "allow 127.0.0.3; deny all;"),
            (0.4, f"allow all; {LIST}"),
            (0.4, f"{LIST} allow all;"),
            (0.4, f"allow {FRIEND}; deny 0.0.0.0/0;"),
            (0.3, f"deny 127.0.0.3; allow {FRIEND}; deny all;"),
            (0.3, "allow unix:; deny all;"),
            (0.3, "allow 127.0.0.2/31; deny all;"),
        )

    def before(self, none: float, mark: str = "SECRET-server") -> str:
        """Something of the rewrite phase."""
        top = self.r.choice(self.tops)
        return self.pick(
            (none, ""),
            (2, f'return 200 "{mark} returned";'),
            (1, "return 301 /elsewhere;"),
            (1, "return 301 https://$host$request_uri;"),
            (1, "return 404;"),
            (0.5, "return 403;"),
            (1, "return 418;"),
            (0.5, "return 204;"),
            (0.4, "return 403 refused;"),
            (1, f'if ($arg_y) {{ return 200 "{mark} if"; }}'),
            (1, "if ($arg_y) { return 404; }"),
            (1, "if ($scheme = http) { return 301 https://$host$request_uri; }"),
            (0.7, f"rewrite ^ /{top}/moved last;"),
            (0.4, f"rewrite ^ /{top}/moved;"),
            (0.7, "rewrite ^ /elsewhere permanent;"),
            (0.5, "rewrite ^ https://$host/ redirect;"),
            (0.5, "rewrite ^(.*)$ $1 break;"),
            (0.5, 'rewrite ^(.*)$ $1 break; return 200 "SECRET never";'),
            (0.5, 'break; return 200 "SECRET never";'),
            (0.5, "set $a b;"),
            (0.4, "rewrite ^/nothing /else last;"),
            (0.3, "if ($arg_y) { break; } return 404;"),
            (0.4, f"if ($arg_y) {{ break; }} rewrite ^ /{top}/moved last;"),
            (0.3, "if ($arg_y) { rewrite ^(.*)$ $1 break; } return 404;"),
            (0.4, f"if ($arg_y) {{ rewrite ^ /{top}/moved last; }}"),
            # In a server they would make what is public something else.
            (0.0 if mark == "SECRET-server" else 0.1, f"rewrite ^/{top}/ /other break; return 404;"),
            (
                0.0 if mark == "SECRET-server" else 0.3,
                f"rewrite ^/{top}/ /other last; rewrite ^ /{top}/moved last;",
            ),
        )

    def pages(self, none: float) -> str:
        target = self.r.choice([*self.named, *self.named, "/" + self.r.choice(self.tops) + "/page"])
        code = self.pick((3, "403"), (2, "418"), (1, "404"), (1, "502 504"), (0.5, "301"), (0.5, "403 418"))
        equals = self.pick((2, ""), (1, "= "), (1, "=200 "))
        return self.pick((none, ""), (1, f"error_page {code} {equals}{target};"))

    def extras(self, scale: float) -> str:
        parts = [
            self.pick((10, ""), (scale, "satisfy any;"), (scale / 2, "satisfy all;")),
            self.pick((10, ""), (scale, AUTH), (scale / 2, "auth_basic off;")),
            self.pick(
                (15, ""),
                (scale / 2, f"set_real_ip_from 127.0.0.0/8; {REALIP}"),
                (scale / 2, f"set_real_ip_from 127.0.0.1; {REALIP}"),
                (scale / 2, f"set_real_ip_from {FRIEND}; {REALIP}"),
            ),
            self.pages(8),
        ]
        self.r.shuffle(parts)
        return " ".join(p for p in parts if p)

    def content(self, marker: str) -> str:
        backend = f"{BACK}/{marker}$request_uri;"
        if not self.named:
            return backend
        target = self.r.choice(self.named)
        return self.pick((8, backend), (1, f'try_files "" {target};'))

    def limits(self) -> str:
        inner = self.pick((3, "deny all;"), (2, LIST), (2, "allow all;"), (1, AUTH))
        return self.pick((12, ""), (1, f"limit_except GET {{ {inner} }}"))

    def location(self, name: str, uri: str, depth: int) -> str:
        marker = f"SECRET-{self.number}-{len(self.spots)}-"
        parts = [self.rules(8), self.before(50, marker), self.extras(0.8), self.limits()]
        internal = self.r.random() < 0.06
        if internal:
            parts.append("internal;")
        self.r.shuffle(parts)
        self.spots.append(Spot(name, uri, marker, hidden=internal))
        inside = " ".join(p for p in parts if p)
        content = self.content(marker)
        nested = ""
        if depth < 2 and not name.startswith(("=", "~")) and self.r.random() < 0.25:
            path = uri.removesuffix("x")
            inner = self.r.choice([f"{path}in/", f"= {path}exact", f"~ ^{path}re/"])
            at = {"=": f"{path}exact", "~": f"{path}re/x"}.get(inner[0], f"{path}in/x")
            nested = self.location(inner, at, depth + 1)
        return f"\nlocation {name} {{ {inside} {content} {nested}}}"

    def server(self) -> Server:
        """The whole block, with the site that an operator might write for it."""
        r = self.r
        blocks = []
        for top in self.tops:
            name, uri = r.choice(
                [(f"/{top}/", f"/{top}/x"), (f"^~ /{top}/", f"/{top}/x"), (f"~ ^/{top}/", f"/{top}/x")]
            )
            blocks.append(self.location(name, uri, 0))
        if r.random() < 0.3:
            blocks.append(self.location("= /exact", "/exact", 0))
        if r.random() < 0.6:
            blocks.append(self.location("/", "/other", 0))
        for name in self.named:
            blocks.append(self.named_location(name))
        root = self.pick((2, ""), (1, "root @FOLDER@/files;"))
        lead = [self.rules(10), self.before(120), self.extras(0.5), root]
        r.shuffle(lead)
        if r.random() < 0.3:
            r.shuffle(blocks)
        host = f"s{self.number}.test"
        text = (
            f"server {{ listen 127.0.0.1:{self.port}; server_name {host};\n"
            f"{' '.join(p for p in lead if p)}{''.join(blocks)}\n}}\n"
        )
        if not any(s.name == "/" for s in self.spots):
            self.spots.append(Spot("(no location)", "/index.html", "SECRET-file"))
        names = [s.name for s in self.spots if s.name != "(no location)"]
        public = tuple(n for n in names if r.random() < 0.12)
        named = tuple(n for n in names if n not in public and r.random() < 0.6)
        site = GuardedSite("main", host, named, public, (ip_network(f"{FRIEND}/32"),))
        return Server(host, text, self.spots, site)

    def named_location(self, name: str) -> str:
        marker = f"SECRET-{self.number}-{len(self.spots)}-"
        self.spots.append(Spot(name, name, marker, hidden=True))
        parts = [self.rules(8), self.before(80, marker), self.extras(0.4)]
        self.r.shuffle(parts)
        inside = " ".join(p for p in parts if p)
        backend = f"{BACK}/{marker}$request_uri;"
        return f"\nlocation {name} {{ {inside} {backend} }}"


def forged(address: str) -> tuple[str, ...]:
    """What says that the request is that of ``address``."""
    return f"X-Forwarded-For: {address}", f"X-Real-IP: {address}", f"Forwarded: for={address}"


def requests() -> Iterator[dict[str, object]]:
    """The ways in which a stranger tries; the plain one first."""
    told = [(), *(forged(address) for address in (FRIEND, *STRANGERS, "::1"))]
    for method in ("GET", "POST"):
        for headers in (*told, *((PASSWORD, *more) for more in told[:2])):
            for source in STRANGERS:
                yield {"source": source, "method": method, "headers": headers}


# Does as it is told: it goes down (502), sends the request on, or answers.
BEHIND = r"""
map $arg_down:$request_uri $down { "~^([0-9-]+):/SECRET-\1" 1; default 0; }
map $arg_by:$request_uri $sends_on { "~^([0-9-]+):/SECRET-\1" 1; default 0; }
server {
    listen unix:@FOLDER@/back; default_type text/plain;
    location / {
        if ($down) { return 444; }
        if ($sends_on) { add_header X-Accel-Redirect $arg_to; return 200; }
        return 200 $request_uri;
    }
}
"""


def world(servers: list[Server]) -> str:
    """The configuration for ``running``."""
    return f"http {{\n{http_paths()}\n{BEHIND}" + "".join(s.text for s in servers) + "}\n"


def prepare(folder: Path) -> None:
    """What has to be there before nginx starts."""
    (folder / "list.conf").write_text(f"allow {FRIEND}/32;\ndeny all;\n")
    (folder / "users").write_text("u:{PLAIN}p\n")
    for name in FILES:
        file = folder / "files" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("SECRET-file")


def dump(folder: Path) -> str:
    """``nginx -T`` of the configuration in ``folder``."""
    assert NGINX is not None
    command = [NGINX, "-T", "-q", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


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
        findings = audit(files, [s.site for s in servers if s.site])
        by_host: dict[str, dict[str, list[Finding]]] = {}
        for finding in findings:
            by_host.setdefault(finding.server, {}).setdefault(finding.location, []).append(finding)
        for server in servers:
            seen: set[str] = set()
            sent: set[str] = set()  # where a service sent the request on to, and something came of it
            doubtful: list[tuple[Spot, str]] = []
            open_spots = [s for s in server.spots if by_host[server.host][s.name][0].kind == "public"]
            public = [s.marker for s in open_spots]
            named = [s.marker for s in server.spots if s.name.startswith("@")]
            for spot in server.spots:
                finding = by_host[server.host][spot.name][0]
                counts[finding.kind] = counts.get(finding.kind, 0) + 1
                if finding.kind == "leaks" and "may send on" in finding.reason:
                    ways = [
                        f"{asked.uri}?to={spot.uri}&by={door.marker.removeprefix('SECRET-')}"
                        for asked in server.spots
                        for door in open_spots
                        if not asked.hidden
                    ]
                    told = [nginx.ask(port, server.host, way, **how) for way in ways for how in requests()]  # type: ignore[arg-type]
                    seen |= {s.marker for s in server.spots for a in told if s.marker in a.body}
                    if any("SECRET" in a.body and not any(mark in a.body for mark in public) for a in told):
                        sent.add(spot.name)
                if spot.hidden:
                    continue
                answers = []
                # Some patterns end where a line does.
                newline = () if spot.name.startswith("=") else ("%0ay", "%0ay?y=1")
                tails = (
                    "",
                    "?y=1",
                    *(f"?down={mark.removeprefix('SECRET-')}" for mark in (spot.marker, *named)),
                    *newline,
                )
                for how in requests():
                    for tail in tails:
                        answers.append(nginx.ask(port, server.host, spot.uri + tail, **how))  # type: ignore[arg-type]
                seen |= {s.marker for s in server.spots for a in answers if s.marker in a.body}
                if why := wrong_with(finding, answers, public):
                    story = f"{server.host} {spot.name}: {why}\n  {finding.reason}\n  {server.text}"
                    if finding.kind in ("leaks", "public"):
                        doubtful.append((spot, story))
                    else:
                        wrong.append(story)
            for spot in server.spots:
                finding = by_host[server.host][spot.name][0]
                if spot.marker in seen and finding.kind in ("guarded", "closed"):
                    wrong.append(f"{server.host} {spot.name}: {finding.kind}, but seen\n  {server.text}")
            # A place that is refused when asked for, and reached by another way, is a leak all the same.
            cautious += [
                story for spot, story in doubtful if spot.marker not in seen and spot.name not in sent
            ]
    return counts, wrong, cautious
