"""Ways to guarded content that go round its location: by other servers, sockets, spellings, subrequests.

Each is asked of a real nginx. A stranger who gets the content has to be a leak of the audit's, and one who
does not is none.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import ip_network

import pytest

from tests.support.nginx.cases import ACME, FRIEND, LIST, PASS, Case, asked
from tests.support.nginx.real import ECHO, LUA, NGINX, STREAM, free_ports, running
from tests.support.nginx.worlds import dump
from wgcluster.inventory.schema import GuardedSite
from wgcluster.nginx.audit.audit import audit
from wgcluster.nginx.syntax.includes import parse_dump

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
HERE = ("127.0.0.1", FRIEND)  # the host itself may pass, too; strangers come from 127.0.0.3 then
GUARDED = f"location / {{ {LIST} {PASS} }}"
FILES = f"location / {{ {LIST} root @FOLDER@/files; }}"
OWN = "server { listen 127.0.0.1:@OTHER@; location / { "
X_REAL_IP = f"X-Real-IP: {FRIEND}"


def leak(name: str, body: str, reason: str, **more: object) -> Case:
    return Case(name, body, "/index.html", 200, "leaks", reason=reason, **more)  # type: ignore[arg-type]


def safe(name: str, body: str, status: int, **more: object) -> Case:
    return Case(name, body, "/index.html", status, "guarded", **more)  # type: ignore[arg-type]


def here(make: Callable[..., Case], name: str, inside: str, *rest: object, **more: object) -> Case:
    """Another server that passes on to the guarded one; the host itself is on the list."""
    settings = {"allow": HERE, "stranger": "127.0.0.3", "port": "@OTHER@", "beside": f"{OWN}{inside} }} }}"}
    return make(name, more.pop("body", GUARDED), *rest, **{**settings, **more})


SELF = "where s.test answers, and its list lets in"
TRUSTED = f"set_real_ip_from unix:; listen unix:@FOLDER@/s; {GUARDED}"
TO_S = "proxy_set_header Host s.test; proxy_pass http://127.0.0.1:@PORT@;"
TO_SOCKET = "proxy_set_header Host s.test; proxy_pass http://unix:@FOLDER@/s;"
SELF_PROXIES = [
    here(leak, "a server passes on to the guarded one", TO_S, SELF),
    here(
        leak,
        "the client says to which",
        "proxy_set_header Host $host; proxy_pass http://localhost:@PORT@;",
        SELF,
    ),
    here(leak, "as its default server", "proxy_pass http://127.0.0.1:@PORT@;", SELF),
    here(
        leak,
        "by an upstream",
        "proxy_pass http://me;",
        SELF,
        above="",
        beside="upstream me { server 127.0.0.1:@PORT@; }" + OWN + "proxy_pass http://me; } }",
    ),
    here(
        leak,
        "by a variable",
        "proxy_pass http://$http_to;",
        SELF,
        headers=("To: 127.0.0.1:@PORT@",),
        body=FILES,
    ),
    here(
        leak,
        "from an address of its own choice",
        f"proxy_bind {FRIEND}; {TO_S}",
        SELF,
        allow=(FRIEND,),
    ),
    here(safe, "and the host itself is not on the list", TO_S, 403, allow=(FRIEND,)),
    here(
        safe,
        "and another server answers there",
        "proxy_pass http://127.0.0.1:@PORT@;",
        404,
        beside=f"server {{ listen 127.0.0.1:@PORT@ default_server; return 404; }}"
        f"{OWN}proxy_pass http://127.0.0.1:@PORT@; }} }}",
    ),
    here(safe, "and that is behind a list of its own", f"{LIST} {TO_S}", 403),
    here(
        safe,
        "and says who asks, and is believed",
        f"proxy_set_header X-Real-IP $remote_addr; {TO_S}",
        403,
        body=f"set_real_ip_from 127.0.0.1; {GUARDED}",
    ),
    here(
        leak,
        "and lets the client say who asks",
        f"proxy_set_header X-Real-IP $http_x_real_ip; {TO_S}",
        "believes the X-Real-IP",
        body=f"set_real_ip_from 127.0.0.1; {GUARDED}",
        headers=(X_REAL_IP,),
    ),
    Case(
        "a public place passes on to its own server",
        f"{GUARDED} location /pub/ {{ {TO_S.replace('@PORT@;', '@PORT@/;')} }}",
        "/pub/x",
        200,
        "leaks",
        "/pub/",
        SELF,
        public=("/pub/",),
        allow=HERE,
        stranger="127.0.0.3",
    ),
    here(
        leak,
        "a unix socket is believed, and a server passes on to it",
        TO_SOCKET,
        "believes the X-Real-IP",
        body=TRUSTED,
        headers=(X_REAL_IP,),
        allow=(FRIEND,),
    ),
    here(
        safe,
        "a unix socket is believed, and who passes on to it says who asks",
        f"proxy_set_header X-Real-IP $remote_addr; {TO_SOCKET}",
        403,
        body=TRUSTED,
        headers=(X_REAL_IP,),
        allow=(FRIEND,),
    ),
    here(
        safe,
        "a unix socket that is not believed",
        TO_SOCKET,
        403,
        body=f"listen unix:@FOLDER@/s; {GUARDED}",
        headers=(X_REAL_IP,),
        allow=(FRIEND,),
    ),
]

STREAMS = [
    here(
        leak,
        "a stream server passes on to the guarded one",
        "",
        SELF,
        beside="",
        above="\nstream { server { listen 127.0.0.1:@OTHER@; proxy_pass 127.0.0.1:@PORT@; } }",
    ),
    here(
        leak,
        "a stream server passes on to a socket that is believed",
        "",
        "believes the X-Real-IP",
        beside="",
        body=TRUSTED,
        allow=(FRIEND,),
        headers=(X_REAL_IP,),
        above="\nstream { server { listen 127.0.0.1:@OTHER@; proxy_pass unix:@FOLDER@/s; } }",
    ),
    here(
        safe,
        "a stream server says who asks",
        "",
        403,
        beside="",
        body="listen unix:@FOLDER@/s proxy_protocol; set_real_ip_from unix:; real_ip_header proxy_protocol; "
        + GUARDED,
        allow=(FRIEND,),
        above="\nstream { server { listen 127.0.0.1:@OTHER@; proxy_protocol on;"
        " proxy_pass unix:@FOLDER@/s; } }",
    ),
]

NOT_GUARDED = "this server is not guarded and serves the files"
FOLDERS = [
    leak(
        "a folder named by the client",
        f"location / {{ {LIST} root @FOLDER@/files/s.test; }}",
        NOT_GUARDED,
        port="@OTHER@",
        beside="server { listen 127.0.0.1:@OTHER@; root @FOLDER@/files/$host; }",
    ),
    leak(
        "a folder named by the client, the guarded one, too",
        f"location / {{ {LIST} root @FOLDER@/files/$host; }}",
        NOT_GUARDED,
        port="@OTHER@",
        beside="server { listen 127.0.0.1:@OTHER@; root @FOLDER@/files/$host; }",
    ),
    leak(
        "a folder named by the server",
        f"location / {{ {LIST} root @FOLDER@/files/$server_name; }}",
        NOT_GUARDED,
        port="@OTHER@",
        beside="server { listen 127.0.0.1:@OTHER@; server_name x; root @FOLDER@/files/s.test; }",
    ),
    safe(
        "a folder named by the client, who cannot name this one",
        f"location / {{ {LIST} root @FOLDER@/files/s.test; }}",
        404,
        headers=("Host: other.test",),
        beside="server { listen 127.0.0.1:@PORT@ default_server; root @FOLDER@/files/$host; }",
    ),
    leak(
        "a folder chosen by a part of the name",
        f"location / {{ {LIST} root @FOLDER@/files/s.test; }}",
        NOT_GUARDED,
        port="@OTHER@",
        beside=r"server { listen 127.0.0.1:@OTHER@; server_name ~^(?<a>\w+)\.test$;"
        " root @FOLDER@/files/$a.test; }",
    ),
    leak(
        "the same folder",
        FILES,
        NOT_GUARDED,
        port="@OTHER@",
        beside="server { listen 127.0.0.1:@OTHER@; root @FOLDER@/files; }",
    ),
    leak(
        "the same folder, some kinds of files of which are public",
        rf"root @FOLDER@/files; location / {{ {LIST} }} location ~ \.css$ {{ }}",
        NOT_GUARDED,
        public=(r"~ \.css$",),
        port="@OTHER@",
        beside="server { listen 127.0.0.1:@OTHER@; root @FOLDER@/files; }",
    ),
    leak(
        "two servers without a folder",
        f"location / {{ {LIST} }}",
        NOT_GUARDED,
        port="@OTHER@",
        beside="server { listen 127.0.0.1:@OTHER@; }",
    ),
    leak(
        "two servers without a folder, with locations",
        f"location / {{ {LIST} }}",
        NOT_GUARDED,
        port="@OTHER@",
        beside="server { listen 127.0.0.1:@OTHER@; location / { } }",
    ),
    leak(
        "a folder in nginx's own",
        f"location / {{ {LIST} root html; }}",
        NOT_GUARDED,
        port="@OTHER@",
        beside="server { listen 127.0.0.1:@OTHER@; }",
    ),
    safe(
        "a server without a folder, that only refuses",
        f"location / {{ {LIST} }}",
        404,
        port="@OTHER@",
        beside="server { listen 127.0.0.1:@OTHER@; return 404; }",
    ),
    Case(
        "a server without a folder",
        f"location / {{ {LIST} root @FOLDER@/files; }}",
        "/denied.html",
        404,
        "guarded",
        port="@OTHER@",
        beside="server { listen 127.0.0.1:@OTHER@; }",
    ),
]

OFF = "merge_slashes off;"
SLASHES = [
    Case(
        "slashes that are not merged, before files",
        f"{OFF} root @FOLDER@/files; location / {{ }} location /sub {{ {LIST} }}",
        "//sub/secret.html",
        200,
        "leaks",
        "/",
        "merge_slashes",
        public=("/",),
    ),
    Case(
        "slashes that are not merged, before a service",
        f"{OFF} location / {{ {PASS} }} location /admin {{ {LIST} {PASS} }}",
        "//admin",
        200,
        "leaks",
        "/",
        "merge_slashes",
        public=("/",),
    ),
    Case(
        "slashes that are not merged, inside of a path",
        f"{OFF} location / {{ {LIST} {PASS} }} location /a/ {{ {PASS} }}"
        f" location /a/admin {{ {LIST} {PASS} }}",
        "/a//admin",
        200,
        "leaks",
        "/a/",
        "merge_slashes",
        public=("/a/",),
    ),
    Case(
        "slashes that the default server does not merge",
        f"location / {{ {PASS} }} location /admin {{ {LIST} {PASS} }}",
        "//admin",
        200,
        "leaks",
        "/",
        "merge_slashes",
        public=("/",),
        beside=f"server {{ listen 127.0.0.1:@PORT@ default_server; {OFF} return 404; }}",
    ),
    Case(
        "slashes that are not merged, before another service",
        f"{OFF} location / {{ root @FOLDER@/files; }} location /admin {{ {LIST} {PASS} }}",
        "//admin",
        404,
        "public",
        "/",
        public=("/",),
    ),
    Case(
        "slashes that are merged",
        f"location / {{ {PASS} }} location /admin {{ {LIST} {PASS} }}",
        "//admin",
        403,
        "public",
        "/",
        public=("/",),
    ),
    Case(
        "slashes that are not merged, before a list",
        f"{OFF} {LIST} location / {{ {PASS} }} location /admin {{ {PASS} }}"
        f" location /pub {{ allow all; {PASS} }}",
        "//admin",
        403,
        "guarded",
        "/",
        public=("/pub",),
    ),
]

CAPTURE = 'content_by_lua_block { ngx.print(ngx.location.capture("%s").body) }'


def subrequest(name: str, inside: str, kind: str, **more: object) -> Case:
    body = f"{GUARDED} location /open {{ return 200 open; }} location = /pub {{ {inside} }}"
    reason = "fetches" if kind == "leaks" else ""
    settings = {"public": ("= /pub", "/open"), "lua": True, **more}
    return Case(name, body, "/pub", 200, kind, "= /pub", reason, **settings)  # type: ignore[arg-type]


SUBREQUESTS = [
    subrequest("lua fetches what is guarded", CAPTURE % "/x", "leaks"),
    subrequest(
        "lua fetches several",
        'content_by_lua_block { local a = ngx.location.capture_multi { {"/open"}, {"/x"} } ngx.print(a.body)'
        ' ngx.print(ngx.location.capture("/x").body) }',
        "leaks",
    ),
    subrequest(
        "lua fetches what the client names",
        'content_by_lua_block { ngx.print(ngx.location.capture(ngx.var.http_to or "/").body) }',
        "leaks",
        headers=("To: /x",),
    ),
    subrequest(
        "lua fetches in the access phase",
        'access_by_lua_block { ngx.print(ngx.location.capture("/x").body) ngx.exit(200) }',
        "leaks",
    ),
    subrequest(
        "lua in a quoted word",
        "content_by_lua 'ngx.print(ngx.location.capture(\"/x\").body)';",
        "leaks",
    ),
    subrequest("echo fetches what is guarded", "echo_location /x;", "leaks"),
    subrequest("echo fetches what is public", "echo_subrequest GET /open;", "public"),
    subrequest("lua fetches what is public", CAPTURE % "/open", "public"),
    subrequest("lua fetches nothing", 'content_by_lua_block { ngx.say("open") }', "public"),
]

ZONE = "limit_req_zone $binary_remote_addr zone=z:1m rate=1r/m;"
LIMITS = [
    *(
        leak(
            f"too many requests, status {status or 503}, answered by {target}",
            f"location / {{ limit_req zone=z; {f'limit_req_status {status};' if status else ''}"
            f" error_page {status or 503} =200 {target}; {LIST} {PASS} }}"
            f" location {target} {{ {'' if target == '@x' else 'internal;'} {PASS} }}",
            "",
            beside=ZONE,
            times=2,
        )
        for status in (0, 429, 404, 502)
        for target in ("@x", "/x")
    ),
    leak(
        "too many requests, the status said by the server",
        f"limit_req zone=z; limit_req_status 404; location / {{ error_page 404 =200 @x; {LIST} {PASS} }}"
        f" location @x {{ {PASS} }}",
        "",
        beside=ZONE,
        times=2,
    ),
    safe(
        "too many requests, answered behind the list",
        f"location / {{ limit_req zone=z; limit_req_status 404; error_page 404 =200 @x; {LIST} {PASS} }}"
        f" location @x {{ {LIST} {PASS} }}",
        403,
        beside=ZONE,
        times=2,
    ),
    safe(
        "what is not there, answered by another service",  # limits have nothing to do with it
        f"location / {{ limit_req zone=z; error_page 404 =200 @x; {LIST} {PASS} }} location @x {{ {PASS} }}",
        503,
        beside=ZONE,
        times=2,
    ),
]

BREAK = "if ($request_method = GET) { break; }"
BREAKS = [
    leak(
        "a return behind a break under a condition", f"location / {{ {BREAK} return 404; {PASS} }}", "no list"
    ),
    leak(
        "a rewrite behind a break under a condition",
        f"location / {{ {BREAK} rewrite ^ /x last; {PASS} }} location /x {{ {LIST} {PASS} }}",
        "no list",
    ),
    leak(
        "a return of the server behind a break under a condition",
        f"{BREAK} return 404; location / {{ {PASS} }}",
        "no list",
    ),
    leak(
        "a rewrite of the server behind a break under a condition",
        f"{BREAK} rewrite ^ /x last; location / {{ {PASS} }} location /x {{ {LIST} {PASS} }}",
        "no list",
    ),
    leak(
        "a rewrite that stays, behind a condition",
        f"location / {{ if ($request_method = GET) {{ rewrite ^ /y break; }} return 404; {PASS} }}",
        "no list",
    ),
    leak(
        "a rewrite under a condition, and a return behind it",
        f"location / {{ {LIST} if ($request_method = GET) {{ rewrite ^ /y last; }} return 404; }}"
        f" location /y {{ {PASS} }}",
        "no list",
    ),
    leak(
        "a rewrite of the server under a condition, to what is internal",
        "if ($request_method = GET) { rewrite ^ /y last; } return 404;"
        f" location /y {{ internal; {PASS} }} location / {{ {LIST} {PASS} }}",
        "no list",
    ),
    leak(
        "a rewrite of some paths that stays",
        f"location / {{ rewrite ^/index /y break; return 404; {PASS} }}",
        "no list",
    ),
    leak(
        "a rewrite of some paths in the server",
        f"rewrite ^/index /y last; rewrite ^ /x last; location /y {{ {PASS} }}"
        f" location /x {{ {LIST} {PASS} }} location / {{ {LIST} {PASS} }}",
        "no list",
    ),
    safe(
        "a rewrite of some paths to another place, and a return behind it",
        f"location / {{ {LIST} {PASS} }}"
        f" location /index {{ if ($request_method = GET) {{ rewrite ^ /x last; }} return 404; {PASS} }}",
        403,
    ),
    safe("a break before the list", f"location / {{ {LIST} {BREAK} return 404; {PASS} }}", 403),
]


def beside(name: str, inside: str, uri: str) -> Case:
    """Another server, of files that a guarded one has."""
    other = f"server {{ listen 127.0.0.1:@OTHER@; {inside} }}"
    return Case(name, FILES, uri, 200, "leaks", reason=NOT_GUARDED, port="@OTHER@", beside=other)


def shown(name: str, location: str, inside: str, uri: str) -> Case:
    """A public location, in front of files that are guarded."""
    body = f"{FILES} location {location} {{ {inside} }}"
    reason = "public, and"
    return Case(name, body, uri, 200, "leaks", location, reason, public=(location,))


MOVED = [
    beside("an alias that is left by ..", "location /d { alias @FOLDER@/html/; }", "/d../files/index.html"),
    beside(
        "another root under a condition",
        "location / { root @FOLDER@/none; if ($arg_y) { root @FOLDER@/files; } }",
        "/index.html?y=1",
    ),
    beside(
        "files, and a service for what is none of them",
        "root @FOLDER@/files; location / {"
        " if (!-f $request_filename) { proxy_pass http://127.0.0.1:@OTHER@; break; } }",
        "/index.html",
    ),
    beside("a folder that the client names", "root @FOLDER@/html/$arg_d;", "/index.html?d=../files"),
    shown(
        "an alias with a captured part that begins with ..",
        "~ ^/pub(.*)$",
        "alias @FOLDER@/files/sub/$1;",
        "/pub../index.html",
    ),
    shown(
        "an alias of the guarded folder, with a captured part",
        "~ ^/pub/(.*)",
        "alias @FOLDER@/files/$1;",
        "/pub/index.html",
    ),
    shown(
        "an alias whose captured part names the guarded folder",
        "~ ^/u/([a-z]+)/([a-z.]+)$",
        "alias @FOLDER@/$1/$2;",
        "/u/files/index.html",
    ),
    shown(
        "a rewrite to the guarded folder",
        "/pub",
        "root @FOLDER@/files; rewrite ^/pub(.*)$ $1 break;",
        "/pub/index.html",
    ),
    shown(
        "a rewrite to what is left by ..",
        "/pub",
        "root @FOLDER@/files; rewrite ^/pub(.*)$ /sub/$1 break;",
        "/pub../index.html",
    ),
    shown(
        "a file that the client names",
        "/pub/",
        "root @FOLDER@/files; try_files /sub/$arg_f =404;",
        "/pub/x?f=../index.html",
    ),
    shown("a folder by a variable", "/p/", "set $d files; alias @FOLDER@/$d/;", "/p/index.html"),
    shown(
        "an alias that is left by .., beside a service for some",
        "/pub",
        f"alias @FOLDER@/files/sub/; if ($arg_y) {{ {PASS} }}",
        "/pub../index.html",
    ),
    Case(
        "a public location in an alias that is left by ..",
        f"{FILES} location /pub {{ {LIST} alias @FOLDER@/files/sub/; location ~ html$ {{ allow all; }} }}",
        "/pub../index.html",
        200,
        "leaks",
        "~ html$",
        "public, and",
        public=("~ html$",),
    ),
    Case(
        "files that are looked for in a guarded folder, too",
        f"root @FOLDER@/files; location /sub/ {{ {LIST} }} location / {{ try_files $uri /sub$uri =404; }}",
        "/secret.html",
        200,
        "leaks",
        reason="public, and",
        public=("/",),
    ),
]
TIDY = [
    *(
        Case(
            f"a public service of which {location} is guarded",
            f"location / {{ {PASS} }} location {location} {{ {LIST} {PASS} }}",
            uri,
            403,
            "public",
            public=("/",),
        )
        for location, uri in (
            ("= /admin", "/admin"),
            (r"~ ^/api/v[0-9]+/admin", "/api/v1/admin"),
            (r"~ \.php$", "/x.php"),
            ("^~ /admin/", "/admin/x"),
            ("/admin", "/administrator"),
        )
    ),
    Case(
        "the folder of a challenge by the name of the host",
        f"location / {{ {LIST} root @FOLDER@/files; }} location ^~ {ACME} {{ root @FOLDER@/$host; }}",
        "/index.html",
        403,
        "guarded",
        public=(ACME,),
    ),
    Case(
        "a public place of the same service by a path of its own and what is asked for",
        f"location / {{ {LIST} proxy_pass http://127.0.0.1:@BACK@/a$request_uri; }}"
        " location /pub/ { proxy_pass http://127.0.0.1:@BACK@/b$request_uri; }",
        "/index.html",
        403,
        "guarded",
        public=("/pub/",),
    ),
    Case(
        "a public alias with a captured part, in a folder of the guarded one",
        f"{FILES} location ~ ^/u/([a-z]+)/(.*)$ {{ alias @FOLDER@/files/sub/$1/$2; }}",
        "/index.html",
        403,
        "guarded",
        public=("~ ^/u/([a-z]+)/(.*)$",),
    ),
    Case(
        "one file of a public folder is guarded",
        "root @FOLDER@/files; location / { try_files $uri $uri/ =404; }"
        f" location = /index.html {{ {LIST} }}",
        "/index.html",
        403,
        "public",
        public=("/",),
        stranger="127.0.0.3",
    ),
    Case(
        "who is asked whether one may in has a name of his own",
        f"location / {{ {LIST} auth_request /authz; {PASS} }} location = /authz {{ internal;"
        " proxy_pass http://127.0.0.1:@OTHER@; }",
        "/index.html",
        403,
        "guarded",
        beside="server { listen unix:@FOLDER@/a; listen 127.0.0.1:@PORT@; server_name auth.test;"
        " location / { proxy_pass http://127.0.0.1:@OTHER@; } }",
    ),
    Case(
        "a redirect to where only the default server answers",
        f"return 301 https://$host:@OTHER@$request_uri; location / {{ {LIST} {PASS} }}",
        "/index.html",
        301,
        "closed",
        beside="server { listen 127.0.0.1:@OTHER@; location / { root @FOLDER@/none; } }",
    ),
    Case(
        "a public path that stays as it is, written out",
        f"{GUARDED} location /api/ {{ proxy_pass http://127.0.0.1:@BACK@/api/; }}",
        "/index.html",
        403,
        "guarded",
        public=("/api/",),
    ),
    Case(
        "a public path for another of the same service",
        f"location / {{ {LIST} {PASS} }} location /hook/ {{ proxy_pass http://127.0.0.1:@BACK@/v1/hook/; }}",
        "/index.html",
        403,
        "guarded",
        public=("/hook/",),
    ),
    Case(
        "a public folder by its own path, and rewrites that stay in it",
        f"{FILES} location /open/ {{ root @FOLDER@/files; rewrite ^/open/(.*)$ /open/sub/$1 break;"
        " try_files $uri /open/$uri =404; }",
        "/index.html",
        403,
        "guarded",
        public=("/open/",),
    ),
    Case(
        "a public alias of a folder in the guarded one",
        rf"{FILES} location ~ ^/open/(.+\.html)$ {{ alias @FOLDER@/files/sub/$1; }}",
        "/index.html",
        403,
        "guarded",
        public=(r"~ ^/open/(.+\.html)$",),
    ),
]


def passed(name: str, location: str, inside: str, uri: str, guarded: str = "") -> Case:
    """A public location, in front of a service that tells its paths apart."""
    body = f"{guarded or ADMIN} location {location} {{ {inside} }}"
    reason = "public, and"
    return Case(name, body, uri, 200, "leaks", location, reason, public=(location,), beside=TELLER)


TELLER = (
    "server { listen unix:@FOLDER@/paths; listen 127.0.0.1:@OTHER@;"
    " location /admin { return 200 SECRET; } location / { return 200 open; } }"
)
PATHS = "proxy_pass http://unix:@FOLDER@/paths;"
ADMIN = f"location /admin {{ {LIST} {PATHS} }}"
PASSED = [
    passed("a path that is cut off", "/api/", "proxy_pass http://unix:@FOLDER@/paths:/;", "/api/admin"),
    passed("a path that a rewrite cuts off", "/api", f"rewrite ^/api(.*)$ $1 break; {PATHS}", "/api/admin"),
    passed(
        "a path that is left by ..",
        "/pub",
        "proxy_pass http://unix:@FOLDER@/paths:/pub/;",
        "/pub../admin",
    ),
    passed(
        "a path that is captured",
        "~ ^/api(/.*)$",
        "proxy_pass http://127.0.0.1:@OTHER@$1;",
        "/api/admin",
        f"location /admin {{ {LIST} proxy_pass http://127.0.0.1:@OTHER@; }}",
    ),
    passed(
        "a captured path that is left by ..",
        "~ ^/wh(.*)$",
        "proxy_pass http://127.0.0.1:@OTHER@/hooks/$1;",
        "/wh../admin",
        f"location /admin {{ {LIST} proxy_pass http://127.0.0.1:@OTHER@; }}",
    ),
    passed(
        "a path that a rewrite cuts off, to a variable",
        "/api",
        "set $b unix:@FOLDER@/paths; rewrite ^/api(.*)$ $1 break; proxy_pass http://$b;",
        "/api/admin",
    ),
    passed(
        "a path that is cut off, and the guarded one by a regex",
        "/api/",
        "proxy_pass http://unix:@FOLDER@/paths:/;",
        "/api/admin",
        f"location ~ ^/admin {{ {LIST} {PATHS} }}",
    ),
    passed("one path", "= /x", "proxy_pass http://unix:@FOLDER@/paths:/admin;", "/x"),
    passed("a path of two slashes", "/api/", "proxy_pass http://unix:@FOLDER@/paths://;", "/api/admin"),
    passed(
        "the path that the guarded one is asked for by another",
        "/",
        PATHS,
        "/admin/x",
        f"location /console/ {{ {LIST} proxy_pass http://unix:@FOLDER@/paths:/admin/; }}",
    ),
    passed(
        "the path that a rewrite of the guarded one asks for",
        "/",
        PATHS,
        "/admin/x",
        f"location /console/ {{ {LIST} rewrite ^/console/(.*)$ /admin/$1 break; {PATHS} }}",
    ),
]


def other(name: str, inside: str, uri: str = "/index.html", **more: object) -> Case:
    """Another server, that passes on to the service of the guarded one."""
    there = f"server {{ listen 127.0.0.1:@OTHER@; {inside} }}"
    usual = {"body": GUARDED, "port": "@OTHER@", "beside": there, "reason": "not guarded and serves"}
    return Case(name, uri=uri, status=200, kind="leaks", **{**usual, **more})  # type: ignore[arg-type]


CHOSEN = [
    other(
        "another socket of a server behind the guarded one",
        "",
        body=f"location / {{ {LIST} proxy_pass http://unix:@FOLDER@/a; }}",
        beside="server { listen unix:@FOLDER@/a; listen unix:@FOLDER@/b; root @FOLDER@/files; }"
        " server { listen 127.0.0.1:@OTHER@; location / { proxy_pass http://unix:@FOLDER@/b; } }",
    ),
    other(
        "a map that says nothing for most",
        "root @FOLDER@/$dir;",
        "/files/index.html",
        body=FILES,
        beside="map $arg_d $dir { a none; } server { listen 127.0.0.1:@OTHER@; root @FOLDER@/$dir; }",
    ),
    other(
        "a variable that only a condition sets",
        "if ($arg_x) { set $d none; } root @FOLDER@/$d;",
        "/files/index.html",
        body=FILES,
    ),
    other(
        "a map of the same name in a stream",
        "",
        beside="map $arg_x $back { default 127.0.0.1:@BACK@; }"
        " server { listen 127.0.0.1:@OTHER@; location / { proxy_pass http://$back; } }",
        above="stream { map $remote_addr $back { default 127.0.0.1:9; } server { listen unix:@FOLDER@/s;"
        " proxy_pass $back; } }",
    ),
    other(
        "a variable that lua sets",
        "location / { set $b ''; access_by_lua_block { ngx.var.b = '127.0.0.1:@BACK@' }"
        " proxy_pass http://$b; }",
        lua=True,
    ),
    other(
        "a variable that the path sets",
        "set $b two.test; location ~ ^/(?<b>[^/]+)/ { proxy_pass http://$b:@BACK@; }",
        "/127.0.0.1/x",
    ),
    other(
        "an upstream of the same name in a stream",
        "location / { proxy_pass http://app; }",
        body=f"location / {{ {LIST} proxy_pass http://app; }}",
        beside="upstream app { server 127.0.0.1:@BACK@; }"
        f" server {{ listen 127.0.0.1:@OTHER@; location / {{ {PASS} }} }}",
        above="stream { upstream app { server 127.0.0.1:9; } server { listen unix:@FOLDER@/s;"
        " proxy_pass app; } }",
    ),
    *(
        other(f"the same address written {written}", f"location / {{ proxy_pass http://{written}; }}")
        for written in ("127.1:@BACK@", "[::ffff:127.0.0.1]:@BACK@", "127.0.0.1:0@BACK@")
    ),
    other(
        "a proxy that believes anyone, and says whom it believes",
        "set_real_ip_from 127.0.0.0/8; real_ip_header X-Forwarded-For; location / {"
        f" proxy_set_header X-Real-IP $remote_addr; {TO_S} }}",
        body=f"set_real_ip_from 127.0.0.1; {GUARDED}",
        reason="believes the X-Real-IP",
        headers=(f"X-Forwarded-For: {FRIEND}",),
        allow=HERE,
        stranger="127.0.0.3",
    ),
    Case(
        "a server behind the guarded one, that listens to all",
        f"location / {{ {LIST} proxy_pass http://127.0.0.1:@OTHER@; }}",
        "/index.html",
        200,
        "leaks",
        reason="this server is not guarded, and s.test passes on to it",
        port="@OTHER@",
        beside="server { listen @OTHER@; root @FOLDER@/files; }",
    ),
    other(
        "the folder of a server behind the guarded one",
        "root @FOLDER@/files;",
        body=f"location / {{ {LIST} proxy_pass http://unix:@FOLDER@/b; }}",
        beside="server { listen unix:@FOLDER@/b; root @FOLDER@/files; }"
        " server { listen 127.0.0.1:@OTHER@; root @FOLDER@/files; }",
    ),
    other(
        "a server with the same service and a list, that another passes on to",
        "",
        port="@PORT@",
        headers=("Host: o.test",),
        allow=HERE,
        stranger="127.0.0.3",
        beside=f"server {{ listen 127.0.0.1:@OTHER@; allow 127.0.0.1; deny all; location / {{ {PASS} }} }}"
        " server { listen 127.0.0.1:@PORT@; server_name o.test;"
        " location / { proxy_pass http://127.0.0.1:@OTHER@; } }",
        reason="and its list lets in 127.0.0.1",
    ),
]
ELSEWHERE = [
    Case(
        "a redirect to where another name answers",
        "return 301 https://$http_host:@OTHER@$request_uri;",
        "/index.html",
        200,
        "leaks",
        reason="answers for s.test, whose own servers only redirect",
        port="@OTHER@",
        beside=f"server {{ listen 127.0.0.1:@OTHER@; server_name *.test; location / {{ {PASS} }} }}",
    ),
    Case(
        "a redirect to another name",
        f"return 301 https://other.test:@OTHER@$request_uri; location / {{ {LIST} {PASS} }}",
        "/index.html",
        301,
        "closed",
        "/",
        beside="server { listen 127.0.0.1:@OTHER@; server_name *.test; location / { root @FOLDER@/none; } }",
    ),
]
INNER = [
    Case(
        "a server behind the guarded one, for the host itself alone",
        f"location / {{ {LIST} proxy_pass http://unix:@FOLDER@/b; }}",
        "/index.html",
        403,
        "guarded",
        beside="server { listen unix:@FOLDER@/b; root @FOLDER@/files; }",
    ),
]


@pytest.mark.parametrize(
    "case",
    [
        *SELF_PROXIES,
        *STREAMS,
        *FOLDERS,
        *SLASHES,
        *SUBREQUESTS,
        *LIMITS,
        *BREAKS,
        *MOVED,
        *PASSED,
        *CHOSEN,
        *ELSEWHERE,
        *TIDY,
        *INNER,
    ],
    ids=lambda case: case.name,
)
def test_who_goes_round_is_seen_by_the_audit(case: Case) -> None:
    needs_echo = " echo_" in case.body
    if (case.lua and not LUA) or (needs_echo and not ECHO) or (case.above and not STREAM):
        pytest.skip("nginx has no such module")
    outcome = asked(case)
    assert outcome.stranger.status == case.status
    assert ("SECRET" in outcome.stranger.body) == (case.kind == "leaks")
    leaks = [f for f in outcome.findings if f.kind == "leaks"]
    if case.kind == "leaks":
        assert [f for f in leaks if case.reason in f.reason and f.remedy], outcome.findings
    else:
        assert not leaks
        assert case.kind in [f.kind for f in outcome.findings if f.location == case.location]


@pytest.mark.skipif(not STREAM, reason="nginx has no stream module")
def test_a_stream_server_that_believes_any_proxy_line_has_no_list() -> None:
    port, back, open_to = free_ports(3)
    config = (
        f"http {{ server {{ listen 127.0.0.1:{back}; return 200 SECRET; }}\n"
        f"server {{ listen 127.0.0.1:{port}; server_name s.test;"
        f" location / {{ allow {FRIEND}; deny all; proxy_pass http://127.0.0.1:{back}; }} }} }}\n"
        f"stream {{ server {{ listen 127.0.0.1:{open_to} proxy_protocol; set_real_ip_from 127.0.0.0/8;"
        f" allow {FRIEND}; deny all; proxy_pass 127.0.0.1:{back}; }} }}"
    )
    site = GuardedSite("nginx.conf", "s.test", ("/",), (), (ip_network(FRIEND),))
    with running(config, ready=port) as nginx, socket.create_connection(("127.0.0.1", open_to), 10) as client:
        line = f"PROXY TCP4 {FRIEND} 127.0.0.1 1 2\r\n"
        client.sendall(f"{line}GET / HTTP/1.0\r\n\r\n".encode())
        answer = b""
        while more := client.recv(4096):
            answer += more
        findings = audit(parse_dump(dump(nginx.folder)), [site])
    assert b"SECRET" in answer
    assert [f.location for f in findings if f.kind == "leaks"] == ["(stream)"]
