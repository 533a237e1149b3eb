"""What the audit does not know is no guard: a real nginx gives a stranger what the audit says it may.

Variables that say where a rewrite leads, checkers beside the list, code that nobody sees, nginx's own folder,
caches that are shared; and the ways out that the remedies name.
"""

from __future__ import annotations

import base64
import os
from ipaddress import ip_network

import pytest
from crossplane import analyzer  # type: ignore[import-untyped]

from tests.support.nginx.cases import ACME, LIST, PASS, Case, asked
from tests.support.nginx.real import LUA, MODULES, NGINX, wanted
from wgcluster.inventory.schema import GuardedSite
from wgcluster.nginx.audit.audit import Finding, audit
from wgcluster.nginx.config.harmless import is_harmless

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")

GUARDED = f"location / {{ {LIST} {PASS} }}"
OPEN = f"location /app/adm/ {{ {PASS} }}"
NO_LIST = "no list is in effect"
PUB = "^~ /pub/"

REWRITES = [
    Case(f"rewritten to {target}", f"rewrite ^ {target} last; {GUARDED} {OPEN}", uri, 200, "leaks",
         "/app/adm/", NO_LIST)
    for target, uri in (
        ("/app$uri", "/adm/x"),
        ("/app$request_uri", "/adm/x"),
        ("/app${uri}", "/adm/x"),
        ("/app/$arg_p", "/?p=adm/x"),
        ("/$arg_p", "/?p=app/adm/x"),
    )
] + [
    Case(
        "rewritten below a host name",
        f"rewrite ^ /vhosts/$host$uri last; {GUARDED} location /vhosts/s.test/adm/ {{ {PASS} }}",
        "/adm/x",
        200,
        "leaks",
        "/vhosts/s.test/adm/",
        NO_LIST,
    ),
    Case(
        "rewritten by a captured part",
        f"rewrite ^/(.*)$ /app/$1 last; {GUARDED} {OPEN}",
        "/adm/x",
        200,
        "leaks",
        "/app/adm/",
        NO_LIST,
    ),
    Case(
        "rewritten into a regex",
        rf"rewrite ^ /app$uri last; {GUARDED} location ~ \.php$ {{ {PASS} }}",
        "/x.php",
        200,
        "leaks",
        r"~ \.php$",
        NO_LIST,
    ),
    Case(
        "rewritten into a nested location",
        f"rewrite ^ /app$uri last; {GUARDED}"
        f" location /app/ {{ {LIST} {PASS} location /app/adm/ {{ allow all; {PASS} }} }}",
        "/adm/x",
        200,
        "leaks",
        "/app/adm/",
        "drop the outer list",
    ),
    Case(
        "rewritten into an internal location",
        f"rewrite ^ /app$uri last; {GUARDED} location /app/adm/ {{ internal; {PASS} }}",
        "/adm/x",
        200,
        "leaks",
        "/app/adm/",
        NO_LIST,
    ),
    Case(
        "rewritten under a condition",
        f"if ($http_host) {{ rewrite ^ /app$uri last; }} {GUARDED} {OPEN}",
        "/adm/x",
        200,
        "leaks",
        "/app/adm/",
        NO_LIST,
    ),
    Case(
        "rewritten by a location to what the server moves off for those who ask for it",
        f"rewrite ^/app/ /no last; {GUARDED} {OPEN}"
        f" location /in/ {{ {LIST} rewrite ^/in/(.*)$ /app/$1 last; {PASS} }}",
        "/in/adm/x",
        200,
        "leaks",
        "/app/adm/",
        NO_LIST,
    ),
    Case(
        "a rewrite opens a server beside that is closed but for it",
        GUARDED,
        "/adm/x",
        200,
        "leaks",
        "/app/adm/",
        "this server is not guarded and serves",
        port="@OTHER@",
        beside="server { listen 127.0.0.1:@OTHER@; rewrite ^ /app$uri last; location / { return 404; }"
        f" {OPEN} }}",
    ),
    Case(
        "all that a rewrite may lead to is guarded",
        f"rewrite ^ /app$uri last; {GUARDED} location /app/adm/ {{ {LIST} {PASS} }}"
        f" location /pub/ {{ {PASS} }}",
        "/adm/x",
        403,
        "guarded",
        "/app/adm/",
        public=("/pub/",),
    ),
    Case(
        "no location is left open by a rewrite of all to the one that is guarded",
        f"rewrite ^ /m$uri last; location / {{ {PASS} }} location /m/ {{ {LIST} {PASS} }}",
        "/x",
        403,
        "guarded",
        "/",
    ),
    Case(
        "rewritten to no path, which no location has",
        f"root @FOLDER@/file; rewrite ^ $arg_p last; {GUARDED}",
        "/?p=s/sub/secret.html",
        200,
        "leaks",
        "/",
        "a variable says where that is",
    ),
    Case(
        "no circle, for it leads to another location",
        f"location / {{ rewrite ^ /m$uri?$args; }} location /m/ {{ {PASS} }}",
        "/x",
        200,
        "leaks",
        "/",
        f"rewritten to /m$uri?$args: {NO_LIST}",
    ),
    Case(
        "no circle by a captured part",
        f"location / {{ rewrite ^(.*) /m$1; }} location /m/ {{ {PASS} }}",
        "/x",
        200,
        "leaks",
        "/",
        f"rewritten to /m$1: {NO_LIST}",
    ),
    Case("a circle", "location / { rewrite ^ /m$uri; }", "/x", 500, "guarded", "/", "in a circle"),
]  # fmt: skip

