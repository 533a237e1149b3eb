"""What nginx-audit says of files at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.operator_folder import HOSTS, NGINX, SITE, Cluster

GUARDED = """\
server {
    listen 443;
    server_name git.example.org;
    location / {
        allow 10.0.0.0/24;
        deny all;
        proxy_pass http://127.0.0.1:8080;
    }
    location /.well-known/acme-challenge { root /var/www; }
}
"""
PLAIN = GUARDED.replace("        allow 10.0.0.0/24;\n        deny all;\n", "")
LEAKING = GUARDED.replace("        deny all;\n", '        return 200 "hello";\n')


def test_an_audit_of_a_guarded_site(cluster: Cluster) -> None:
    file = cluster.folder / "git.conf"
    file.write_text(GUARDED)
    result = cluster.run("nginx-audit", str(file))
    assert (result.status, result.err) == (0, "")
    assert result.out.splitlines()[-1] == "1 guarded, 1 public"


def test_an_audit_of_a_leak(cluster: Cluster) -> None:
    file = cluster.folder / "git.conf"
    file.write_text(LEAKING)
    result = cluster.run("nginx-audit", str(file))
    assert result.status == 1
    assert f"{file}:6: git.example.org / leaks: " in result.out
    found = cluster.run("nginx-audit", str(file), "--json")
    assert found.status == 1
    assert [(one["line"], one["location"], one["class"]) for one in found.json] == [
        (6, "/", "leaks"),
        (9, "/.well-known/acme-challenge", "public"),
    ]
    keys = {"file", "line", "server", "listen", "location", "class", "reason"}
    assert all(keys <= one.keys() for one in found.json)


def test_a_site_of_the_inventory_is_judged_as_the_deploy_will_leave_it(cluster: Cluster) -> None:
    file = cluster.folder / "git.conf"
    file.write_text(PLAIN)
    result = cluster.run("nginx-audit", str(file))
    assert (result.status, result.err) == (0, "")
    assert "judged as the deploy will leave it" in result.out
    found = cluster.run("nginx-audit", str(file), "--json").json
    assert [(one["line"], one["class"]) for one in found] == [(4, "guarded"), (7, "public")]
    as_is = cluster.run("nginx-audit", str(file), "--as-is")
    assert as_is.status == 1
    assert "/ leaks: no list is in effect" in as_is.out


def test_what_the_deploy_would_refuse_is_a_finding(cluster: Cluster) -> None:
    file = cluster.folder / "git.conf"
    file.write_text(PLAIN.replace("location / {", "location /git {"))
    found = cluster.run("nginx-audit", str(file), "--json")
    assert found.status == 1
    (refusal,) = [one for one in found.json if one["location"] == "(deploy)"]
    assert refusal["reason"].startswith('no location "/" in this server')
    assert refusal["line"] == 1


def test_an_audit_of_what_nginx_says(cluster: Cluster) -> None:
    dump = cluster.folder / "dump"
    dump.write_text(
        "nginx: the configuration file /etc/nginx/nginx.conf syntax is ok\n"
        f"# configuration file /etc/nginx/nginx.conf:\nevents {{}}\nhttp {{ include {SITE}; }}\n\n"
        f"# configuration file {SITE}:\n{LEAKING}\n"
    )
    found = cluster.run("nginx-audit", str(dump), "--json")
    assert found.status == 1
    assert [one["file"] for one in found.json] == [SITE, SITE]


def test_an_audit_without_an_inventory(cluster: Cluster) -> None:
    (cluster.folder / "inventory.py").unlink()
    file = cluster.folder / "git.conf"
    file.write_text(GUARDED)
    words = ("nginx-audit", str(file), "--server", "git.example.org")
    assert cluster.run(*words, "--allow", "10.0.0.0/24").status == 1  # the challenge is not declared
    everything = (*words, "--allow", "10.0.0.0/24", "--public", "/.well-known/acme-challenge")
    assert cluster.run(*everything).status == 0
    assert cluster.run(*words, "--allow", "10.0.0.1/24").err.startswith("--allow: 10.0.0.1/24 has host bits")


@pytest.mark.parametrize(
    ("make", "words", "message"),
    [
        (lambda file: None, (), "cannot be read: No such file or directory"),
        (lambda file: file.write_bytes(b"server {\xff}"), (), "is not UTF-8 at byte 8"),
        (lambda file: file.write_text("server {"), (), "git.conf:1"),
        (
            lambda file: file.write_text(GUARDED),
            ("--host", "rot"),
            "no host is called rot; did you mean root? There are: backup",
        ),
        (lambda file: file.write_text(GUARDED), ("--host", "cloud"), "cloud has no nginx_vpn_only"),
    ],
)
def test_what_cannot_be_audited_is_told(
    cluster: Cluster, make: Callable[[Path], object], words: tuple[str, ...], message: str
) -> None:
    file = cluster.folder / "git.conf"
    make(file)
    result = cluster.run("nginx-audit", str(file), *words)
    assert (result.status, result.out) == (1, "")
    assert message in result.err


def test_whose_files_they_are_must_be_clear(cluster: Cluster) -> None:
    cluster.write({**HOSTS, "cloud": {**HOSTS["cloud"], "nginx_vpn_only": [NGINX]}})
    file = cluster.folder / "git.conf"
    file.write_text(GUARDED)
    result = cluster.run("nginx-audit", str(file))
    assert result.status == 1
    assert result.err.startswith("hosts with nginx_vpn_only: cloud, root; say whose files these are: --host")
    assert cluster.run("nginx-audit", str(file), "--host", "cloud").status == 0
