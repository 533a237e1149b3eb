"""One case for a real nginx and the audit: a configuration, and what a stranger really gets from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from tests.support.nginx.real import Answer, free_ports, http_paths, running
from tests.support.nginx.worlds import dump
from wgcluster.inventory.schema import GuardedSite
from wgcluster.nginx.audit.audit import Finding, audit
from wgcluster.nginx.syntax.includes import parse_dump

FRIEND = "127.0.0.2"
LIST = "include @FOLDER@/list.conf;"
PASS = "proxy_pass http://127.0.0.1:@BACK@;"
ACME = "/.well-known/acme-challenge/"

# What the configuration does not show.
CODE = {
    "hook.lua": 'ngx.print(ngx.location.capture("/x").body)',
    "exec.lua": 'ngx.exec("@app")',
    "welcome.lua": "return",
    "hook.js": """
        function redirect(r) { r.internalRedirect("@app"); }
        async function fetch(r) { let got = await r.subrequest("/x"); r.return(200, got.responseText); }
        function hello(r) { r.return(200, "hello"); }
        export default { redirect, fetch, hello };
    """,
}


@dataclass(frozen=True)
class Case:
    """One server; what a stranger gets for ``uri``, and the audit's class and reason for ``location``.

    "@BACK@", "@PORT@" and "@OTHER@" stand for ports: of the service, of the server, and a free one.
    """

    name: str
    body: str
    uri: str
    status: int
    kind: str
    location: str = "/"
    reason: str = ""
    headers: tuple[str, ...] = ()
    public: tuple[str, ...] = ()
    method: str = "GET"
    beside: str = ""  # further text in the http block
    above: str = ""  # and outside of it
    lua: bool = False
    allow: tuple[str, ...] = (FRIEND,)
    stranger: str = "127.0.0.1"
    port: str = "@PORT@"  # that is asked
    times: int = 1  # as often; the last answer counts
    first: str = ""  # what a friend asks for before that


@dataclass(frozen=True)
class Outcome:
    """What the stranger and the friend got, and what the audit said."""

    stranger: Answer
    friend: Answer
    findings: Sequence[Finding]


def asked(case: Case) -> Outcome:
    """``case`` in a real nginx."""
    port, back, other = free_ports(3)

    def with_ports(text: str) -> str:
        return text.replace("@BACK@", str(back)).replace("@PORT@", str(port)).replace("@OTHER@", str(other))

    def prepare(folder: Path) -> None:
        _furnish(folder, case.allow)

    config = with_ports(
        f"http {{\n{http_paths()}\nserver {{ listen 127.0.0.1:{back}; default_type text/plain;"
        r" location ~ ^/to(?<to>.+)$ { add_header X-Accel-Redirect $to; return 200 sent; }"
        f" location / {{ return 200 SECRET; }} }}\n{case.beside}\n"
        f"server {{ listen 127.0.0.1:{port}; server_name s.test;\n{case.body}\n}}\n}}\n{case.above}"
    )
    allow = tuple(ip_network(one) for one in case.allow)
    site = GuardedSite("s.conf", "s.test", ("/",), case.public, allow)
    host = next((h.split(": ")[1] for h in case.headers if h.startswith("Host: ")), "s.test")
    headers = [with_ports(h) for h in case.headers if not h.startswith("Host: ")]
    at = int(with_ports(case.port))
    with running(config, ready=port, prepare=prepare, lua=case.lua) as nginx:
        if case.first:
            nginx.ask(port, "s.test", case.first, source=FRIEND)
        for _ in range(case.times):
            answer = nginx.ask(at, host, case.uri, method=case.method, headers=headers, source=case.stranger)
        findings = audit(parse_dump(dump(nginx.folder)), [site])
        friend = nginx.ask(port, "s.test", case.uri, method=case.method, source=FRIEND)
    return Outcome(answer, friend, findings)


def _furnish(folder: Path, allow: Sequence[str]) -> None:
    (folder / "list.conf").write_text("".join(f"allow {one};\n" for one in allow) + "deny all;\n")
    (folder / "users").write_text("u:{PLAIN}p\n")
    (folder / "files").mkdir()
    (folder / "files" / "index.html").write_text("SECRET")
    (folder / "files" / "sub").mkdir()
    for other in (folder / "files" / "s.test", folder / "html"):
        other.mkdir()
        (other / "index.html").write_text("SECRET")
    (folder / "files" / "sub" / "secret.html").write_text("SECRET")
    for page in ("denied.html", "403.html"):
        (folder / "files" / "sub" / page).write_text("for all")
    (folder / "files" / "fetch.html").write_text('<!--# include virtual="/x" -->')
    (folder / "files" / "denied.html").write_text("not for you")
    for name, code in CODE.items():
        (folder / name).write_text(code)