# Debian's service of su lets root in without a password, and nginx runs as root here.
PAM = 'auth_pam "x"; auth_pam_service_name su;'
ROOT = "Authorization: Basic " + base64.b64encode(b"root:x").decode()
CHECKERS = [
    Case(
        "satisfy any with PAM",
        f"satisfy any; location / {{ {LIST} {PAM} {PASS} }}",
        "/",
        200,
        "leaks",
        reason="who passes auth_pam need not pass the list",
        headers=(ROOT,),
    ),
    Case(
        "satisfy any with what another location says",
        f"satisfy any; auth_request /ok; {LIST} location / {{ {PASS} }}"
        " location = /ok { internal; return 204; }",
        "/",
        200,
        "leaks",
        reason="who passes auth_request need not pass the list",
    ),
    Case(
        "satisfy any with code from a file",
        f"location / {{ satisfy any; {LIST} access_by_lua_file @FOLDER@/welcome.lua; {PASS} }}",
        "/",
        200,
        "leaks",
        reason="who passes access_by_lua_file need not pass the list",
        lua=True,
    ),
    Case("satisfy all with PAM", f"satisfy all; location / {{ {LIST} {PAM} {PASS} }}", "/", 403, "guarded",
         headers=(ROOT,)),
    Case("any with PAM that is off", f"satisfy any; {PAM} location / {{ {LIST} auth_pam off; {PASS} }}",
         "/", 403, "guarded", headers=(ROOT,)),
]  # fmt: skip

JS = "js_import hook from @FOLDER@/hook.js;"
PERL = "perl 'sub { my $r = shift; $r->internal_redirect(\"/in\"); return OK; }';"
UNSEEN = "runs code that is not seen here"
APP = f"location @app {{ {PASS} }} location = /in {{ internal; {PASS} }}"
CODE = [
    Case(name, f"{GUARDED} {APP} location /hook {{ {code} }}", "/hook", 200, "leaks", "/hook", UNSEEN,
         public=("/hook",), beside=beside, lua="lua" in code)
    for name, code, beside in (
        ("njs redirects to a named location", "js_content hook.redirect;", JS),
        ("njs fetches what is guarded", "js_content hook.fetch;", JS),
        ("perl redirects to an internal location", PERL, ""),
        ("lua in a file fetches what is guarded", "content_by_lua_file @FOLDER@/hook.lua;", ""),
        ("lua in a file goes on to a named location", "content_by_lua_file @FOLDER@/exec.lua;", ""),
        ("lua in a file of the access phase", f"access_by_lua_file @FOLDER@/hook.lua; {PASS}", ""),
        ("lua in a file of the rewrite phase", f"rewrite_by_lua_file @FOLDER@/hook.lua; {PASS}", ""),
        ("lua that runs a file", 'content_by_lua_block { loadfile("@FOLDER@/hook.lua")() }', ""),
        ("lua that goes by another name", 'content_by_lua_block { local n = ngx n.exec("@app") }', ""),
    )
] + [
    Case(
        "njs in a server beside fetches what a list guards there",
        GUARDED,
        "/hook",
        200,
        "leaks",
        "/x",
        "js_content may fetch it",
        port="@OTHER@",
        beside=f"{JS} server {{ listen 127.0.0.1:@OTHER@; location /x {{ {LIST} {PASS} }}"
        " location /hook { js_content hook.fetch; } }",
    ),
    Case(
        "the way out: a server of its own",
        f"{GUARDED} {APP} location /hook {{ proxy_pass http://127.0.0.1:@OTHER@;"
        " proxy_ignore_headers X-Accel-Redirect; }",
        "/hook",
        200,
        "public",
        "/hook",
        public=("/hook",),
        beside=f"{JS} server {{ listen 127.0.0.1:@OTHER@; location / {{ js_content hook.hello; }} }}",
    ),
    Case(
        "the way out of what is inherited",
        f"access_by_lua_file @FOLDER@/hook.lua; {GUARDED}"
        " location /hook { access_by_lua_block { return } root @FOLDER@/files/sub; }",
        "/hook",
        404,
        "public",
        "/hook",
        public=("/hook",),
        lua=True,
    ),
    Case(
        "lua that is seen, and a file in a phase that fetches nothing",
        f"{GUARDED} location /hook {{ content_by_lua_block {{ local c = require 'cjson' ngx.say('load', c) }}"
        " log_by_lua_file @FOLDER@/welcome.lua; }",
        "/hook",
        500,  # cjson is not there
        "public",
        "/hook",
        public=("/hook",),
        lua=True,
    ),
]  # fmt: skip

