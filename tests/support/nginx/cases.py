"""A configuration for a real nginx in a file, with a question and its answers in the file's head.

    python -m tests.support.nginx.cases FILE

asks it, and shows what the clients get and what the audit says. The form of a head:
tests/system/nginx/cases/README.md.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from tests.support.nginx.real import Answer, free_ports, http_paths, running
from tests.support.nginx.worlds import dump
from wgcluster.inventory.schema import GuardedSite
from wgcluster.nginx.audit.audit import Finding, audit
from wgcluster.nginx.syntax.includes import parse_dump

ALLOWED = "127.0.0.2"
UPSTREAM = r"""
server {
    listen 127.0.0.1:@BACK@;
    default_type text/plain;
    location ~ ^/to(?<to>.+)$ { add_header X-Accel-Redirect $to; return 200 sent; }
    location / { return 200 SECRET; }
}
"""
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
_HEAD = re.compile(r"^# ([a-z ]+): (.*)$", re.MULTILINE)
_KEYS = {
    *("ask", "host", "port", "header", "times", "denied client", "allowed clients", "public"),
    *("allowed client asks before", "denied client gets", "allowed client gets", "audit"),
}


@dataclass(frozen=True)
class Expected:
    """A finding that the audit has to make; ``reason`` is a part of what it says."""

    kind: str
    location: str
    reason: str

    @classmethod
    def read(cls, text: str) -> Expected:
        kind, _, rest = text.partition(" at ")
        location, _, reason = rest.partition(": ")
        return cls(kind, location, reason)


@dataclass(frozen=True)
class Case:
    """A server s.test for a real nginx, what is asked of it, and what is to come of that."""

    config: str  # what stands in the http block, and a stream block behind it
    method: str
    uri: str
    host: str
    port: str  # "@PORT@" or "@OTHER@"
    headers: tuple[str, ...]
    times: int  # as often does the denied client ask; the last answer counts
    before: str  # what the allowed client asks for before that
    denied: str  # address of the denied client
    allowed: tuple[str, ...]  # what the list lets in
    public: tuple[str, ...]
    denied_gets: str  # the status, and the word SECRET if that is what comes
    allowed_gets: str
    audit: tuple[Expected, ...]  # all leaks, and what else is to be found

    @classmethod
    def read(cls, path: Path) -> Case:
        head, _, config = path.read_text().partition("\n\n")
        fields: dict[str, list[str]] = {}
        for key, value in _HEAD.findall(head):
            fields.setdefault(key, []).append(value)
        if unknown := fields.keys() - _KEYS:
            raise ValueError(f"{path}: unknown in the head: {', '.join(sorted(unknown))}")

        def one(key: str, default: str = "") -> str:
            return fields.get(key, [default])[0]

        method, uri = one("ask").split(" ")
        return cls(
            config=config,
            method=method,
            uri=uri,
            host=one("host", "s.test"),
            port=one("port", "@PORT@"),
            headers=tuple(fields.get("header", ())),
            times=int(one("times", "1")),
            before=one("allowed client asks before"),
            denied=one("denied client", "127.0.0.1"),
            allowed=tuple(one("allowed clients", ALLOWED).split(", ")),
            public=tuple(fields.get("public", ())),
            denied_gets=one("denied client gets"),
            allowed_gets=one("allowed client gets"),
            audit=tuple(map(Expected.read, fields.get("audit", ()))),
        )

    @property
    def whole(self) -> str:
        """The whole configuration, with the upstream that it passes on to."""
        http, stream, rest = self.config.partition("\nstream {")
        return f"http {{\n{http_paths()}{UPSTREAM}{http}\n}}\n{stream}{rest}"


@dataclass(frozen=True)
class Outcome:
    """What the denied and the allowed client got, and what the audit said."""

    denied: Answer
    allowed: Answer
    findings: Sequence[Finding]

    def differences(self, case: Case) -> Iterator[str]:
        """What is otherwise than the case has it."""
        for who, got, wanted in (
            ("denied client", gets(self.denied), case.denied_gets),
            ("allowed client", gets(self.allowed), case.allowed_gets),
        ):
            if got != wanted:
                yield f"the {who} gets {got}, not {wanted}"
        for one in case.audit:
            if not any(
                (f.kind, f.location) == (one.kind, one.location)
                and one.reason in f.reason
                and (f.kind != "leaks" or f.remedy)
                for f in self.findings
            ):
                yield f"the audit does not say: {one.kind} at {one.location}: {one.reason}"
        leaks = {one.location for one in case.audit if one.kind == "leaks"}
        for found in self.findings:
            if found.kind == "leaks" and found.location not in leaks:
                yield f"the audit says: leaks at {found.location}: {found.reason}"


def gets(answer: Answer) -> str:
    return f"{answer.status} SECRET" if "SECRET" in answer.body else str(answer.status)


def asked(case: Case) -> Outcome:
    """``case`` in a real nginx."""
    port, back, other = free_ports(3)

    def with_ports(text: str) -> str:
        return text.replace("@BACK@", str(back)).replace("@PORT@", str(port)).replace("@OTHER@", str(other))

    def prepare(folder: Path) -> None:
        _furnish(folder, case.allowed)

    site = GuardedSite("s.conf", "s.test", ("/",), case.public, tuple(map(ip_network, case.allowed)))
    headers = [with_ports(header) for header in case.headers]
    at = int(with_ports(case.port))
    with running(with_ports(case.whole), ready=port, prepare=prepare) as nginx:
        if case.before:
            nginx.ask(port, "s.test", case.before, source=ALLOWED)
        for _ in range(case.times):
            denied = nginx.ask(
                at, case.host, case.uri, method=case.method, headers=headers, source=case.denied
            )
        findings = audit(parse_dump(dump(nginx.folder)), [site])
        allowed = nginx.ask(port, "s.test", case.uri, method=case.method, source=ALLOWED)
    return Outcome(denied, allowed, findings)


def _furnish(folder: Path, allowed: Sequence[str]) -> None:
    (folder / "list.conf").write_text("".join(f"allow {one};\n" for one in allowed) + "deny all;\n")
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


def main(path: str) -> int:
    case = Case.read(Path(path))
    outcome = asked(case)
    print(f"The denied client gets:  {gets(outcome.denied)}")
    print(f"The allowed client gets: {gets(outcome.allowed)}")
    for found in outcome.findings:
        print(f"The audit: {found.kind} at {found.location}: {found.reason}")
    wrong = list(outcome.differences(case))
    print("\n".join(f"Wrong: {one}" for one in wrong) or "All is as the file says.")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
