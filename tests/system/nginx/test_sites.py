"""Site files as they are found in the field: guarded, audited, asked for real, and given back whole."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from tests.support.nginx.real import NGINX, free_ports, http_paths, running
from tests.support.nginx.worlds import dump
from wgcluster.inventory.schema import GuardedSite
from wgcluster.nginx.audit.audit import audit
from wgcluster.nginx.config.site import allow_list, list_path
from wgcluster.nginx.edit.guard import guard
from wgcluster.nginx.probe.probe import Answer as Got
from wgcluster.nginx.probe.probe import allowed_client_fault, denied_client_fault, probes
from wgcluster.nginx.syntax.includes import parse_dump
from wgcluster.nginx.syntax.splice import unguard
from wgcluster.nginx.syntax.tree import parse

SITES = Path(__file__).parent / "sites"
EXAMPLE = str(Path(__file__).parents[3] / "examples" / "gitlab" / "gitlab.nginx")
FRIEND, STRANGER = "127.0.0.2", "127.0.0.1"
ACME = "/.well-known/acme-challenge/"

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


@dataclass(frozen=True)
class Case:
    """A file, what its operator wants, and what everyone else must then get."""

    file: str
    server_name: str
    locations: tuple[str, ...] = ("/",)
    public: tuple[str, ...] = (ACME,)
    scope: str = "location"
    acme_root: str | None = None
    refused: tuple[str, ...] = ("/",)  # URIs on the service's port
    served: tuple[str, ...] = (ACME + "token",)
    port: int = 443
    unprobed: tuple[str, ...] = ()  # locations for which no probe can be made

    @property
    def site(self) -> GuardedSite:
        return GuardedSite(
            self.file,
            self.server_name,
            self.locations,
            self.public,
            (ip_network(f"{FRIEND}/32"), ip_network("fd00::/64")),
            "server" if self.scope == "server" else "location",
            self.acme_root,
        )

    @property
    def text(self) -> str:
        return (SITES / self.file).read_bytes().decode()


GIT_API = r"~ (/api/v\d/jobs/\d+/artifacts$|\.git/git-receive-pack$|\.git/gitlab-lfs/objects)"
CASES = [
    Case(
        "gitlab-omnibus.conf",
        "git.example.org",
        ("/", "/assets", GIT_API),
        acme_root="/var/www/acme",
        refused=("/", "/x", "/assets/a", "/x.git/git-receive-pack", "//assets/", "/%61ssets/x"),
    ),
    Case(
        "gitlab-omnibus.conf",
        "git.example.org",
        scope="server",
        acme_root="/var/www/acme",
        refused=("/", "/x", "/assets/a", "/x.git/git-receive-pack"),
        unprobed=(f"^~ {ACME}",),  # its page for 404 is behind the list of the server
    ),
    Case(
        "gitlab-source.conf", "git.example.org", acme_root="/var/www/acme", refused=("/", "/a/../b"), port=80
    ),
    Case(
        "nextcloud.conf",
        "cloud.example.org",
        public=("/.well-known/acme-challenge", "= /robots.txt"),
        scope="server",
        refused=(
            "/",
            "/index.php",
            "/index.php/login",
            "/a.css",
            "/core/x.wasm",
            "/f.woff2",
            "/remote.php/dav",
        ),
        served=(ACME + "token", "/robots.txt"),
    ),
    Case(
        "mattermost.conf",
        "mattermost.example.org",
        ("/", r"~ /api/v[0-9]+/(users/)?websocket$"),
        acme_root="/var/www/acme",
        refused=("/", "/api/v4/websocket", "/api/v4/users/websocket", "/API/v4/websocket"),
        port=80,
    ),
    Case(
        "grafana.conf",
        "grafana.example.org",
        ("/", "/api/live/"),
        acme_root="/var/www/acme",
        refused=("/", "/api/live/ws", "/./api/live/"),  # "/api/live" gets nginx's own 301 to "/api/live/"
        port=80,
    ),
    Case(
        "jellyfin.conf",
        "jellyfin.example.org",
        ("/", "= /web/", "/socket"),
        acme_root="/var/www/acme",
        refused=("/x", "/web/", "/web/x", "/socket", "/socket/"),
    ),
    Case(
        "wordpress.conf",
        "blog.example.org",
        public=(ACME, "= /robots.txt"),
        scope="server",
        acme_root="/var/www/acme",
        refused=("/", "/index.php", "/wp-login.php", "/a.js", "/uploads/x.php", "/favicon.ico"),
        served=(ACME + "token", "/robots.txt"),
        port=80,
    ),
    Case(EXAMPLE, "git.example.org", acme_root="/var/www/letsencrypt", refused=("/", "/x", "/502.html/x")),
    Case("certbot.conf", "app.example.org", refused=("/", "/x")),
    Case("nginx-proxy.conf", "app.example.org", acme_root="/var/www/acme", refused=("/", "/x"), port=80),
    Case("one-line.conf", "app.example.org", refused=("/", "/x"), port=80),
]


def _named(case: Case) -> str:
    return f"{Path(case.file).name}-{case.scope}"


def runnable(text: str, ports: dict[int, int], back: int, case: Case) -> str:
    """``text`` with its addresses moved to the loopback and what this nginx has not left out."""
    text = text.replace(list_path(case.site), "@FOLDER@/list.conf")

    def listen(match: re.Match[str]) -> str:
        if "[" in match[1]:
            return ""
        port = int(re.sub(r".*:", "", match[1].split()[0]))
        return f"listen 127.0.0.1:{ports[port]};"

    if "listen" not in text:  # *:80 then
        text = re.sub(r"^server \{", "server { listen 80;", text, flags=re.M)
    text = re.sub(r"\blisten\s+([^;]+);", listen, text)
    for address in (r"unix:[^;{} ]+(?= |;)", r"127\.0\.0\.1:(?:8065|8080|9000)", r"172\.17\.0\.\d:\d+"):
        text = re.sub(rf"\bserver\s+{address}[^;]*;", f"server 127.0.0.1:{back};", text)
    text = text.replace("localhost:3000", f"127.0.0.1:{back}").replace(":8096", f":{back}")
    text = text.replace("proxy_pass http://127.0.0.1:8080", f"proxy_pass http://127.0.0.1:{back}")
    dropped = r"ssl_\w+|http2|access_log|error_log|proxy_cache\w*|log_format|gzip_types"
    text = re.sub(rf"^(\s*)(?:{dropped})\s[^;]*;", r"\1", text, flags=re.M)
    text = re.sub(r"include (/var/opt|/etc/letsencrypt)[^;]*;", "", text)
    text = text.replace("include fastcgi_params;", "include /etc/nginx/fastcgi_params;")
    text = re.sub(r"/var/www/(?:acme|letsencrypt|nextcloud|wordpress)", "@FOLDER@/www", text)
    if re.search(r"\$connection_upgrade\b", text) and "map $http_upgrade $connection_upgrade " not in text:
        text = "map $http_upgrade $connection_upgrade { default upgrade; '' close; }\n" + text
    return text


def furnish(folder: Path, case: Case) -> None:
    challenge = folder / "www" / ACME.strip("/")
    challenge.mkdir(parents=True)
    (challenge / "token").write_text("challenge")
    for name in ("robots.txt", "index.php", "wp-login.php", "a.js", "a.css"):
        (folder / "www" / name).write_text("SECRET")
    (folder / "list.conf").write_text(allow_list(case.site).replace("allow fd00::/64;\n", ""))


@pytest.mark.parametrize("case", CASES, ids=_named)
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_guarded_twice_is_guarded_once_and_undone_to_the_byte(case: Case, newline: str) -> None:
    text = case.text.replace("\n", newline)
    guarded = guard(text, [case.site])
    assert guarded != text
    assert guard(guarded, [case.site]) == guarded
    assert unguard(guarded) == text
    assert [line for line in guarded.split("\n") if line not in text.split("\n")]
    assert {f.kind for f in audit({case.file: guarded}, [case.site])} <= {"guarded", "public", "closed"}


@pytest.mark.parametrize("case", CASES, ids=_named)
def test_a_stranger_gets_nothing_and_the_challenge_is_public(case: Case) -> None:
    p80, p443, back = free_ports(3)
    ports = {80: p80, 443: p443}
    config = (
        f"http {{\n{http_paths()}\nserver {{ listen 127.0.0.1:{back}; return 200 SECRET; }}\n"
        + runnable(guard(case.text, [case.site]), ports, back, case)
        + "\n}\n"
    )
    with running(config, ready=back, prepare=lambda folder: furnish(folder, case)) as nginx:
        for uri in case.refused:
            for method in ("GET", "POST", "HEAD"):
                for headers in ((), (f"X-Forwarded-For: {FRIEND}", f"Forwarded: for={FRIEND}")):
                    denied = nginx.ask(
                        ports[case.port],
                        case.server_name,
                        uri,
                        source=STRANGER,
                        method=method,
                        headers=headers,
                    )
                    assert denied.status == 403, (uri, method, denied)
                    assert "SECRET" not in denied.body
            welcome = nginx.ask(ports[case.port], case.server_name, uri, source=FRIEND)
            if "uploads" not in uri:  # WordPress itself refuses these to everyone
                assert welcome.status != 403, (uri, welcome)
        for uri in case.served:
            assert nginx.ask(ports[case.port], case.server_name, uri, source=STRANGER).status == 200, uri
        files = parse_dump(dump(nginx.folder))
        found, unprobed = probes(files, [case.site], [ip_address("127.0.0.1")])
        assert {probe.expected for probe in found} >= {"denied"}
        for probe in found:
            told = nginx.ask(probe.port, probe.host, probe.path, headers=probe.headers)
            assert not denied_client_fault(probe, got := Got(told.status, len(told.body)))
            friend = nginx.ask(probe.port, probe.host, probe.path, source=FRIEND)
            if "deny all" not in case.text:  # some places are for nobody
                assert not allowed_client_fault(probe, Got(friend.status, len(friend.body)), got)
        assert not [u for u in unprobed if u.location not in case.unprobed], unprobed
        if case.port == 443:
            other = nginx.ask(p80, case.server_name, "/x", source=STRANGER) if f":{p80}" in config else None
            assert other is None or other.status == 301


def test_a_file_of_two_thousand_lines() -> None:
    blocks = []
    for i in range(150):
        blocks.append(
            f"# host {i}\nupstream u{i} {{\n    server 127.0.0.1:{10000 + i};\n}}\n"
            f"server {{\n\tlisten 80;\n\tserver_name h{i}.example.org;\n\tlocation / {{\n"
            f"\t\tproxy_set_header Host $host;\n\t\tproxy_pass http://u{i};\n\t}}\n"
            f"\tlocation {ACME} {{\n\t\troot /var/www/acme;\n\t}}\n}}\n"
        )
    text = "".join(blocks)
    assert text.count("\n") > 2000
    sites = [
        GuardedSite("big.conf", f"h{i}.example.org", ("/",), (ACME,), (ip_network("10.0.0.0/24"),))
        for i in range(0, 150, 7)
    ]
    guarded = guard(text, sites)
    assert guard(guarded, sites) == guarded
    assert unguard(guarded) == text
    assert guarded.count("# wgcluster") == 2 * len(sites)
    findings = audit({"big.conf": guarded}, sites)
    assert [f.kind for f in findings].count("guarded") == len(sites)
    assert [f.kind for f in findings].count("leaks") == len(sites) - len(sites)
    assert parse(guarded)
