"""Broken and odd site files: read or refused, never a crash or a hang, and what is guarded comes out whole.

Ten seconds every day; the ten-minute run:

    WGCLUSTER_FUZZ_SECONDS=600 pytest tests/system/nginx/test_fuzz.py
"""

from __future__ import annotations

import os
import random
import time
from ipaddress import ip_address, ip_network
from pathlib import Path

from tests.support.nginx.bodies import INSIDE, LUA, SOUP, WORD
from wgcluster.inventory.schema import GuardedSite
from wgcluster.nginx.audit.audit import audit
from wgcluster.nginx.config.find import locations, names_of, servers
from wgcluster.nginx.edit.guard import guard
from wgcluster.nginx.probe.probe import probes
from wgcluster.nginx.syntax.errors import NginxError, NginxSyntaxError
from wgcluster.nginx.syntax.lexer import lex
from wgcluster.nginx.syntax.splice import unguard
from wgcluster.nginx.syntax.tree import parse

SECONDS = float(os.environ.get("WGCLUSTER_FUZZ_SECONDS", "10"))
TEXTS = [path.read_text() for path in sorted((Path(__file__).parent / "sites").glob("*.conf"))]
# Directives in forms that nginx takes, some that it does not; ours may read or refuse them.
DIRECTIVES = """
return;|return 403;|return x;|return 200 y;|rewrite;|rewrite a;|rewrite ^ $1 last;|rewrite ( $1;
rewrite a b c;|error_page;|error_page 403;|error_page 403 = @x;|error_page 403 /;
error_page 403 =200 /y;|error_page x y;|try_files;|try_files x;|try_files x =404;|try_files "" @x;
try_files "" "";|try_files $uri $y;|allow;|deny;|allow all;|deny all;|allow 300.1.1.1;
allow ::1/200;|allow unix:;|allow "";|deny 10.0.0.1;|set_real_ip_from;|set_real_ip_from ::/0;
set_real_ip_from "";|real_ip_header X;|satisfy;|satisfy any;|satisfy x;|auth_basic;|auth_basic x;
auth_request /;|auth_request off;|mirror;|mirror /;|mirror off;|merge_slashes off;|listen;|listen x;
listen [;|listen [::]:99999;|listen unix:;|listen "";|listen 443 ssl default_server;|listen *;
server_name;|server_name ~(;|server_name "";|server_name *.x .y z.*;|server_name ~^(?<a>x)$;|root;
root "";|alias /;|proxy_pass;|proxy_pass $x;|proxy_pass http://;|proxy_pass "";|proxy_pass http://[;
fastcgi_pass;|fastcgi_pass x;|set $x;|set $x $x;|set x "";|internal;|break;|if { }
if ($x) { return 1; }|if ($x) { rewrite a b; break; }|location { }|location @x { }|location ~ ( { }
location = / { }|location "" { }|location ~* "" { }|location x y z { }|location / { }
location @x { rewrite ^ / last; }|location /x { location /x { deny all; } }|limit_except GET { }
include;|include /s;|include *;|include [;|include "";|upstream { }|upstream x { server; }
upstream x { server y; }|server { }|stream { server { listen 1; proxy_pass x; } }|http { }
events { }|recursive_error_pages on;|ssl_verify_client on;|limit_req zone=x;|recursive_error_pages;
map a b { c d; }|types { }|x_by_lua_block { }}
""".replace("\n", "|").split("|")


def mutant(r: random.Random) -> str:
    """A site file with a few things done to it, or a handful of tokens."""
    if r.random() < 0.2:
        return "".join(r.choice([*SOUP, *WORD, *LUA, *INSIDE]) for _ in range(r.randint(0, 60)))
    text = r.choice(TEXTS)
    for _ in range(r.randint(1, 6)):
        at = r.randrange(len(text) + 1)
        kind = r.random()
        if kind < 0.6:  # a directive more, behind one or at the start of a block
            places = [i + 1 for i, c in enumerate(text) if c in ";{}"] or [0]
            at = r.choice(places)
            text = text[:at] + " " + r.choice(DIRECTIVES) + text[at:]
        elif kind < 0.7:
            text = text[:at] + r.choice(SOUP) + text[at:]
        elif kind < 0.8:
            text = text[:at] + text[at + r.randint(1, 4) :]
        elif kind < 0.9:
            end = at + r.randint(1, 200)
            text = text[:at] + text[at:end] * 2 + text[end:]
        else:
            text = text.replace(r.choice([";", "{", " ", "\n"]), r.choice(["\r\n", " ", ";", "\t", ""]), 1)
    return text


def site_for(r: random.Random, text: str) -> GuardedSite:
    """A site that an operator of ``text`` might name, or not quite."""
    found = list(servers(parse(text)))
    server = r.choice(found) if found else None
    name = r.choice(names_of(server)) if server else "x"
    keys = [str(key) for key, _ in locations(server)] if server else []
    wished = tuple(k for k in keys if r.random() < 0.5)
    public = (*(k for k in keys if k not in wished and r.random() < 0.3), "/.well-known/acme-challenge/")
    networks = (ip_network("10.0.0.0/24"), ip_network("fd00::/64"))
    scope = "server" if r.random() < 0.6 else "location"
    return GuardedSite("/s", name, wished, public, networks, scope, "/w")  # type: ignore[arg-type]


def test_any_text_is_read_or_refused() -> None:
    end = time.monotonic() + SECONDS
    seed = random.SystemRandom().randrange(1 << 40) if SECONDS > 60 else 0
    counts = {"refused": 0, "read": 0, "guarded": 0}
    slowest = 0.0
    while time.monotonic() < end:
        seed += 1
        r = random.Random(seed)
        text = mutant(r)
        began = time.monotonic()
        try:
            one_text(r, text, counts)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {text!r}") from error
        slowest = max(slowest, time.monotonic() - began)
    print(f"{counts}, slowest {slowest:.2f} s")
    tried = sum(counts.values())
    assert counts["read"] + counts["guarded"] > 0.2 * tried
    assert counts["guarded"] > 0.05 * tried
    assert slowest < 5


def one_text(r: random.Random, text: str, counts: dict[str, int]) -> None:
    """Everything that can be done with one text."""
    try:
        tokens = list(lex(text))
        parse(text)
    except NginxSyntaxError as error:
        counts["refused"] += 1
        _said(error)
        return
    assert [t.start for t in tokens] == sorted(t.start for t in tokens)
    site = site_for(r, text)
    assert all(str(f.as_dict()) for f in audit({"/s": text}, [site]))
    probes({"/s": text}, [site], [ip_address("198.18.0.1"), ip_address("::1")])
    assert unguard(unguard(text)) == unguard(text)
    try:
        outcome = guard(text, [site])
    except NginxError as error:
        counts["read"] += 1
        _said(error)
        return
    counts["guarded"] += 1
    assert unguard(outcome) == unguard(text)
    assert guard(outcome, [site]) == outcome
    about = [f for f in audit({"/s": outcome}, [site]) if f.kind == "leaks"]
    assert not [f for f in about if f.server == site.server_name and f.location in site.locations]


def _said(error: NginxError) -> None:
    """It has a reason that can be printed."""
    assert error.faults
    assert str(error).encode()
