"""Guarding: the smallest change, in every layout, and every reason at once where it cannot be done."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import Literal

import pytest

from wgcluster.inventory.schema import GuardedSite
from wgcluster.nginx.audit.audit import audit
from wgcluster.nginx.edit.guard import guard
from wgcluster.nginx.syntax.errors import Fault, NginxError, NginxSyntaxError
from wgcluster.nginx.syntax.includes import parse_dump
from wgcluster.nginx.syntax.splice import unguard

ACME = "/.well-known/acme-challenge/"
OURS = "include /l; # wgcluster\n"


def site(
    *locations: str,
    public: tuple[str, ...] = (),
    scope: Literal["location", "server"] = "location",
    root: str | None = None,
    name: str = "a.test",
    file: str = "/s",
) -> GuardedSite:
    return GuardedSite(file, name, locations, public, (ip_network("10.0.0.0/24"),), scope, root)


def guarded(text: str, *sites: GuardedSite, files: dict[str, str] | None = None) -> str:
    return guard(text, sites, lambda site: "/l", files)


def server(inside: str, listen: str = "80") -> str:
    return f"server {{\n    listen {listen}; server_name a.test;\n{inside}}}\n"


LAYOUTS = [
    (
        "    location / {\n        p;\n    }\n",
        "    location / {\n        include /l; # wgcluster\n        p;\n    }\n",
    ),
    ("\tlocation / {\n\t\tp;\n\t}\n", "\tlocation / {\n\t\tinclude /l; # wgcluster\n\t\tp;\n\t}\n"),
    ("  location / {\n    p;\n  }\n", "  location / {\n    include /l; # wgcluster\n    p;\n  }\n"),
    ("location / { p; }\n", "location / { include /l; # wgcluster\n p; }\n"),
    ("location /{p;}\n", "location /{ include /l; # wgcluster\np;}\n"),
    ("location / {}\n", "location / { include /l; # wgcluster\n}\n"),
    ("  location / { # note\n  }\n", "  location / { # note\n      include /l; # wgcluster\n  }\n"),
    (
        "  location /\n  {   \n      p;\n  }\n",
        "  location /\n  {   \n      include /l; # wgcluster\n      p;\n  }\n",
    ),
    (
        '  location "/" {\r\n    p;\r\n  }\r\n',
        '  location "/" {\r\n    include /l; # wgcluster\r\n    p;\r\n  }\r\n',
    ),
]


@pytest.mark.parametrize(("before", "after"), LAYOUTS)
def test_one_line_more_and_no_other_byte(before: str, after: str) -> None:
    text = server(before)
    assert guarded(text, site("/")) == server(after)
    assert guarded(server(after), site("/")) == server(after)
    assert unguard(server(after)) == text


def test_all_of_a_site_on_both_ports() -> None:
    text = server(f"location / {{\n}}\nlocation {ACME} {{\n}}\n") + server("location / {\n}\n", "443 ssl")
    outcome = guarded(text, site("/", public=(ACME,), root="/var/www/my acme"))
    assert outcome == server(
        f"location / {{\n    {OURS}}}\nlocation {ACME} {{\n    allow all; # wgcluster\n}}\n"
    ) + server("location / {\n    " + OURS + "}\n", "443 ssl").replace(
        "server {\n",
        f'server {{\n    location ^~ {ACME} {{ allow all; root "/var/www/my acme"; }} # wgcluster\n',
    )
    assert unguard(outcome) == text


def test_a_whole_server() -> None:
    text = server("    location / {\n        p;\n    }\n    location ~ x {\n    }\n")
    outcome = guarded(text, site(scope="server"))
    assert outcome == text.replace("server {\n", f"server {{\n    {OURS}")
    assert {
        f.kind for f in audit({"/s": outcome, "/l": "allow 10.0.0.0/24; deny all;"}, [site(scope="server")])
    } == {"guarded"}


def test_another_wish_changes_our_lines_alone() -> None:
    text = server("location / {\n}\nlocation /b {\n}\n")
    one, both = site("/b", public=("/",)), site("/", "/b")
    assert guarded(guarded(text, one), both) == guarded(text, both)
    assert guarded(guarded(text, both), one) == guarded(text, one)
    assert guarded(guarded(text, both)) == text  # no site any more


def test_two_sites_of_one_file() -> None:
    text = server("location / {\n}\n") + server("location / {\n}\n").replace("a.test", "b.test")
    outcome = guard(text, [site("/"), site("/", name="b.test")], lambda s: f"/{s.server_name}")
    assert [line.strip() for line in outcome.splitlines() if "wgcluster" in line] == [
        "include /a.test; # wgcluster",
        "include /b.test; # wgcluster",
    ]


def test_two_sites_with_one_list_have_to_want_the_same() -> None:
    text = server("location / {\n}\nlocation /b {\n}\n")
    both = [site("/"), site("/b")]
    assert guarded(text, *both) == guarded(text, site("/", "/b"))
    both[1] = replace(both[1], allow=(ip_network("10.9.0.0/24"),))
    assert wrong(text, *both) == ["0: nginx.different-allow"]


def test_bytes_that_are_no_utf8_are_kept() -> None:
    raw = b'# caf\xe9\nserver { server_name a.test; location / { add_header X "\xff\xfe"; } }\n'
    outcome = guarded(raw.decode("utf-8", "surrogateescape"), site("/"))
    assert outcome.encode("utf-8", "surrogateescape") == raw.replace(b"/ {", b"/ { include /l; # wgcluster\n")


def test_what_is_open_already_needs_no_line() -> None:
    text = server(f"location / {{\n}}\nlocation ^~ {ACME} {{ allow all; root /w; }}\n")
    assert guarded(text, site("/", public=(ACME,))).count("wgcluster") == 1


def test_a_list_by_hand_that_lets_in_no_more_may_stay() -> None:
    text = server("location / {\n    allow 10.0.0.7; deny all;\n}\n")
    assert guarded(text, site("/")) == text.replace("/ {\n", f"/ {{\n    {OURS}")


def test_a_redirect_to_https_stays_and_its_challenge_is_opened() -> None:
    plain = server("    return 301 https://$host$request_uri;\n")
    split = server(f"location / {{ return 301 https://a.test/; }}\nlocation {ACME} {{\n    root /w;\n}}\n")
    tls = server(f"location / {{\n}}\nlocation {ACME} {{\n    root /w;\n}}\n", "443 ssl")
    outcome = guarded(plain + tls, site("/", public=(ACME,)))
    assert outcome.startswith(plain)
    outcome = guarded(split + tls, site("/", public=(ACME,)))
    assert outcome.count("include /l;") == 1
    assert outcome.count("allow all;") == 2


def worded(text: str, *sites: GuardedSite, files: dict[str, str] | None = None) -> tuple[Fault, ...]:
    with pytest.raises(NginxError) as caught:
        guarded(text, *sites, files=files)
    return caught.value.faults


def wrong(text: str, *sites: GuardedSite, files: dict[str, str] | None = None) -> list[str]:
    """Line and code of each fault."""
    return [f"{fault.line}: {fault.code}" for fault in worded(text, *sites, files=files)]


def test_every_reason_at_once() -> None:
    text = server("location / {\n}\nlocation /x {\n    deny 10.0.0.9;\n}\n")
    sites = (site("/y", "/x", public=("/p", ACME)), site(name="b.test"))
    assert wrong(text, *sites) == [
        "0: nginx.no-server",
        "1: nginx.no-location",
        "1: nginx.no-challenge-location",
        "1: nginx.no-public-location",
        "6: nginx.rule-without-effect",
    ]
    server_, location, challenge, public, rule = worded(text, *sites)
    assert '"a.test" on 80, line 1' in server_.remedy
    assert '"/y" in this server of a.test (listen 80)' in location.message
    assert '"/" line 3, "/x" line 5' in location.remedy
    assert '"acme_root"' in challenge.remedy
    assert '"/" line 3, "/x" line 5' in public.remedy
    assert '"deny 10.0.0.9" in location "/x"' in rule.message


def test_what_would_leak_is_not_handed_out() -> None:
    text = server('location / {\n}\nlocation ~ \\.php$ {\n}\nlocation = /r {\n    return 200 "x";\n}\n')
    assert wrong(text, site("/", "= /r")) == ["5: nginx.would-leak", "8: nginx.would-leak"]
    script, redirect = worded(text, site("/", "= /r"))
    assert script.message == 'location "~ \\.php$" would leak: no list is in effect'
    assert script.remedy == 'add "~ \\.php$" to "locations" or to "public", or use "scope": "server"'
    assert "return 200 runs before the list" in redirect.message


def test_places_are_those_of_the_file_as_it_is() -> None:
    text = guarded(server("location / {\n}\n"), site("/"))
    text = text.replace("}\n}", "}\nlocation /new {\n}\n}")
    with pytest.raises(NginxError) as caught:
        guarded(text, site("/"))
    (fault,) = caught.value.faults
    assert text.splitlines()[fault.line - 1] == "location /new {"
    assert fault.source == "    location /new {\n    ~~~~~~~~~~~~~~^"


def test_the_same_location_twice() -> None:
    text = server("location / {\n    location /a {\n    }\n}\nlocation /a {\n}\n")
    assert wrong(text, site("/a"))[0] == "7: nginx.duplicate-location"
    assert "(line 4, line 7)" in worded(text, site("/a"))[0].message


def test_public_and_with_a_list_of_its_own() -> None:
    text = server("location / {\n}\nlocation /p {\n    deny all;\n}\n")
    assert wrong(text, site("/", public=("/p",)))[0] == "5: nginx.own-list"


def test_nothing_to_guard() -> None:
    text = server("return 301 https://$host$request_uri;\n")
    assert wrong(text, site("/"))[0] == "1: nginx.nothing-to-guard"


def test_a_part_of_a_server() -> None:
    assert "name the file with the server block" in worded("location / { }", site("/"))[0].remedy


def test_what_nginx_cannot_read() -> None:
    with pytest.raises(NginxSyntaxError, match=r"^/s:1:1: unexpected end of file"):
        guarded("server {", site("/"))


INCLUDING = "server { server_name a.test; include sn/*.conf;\nlocation /z { } }"
HOST = {
    "/etc/nginx/nginx.conf": "events {} http { include s/*; include other; }",
    "/etc/nginx/s/a": INCLUDING,
    "/etc/nginx/sn/a.conf": f"location / {{ }}\nlocation ^~ {ACME} {{ root /w; }}",
    "/etc/nginx/other": "server { server_name b.test; location / { } }",
}


def test_a_location_that_is_included_is_named_with_its_file() -> None:
    (included,) = worded(INCLUDING, site("/", "/z"), files=HOST)
    assert (included.line, included.code) == (1, "nginx.included-location")
    assert "included from /etc/nginx/sn/a.conf:1;" in included.message
    one, other = worded(INCLUDING, site("/z"), files=HOST)
    assert one.code == other.code == "nginx.would-leak"
    assert one.message.startswith('/etc/nginx/sn/a.conf:1: location "/" ')
    assert other.message.startswith(f'/etc/nginx/sn/a.conf:2: location "^~ {ACME}" ')
    (public,) = worded(INCLUDING, site(public=(ACME,), scope="server"), files=HOST)
    assert (public.line, public.code) == (1, "nginx.included-public")
    assert "included from /etc/nginx/sn/a.conf:2," in public.message


def test_included_locations_are_guarded_with_the_server() -> None:
    opened = HOST | {
        "/etc/nginx/sn/a.conf": f"location / {{ }}\nlocation ^~ {ACME} {{ allow all; root /w; }}"
    }
    outcome = guarded(INCLUDING, site(public=(ACME,), scope="server"), files=opened)
    assert outcome == INCLUDING.replace("server {", "server { include /l; # wgcluster\n")
    assert (
        guarded(outcome, site(public=(ACME,), scope="server"), files=opened | {"/etc/nginx/s/a": outcome})
        == outcome
    )


def test_includes_nobody_looked_into_are_mentioned() -> None:
    assert "what sn/*.conf may hold is not known" in worded(INCLUDING, site("/"))[0].message


def test_the_file_that_has_the_server_is_named() -> None:
    (fault,) = worded(HOST["/etc/nginx/other"], site("/"), files=HOST)
    assert fault.code == "nginx.no-server"
    assert "/etc/nginx/s/a:1" in fault.remedy


def test_a_dump_gives_these_files() -> None:
    dump = "".join(f"# configuration file {path}:\n{text}\n" for path, text in HOST.items())
    assert parse_dump(dump) == HOST


FOREIGN = [
    "location / { include /x; # wgcluster is mentioned here\n }",
    "location / { deny all; # wgcluster\n }",
    "# wgcluster\nlocation / { }",
    "location / { include /x;# wgcluster\n }",
    'location / { add_header X "; # wgcluster\n"; }',
]


@pytest.mark.parametrize("text", FOREIGN)
def test_what_only_looks_like_ours_stays(text: str) -> None:
    assert unguard(text) == text