TO_HTTPS = "if ($args ~ x) { return 301 https://$host$request_uri; }"
ALSO_HERE = "server { listen 127.0.0.1:@PORT@; return 444; }"
OWN_FOLDER = "its own folder html"
HTML = [
    Case("a redirect under a condition", TO_HTTPS, "/", 200, "leaks", "(no location)", OWN_FOLDER),
    Case("nothing but the challenge", f"location {ACME} {{ root @FOLDER@/files; }}", "/", 200, "leaks",
         "(no location)", OWN_FOLDER, public=(ACME,)),
    Case("one location is guarded", f"location /x {{ {LIST} {PASS} }}", "/index.html", 200, "leaks",
         "(no location)", OWN_FOLDER),
    Case(
        "a redirect for one of two names",
        "server_name t.test; if ($host = s.test) { return 301 https://$host$request_uri; }",
        "/",
        200,
        "leaks",
        "(no location)",
        OWN_FOLDER,
        headers=("Host: t.test",),
        beside=ALSO_HERE,
    ),
    Case(
        "a server beside redirects under a condition, and a guarded one has that folder",
        f"location / {{ {LIST} root html; }}",
        "/",
        200,
        "leaks",
        "(no location)",
        "serves the files in",
        port="@OTHER@",
        beside=f"server {{ listen 127.0.0.1:@OTHER@; {TO_HTTPS} }}",
    ),
    Case("the way out: 404 for the rest", f"{TO_HTTPS} location / {{ return 404; }}", "/", 404, "closed"),
    Case("the way out: a list for all", f"{LIST} {TO_HTTPS}", "/", 403, "guarded", "(no location)"),
    Case(
        "a redirect for the only name",
        "if ($host = s.test) { return 301 https://$host$request_uri; }",
        "/",
        301,
        "closed",
        "(no location)",
        beside=ALSO_HERE,
    ),
]  # fmt: skip

ZONE = "proxy_cache_path @FOLDER@/cache keys_zone=c:1m; proxy_cache_path @FOLDER@/other keys_zone=d:1m;"
ZONE += " proxy_cache_valid 200 1m;"
HELLO = "server { listen unix:@FOLDER@/pub; return 200 hello; }"
TO_PUB = "proxy_pass http://unix:@FOLDER@/pub:;"
STRIP = f"rewrite ^/pub(/.*)$ $1 break; {TO_PUB}"
SHARED = "it shares proxy_cache c with /"


def cached(
    name: str,
    lead: str,
    public: str,
    uri: str,
    kind: str,
    beside: str = "",
    where: str = PUB,
    host: str = "o.test",
) -> Case:
    """A friend has asked for /x at a guarded place that caches, and a stranger asks for ``uri``."""
    body = f"proxy_cache c; {lead} {GUARDED} location {PUB} {{ {public} }}"
    port = "@OTHER@" if beside else "@PORT@"
    headers = (f"Host: {host}",) if beside else ()
    return Case(name, body, uri, 200, kind, where, SHARED if kind == "leaks" else "", headers, (PUB,),
                beside=f"{ZONE} {HELLO} {beside}", first="/x", port=port)  # fmt: skip


def server(inside: str, listen: str = "@OTHER@", name: str = "o.test") -> str:
    return f"server {{ listen 127.0.0.1:{listen}; server_name {name}; {inside} }}"


