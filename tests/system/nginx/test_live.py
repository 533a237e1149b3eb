"""The probes sent by curl, as verify sends them: TLS, both families, PROXY lines, all kinds of listen."""

from __future__ import annotations

import datetime
import shutil
import socket
import subprocess
from collections.abc import Iterable
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.nginx.real import NGINX, free_ports, http_paths, running
from tests.support.nginx.worlds import dump
from wgcluster.inventory.schema import GuardedSite
from wgcluster.nginx.probe.curl import answers, curl_config
from wgcluster.nginx.probe.probe import Answer, Probe, allowed_client_fault, denied_client_fault, probes
from wgcluster.nginx.syntax.includes import parse_dump

CURL = shutil.which("curl")
pytestmark = pytest.mark.skipif(NGINX is None or CURL is None, reason="nginx or curl is not installed")

CONFIG = """
http {
@HTTP@
server { listen 127.0.0.1:@BACK@; return 200 SECRET; }
server { listen @PLAIN@ default_server; listen [::]:@PLAIN@ default_server; server_name _; return 404; }
server {
    listen @PLAIN@; listen [::]:@PLAIN@;
    listen 127.0.0.1:@TLS@ ssl; listen [::1]:@TLS@ ssl;
    listen 127.0.0.1:@PROXY@ proxy_protocol;
    listen unix:@FOLDER@/sock;
    server_name app.test *.app.test;
    ssl_certificate @FOLDER@/cert.pem; ssl_certificate_key @FOLDER@/key.pem;
    if ($scheme = http) { return 301 https://$host$request_uri; }
    location / { @LIST@ proxy_pass http://127.0.0.1:@BACK@; }
    location ~ ^/(?<lang>de|en)/x\\d+$ { @LIST@ proxy_pass http://127.0.0.1:@BACK@; }
    location ^~ /.well-known/acme-challenge/ { allow all; root @FOLDER@/www; }
}
server {
    listen @PLAIN@; listen [::]:@PLAIN@; server_name "~^(www\\.)?blog\\.test$";
    @LIST@
    location / { proxy_pass http://127.0.0.1:@BACK@; }
    location /open/ { allow all; proxy_pass http://127.0.0.1:@BACK@; }
}
}
"""

ACME = "/.well-known/acme-challenge/"
LANGUAGE = "~ ^/(?<lang>de|en)/x\\d+$"
NETWORKS = (ip_network("198.18.0.0/24"), ip_network("fd00::/64"))
SITES = [
    GuardedSite("a.conf", "app.test", ("/", LANGUAGE), (ACME,), NETWORKS),
    GuardedSite("a.conf", "blog.test", (), ("/open/",), NETWORKS, "server"),
]


def certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "app.test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
    except OSError:
        return False
    return True


def send(found: list[Probe]) -> list[Answer]:
    ran = subprocess.run(
        [str(CURL), "-K", "-"],
        input=curl_config(found),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    told = answers(ran.stdout)
    assert len(told) == len(found), ran.stderr
    return told


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_every_listen_address_is_asked_and_answers_as_the_audit_says() -> None:
    back, plain, tls, proxy = free_ports(4)
    config = CONFIG.replace("@HTTP@", http_paths()).replace("@LIST@", "include @FOLDER@/list.conf;")
    for word, port in (("BACK", back), ("PLAIN", plain), ("TLS", tls), ("PROXY", proxy)):
        config = config.replace(f"@{word}@", str(port))
    here = [ip_address("127.0.0.1"), ip_address("::1")]

    def prepare(rules: str, folder: Path) -> None:
        certificate(folder)
        (folder / "list.conf").write_text(rules)

    rules = "allow 198.18.0.0/24; allow fd00::/64; deny all;"
    with running(config, ready=back, prepare=partial(prepare, rules)) as nginx:
        found, unprobed = probes(parse_dump(dump(nginx.folder)), SITES, here)
        strangers = send(found)
    assert not unprobed
    assert not said(map(denied_client_fault, found, strangers))
    assert {(p.address, p.port, p.tls, p.proxy_protocol) for p in found} == {
        ("127.0.0.1", plain, False, False),
        ("::1", plain, False, False),
        ("127.0.0.1", tls, True, False),
        ("::1", tls, True, False),
        ("127.0.0.1", proxy, False, True),
    }
    variants = {"plain", "spoofed address", "//", "/./", "%2e", "upper case", "trailing slash"}
    assert {p.variant for p in found} == variants
    assert {p.location for p in found} == {"/", LANGUAGE, f"^~ {ACME}", "/open/"}
    assert {p.host for p in found} == {"app.test", "blog.test"}

    # Where the list is gone the same requests tell; and everyone gets what a friend gets.
    with running(config, ready=back, prepare=partial(prepare, "allow all;")) as nginx:
        friends = send(found)
    hidden = [
        why for p, why in zip(found, map(denied_client_fault, found, friends), strict=True) if p.tls and why
    ]
    assert len(hidden) == sum(p.tls and p.expected == "denied" for p in found)
    assert not said(map(allowed_client_fault, found, friends, strangers))
    # A friend who is told what strangers are told is shut out.
    shut_out = said(map(allowed_client_fault, found, strangers, strangers))
    assert len(shut_out) == sum(a.status == 403 for a in strangers)


def said(judged: Iterable[str]) -> list[str]:
    return [why for why in judged if why]
