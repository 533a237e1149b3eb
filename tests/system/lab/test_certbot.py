"""certbot gets and renews certificates through a guarded nginx, from a CA that asks over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.spec import FILES, SITE
from tests.support.lab.acme import Authority
from tests.support.lab.cluster import PASSPHRASE
from tests.support.lab.web import ACME, FILE, GITLAB, WEBROOT, Web, web

CERTIFICATE = f"/etc/letsencrypt/live/{SITE}"
PLAIN = (FILES / "gitlab.nginx").read_text()
REDIRECTED = f"""\
server {{
    listen 80;
    listen [::]:80;
    server_name {SITE};
    %(redirect)s
}}

server {{
    listen 443 ssl;
    listen [::]:443 ssl;
    server_name {SITE};
    ssl_certificate {CERTIFICATE}/fullchain.pem;
    ssl_certificate_key {CERTIFICATE}/privkey.pem;
    %(challenge)s
    location / {{
        proxy_pass http://127.0.0.1:8080;
    }}
}}
"""
CHALLENGE = f"location {ACME} {{ root {WEBROOT}; }}"
ADDED = {**GITLAB, "acme_root": WEBROOT}
EVERYTHING = {"file": FILE, "server_name": SITE, "scope": "server"}


@pytest.fixture(scope="module")
def site(prefix: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    yield from web(f"{prefix}certbot-", tmp_path_factory.mktemp("workspace"), PASSPHRASE)


@pytest.fixture(scope="module")
def authority(site: Web) -> Authority:
    """The CA on the stranger; root has a first certificate of it, got before anything was guarded."""
    authority = Authority(site.stranger, site.root)
    authority.start()
    issued = authority.issue()
    assert issued.returncode == 0, issued.stdout + issued.stderr
    return authority


def renews(authority: Authority, address: str = "") -> None:
    """Assert that a renewal for which the CA has asked by HTTP brings another certificate."""
    authority.resolve(address or authority.web.address)
    old = authority.serial()
    done = authority.renew()
    assert done.returncode == 0, done.stdout + done.stderr
    assert authority.serial() != old


def test_the_site_as_it_is_written(site: Web, authority: Authority) -> None:
    renews(authority)
    site.deploy(GITLAB)
    assert (site.outside(), site.inside()) == ("403", "200")
    renews(authority)
    renews(authority, site.root.address6)


def test_without_the_public_location_the_renewal_fails(site: Web, authority: Authority) -> None:
    site.deploy(EVERYTHING)
    authority.resolve(site.root.address)
    old = authority.serial()
    done = authority.renew()
    assert done.returncode != 0
    assert "403" in done.stdout + done.stderr
    assert authority.serial() == old
    site.deploy({**EVERYTHING, "public": [ACME]})
    renews(authority)


@pytest.mark.parametrize(
    ("redirect", "challenge", "on_80"),
    [
        (f"return 301 https://{SITE}$request_uri;", "", "301"),
        ("location / { return 301 https://$host$request_uri; }", "", "404"),
        (f"if ($host = {SITE}) {{ return 301 https://$host$request_uri; }} return 404;", CHALLENGE, "301"),
    ],
    ids=["by the server", "by a location", "as certbot writes it"],
)
def test_a_redirect_to_https(
    site: Web, authority: Authority, redirect: str, challenge: str, on_80: str
) -> None:
    """``on_80``: what the CA gets there for a token that is not there; 301 sends it on to 443."""
    text = REDIRECTED % {"redirect": redirect, "challenge": challenge}
    site.put(text)
    try:
        site.deploy(ADDED)
        assert site.outside(scheme="https") == "403"
        assert site.inside(scheme="https") == "200"
        assert site.outside(f"{ACME}/x") == on_80
        assert site.outside(f"{ACME}/x", scheme="https") == "404"
        renews(authority)
        site.verify()
    finally:
        site.deploy()
        assert site.root.read(FILE) == text
        site.put(PLAIN)