PAGE = "error_page 502 /50x.html; location = /50x.html { internal; root x; }"
BY_URI, BY_HOST = "proxy_cache_key $uri;", "proxy_cache_key $host$uri;"
CACHES = [
    cached("a key without the upstream", BY_HOST, STRIP, "/pub/x", "leaks"),
    cached("a key that the client chooses", "proxy_cache_key $arg_k;", TO_PUB, "/pub/y", "leaks"),
    cached("two keys", BY_URI, f"proxy_cache_key /$arg_k; {TO_PUB}", "/pub/?k=x", "leaks"),
    cached("a key of its own", "proxy_cache_key /pub$uri;", f"proxy_cache_key $request_uri; {TO_PUB}",
           "/pub/x", "leaks"),
    cached("one path becomes another", BY_HOST, f"rewrite ^/pub/x$ /x break; {TO_PUB}", "/pub/x", "leaks"),
    cached("a page of a 403", "error_page 403 =200 /pub/; proxy_cache_key $request_uri;", TO_PUB, "/x",
           "leaks"),
    cached("a variable zone", f"set $z c; {BY_URI}", f"proxy_cache $z; {STRIP}", "/pub/x", "leaks"),
    cached("another server", BY_URI, TO_PUB, "/x", "leaks",
           server(f"location / {{ proxy_cache c; {BY_URI} {TO_PUB} }}"), "/"),
    cached("another server by the host name, which a client may write", BY_HOST, TO_PUB, "/x", "leaks",
           server(f"location / {{ proxy_cache c; {BY_HOST} {TO_PUB} }}"), "/", "s.test"),
    cached("the key of nginx, and another upstream", "", STRIP, "/pub/x", "public"),
    cached("a key by the path, which nothing rewrites", BY_HOST, TO_PUB, "/pub/x", "public"),
    cached("a page of errors is a file", f"{BY_HOST} {PAGE}",
           TO_PUB, "/pub/x", "public"),
    cached("the way out: no cache", BY_HOST, f"proxy_cache off; {STRIP}", "/pub/x", "public"),
    cached("the way out: a zone of its own", BY_HOST, f"proxy_cache d; {STRIP}", "/pub/x", "public"),
    cached("another server by a host name that is its own", BY_HOST, TO_PUB, "/x", "public",
           server("return 444;", name="default.test")
           + server(f"location / {{ proxy_cache c; {BY_HOST} {TO_PUB} }}")),
]  # fmt: skip


@pytest.mark.parametrize("case", [*REWRITES, *CHECKERS, *CODE, *HTML, *CACHES], ids=lambda case: case.name)
def test_a_stranger_gets_only_what_the_audit_says(case: Case) -> None:
    modules = wanted(case.body + case.beside)
    if (case.lua and not LUA) or not all((MODULES / f"{module}.so").exists() for module in modules):
        pytest.skip("nginx has no such module")
    if PAM in case.body and os.geteuid() != 0:
        pytest.skip("the service of su lets in root alone")
    outcome = asked(case)
    assert outcome.stranger.status == case.status
    assert ("SECRET" in outcome.stranger.body) == (case.kind == "leaks")
    leaks = [f for f in outcome.findings if f.kind == "leaks"]
    if case.kind == "leaks":
        about = [f for f in leaks if f.location == case.location]
        assert [f for f in about if case.reason in f.reason and f.remedy], outcome.findings
    else:
        assert not leaks
        assert [f for f in outcome.findings if f.location == case.location and f.kind == case.kind]


def findings_of(body: str, beside: str = "", public: tuple[str, ...] = ()) -> list[Finding]:
    """What the audit says of a server whose modules cannot be had here."""
    text = f"http {{ {beside} server {{ server_name s.test; {body} }} }}"
    site = GuardedSite("nginx.conf", "s.test", ("/",), public, (ip_network("10.0.0.0/24"),))
    return audit({"nginx.conf": text}, [site])


