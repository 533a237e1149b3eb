"""What nginx-audit says of files at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.operator_folder import HOSTS, NGINX, SITE, Cluster

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
LEAKING = GUARDED.replace("        deny all;\n", "")


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
    assert f"{file}:4: git.example.org / leaks: " in result.out
    found = cluster.run("nginx-audit", str(file), "--json")
    assert found.status == 1
    assert [(one["line"], one["location"], one["class"]) for one in found.json] == [
        (4, "/", "leaks"),
        (8, "/.well-known/acme-challenge", "public"),
    ]
    keys = {"file", "line", "server", "listen", "location", "class", "reason"}
    assert all(keys <= one.keys() for one in found.json)


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
