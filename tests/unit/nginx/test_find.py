"""Servers by name and port, locations by modifier and argument, as nginx and the operator write them."""

from __future__ import annotations

import pytest

from wgcluster.nginx.config.find import (
    Key,
    find_servers,
    listens_of,
    location_key,
    locations,
    matches,
    matches_public,
    names_of,
    port_of,
)
from wgcluster.nginx.syntax.tree import parse

SERVERS = parse(
    """
    server { listen 80; server_name a.test www.a.test; }
    server { listen 443 ssl; server_name A.test; }
    server { listen 80; server_name *.b.test; }
    server { listen 80; server_name *.deep.b.test; }
    server { listen 80; server_name c.*; }
    server { listen 80; server_name .d.test; }
    server { listen 80; server_name "~^(?<name>e\\d+)\\.test$"; }
    server { listen 80; server_name ~^e1; }
    server { listen 443 ssl; server_name ~^e1; }
    server { listen 8080 default_server; }
    """
)
NAMES = [
    ("a.test", [0, 1]),
    ("A.TEST", [0, 1]),
    ("www.a.test", [0]),
    ("a.test:443", [1]),
    ("a.test:8080", []),
    ("x.b.test", [2]),
    ("x.deep.b.test", [3]),
    ("*.b.test", [2]),
    ("b.test", []),
    ("c.org", [4]),
    ("d.test", [5]),
    ("x.d.test", [5]),
    ("e7.test", [6]),
    ("E7.TEST", [6]),
    ("e1.test", [6, 8]),  # of two regexes on one port the first
    (r"~^(?<name>e\d+)\.test$", [6]),
    ("", [9]),
    ("default", [9]),
    ("nobody.test", []),
]


@pytest.mark.parametrize(("name", "numbers"), NAMES)
def test_the_servers_of_a_name(name: str, numbers: list[int]) -> None:
    assert [SERVERS.index(s) for s in find_servers(SERVERS, name)] == numbers


def test_without_a_default_server_the_first_is_it() -> None:
    tree = parse("http { server { server_name a; } server { server_name b; } }")
    (found,) = find_servers(tree, "")
    assert names_of(found) == ("a",)
    assert listens_of(found) == ("*:80",)


@pytest.mark.parametrize(
    ("listen", "port"),
    [("80", "80"), ("*:81", "81"), ("[::]:82", "82"), ("[::1]", "80"), ("10.0.0.1", "80"), ("a:83", "83"),
     ("unix:/run/a.sock", "unix:/run/a.sock")],
)  # fmt: skip
def test_the_port_of_a_listen(listen: str, port: str) -> None:
    assert port_of(listen) == port


KEYS = [
    ("location / {}", Key("", "/")),
    ("location = /a {}", Key("=", "/a")),
    ("location =/a {}", Key("=", "/a")),
    ("location ^~/a {}", Key("^~", "/a")),
    ("location ~*\\.x$ {}", Key("~*", "\\.x$")),
    ('location ~ "^/x{2}$" {}', Key("~", "^/x{2}$")),
    ("location @app {}", Key("@", "app")),
]


@pytest.mark.parametrize(("text", "key"), KEYS)
def test_the_key_of_a_location(text: str, key: Key) -> None:
    assert location_key(parse(text)[0].args) == key


WISHES = [
    ("/", "location / {}", True),
    ("/a", "location ^~ /a {}", False),
    ("= /a", "location =/a {}", True),
    ("^~/a", "location ^~ /a {}", True),
    (r"~ \.php$", r"location ~ \.php$ {}", True),
    (r'~ "^/x{2}$"', r'location ~ "^/x{2}$" {}', True),
    ("~ ^/x{2}$", r'location ~ "^/x{2}$" {}', True),
    (r"~ \.php$", r"location ~* \.php$ {}", False),
    ("@app", "location @app {}", True),
    ("/a/", "location /a {}", False),
]


@pytest.mark.parametrize(("selector", "text", "hit"), WISHES)
def test_a_wish_is_one_location_exactly(selector: str, text: str, hit: bool) -> None:
    assert matches(location_key(parse(text)[0].args), selector) is hit


COVERED = [
    ("/.well-known/acme-challenge", "location ^~ /.well-known/acme-challenge/ {}", True),
    ("/.well-known/acme-challenge/", "location /.well-known/acme-challenge {}", True),
    ("/.well-known/acme-challenge", "location /.well-known {}", False),
    ("/a", "location = /a {}", False),
    ("/", "location ~ / {}", False),
    ("/", "location ^~ / {}", False),
]


@pytest.mark.parametrize(("selector", "text", "hit"), COVERED)
def test_a_public_path_may_be_written_with_a_slash_or_without(selector: str, text: str, hit: bool) -> None:
    assert matches_public(location_key(parse(text)[0].args), selector) is hit


def test_nested_locations_come_after_theirs() -> None:
    (server,) = parse("server { location / { location /a { location /a/b {} } } location /c {} }")
    assert [str(key) for key, _ in locations(server)] == ["/", "/a", "/a/b", "/c"]
