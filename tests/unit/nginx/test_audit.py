"""The audit's findings: their form, what other servers give away, and what is left alone."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from wgcluster.inventory.schema import GuardedSite
from wgcluster.nginx.audit.audit import Finding, audit
from wgcluster.nginx.config.site import list_path
from wgcluster.nginx.edit.guard import guard

SITE = GuardedSite("/s", "a.test", ("/",), ("/pub/",), (ip_network("10.0.0.0/24"),))
LIST = f"include {list_path(SITE)};"
GUARDED = f"location / {{ {LIST} proxy_pass http://app; }} location /pub/ {{ root /w; }}"
APP = "upstream app { server 127.0.0.1:3000; server unix:/run/app.sock; }"


def findings(text: str, *sites: GuardedSite) -> list[Finding]:
    return audit({"/etc/nginx/nginx.conf": f"events {{}}\nhttp {{\n{text}\n}}\n"}, sites or (SITE,))


def test_a_finding_says_all_there_is_to_say() -> None:
    found = findings(f"server {{ listen 80; listen [::]:80; server_name a.test b.test;\n{GUARDED} }}")
    assert [f.as_dict() for f in found] == [
        {
            "file": "/etc/nginx/nginx.conf",
            "line": 4,
            "server": "a.test b.test",
            "listen": "80, [::]:80",
            "location": "/",
            "class": "guarded",
            "reason": "the list is asked first",
            "remedy": "",
        },
        {
            "file": "/etc/nginx/nginx.conf",
            "line": 4,
            "server": "a.test b.test",
            "listen": "80, [::]:80",
            "location": "/pub/",
            "class": "public",
            "reason": "declared public",
            "remedy": "",
        },
    ]


def test_a_site_that_nobody_answers_for() -> None:
    (found,) = findings("server { listen 80; server_name b.test; }")
    assert (found.file, found.line, found.kind, found.server) == ("/s", 0, "leaks", "a.test")
    assert "no server answers" in found.reason


def test_a_leak_has_the_line_to_blame() -> None:
    found = findings(f'server {{ server_name a.test;\nlocation / {{\n{LIST}\nreturn 200 "x"; }} }}')
    assert [(f.line, f.kind) for f in found] == [(6, "leaks")]


BESIDE = [
    ("server { listen 8080; location / { proxy_pass http://app; } }", "127.0.0.1:3000"),
    ("server { listen 80 default; location / { proxy_pass http://127.0.0.1:3000/x; } }", "127.0.0.1:3000"),
    ("server { location / { proxy_pass http://localhost:3000; } }", "127.0.0.1:3000"),
    ("server { set $up 127.0.0.1:3000; location / { proxy_pass http://$up$uri; } }", "127.0.0.1:3000"),
    ("server { location / { proxy_pass http://unix:/run/app.sock:/; } }", "unix:/run/app.sock"),
    ("upstream other { server [::1]:3000; } server { location /x { if ($a) { proxy_pass http://other; } } }",
     "127.0.0.1:3000"),
    ("server { location / { allow 192.0.2.0/24; deny all; proxy_pass http://app; } }", "127.0.0.1:3000"),
]  # fmt: skip


@pytest.mark.parametrize(("beside", "what"), BESIDE)
def test_another_server_that_gives_the_service_away(beside: str, what: str) -> None:
    found = findings(f"{APP} server {{ server_name a.test; {GUARDED} }}\n{beside}")
    (leak,) = [f for f in found if f.kind == "leaks"]
    assert leak.line == 4
    assert leak.reason == f"this server is not guarded and serves {what} of a guarded site"


HARMLESS = [
    "server { location / { proxy_pass http://127.0.0.1:3001; } }",
    "server { location / { return 301 https://a.test; proxy_pass http://app; } }",
    "server { location / { deny all; proxy_pass http://app; } }",
    "server { location / { allow 10.0.0.0/25; deny all; proxy_pass http://app; } }",
    "server { root /var/www/html; }",
    "server { location /pub/ { root /w; } }",
    "server { location / { internal; proxy_pass http://app; } }",
]


@pytest.mark.parametrize("beside", HARMLESS)
def test_another_server_that_does_not(beside: str) -> None:
    found = findings(f"{APP} server {{ server_name a.test; {GUARDED} }}\n{beside}")
    assert not [f for f in found if f.kind == "leaks"]


FILES = [
    ("root /srv/app;", True),
    ("root /srv;", True),
    ("root //srv/app/;", True),
    ("root //;", True),
    ("root srv/app;", False),  # in nginx's prefix
    ("location /x { alias /srv/app/data/; }", True),
    ("root /srv/application;", False),
    ("location /.well-known/acme-challenge/ { root /srv/app; }", False),  # that folder is public anyway
    ("location ~ \\.jpg$ { root /srv/app; }", True),
]


@pytest.mark.parametrize(("beside", "leaks"), FILES)
def test_files_of_a_guarded_site_in_another_server(beside: str, leaks: bool) -> None:
    acme = "/.well-known/acme-challenge/"
    mine = f"server {{ server_name a.test; root /srv/app; location / {{ {LIST} }} location {acme} {{ }} }}"
    found = findings(f"{mine} server {{ {beside} }}", replace(SITE, public=(acme,)))
    assert [f.kind for f in found if "this server" in f.reason] == ["leaks"] * leaks


def test_php_sites_share_a_socket_and_are_told_apart_by_their_folder() -> None:
    php = "fastcgi_pass unix:/run/php.sock; fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;"
    inside = f"root /srv/a; location / {{ {LIST} }} location ~ php {{ {LIST} {php} }}"
    mine = f"server {{ server_name a.test; {inside} }}"
    other = f"server {{ root /srv/%s; location ~ php {{ {php} }} }}"
    assert not [f for f in findings(mine + other % "b") if f.kind == "leaks" and f.location == "~ php"]
    assert [f for f in findings(mine + other % "a") if f.kind == "leaks" and f.location == "~ php"]


SCRIPTS = [
    ("fastcgi_param SCRIPT_FILENAME /srv/a/index.php;", True),
    ("fastcgi_param SCRIPT_FILENAME /srv/a$fastcgi_script_name;", True),
    ("set $app /srv/a; fastcgi_param SCRIPT_FILENAME $app$fastcgi_script_name;", True),
    ("root /srv/b; fastcgi_param SCRIPT_FILENAME /srv/a$fastcgi_script_name;", True),
    ("root /srv/a; fastcgi_param SCRIPT_FILENAME /srv/b$fastcgi_script_name;", False),
    ("root /srv/b; include fastcgi.conf;", False),  # not at hand: then it is the folder that tells
    ("root /srv/b;", True),  # no script, so no PHP: the socket is the service
]


@pytest.mark.parametrize(("beside", "leaks"), SCRIPTS)
def test_php_scripts_need_not_lie_in_the_root(beside: str, leaks: bool) -> None:
    php = "fastcgi_pass unix:/run/php.sock;"
    script = "fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;"
    mine = f"server {{ server_name a.test; root /srv/a; location / {{ {LIST} {script} {php} }} }}"
    found = findings(mine + f"server {{ location / {{ {beside} {php} }} }}", replace(SITE, public=()))
    assert [f.kind for f in found if "this server" in f.reason] == ["leaks"] * leaks


OWN = ip_address("10.0.0.2")
OWN_ADDRESS = [
    ("proxy_pass http://10.0.0.2;", "and its list lets in 10.0.0.2"),  # nginx itself
    ("proxy_pass http://10.0.0.2:3000;", "serves 127.0.0.1:3000"),  # the service
    ("proxy_pass http://10.0.0.3:3000;", ""),  # that of another host
    ("proxy_pass http://10.0.0.3;", ""),
    ("proxy_pass http://10.0.0.2:8080;", ""),
]


@pytest.mark.parametrize(("beside", "reason"), OWN_ADDRESS)
def test_a_host_reaches_itself_by_its_overlay_address(beside: str, reason: str) -> None:
    site = replace(SITE, public=(), addresses=(OWN,))
    text = f"{APP} server {{ server_name a.test; location / {{ {LIST} proxy_pass http://app; }} }}"
    found = findings(f"{text} server {{ listen 81; location / {{ {beside} }} }}", site)
    assert [reason in f.reason for f in found if f.kind == "leaks"] == [True] * bool(reason)


def test_a_stream_server_passes_the_service_on() -> None:
    text = f"{APP} server {{ server_name a.test; {GUARDED} }}"
    for inside, leaks in (
        ("proxy_pass 127.0.0.1:3000;", 1),
        ("allow 10.0.0.1; deny all; proxy_pass 127.0.0.1:3000;", 0),
    ):
        files = {"/n": f"events {{}} http {{ {text} }}\nstream {{ server {{ listen 9; {inside} }} }}"}
        found = [f for f in audit(files, [SITE]) if f.kind == "leaks"]
        assert [(f.line, f.location) for f in found] == [(2, "(stream)")] * leaks


def test_a_forged_address_has_to_be_on_every_list_of_the_way() -> None:  # found by the fuzzed run
    text = (
        "server { server_name a.test; set_real_ip_from 192.0.2.1;"
        f' location / {{ {LIST} try_files "" @x; }}'
        " location @x { allow %s; deny all; proxy_pass http://x; } }"
    )
    kinds = {f.location: f.kind for f in findings(text % "172.16.0.1", replace(SITE, public=()))}
    assert kinds["/"] == "guarded"
    kinds = {f.location: f.kind for f in findings(text % "10.0.0.7", replace(SITE, public=()))}
    assert kinds["/"] == "leaks"


def test_an_address_forged_later_need_not_be_on_the_lists_before() -> None:  # found by the fuzzed run
    text = (
        "server { server_name a.test; location / { allow 172.16.0.1; deny all; try_files '' @x; }"
        f" location @x {{ set_real_ip_from 172.16.0.0/12; {LIST} proxy_pass http://x; }} }}"
    )
    assert {f.location: f.kind for f in findings(text, replace(SITE, public=()))}["/"] == "leaks"


def test_a_location_named_for_the_list_is_not_public_for_the_one_around_it() -> None:
    text = (
        f"server {{ server_name a.test; location / {{ {LIST} proxy_pass http://x; }} location /pub/ {{"
        " proxy_pass http://x; location /pub/own/ { proxy_pass http://x; }"
        " location /pub/too/ { proxy_pass http://x; } } }"
    )
    kinds = {f.location: f.kind for f in findings(text, replace(SITE, locations=("/", "/pub/own/")))}
    assert (kinds["/pub/own/"], kinds["/pub/too/"]) == ("leaks", "public")


@pytest.mark.skipif(sys.gettrace() is not None, reason="what measures coverage takes longer")
def test_many_public_places_that_send_on_to_each_other_are_judged_in_time() -> None:
    count = 20
    here = (
        "location /l{i}/ {{ allow 10.{i}.0.0/16; deny 172.16.{i}.0/24; set_real_ip_from 192.168.{i}.0/24;"
        " error_page 403 404 @n{next}; proxy_pass http://x; }}\n"
        "location @n{i} {{ deny 172.17.{i}.0/24; set_real_ip_from 192.168.{i}.0/24; recursive_error_pages on;"
        " error_page 403 404 502 /l{other}/x; proxy_pass http://x; }}\n"
    )
    text = "".join(here.format(i=i, next=(i + 1) % count, other=(i * 7 + 1) % count) for i in range(count))
    public = tuple(f"/l{i}/" for i in range(count))
    began = time.process_time()
    found = findings(
        f"server {{ server_name a.test; {text} location / {{ {LIST} proxy_pass http://x; }} }}",
        replace(SITE, public=public),
    )
    assert time.process_time() - began < 10
    assert len(found) == 2 * count + 1


def test_two_sites_of_one_server_may_each_let_in_others() -> None:
    others = replace(SITE, file="/t", locations=("/b",), public=(), allow=(ip_network("172.16.0.0/12"),))
    text = (
        f"server {{ server_name a.test; location / {{ {LIST} proxy_pass http://x; }}"
        " location /b { allow 172.16.0.0/12; deny all; proxy_pass http://x; } }"
    )
    assert [f.kind for f in findings(text, replace(SITE, public=()), others)] == ["guarded", "guarded"]
    assert [f.kind for f in findings(text, replace(SITE, public=()))] == ["guarded", "leaks"]


def test_the_default_server_is_that_of_the_sites_own_file() -> None:
    site = replace(SITE, file="/etc/nginx/sites-available/s", server_name="", public=())
    inside = f"location / {{ include {list_path(site)}; proxy_pass http://x; }}"
    files = {
        "/etc/nginx/nginx.conf": "events {} http { include sites-enabled/*; }",
        "/etc/nginx/sites-enabled/default": "server { listen 80 default_server; root /var/www/html; }",
        "/etc/nginx/sites-enabled/s": f"server {{ listen 8080; {inside} }}",
    }
    assert [(f.kind, f.listen) for f in audit(files, [site])] == [("guarded", "8080")]


def test_every_file_that_answers_for_a_name_is_judged() -> None:
    site = replace(SITE, public=())
    files = {
        "/etc/nginx/nginx.conf": "events {} http { include e/*; }",
        "/etc/nginx/e/s": f"server {{ server_name *.test; location / {{ include {list_path(site)}; }} }}",
        "/etc/nginx/e/other": "server { server_name a.test; location / { } }",
    }
    assert {(f.file, f.kind) for f in audit(files, [site])} == {
        ("/etc/nginx/e/s", "guarded"),
        ("/etc/nginx/e/other", "leaks"),
    }


def test_files_at_hand_need_no_main_file() -> None:
    text = "server { server_name a.test; location / { proxy_pass http://x; } }"
    site = replace(SITE, public=())
    assert [f.kind for f in audit({"/s": text}, [site])] == ["leaks"]
    assert [f.kind for f in audit({"/s": guard(text, [site])}, [site])] == ["guarded"]


def test_a_list_on_the_host_counts_as_it_is_there() -> None:
    text = guard(
        "server { server_name a.test; location / { proxy_pass http://x; } }", [replace(SITE, public=())]
    )
    files = {"/s": text, list_path(SITE): "allow 10.0.0.0/24;\nallow 192.0.2.1;\ndeny all;\n"}
    (found,) = audit(files, [replace(SITE, public=())])
    assert (found.kind, found.file, found.line) == ("leaks", list_path(SITE), 2)
