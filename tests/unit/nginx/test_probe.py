"""Which requests are made, and how their answers are judged."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from wgcluster.inventory.schema import GuardedSite
from wgcluster.nginx.config.listen import socket_for, sockets, tidy
from wgcluster.nginx.probe.curl import answers, curl_config
from wgcluster.nginx.probe.probe import (
    Answer,
    Probe,
    Unprobed,
    allowed_client_fault,
    denied_client_fault,
    probes,
)
from wgcluster.nginx.syntax.tree import parse

NETWORKS = (ip_network("10.0.0.0/24"), ip_network("fd00::/64"), ip_network("172.16.0.0/12"))
LIST = "allow 10.0.0.0/24; allow fd00::/64; allow 172.16.0.0/12; deny all;"
V4, V6 = ip_address("198.18.0.1"), ip_address("2001:db8::1")
ACME = "/.well-known/acme-challenge/"


def made(text: str, name: str = "a.test", public: tuple[str, ...] = ()) -> tuple[list[Probe], list[Unprobed]]:
    site = GuardedSite("/s", name, ("/",), public, NETWORKS)
    return probes({"/s": text}, [site], [V4, V6])


def plain(text: str) -> list[tuple[str, str, set[int]]]:
    return [(p.path, p.expected, set(p.statuses)) for p in made(text)[0] if p.variant == "plain"]


def test_every_variant_of_a_request() -> None:
    found, unprobed = made(
        f"server {{ server_name a.test; location /Ab {{ {LIST} }} location / {{ {LIST} }} }}"
    )
    assert not unprobed
    about = [
        (p.variant, p.path, p.location)
        for p in found
        if p.path.lower().rstrip("/").endswith("ab/wgcluster-probe")
    ]
    assert about == [
        ("plain", "/Ab/wgcluster-probe", "/Ab"),
        ("spoofed address", "/Ab/wgcluster-probe", "/Ab"),
        ("//", "//Ab/wgcluster-probe", "/Ab"),
        ("/./", "/./Ab/wgcluster-probe", "/Ab"),
        ("%2e", "/%2e/Ab/wgcluster-probe", "/Ab"),
        ("upper case", "/AB/WGCLUSTER-PROBE", "/"),
        ("trailing slash", "/Ab/wgcluster-probe/", "/Ab"),
    ]
    assert found[1].headers == (
        "X-Forwarded-For: 10.0.0.1, fd00::1",
        "X-Real-IP: 10.0.0.1, fd00::1",
        'Forwarded: for=10.0.0.1, for="[fd00::1]"',
    )
    assert {(p.address, p.port, p.host, p.tls) for p in found} == {("198.18.0.1", 80, "a.test", False)}


def test_a_header_of_the_operators_own_is_forged_too() -> None:
    found, _ = made(
        f"real_ip_header CF-Connecting-IP; server {{ server_name a.test; location / {{ {LIST} }} }}"
    )
    assert any("CF-Connecting-IP: 10.0.0.1, fd00::1" in p.headers for p in found)


EXPECTED = [
    (f"location / {{ {LIST} }}", {403}),
    (f"location / {{ {LIST} if ($a) {{ return 301 https://x; }} }}", {403, 301}),
    (f"location / {{ {LIST} if ($a) {{ rewrite ^ /y redirect; }} }}", {403, 302}),
    (f"if ($a) {{ return 444; }} location / {{ {LIST} }}", {403}),
    ("location / { return 404; }", {404}),
    ("location / { return 444; }", {0}),
    ("location / { return https://x; }", {302}),
    ("return 301 https://x;", {301}),
    ("location / { internal; }", {404}),
    (f"location / {{ {LIST} limit_req zone=x; }}", {403, 429, 503}),
    (f"location / {{ {LIST} auth_basic x; }}", {403, 401}),
    (f"ssl_verify_client on; location / {{ {LIST} }}", {403, 400}),
    ("location / { }", {403}),  # it leaks, and ought not to
]


@pytest.mark.parametrize(("inside", "statuses"), EXPECTED)
def test_what_a_stranger_must_get(inside: str, statuses: set[int]) -> None:
    found = plain(f"server {{ server_name a.test; {inside} }}")
    assert all(found_statuses == statuses for _, _, found_statuses in found)
    assert found


UNKNOWN = [
    (f"location / {{ {LIST} error_page 403 =200 /x.html; }}", "an error_page"),
    (f"location / {{ {LIST} error_page 403 https://x; }}", "an error_page"),
    (f'location / {{ try_files "" @x; }} location @x {{ {LIST} }}', "try_files sends on to @x"),
    (f"location / {{ {LIST} if ($a) {{ rewrite ^ /y; }} }}", "a rewrite in an if"),
    (f"location / {{ {LIST} rewrite ^ $arg_x last; }}", "a variable says where"),
    (f"location ~ (?|a) {{ {LIST} }}", "found no path"),
    (f"location /a {{ {LIST} }} location ~ ^/a {{ {LIST} }}", "found no path"),
]


@pytest.mark.parametrize(("inside", "reason"), UNKNOWN)
def test_what_cannot_be_asked_is_listed_with_its_reason(inside: str, reason: str) -> None:
    _, unprobed = made(f"server {{\nserver_name a.test;\n{inside} }}")
    assert any(reason in u.reason for u in unprobed)
    assert {(u.file, u.line) for u in unprobed} == {("/s", 3)}


REWRITTEN = [
    ("location /old/ { rewrite ^/old/(.*)$ /new/$1 last; } location /new/ { return 404; }", "/new/", {404}),
    ("rewrite ^/a /b; location /a { return 410; } location /b { return 404; }", "/b", {404}),
    ("location /a { rewrite ^ /a last; }", "/a", {500}),
    (f"location /a {{ rewrite ^ /b break; {LIST} }} location /b {{ return 410; }}", "/a", {403}),
]


@pytest.mark.parametrize(("inside", "location", "statuses"), REWRITTEN)
def test_rewrites_are_followed(inside: str, location: str, statuses: set[int]) -> None:
    found, _ = made(f"server {{ server_name a.test; {inside} }}")
    assert any((p.location, set(p.statuses)) == (location, statuses) and p.variant == "plain" for p in found)


def test_a_proxied_folder_without_its_slash_is_a_redirect() -> None:
    found, _ = made(f"server {{ server_name a.test; location /a/ {{ {LIST} proxy_pass http://x; }} }}")
    assert [(p.path, set(p.statuses)) for p in found if p.variant == "trailing slash"][:1] == [("/a", {301})]


def test_a_regex_location_gets_a_path_that_it_matches() -> None:
    text = f"server {{ server_name a.test; location ^~ /d/ {{ {LIST} location ~ \\.php$ {{ {LIST} }} }} }}"
    assert ("/d/.php", "denied", {403}) in plain(text)


def test_public_is_anything_but_403() -> None:
    text = f"server {{ server_name a.test; location / {{ {LIST} }} location {ACME} {{ root /w; }} }}"
    found = [p for p in made(text, public=(ACME,))[0] if p.location == ACME]
    assert {p.expected for p in found} == {"served"}
    probe = found[0]
    assert probe.path == f"{ACME}wgcluster-probe"
    assert denied_client_fault(probe, Answer(404)) == ""
    assert denied_client_fault(probe, Answer(403)).endswith("403, though it is public")
    assert denied_client_fault(probe, Answer(0)).endswith("no answer, though it is public")


def test_a_public_folder_without_index_is_403_to_anyone() -> None:
    text = f"server {{ server_name a.test; location / {{ {LIST} }} location ~ ^/pub {{ root /w; }} }}"
    found = [p for p in made(text, public=("~ ^/pub",))[0] if p.expected == "served"]
    folder = next(p for p in found if p.path.endswith("/"))
    refused = Answer(403, 153)
    assert denied_client_fault(folder, refused) == allowed_client_fault(folder, refused, refused) == ""
    file = next(p for p in found if not p.path.endswith("/"))
    assert "though it is public" in denied_client_fault(file, refused)
    assert "403 for a client on the list" in allowed_client_fault(file, refused, refused)
    behind = replace(folder, proxied=True)
    assert "though it is public" in denied_client_fault(behind, refused)


def test_how_a_stranger_is_judged() -> None:
    probe = made(f"server {{\nserver_name a.test;\nlocation / {{ {LIST} }} }}")[0][0]
    assert denied_client_fault(probe, Answer(403, 9)) == ""
    assert denied_client_fault(probe, Answer(200, 9)) == (
        "http://198.18.0.1:80/wgcluster-probe (Host: a.test; plain): 200, not 403:"
        " location / (/s:3) is not hidden"
    )


def test_how_a_friend_is_judged() -> None:
    proxied = made(f"server {{ server_name a.test; location / {{ {LIST} proxy_pass http://x; }} }}")[0][0]
    files = made(f"server {{ server_name a.test; location / {{ {LIST} }} }}")[0][0]
    nginx_says, service_says = Answer(403, 153), Answer(403, 77)
    assert allowed_client_fault(proxied, Answer(200)) == ""
    assert allowed_client_fault(proxied, Answer(302)) == ""
    assert "403 for a client on the list" in allowed_client_fault(proxied, nginx_says, nginx_says)
    assert "403 for a client on the list" in allowed_client_fault(proxied, nginx_says)
    assert allowed_client_fault(proxied, service_says, nginx_says) == ""
    assert allowed_client_fault(files, nginx_says, nginx_says) == ""  # a folder without an index
    assert allowed_client_fault(proxied, Answer(0)).endswith("no answer")
    closed = made("server { server_name a.test; location / { return 404; } }")[0][0]
    assert allowed_client_fault(closed, Answer(404)) == ""
    assert allowed_client_fault(closed, Answer(200)) != ""


LISTENS = parse(
    """
    server { listen 80; server_name x; }
    server { listen 80; listen [::]:80; listen 443 ssl http2; server_name a; }
    server { listen 443 default_server; server_name y; }
    server { listen 198.18.0.1:80; server_name z; }
    server {
        listen [::]:81 ipv6only=off; listen 82 proxy_protocol; listen unix:/s; listen 83 quic; listen h:84;
    }
    """
)


@pytest.mark.parametrize(
    ("address", "port", "numbers"),
    [
        ("198.18.0.1", 80, [3]),
        ("198.18.0.2", 80, [0, 1]),
        ("2001:db8::1", 80, [1]),
        ("198.18.0.2", 443, [1, 2]),
        ("2001:db8::1", 443, None),
        ("198.18.0.2", 81, [4]),
        ("2001:db8::1", 81, [4]),
        ("198.18.0.2", 82, [4]),
        ("198.18.0.2", 83, None),
        ("198.18.0.2", 84, None),
    ],
)
def test_who_listens(address: str, port: int, numbers: list[int] | None) -> None:
    socket = socket_for(sockets(LISTENS), ip_address(address), port)
    assert (socket and [LISTENS.index(s) for s in socket.servers]) == numbers


def test_what_one_listen_says_holds_for_all_of_the_address() -> None:
    there = sockets(LISTENS)
    tls = socket_for(there, V4, 443)
    assert tls is not None
    assert tls.tls
    assert tls.first is LISTENS[2]
    assert tls.chosen("a") is LISTENS[1]
    assert tls.chosen("nobody") is LISTENS[2]
    proxied = socket_for(there, V4, 82)
    assert proxied is not None
    assert proxied.proxy_protocol


NAMES = [
    ("*.a.test", "x.a.test", "x.a.test"),
    ("*.a.test", "*.a.test", "wgcluster-probe.a.test"),
    ("a.*", "a.*", "a.invalid"),
    ('"~^(?<n>a|b)\\.test$"', "~^(?<n>a|b)\\.test$", "a.test"),
    (".a.test", ".a.test", "a.test"),
    ("_", "", "wgcluster-probe.invalid"),
]


@pytest.mark.parametrize(("written", "site", "host"), NAMES)
def test_a_host_name_for_each_kind_of_server_name(written: str, site: str, host: str) -> None:
    found, _ = made(f"server {{ server_name {written}; location / {{ {LIST} }} }}", name=site)
    hosts = {p.host for p in found}
    assert hosts == {host}


def test_a_server_that_nobody_can_ask_for_is_listed() -> None:
    text = "server { server_name a.test; } server {\nserver_name a.test; listen 80; location / { } }"
    _, unprobed = made(text)
    assert [(u.location, u.reason) for u in unprobed] == [
        ("(server)", "another server answers for all its names on 198.18.0.1:80")
    ]


TIDY = [
    ("/", "/"),
    ("//a///b/", "/a/b/"),
    ("/./a/.", "/a/"),
    ("/a/../b", "/b"),
    ("/a/b/..", "/a/"),
    ("/%61%2Fb", "/a/b"),
    ("/a/%2e%2E/b", "/b"),
    ("/a?x=/../", "/a"),
    ("/a%3Fx", "/a?x"),
    ("/%C3%A9%ff", "/é\udcff"),
    ("/a/...", "/a/..."),
]


@pytest.mark.parametrize(("path", "uri"), TIDY)
def test_a_path_as_nginx_compares_it(path: str, uri: str) -> None:
    assert tidy(path) == uri


def test_slashes_that_are_not_merged() -> None:
    assert tidy("//a//b", merges_slashes=False) == "//a//b"


def test_curl_is_told_all_and_what_it_prints_is_read_back() -> None:
    found, _ = made(
        f"server {{ listen [::]:8443 ssl proxy_protocol; server_name a.test; location '/a\"b' {{ {LIST} }} }}"
    )
    config = curl_config(found[:2])
    first, second = config.split("\nnext\n")
    assert 'url = "https://a.test:8443/a%22b/wgcluster-probe"' in first
    assert 'connect-to = "::[2001:db8::1]:8443"' in first
    assert "haproxy-protocol" in first
    assert 'header = "Forwarded: for=10.0.0.1, for=\\"[fd00::1]\\""' in second
    assert answers("wgcluster 403 153\ncurl: (52)\nwgcluster 000 0\n") == [Answer(403, 153), Answer(0, 0)]