@pytest.mark.parametrize(
    "checker",
    [
        "auth_digest x; auth_digest_user_file /f;",
        "auth_jwt x; auth_jwt_key_file /f;",
        "auth_ldap x; auth_ldap_servers s;",
        "auth_gss on; auth_gss_realm R;",
        "auth_oidc x;",
        "js_access a.check;",
        "shib_request /shib;",
        "nobody_knows_it on;",
    ],
)
def test_whom_a_checker_lets_in_that_is_not_known_to_be_harmless_passes_the_list(checker: str) -> None:
    body = "allow 10.0.0.0/24; deny all; proxy_pass http://127.0.0.1:1;"
    for inside in (
        f"satisfy any; location / {{ {checker} {body} }}",
        f"{checker} location / {{ satisfy any; {body} }}",
    ):
        (finding,) = findings_of(inside)
        assert finding.kind == "leaks"
        assert finding.reason.startswith("satisfy any: ")
        assert checker.split()[0] in finding.reason
        assert "satisfy all" in finding.remedy
        assert [f.kind for f in findings_of(inside.replace("satisfy any", "satisfy all"))] == ["guarded"]


def test_satisfy_any_beside_what_checks_nobody_is_no_leak() -> None:
    """Of nginx's own modules and of those in wide use."""
    harmless = """
        client_max_body_size 1m; gzip on; more_set_headers "X: y"; limit_req zone=z; ssl_verify_client off;
        etag on; proxy_set_header Host $host; auth_basic_user_file /f; auth_jwt_key_file /f; auth_basic off;
        sub_filter a b; brotli on; set_real_ip_from 10.0.0.1; header_filter_by_lua_file /f; add_header A b;
        js_header_filter a.b; modsecurity on; http2 on; charset utf-8; expires 1d; error_log /f;
        types { a b; } keepalive_timeout 1; underscores_in_headers on; open_file_cache off;
        vhost_traffic_status_zone; geoip2_proxy 10.0.0.1; resolver x; proxy_pass http://127.0.0.1:1;
    """
    body = f"location / {{ satisfy any; {harmless} allow 10.0.0.0/24; deny all; }}"
    assert [f.kind for f in findings_of(body)] == ["guarded"]


def test_of_nginx_itself_all_but_its_checkers_is_known_to_be_harmless() -> None:
    """By the list of directives of crossplane, which has those of NGINX Plus too."""
    contexts = analyzer.NGX_HTTP_MAIN_CONF | analyzer.NGX_HTTP_SRV_CONF | analyzer.NGX_HTTP_LOC_CONF
    names = (name for name, masks in analyzer.DIRECTIVES.items() if any(mask & contexts for mask in masks))
    unknown = {name for name in names if not is_harmless(name)}
    assert unknown == {"auth_basic", "auth_request", "auth_jwt", "upstream_conf"}


@pytest.mark.parametrize("module", ["fastcgi", "uwsgi", "scgi"])
def test_a_zone_of_the_other_proxies_is_shared_too(module: str) -> None:
    lead = f"{module}_cache c; {module}_cache_key $host$uri;"
    public = f"location {PUB} {{ rewrite ^/pub(/.*)$ $1 break; {module}_pass 127.0.0.1:2; }}"
    hidden = f"location / {{ allow 10.0.0.0/24; deny all; {module}_pass 127.0.0.1:1; }}"
    found = {f.location: f for f in findings_of(f"{lead} {hidden} {public}", public=(PUB,))}
    assert found[PUB].kind == "leaks"
    assert f"it shares {module}_cache c" in found[PUB].reason
    own = public.replace("rewrite", f"{module}_cache own; rewrite")
    assert {f.kind for f in findings_of(f"{lead} {hidden} {own}", public=(PUB,))} == {"guarded", "public"}


def test_friends_of_one_site_are_strangers_to_the_zone_of_another() -> None:
    def site(name: str, network: str) -> GuardedSite:
        return GuardedSite("nginx.conf", name, ("/",), (), (ip_network(network),))

    servers = " ".join(
        f"server {{ server_name {name}; location / {{ allow {network}; deny all; proxy_cache c;"
        f" proxy_cache_key $uri; proxy_pass http://127.0.0.1:{port}; }} }}"
        for name, network, port in (("a.test", "10.0.0.0/24", 1), ("b.test", "10.1.0.0/24", 2))
    )
    files = {"nginx.conf": f"http {{ {servers} }}"}
    apart = audit(files, [site("a.test", "10.0.0.0/24"), site("b.test", "10.1.0.0/24")])
    assert [f.kind for f in apart] == ["leaks", "leaks"]
    assert "it shares proxy_cache c with / of b.test" in apart[0].reason
    files = {"nginx.conf": files["nginx.conf"].replace("10.1.0.0/24", "10.0.0.0/24")}
    alike = audit(files, [site("a.test", "10.0.0.0/24"), site("b.test", "10.0.0.0/24")])
    assert [f.kind for f in alike] == ["guarded", "guarded"]
