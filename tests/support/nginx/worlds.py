"""Random servers for a real nginx."""

from __future__ import annotations

import base64
import random
import subprocess
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path

from tests.support.nginx.real import NGINX, http_paths
from wgcluster.inventory.schema import GuardedSite

FRIEND, STRANGERS = "127.0.0.2", ("127.0.0.1", "127.0.0.3", "127.0.0.9")
LIST = "include @FOLDER@/list.conf;"
BACK = "proxy_pass http://unix:@FOLDER@/back:"  # a socket: ports would not last for so many requests
AUTH = "auth_basic x; auth_basic_user_file @FOLDER@/users;"
REALIP = "real_ip_header X-Forwarded-For;"
PASSWORD = "Authorization: Basic " + base64.b64encode(b"u:p").decode()
WITHOUT_LOCATION = ("index.html", "other", "else", "elsewhere")
# Files that requests are sent on to, or are for.
FILES = (
    *WITHOUT_LOCATION,
    "exact",
    *(f"l{i}/{name}" for i in range(4) for name in ("page", "moved", "x")),
    *(
        f"{top}{inner}"
        for top in ("l0/", "l1/", "l2/", "l3/", "other")
        for inner in ("exact", "in/x", "re/x")
    ),
    *(
        f"{top}in/{inner}"
        for top in ("l0/", "l1/", "l2/", "l3/", "other")
        for inner in ("exact", "in/x", "re/x")
    ),
)


@dataclass
class Spot:
    """A location and the request that ends up in it."""

    name: str
    uri: str
    marker: str
    hidden: bool = False  # named or internal: it cannot be asked for

    @property
    def mark(self) -> str:
        """What is its own in ``marker``, without the word that tells a leak."""
        return self.marker.removeprefix("SECRET-")


@dataclass
class Server:
    """One generated server block."""

    host: str
    text: str
    spots: list[Spot] = field(default_factory=list)
    site: GuardedSite | None = None
    strangers: tuple[str, ...] = STRANGERS


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
            (0.5, f'rewrite ^(.*)$ $1 break; return 200 "{mark} never";'),
            (0.5, f'break; return 200 "{mark} never";'),
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

    def passed(self) -> str:
        """Makes a location write down that a request was there."""
        return f"set $trail $trail.{len(self.spots)};"

    def location(self, name: str, uri: str, depth: int, *, hidden: bool = False) -> str:
        marker = f"SECRET-{self.number}-{len(self.spots)}-"
        parts = [self.rules(8), self.before(50, marker), self.extras(0.8), self.limits()]
        if self.r.random() < 0.06:
            parts.append("internal;")
            hidden = True  # and all that is in it
        self.r.shuffle(parts)
        passed = self.passed()
        self.spots.append(Spot(name, uri, marker, hidden=hidden))
        inside = " ".join(p for p in parts if p)
        content = self.content(marker)
        nested = ""
        if depth < 2 and not name.startswith(("=", "~")) and self.r.random() < 0.25:
            path = uri.removesuffix("x")
            inner = self.r.choice([f"{path}in/", f"= {path}exact", f"~ ^{path}re/"])
            at = {"=": f"{path}exact", "~": f"{path}re/x"}.get(inner[0], f"{path}in/x")
            nested = self.location(inner, at, depth + 1, hidden=hidden)
        return f"\nlocation {name} {{ {passed} {inside} {content} {nested}}}"

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
        # A list may let in all of our strangers, but for ::1.
        both = self.number % 4 == 3 or "allow 127.0.0.0/8; deny all;" in "".join((*lead, *blocks))
        listens = f"listen 127.0.0.1:{self.port};{f' listen [::1]:{self.port};' if both else ''}"
        text = (
            f"server {{ {listens} server_name {host};\n"
            f"{' '.join(p for p in lead if p)}{''.join(blocks)}\n}}\n"
        )
        if not any(s.name == "/" for s in self.spots):
            self.spots.append(Spot("(no location)", "/index.html", "SECRET-file"))
        names = [s.name for s in self.spots if s.name != "(no location)"]
        public = tuple(n for n in names if r.random() < 0.12)
        named = tuple(n for n in names if n not in public and r.random() < 0.6)
        site = GuardedSite("main", host, named, public, (ip_network(f"{FRIEND}/32"),))
        strangers = (*STRANGERS, "::1") if both else STRANGERS
        return Server(host, text, self.spots, site, strangers)

    def named_location(self, name: str) -> str:
        passed = self.passed()
        marker = f"SECRET-{self.number}-{len(self.spots)}-"
        self.spots.append(Spot(name, name, marker, hidden=True))
        parts = [self.rules(8), self.before(80, marker), self.extras(0.4)]
        self.r.shuffle(parts)
        inside = " ".join(p for p in parts if p)
        backend = f"{BACK}/{marker}$request_uri;"
        return f"\nlocation {name} {{ {passed} {inside} {backend} }}"


# Does as it is told: it goes down (502; where "via" says it, only for those that came so), sends the request
# on ("by" one place "to" another, "then" by that one "on" to a third), though not when it comes there again,
# or answers.
BEHIND = r"""
proxy_set_header X-Trail $trail;
add_header X-Trail $trail always;
map $arg_via:$http_x_trail $other_way { "~^:" 0; "~^(.*):\1$" 0; default 1; }
map $other_way:$arg_down:$request_uri $down { "~^0:([0-9-]+):/SECRET-\1" 1; default 0; }
map $http_x_trail $again { "~([.][0-9]+)([.][0-9]+)*\1$" 1; default 0; }
map $again:$arg_by:$request_uri $sends_on { "~^0:([0-9-]+):/SECRET-\1" 1; default 0; }
map $again:$arg_then:$request_uri $then_sends_on { "~^0:([0-9-]+):/SECRET-\1" 1; default 0; }
server {
    listen unix:@FOLDER@/back; default_type text/plain;
    location / {
        if ($down) { return 444; }
        if ($sends_on) { add_header X-Accel-Redirect $arg_to; return 200; }
        if ($then_sends_on) { add_header X-Accel-Redirect $arg_on; return 200; }
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
    for top, name in (
        (top, name) for top in ("files", "html") for name in FILES
    ):  # html: where no root is set
        file = folder / top / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("SECRET-file" if name in WITHOUT_LOCATION else "SECRET-in")


def dump(folder: Path) -> str:
    """``nginx -T`` of the configuration in ``folder``."""
    assert NGINX is not None
    command = [NGINX, "-T", "-q", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout
