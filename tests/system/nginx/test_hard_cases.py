"""What looks guarded and is not, and what looks open and is not: each asked of a real nginx.

A stranger comes from 127.0.0.1, a friend from 127.0.0.2, whom the list lets in.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.nginx.cases import ACME, LIST, PASS, Case, asked
from tests.support.nginx.real import LUA, NGINX, opinion
from tests.support.nginx.strangers import forged
from tests.support.nginx.worlds import FRIEND, PASSWORD
from wgcluster.nginx.syntax.errors import NginxSyntaxError
from wgcluster.nginx.syntax.tree import parse

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")

REALIP = "set_real_ip_from 127.0.0.0/8; real_ip_header X-Forwarded-For;"
CASES = [
    Case("list alone", f"location / {{ {LIST} {PASS} }}", "/", 403, "guarded"),
    Case("return", f'location / {{ {LIST} return 200 "SECRET"; }}', "/", 200, "leaks", reason="return 200"),
    Case(
        "a newline slips past the end of a line",
        f"location / {{ {LIST} rewrite ^(.*)$ /in$1 last; return 200 SECRET; }} location /in {{ {LIST} }}",
        "/a%0ab",
        200,
        "leaks",
        reason="return 200",
    ),
    Case(
        "a newline slips past a redirect at an open place",
        f"location / {{ {LIST} {PASS} }} location /go {{ rewrite ^/(.*)$ https://x/$1 permanent; {PASS} }}",
        "/go/%0ax",
        200,
        "leaks",
        location="/go",
        reason="no list is in effect",
    ),
    Case(
        "a rewrite without a flag does not end the phase",
        f"location / {{ {LIST} rewrite ^ /in; return 200 SECRET; }} location /in {{ {LIST} {PASS} }}",
        "/",
        200,
        "leaks",
        reason="return 200",
    ),
    Case(
        "a forged address at a method that no return is for",
        f"error_page 403 =200 /in; location / {{ {LIST} }} location = /in {{ internal; {LIST} {PASS} }}"
        f" location /go {{ {LIST} limit_except GET {{ deny all; }} return 404;"
        " set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For; }",
        "/go",
        200,
        "leaks",
        location="/go",
        reason="set_real_ip_from",
        headers=forged(FRIEND),
        method="POST",
    ),
    Case(
        "an address forged at a public place whose service sends on",
        f"location / {{ {LIST} }} location = /in {{ internal; {LIST} {PASS} }}"
        f" location /to {{ set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For; {PASS} }}",
        "/to/in",
        200,
        "leaks",
        location="= /in",
        reason="set_real_ip_from",
        headers=forged(FRIEND),
        public=("/to",),
    ),
    Case(
        "a break takes a rewrite back",
        f"location / {{ {LIST} }} location /go {{ rewrite ^ /in; break; {PASS} }} location /in {{ {LIST} }}",
        "/go",
        200,
        "leaks",
        location="/go",
        reason="no list is in effect",
    ),
    Case("rewrite", f"location / {{ {LIST} rewrite ^ /x permanent; }}", "/", 301, "leaks", reason="rewrite"),
    Case(
        "if",
        f'location / {{ {LIST} if ($request_method = GET) {{ return 200 "SECRET"; }} {PASS} }}',
        "/",
        200,
        "leaks",
        reason="return 200",
    ),
    Case("server return", f'{LIST} return 200 "SECRET"; location / {{ {PASS} }}', "/", 200, "leaks"),
    Case(
        "redirect to https under a condition that always holds",
        f"location / {{ {LIST} if ($scheme = http) {{ return 301 https://$host/; }} {PASS} }}",
        "/",
        301,
        "closed",
    ),
    Case(
        "regex beside",
        rf"location / {{ {LIST} {PASS} }} location ~ \.php$ {{ {PASS} }}",
        "/x.php",
        200,
        "leaks",
        r"~ \.php$",
        "no list",
    ),
    Case(
        "prefix beside",
        f"location / {{ {LIST} {PASS} }} location ^~ /api {{ {PASS} }}",
        "/api",
        200,
        "leaks",
        "^~ /api",
        "no list",
    ),
    Case(
        "exact beside",
        f"location / {{ {LIST} {PASS} }} location = /api {{ {PASS} }}",
        "/api",
        200,
        "leaks",
        "= /api",
        "no list",
    ),
    Case(
        "nested with a rule of its own",
        f"location / {{ {LIST} {PASS} location /in {{ allow 127.0.0.0/8; deny all; {PASS} }} }}",
        "/in",
        200,
        "leaks",
        "/in",
        "drop the outer list",
    ),
    Case(
        "nested without",
        f"location / {{ {LIST} {PASS} location /in {{ {PASS} }} }}",
        "/in",
        403,
        "guarded",
        "/in",
    ),
    Case(
        "allow all in front",
        f"location / {{ allow all; {LIST} {PASS} }}",
        "/",
        200,
        "leaks",
        reason="first match",
    ),
    Case("allow all behind", f"location / {{ {LIST} allow all; {PASS} }}", "/", 403, "guarded"),
    Case(
        "exact guarded, with a slash asked",
        f"location = /admin {{ {LIST} {PASS} }} location / {{ {PASS} }}",
        "/admin/",
        200,
        "leaks",
        "/",
    ),
    Case(
        "forged address",
        f"set_real_ip_from 127.0.0.0/8; real_ip_header X-Forwarded-For; location / {{ {LIST} {PASS} }}",
        "/",
        200,
        "leaks",
        reason="set_real_ip_from",
        headers=forged(FRIEND),
    ),
    Case(
        "a list that lets in another stranger, and the page of its 403",  # found by the fuzzed run
        "error_page 403 =200 /l0/page; allow 127.0.0.3; deny all;"
        f" location ^~ /l0/ {{ allow 127.0.0.0/8; deny all; {PASS} }}",
        "/",
        200,
        "leaks",
        "(no location)",
        "allow 127.0.0.3",
    ),
    Case(
        "forged, not believed", f"location / {{ {LIST} {PASS} }}", "/", 403, "guarded", headers=forged(FRIEND)
    ),
    Case(
        "return to a named location",
        f"error_page 418 @x; location / {{ {LIST} return 418; }}"
        f' location @x {{ {LIST} return 200 "SECRET"; }}',
        "/",
        418,
        "leaks",
    ),
    Case(
        "try_files to a named location with the list",
        f'location / {{ try_files "" @h; }} location @h {{ {LIST} {PASS} }}',
        "/",
        403,
        "guarded",
    ),
    Case(
        "try_files past the list",
        f'location / {{ try_files "" @h; }} location @h {{ {PASS} }} location /x {{ {LIST} {PASS} }}',
        "/",
        200,
        "leaks",
        "@h",
    ),
    Case(
        "server list, challenge public",
        f"{LIST} location / {{ {PASS} }} location ^~ {ACME} {{ allow all; {PASS} }}",
        f"{ACME}t",
        200,
        "public",
        f"^~ {ACME}",
        public=(ACME,),
    ),
    Case(
        "server list, challenge public, the rest",
        f"{LIST} location / {{ {PASS} }} location ^~ {ACME} {{ allow all; {PASS} }}",
        f"{ACME}../../x",
        403,
        "guarded",
        public=(ACME,),
    ),
    Case(
        "satisfy any with a password",
        f"location / {{ satisfy any; auth_basic x; auth_basic_user_file @FOLDER@/users; {LIST} {PASS} }}",
        "/",
        200,
        "leaks",
        reason="satisfy any",
        headers=(PASSWORD,),
    ),
    Case(
        "satisfy all with a password",
        f"location / {{ auth_basic x; auth_basic_user_file @FOLDER@/users; {LIST} {PASS} }}",
        "/",
        403,
        "guarded",
        headers=(PASSWORD,),
    ),
    Case(
        "auth_request with satisfy any",
        f"location / {{ satisfy any; auth_request /ok; {LIST} {PASS} }}"
        f" location = /ok {{ internal; {PASS} }}",
        "/",
        200,
        "leaks",
        reason="satisfy any",
    ),
    Case(
        "auth_request with satisfy all",
        f"location / {{ auth_request /ok; {LIST} {PASS} }} location = /ok {{ internal; {PASS} }}",
        "/",
        403,
        "guarded",
    ),
    Case(
        "the 403 is answered by the service",
        f"location / {{ error_page 403 =200 @open; {LIST} {PASS} }} location @open {{ {PASS} }}",
        "/",
        200,
        "leaks",
        reason="its 403 is answered by",
    ),
    Case(
        "the 403 has a page",
        f"location / {{ error_page 403 /denied.html; {LIST} {PASS} }}"
        " location = /denied.html { internal; allow all; root @FOLDER@/files; }",
        "/",
        403,
        "guarded",
    ),
    Case(
        "internal",
        f"location / {{ {LIST} {PASS} }} location /in {{ internal; {PASS} }}",
        "/in",
        404,
        "guarded",
        "/in",
    ),
    Case(
        "internal, and a rewrite leads there",
        f"location / {{ {LIST} {PASS} }} location /in {{ internal; {PASS} }}"
        " location /go { rewrite ^ /in last; }",
        "/go",
        200,
        "leaks",
        "/in",
    ),
    Case(
        "mirrored from a public place",
        f"location / {{ {LIST} {PASS} }} location /pub {{ mirror /hook; {PASS} }}"
        f" location /hook {{ internal; {PASS} }}",
        "/pub",
        200,
        "leaks",
        "/pub",
        "mirror",
        public=("/pub",),
    ),
    Case(
        "default server with the same backend",
        f"location / {{ {LIST} {PASS} }}",
        "/",
        200,
        "leaks",
        beside=f"server {{ listen 127.0.0.1:@PORT@ default_server; server_name _; location / {{ {PASS} }} }}",
        reason="this server is not guarded",
        headers=("Host: other.test",),
    ),
    Case(
        "default server with the same upstream by name",
        f"location / {{ {LIST} proxy_pass http://app; }}",
        "/",
        200,
        "leaks",
        beside="upstream app { server localhost:@BACK@; }"
        " server { listen 127.0.0.1:@PORT@ default_server;"
        " location / { set $b http://127.0.0.1:@BACK@; proxy_pass $b; } }",
        reason="this server is not guarded",
        headers=("Host: other.test",),
    ),
    *(
        Case(
            f"another server serves the same {how}",
            f"location / {{ {LIST} proxy_pass http://app; }}",
            "/",
            200,
            "leaks",
            beside=f"upstream app {{ server 127.0.0.1:@BACK@; }} {beside}",
            reason="this server is not guarded",
            headers=("Host: app.test",),
        )
        for how, beside in {
            "by a map": "map $host $there { default 127.0.0.1:@BACK@; } server { listen 127.0.0.1:@PORT@"
            " default_server; location / { proxy_pass http://$there; } }",
            "by a set in an if": "server { listen 127.0.0.1:@PORT@ default_server; set $b x; location / {"
            " if ($host) { set $b 127.0.0.1:@BACK@; } proxy_pass $scheme://$b; } }",
            "by a name of the client's": r"server { listen 127.0.0.1:@PORT@; server_name ~^(?<a>\w+)\.test$;"
            " location / { proxy_pass http://$a; } }",
            "in capitals": "server { listen 127.0.0.1:@PORT@ default_server; location / {"
            " proxy_pass HTTP://APP; } }",
            "at 0.0.0.0": "server { listen 127.0.0.1:@PORT@ default_server; location / {"
            " proxy_pass http://0.0.0.0:@BACK@; } }",
        }.items()
    ),
    *(
        Case(
            f"the {code} of a {what} is answered by the service",  # found by the fuzzed run
            f"location / {{ {LIST} {PASS} }} location = /go {{ error_page {code} =200 /open; {what}; }}"
            f" location /open {{ {PASS} }}",
            "/go",
            200,
            "leaks",
            "= /go",
            "is answered by /open",
        )
        for code, what in ((301, "rewrite ^ /x permanent"), (302, "return https://x/"))
    ),
    Case(
        "a request that nginx cannot read, answered by the service",
        f"error_page 400 =200 @o; location / {{ {LIST} error_page 404 /x; {PASS} }} location @o {{ {PASS} }}",
        "/",
        200,
        "leaks",
        "@o",
        headers=("Content-Length: x",),
    ),
    *(
        Case(
            f"{fetch} of the {where} around a public place",
            f"{fetch if where == 'server' else ''} location / {{ {LIST} {PASS} }}"
            " location /pub { default_type text/html; alias @FOLDER@/files/fetch.html; }",
            "/pub",
            200,
            "leaks",
            "/pub",
            "fetches other locations",
            public=("/pub",),
            beside=fetch if where == "http" else "",
        )
        for where in ("server", "http")
        for fetch in ("add_after_body /x;", "ssi on;")
    ),
    Case(
        "what is fetched into a public place is switched off",
        f"ssi on; add_after_body /x; location / {{ {LIST} {PASS} }}"
        ' location /pub { ssi off; add_after_body ""; alias @FOLDER@/files/index.html; }',
        "/pub",
        200,
        "public",
        "/pub",
        public=("/pub",),
    ),
    Case(
        "the page of the 403 fetches",
        f"location / {{ {LIST} error_page 403 /page; {PASS} }} location = /page {{ internal; allow all;"
        " ssi on; default_type text/html; alias @FOLDER@/files/fetch.html; }",
        "/",
        403,
        "leaks",
        reason="its 403 is answered by /page",
    ),
    Case(
        "lua of the http block answers before the list",
        f"location / {{ {LIST} {PASS} }}",
        "/",
        200,
        "leaks",
        reason="rewrite_by_lua_block",
        beside='rewrite_by_lua_block { ngx.say("SECRET") ngx.exit(200) }',
        lua=True,
    ),
    Case(
        "lua of the access phase before the list",
        f'location / {{ {LIST} access_by_lua_block {{ ngx.say("SECRET") ngx.exit(200) }} {PASS} }}',
        "/",
        200,
        "leaks",
        reason="access_by_lua_no_postpone",
        beside="access_by_lua_no_postpone on;",
        lua=True,
    ),
    Case(
        "the alias of a public place climbs out of its folder",
        f"location / {{ {LIST} {PASS} }} location /pub {{ alias @FOLDER@/files/sub/; }}",
        "/pub../index.html",
        200,
        "leaks",
        "/pub",
        "/pub../",
        public=("/pub",),
    ),
    Case(
        "the folder of a public place holds the guarded one",
        f"location / {{ {LIST} root @FOLDER@/files; }} location ^~ {ACME} {{ alias @FOLDER@/files/; }}",
        f"{ACME}index.html",
        200,
        "leaks",
        f"^~ {ACME}",
        "guarded elsewhere",
        public=(ACME,),
    ),
    Case(
        "the folder of a public place would hold the guarded one, but it answers all by itself",
        f"root @FOLDER@/files; location ^~ /sub/ {{ return 418; location = /sub/x {{ {LIST}"
        f" try_files '' @next; }} }} location @next {{ {LIST} {PASS} }}",
        "/sub/y",
        418,
        "public",
        "^~ /sub/",
        public=("^~ /sub/",),
    ),
    Case(
        "the folder of a public place lies in the guarded one",
        f"root @FOLDER@/files; location / {{ {LIST} }} location ^~ /sub/ {{ index denied.html; }}",
        "/sub/denied.html",
        200,
        "public",
        "^~ /sub/",
        public=("/sub/",),
    ),
    *(
        Case(
            f"the service of a public place sends on to {target}",
            f"location / {{ {LIST} {PASS} }}"
            f" location /pub {{ proxy_pass http://127.0.0.1:@BACK@/to{target}; }}"
            f" location {target} {{ {'internal; alias @FOLDER@/files/;' if target == '/in/' else PASS} }}",
            "/pub",
            200,
            "leaks",
            target,
            "what answers at /pub may send on",
            public=("/pub",),
        )
        for target in ("/in/", "@in")
    ),
    Case(
        "the service of a public place sends on to what has a page",
        f"location / {{ {LIST} {PASS} }} location /to {{ {PASS} }}"
        f" location @in {{ {LIST} error_page 403 = @page; }}"
        " location @page { root @FOLDER@/files; try_files $uri /index.html =404; }",
        "/to@in",
        200,
        "leaks",
        "@page",
        "no list is in effect",
        public=("/to",),
    ),
    Case(
        "an address forged where the service of a public place sends on to",
        f"location / {{ {LIST} {PASS} }} location /to {{ {PASS} }} location @in {{ {LIST} {PASS} }}"
        ' location = /x { internal; try_files "" @in;'
        " set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For; }",
        "/to/x",
        200,
        "leaks",
        "@in",
        "set_real_ip_from",
        headers=forged(FRIEND),
        public=("/to",),
    ),
    Case(
        "a try_files is not for the methods of limit_except",
        f"root @FOLDER@/files; location / {{ {LIST} {PASS} }} location @page {{ {PASS} }}"
        f" location @in {{ {PASS} }} location /go {{ error_page 404 = @page; {LIST}"
        ' limit_except GET { allow all; } try_files "" @in; }',
        "/go",
        200,
        "leaks",
        "@page",
        "no list is in effect",
        method="POST",
    ),
    Case(
        "the service of a public place that has a page sends on",
        f"location / {{ {LIST} }} location @in {{ return 200 SECRET; {LIST} }} location @page {{ {LIST} }}"
        f" location /to {{ error_page 404 = @page; if ($arg_y) {{ return 404; }} {PASS} }}",
        "/to@in",
        200,
        "leaks",
        "@in",
        "return 200",
        public=("/to",),
    ),
    Case(
        "a rewrite that leaves the path as it is makes the request an internal one",
        f"rewrite ^(.*)$ $1 break; location / {{ {LIST} }} location /in {{ internal; {PASS} }}",
        "/in",
        200,
        "leaks",
        "/in",
        "no list is in effect",
    ),
    Case(
        "what a public place is rewritten to may be guarded, and other requests are not",
        f"if ($arg_y) {{ rewrite ^ /in last; }} location / {{ {LIST} }} location /in {{ {LIST} {PASS} }}"
        f" location /go {{ {PASS} }}",
        "/go",
        200,
        "public",
        "/go",
        public=("/go",),
    ),
    Case(
        "only a GET comes through the rewrites of a place with limit_except",
        f"location / {{ {LIST} }} location /go {{ limit_except GET {{ {LIST} }} rewrite ^ /in last; }}"
        f" location /in {{ {LIST} limit_except GET {{ allow all; }} {PASS} }}",
        "/go",
        403,
        "guarded",
        "/go",
        method="POST",
    ),
    Case(
        "no newline comes where a rewrite of the server has looked at the whole path",
        f"if ($arg_y) {{ rewrite ^(.*)$ $1 break; }} return 404; location / {{ {LIST} }}"
        f" location /go {{ {LIST} rewrite ^(.*)$ $1 break; return 200 SECRET; {PASS} }}",
        "/go/a%0ab?y=1",
        404,
        "guarded",
        "/go",
    ),
    Case(
        "no forged address comes by the pages of two refusals",
        f"error_page 403 /mid/x; location / {{ {LIST} }} location /end/ {{ {LIST} {PASS} }}"
        " location /mid/ { error_page 403 = /end/x; deny all; }"
        " location /go/ { set_real_ip_from 127.0.0.0/8; real_ip_header X-Forwarded-For; deny all; }",
        "/mid/x",
        403,
        "guarded",
        "/mid/",
        headers=forged(FRIEND),
    ),
    Case(
        "what a condition was in the server, it is in a location",
        f"if ($arg_y) {{ break; }} return 404; location / {{ {LIST} }}"
        f" location /go {{ if ($arg_y) {{ return 404; }} {PASS} }}",
        "/go?y=1",
        404,
        "closed",
        "/go",
    ),
    Case(
        "the service of a public place is not asked where to",
        f"location / {{ {LIST} {PASS} }} location /pub {{ proxy_ignore_headers X-Accel-Redirect;"
        " proxy_pass http://127.0.0.1:@BACK@/to/in/; } location /in/ { internal; alias @FOLDER@/files/; }",
        "/pub",
        200,
        "guarded",
        "/in/",
        public=("/pub",),
    ),
    Case(
        "a location rewrites past the rewrite of its server",  # found by the fuzzed run
        f"rewrite ^ /moved; location / {{ {LIST} {PASS} }} location /moved {{ rewrite ^ /open last; }}"
        f" location /open {{ {PASS} }}",
        "/",
        200,
        "leaks",
        reason="rewritten to /open",
    ),
    Case(
        "the 403 of a named location is answered by what is public",  # found by the fuzzed run
        f'location / {{ try_files "" @list; }} location @list {{ {LIST} error_page 403 = @open; {PASS} }}'
        f" location @open {{ {PASS} }}",
        "/",
        200,
        "public",
        "@open",
        public=("@open",),
    ),
    Case(
        "a list that lets in another stranger, whom the next refuses, and the page of its own 403",
        f"location / {{ error_page 403 =200 @open; allow 127.0.0.3; {LIST} try_files '' @next; }}"
        f" location @next {{ {LIST} {PASS} }} location @open {{ {PASS} }}",
        "/",
        200,
        "leaks",
        reason="its 403 is answered by @open",
    ),
    Case(
        "the page of a 403 is declared public, and sends on to what is not",
        f"location / {{ error_page 403 =200 @page; {LIST} {PASS} }} location @page {{ rewrite ^ /x last; }}"
        f" location /x {{ {PASS} }}",
        "/",
        200,
        "leaks",
        reason="its 403 is answered by @page",
        public=("@page",),
    ),
    Case(
        "a folder of nginx's own that it does not list, answered by the service",
        f"error_page 403 =200 @open; index none.html; location /x {{ {LIST} {PASS} }}"
        f" location @open {{ {PASS} }}",
        "/",
        200,
        "leaks",
        "(no location)",
        "its own folder html",
    ),
    Case(
        "what is not there, found out by a password, answered by the service",
        f"{LIST} error_page 404 =200 @open; satisfy any; auth_basic x; auth_basic_user_file @FOLDER@/users;"
        f" location /x {{ {PASS} }} location @open {{ {PASS} }}",
        "/none",
        200,
        "leaks",
        "(no location)",
        "satisfy any",
        headers=(PASSWORD,),
    ),
    Case(
        "the page of a folder's 403 moves to what is public, but nginx has an index in its own folder",
        f"error_page 403 =200 @page; location /x {{ allow 127.0.0.1; {LIST} {PASS} }}"
        f" location @page {{ rewrite ^ /x last; }}",
        "/",
        200,
        "leaks",
        "(no location)",
        "its own folder html",
        public=("/x",),
    ),
    Case(
        "a try_files that nobody comes to: the rewrites answer, and for other methods it is not in effect",
        f"location / {{ limit_except GET {{ deny all; }} if ($scheme = http) {{ return 301 https://x/; }}"
        f" {LIST} {REALIP} try_files '' @next; }}"
        f" location @next {{ rewrite ^ /x; }} location /x {{ {LIST} {PASS} }}",
        "/x",
        403,
        "guarded",
        "/x",
        headers=(f"X-Forwarded-For: {FRIEND}",),
    ),
    Case(
        "the page of a 301 that is said before the list, where a slash is missing",
        f"location /go/ {{ error_page 301 =200 @open; {LIST} {PASS} }} location @open {{ {PASS} }}",
        "/go",
        200,
        "leaks",
        "@open",
    ),
    Case(
        "the page of a 301 that nothing says: no slash can be missing",
        f"location = /go {{ error_page 301 =200 @open; {LIST} {PASS} }} location @open {{ {PASS} }}",
        "/go",
        403,
        "guarded",
        "@open",
    ),
    Case(
        "the server has believed an address already, so a place that believes it too does not ask again",
        f"{REALIP} error_page 403 = @gone;"
        f" location / {{ allow 127.0.0.3; deny all; try_files '' @next; }} location @gone {{ return 404; }}"
        f" location @next {{ set_real_ip_from 127.0.0.0/8; {LIST} {PASS} }}",
        "/",
        404,
        "guarded",
        headers=("X-Forwarded-For: 127.0.0.3, 127.0.0.2",),
    ),
    Case(
        "the page of a service that is down: whom one list has let in, the other does not, forged or not",
        f"location /go {{ allow 127.0.0.3; deny all; {REALIP} error_page 502 =200 /x;"
        " proxy_pass http://127.0.0.1:@OTHER@; }"
        f" location /x {{ {LIST} {PASS} }}",
        "/x",
        403,
        "guarded",
        "/x",
        headers=(f"X-Forwarded-For: {FRIEND}",),
    ),
    Case(
        "the page of a 403 that nothing says: others are let in, and no folder can be meant",
        f"location /go {{ error_page 403 /x; {REALIP} {LIST} limit_except GET {{ allow all; }}"
        f" return 204; }} location /x {{ {LIST} {PASS} }}",
        "/x",
        403,
        "guarded",
        "/x",
        headers=(f"X-Forwarded-For: {FRIEND}",),
    ),
    Case(
        "a public service sends on to a guarded place, with the address that was forged on the way to it",
        f"location /to {{ {REALIP} {PASS} }} location / {{ {LIST} {PASS} }}",
        "/to/x",
        200,
        "leaks",
        reason="set_real_ip_from 127.0.0.0/8",
        headers=(f"X-Forwarded-For: {FRIEND}",),
        public=("/to",),
    ),
    Case(
        "a place moves to what is public, whose 403 for other methods has a page",
        f"error_page 403 =200 @open; location / {{ rewrite ^ /x; {LIST} }} location @open {{ {PASS} }}"
        " location /x { limit_except GET { deny all; } return 404; }",
        "/",
        200,
        "leaks",
        method="POST",
        public=("/x",),
    ),
    Case(
        "a public service sends on whom its list has let in, by a forged address that the other list refuses",
        f"location /to {{ allow 127.0.0.3; deny all; {REALIP} {PASS} }} location / {{ {LIST} {PASS} }}",
        "/x",
        403,
        "guarded",
        headers=("X-Forwarded-For: 127.0.0.3",),
        public=("/to",),
    ),
    Case(
        "a condition moves to what is public, and the page of its redirect is not",
        f"location / {{ if ($request_method = GET) {{ rewrite ^ /go last; }} {LIST} {PASS} }}"
        f" location /go {{ error_page 301 =200 @x; return 301 /y; }} location @x {{ {PASS} }}",
        "/",
        200,
        "leaks",
        reason="may be rewritten to /go",
        public=("/go",),
    ),
    Case(
        "the page of a 403 sends on to what is public",
        f"location / {{ error_page 403 =200 @page; {LIST} {PASS} }} location @page {{ rewrite ^ /x last; }}"
        f" location /x {{ {PASS} }}",
        "/x",
        200,
        "public",
        "/x",
        public=("@page", "/x"),
    ),
    Case(
        "a forged address is believed where the server's rewrite lets nobody come",
        f"rewrite ^ /moved last; location /moved {{ {LIST} {PASS} }} location / {{"
        f" set_real_ip_from 127.0.0.0/8; real_ip_header X-Forwarded-For; {PASS} }}",
        "/",
        403,
        "guarded",
        headers=forged(FRIEND),
    ),
    Case(
        "a code that the server returns under a condition, answered by the service",
        f"error_page 418 =200 @open; if ($request_method = GET) {{ return 418; }}"
        f" location / {{ {LIST} {PASS} }} location @open {{ {PASS} }}",
        "/",
        200,
        "leaks",
        "@open",
    ),
    Case(
        "limit_except with rules of its own",
        f"location / {{ {LIST} limit_except GET {{ allow all; }} {PASS} }}",
        "/",
        200,
        "leaks",
        method="POST",
        reason="limit_except",
    ),
    Case(
        "limit_except without",
        f"location / {{ {LIST} limit_except GET {{ auth_basic off; }} {PASS} }}",
        "/",
        403,
        "guarded",
        method="POST",
    ),
    Case(
        "proxied in an if",
        f"location / {{ {LIST} if ($request_method = GET) {{ {PASS} }} }}",
        "/",
        403,
        "guarded",
    ),
    Case(
        "regex in capitals",
        f"location / {{ {LIST} {PASS} }} location ~* ^/ADMIN {{ {PASS} }}",
        "/admin",
        200,
        "leaks",
        "~* ^/ADMIN",
    ),
    Case(
        "list of the http block",
        f"location / {{ {PASS} }}",
        "/",
        403,
        "guarded",
        beside=LIST,
    ),
    Case(
        "rewritten into a guarded place",
        f"location / {{ {LIST} {PASS} }} location /go {{ rewrite ^ /x last; }}",
        "/go",
        403,
        "guarded",
        "/go",
    ),
    Case(
        "location ends in a block behind",
        f"location / {{ {LIST} {PASS} }} location ^~ /static {{ alias @FOLDER@/files; }}",
        "/static/index.html",
        200,
        "leaks",
        "^~ /static",
    ),
    Case(
        "one path alone, and a page that answers those with a newline",
        f"return 403; error_page 403 = @x; location = /one {{ {PASS} }}"
        f' location @x {{ rewrite ^(.*)$ $1 break; return 200 "SECRET"; {LIST} {PASS} }}',
        "/one",
        403,
        "guarded",
        "= /one",
    ),
    Case(
        "all paths, and a page that answers those with a newline",
        f"return 403; error_page 403 = @x; location / {{ {PASS} }}"
        f' location @x {{ rewrite ^(.*)$ $1 break; return 200 "SECRET"; {LIST} {PASS} }}',
        "/%0ay",
        200,
        "leaks",
        reason="return 403 is answered by @x: return 200",
    ),
    Case(
        "what is no folder, and the page of a folder's 403",
        f"rewrite ^ /none last; error_page 403 @x; location @x {{ {PASS} }}"
        f' location / {{ limit_except GET {{ allow all; }} {LIST} return 404; try_files "" @x; }}',
        "/",
        404,
        "closed",
        method="POST",
    ),
    Case(
        "what may be a folder, and the page of its 403",
        f"root @FOLDER@/files; index none.html; error_page 403 =200 @x; location @x {{ {PASS} }}"
        f' location / {{ limit_except GET {{ allow all; }} {LIST} return 404; try_files "" @x; }}',
        "/sub/",
        200,
        "leaks",
        reason="its 403 is answered by @x",
        method="POST",
    ),
    Case(
        "an address forged for a page, without the query that the place asks for",
        f"location / {{ {LIST} if ($arg_y) {{ rewrite ^(.*)$ $1 break; }} return 404; {PASS} }}"
        f" location /x {{ deny all; {REALIP} error_page 403 = /page; {PASS} }}",
        "/x?y=1",
        404,
        "guarded",
        headers=(f"X-Forwarded-For: {FRIEND}",),
    ),
    Case(
        "a page of what no service has said, for nobody is handed to one",
        f"location / {{ {LIST} {PASS} }} location @x {{ proxy_ignore_headers X-Accel-Redirect; {PASS} }}"
        f' location /x {{ {REALIP} error_page 502 =200 /page; try_files "" @x; }}',
        "/page",
        403,
        "guarded",
        public=("/x", "@x"),
    ),
    Case(
        "a text for the page of another list's 403",
        f"location /open {{ {LIST} error_page 403 =200 /page; {PASS} }} "
        f'location /page {{ internal; return 200 "SECRET"; {LIST} }}',
        "/open",
        200,
        "leaks",
        "/page",
        "return 200 runs before the list",
    ),
    Case(
        "back to the place that refused, with an address forged in between",
        f'location / {{ try_files "" @x; }} location @x {{ error_page 403 = /page; {LIST} {PASS} }}'
        f' location /page {{ {REALIP} {LIST} try_files "" @x; }}',
        "/",
        200,
        "leaks",
        reason="set_real_ip_from 127.0.0.0/8",
        headers=(f"X-Forwarded-For: {FRIEND}",),
    ),
    Case(
        "the page of the 401 that a password makes of a list's 403",
        "satisfy any; auth_basic x; auth_basic_user_file @FOLDER@/users;"
        f" location @x {{ {PASS} auth_basic off; }}"
        f" location @list {{ {LIST} auth_basic off; {PASS} }}"
        f' location / {{ error_page 401 =200 @x; {LIST} try_files "" @list; }}',
        "/",
        200,
        "leaks",
        reason="its 401 is answered by @x",
    ),
    Case(
        "a way back to itself, which is open to what comes from inside",
        f'location / {{ internal; error_page 404 /none; try_files "" @x; }} location @x {{ {PASS} }}',
        "/",
        404,
        "leaks",
        "@x",
    ),
    Case(
        "a server that says one thing to all, and a list that is open for the page of it",
        f"return 418; error_page 418 =200 @x; location / {{ {LIST} {PASS} }}"
        f" location @x {{ allow 127.0.0.0/8; deny all; {PASS} }}",
        "/",
        200,
        "public",
        "@x",
        public=("@x",),
    ),
    Case(
        "moved to what is public, and the page of its 403 is not",
        f"location / {{ rewrite ^ /go last; {LIST} {PASS} }} location @x {{ {PASS} }}"
        f" location /go {{ allow 127.0.0.3; deny all; error_page 403 =200 @x; {PASS} }}",
        "/",
        200,
        "leaks",
        reason="rewritten to /go",
        public=("/go",),
    ),
    Case(
        "a service that nobody comes to may send on what it likes",
        f"location /in {{ internal; {PASS} }} location / {{ {LIST} {PASS} }} location /open {{ {PASS}"
        " limit_except GET { deny all; } if ($scheme = http) { return 301 https://$host$request_uri; } }",
        "/in",
        404,
        "guarded",
        "/in",
        public=("/open",),
    ),
    Case(
        "the page of a list's 403, where an address forged passes it and is handed to nobody",
        f"location / {{ error_page 403 =200 @x; {REALIP} {LIST} location = /one {{ return 404;"
        f' limit_except GET {{ {LIST} }} try_files "" @x; }} {PASS} }} location @x {{ {PASS} }}',
        "/one",
        200,
        "leaks",
        "= /one",
        "its 403 is answered by @x",
        method="POST",
    ),
    Case(
        "an address forged on the way, with the query and without",
        f'location / {{ {LIST} {PASS} }} location /x {{ {REALIP} try_files "" @x; }}'
        ' location @x { if ($arg_y) { rewrite ^ / last; } try_files "" /; }',
        "/x",
        200,
        "leaks",
        reason="set_real_ip_from 127.0.0.0/8",
        headers=(f"X-Forwarded-For: {FRIEND}",),
    ),
    Case(
        "an if has no try_files, and a password shows what lies in nginx's own folder",
        f"satisfy any; auth_basic x; auth_basic_user_file @FOLDER@/users; location @x {{ {PASS} }}"
        " location /index { if ($arg_y) { rewrite ^(.*)$ $1 break; } return 404; error_page 403 = @x;"
        f' {LIST} try_files "" @x; }}',
        "/index.html?y=1",
        200,
        "leaks",
        "/index",
        "satisfy any",
        headers=(PASSWORD,),
    ),
    Case(
        "an address forged for a page, which is a GET",
        f"location / {{ return 418; limit_except GET {{ {LIST} }} {LIST} {PASS} }}"
        f" location /x {{ deny all; {REALIP} error_page 403 = /page; {PASS} }}",
        "/x",
        418,
        "closed",
        headers=(f"X-Forwarded-For: {FRIEND}",),
        method="POST",
    ),
    Case(
        "a public service that would believe only those whom a list has kept out on the way",
        f'location /to {{ allow 127.0.0.2/31; deny all; try_files "" @x; }} location / {{ {LIST} {PASS} }}'
        f" location @x {{ set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For; {PASS} }}",
        "/to/in",
        403,
        "guarded",
        headers=(f"X-Forwarded-For: {FRIEND}",),
        public=("@x",),
        stranger="127.0.0.3",
    ),
    Case(
        "a public service that believes those whom a list has let in on the way",
        f'location /to {{ allow 127.0.0.2/31; deny all; try_files "" @x; }} location / {{ {LIST} {PASS} }}'
        f" location @x {{ set_real_ip_from 127.0.0.3; real_ip_header X-Forwarded-For; {PASS} }}",
        "/to/in",
        200,
        "leaks",
        reason="what answers at @x may send on to it: set_real_ip_from 127.0.0.3",
        headers=(f"X-Forwarded-For: {FRIEND}",),
        public=("@x",),
        stranger="127.0.0.3",
    ),
    Case(
        "a public service that answers whoever leaves out a slash, and believes an address",
        f"location / {{ {LIST} {PASS} location /to/in/ {{ error_page 301 =200 @x; {PASS} }} }}"
        f" location @x {{ {REALIP} {PASS} }}",
        "/to/in",
        200,
        "leaks",
        reason="what answers at @x may send on to it: set_real_ip_from 127.0.0.0/8",
        headers=(f"X-Forwarded-For: {FRIEND}",),
        public=("@x",),
    ),
    Case(
        "a page for what files never say, with an address forged before",
        f"location / {{ {LIST} {PASS} }} location @x {{ {LIST} {PASS} }}"
        f" location /files {{ {REALIP} error_page 502 =200 @x; try_files /none =404; }}",
        "/files",
        404,
        "guarded",
        "/",
        headers=(f"X-Forwarded-For: {FRIEND}",),
        public=("@x",),
    ),
    Case(
        "a page for what try_files says, with an address forged before",
        f"location / {{ {LIST} {PASS} }} location @x {{ {LIST} {PASS} }}"
        f" location /to/ {{ {REALIP} error_page 502 =200 @x; try_files /none =502; }}",
        "/to/in",
        200,
        "leaks",
        "/",
        "what answers at @x may send on to it",
        headers=(f"X-Forwarded-For: {FRIEND}",),
        public=("@x",),
    ),
    Case(
        "a page of the list's 403 that lua makes",
        f"location / {{ {LIST} error_page 403 =200 /page; {PASS} }}"
        ' location /page { internal; content_by_lua_block { ngx.say("SECRET") } }',
        "/",
        200,
        "leaks",
        reason="its 403 is answered by /page",
        lua=True,
    ),
    Case(
        "a redirect under a condition, beside a list that the others are asked by",
        f"{LIST} if ($host = www.s.test) {{ return 301 $scheme://s.test$request_uri; }}"
        f" location / {{ {PASS} rewrite ^/(.*)/$ /$1 permanent; {LIST} }}",
        "/x/",
        301,
        "guarded",
    ),
    Case(
        "the answer to a browser that asks what it may, beside a list",
        f"location / {{ if ($request_method = OPTIONS) {{ return 204; }} {LIST} {PASS} }}",
        "/",
        204,
        "guarded",
        method="OPTIONS",
    ),
    Case(
        "a page while the service is looked after",
        f"location / {{ {LIST} if ($uri) {{ return 503; }} error_page 503 /denied.html; {PASS} }}"
        " location = /denied.html { internal; allow all; root @FOLDER@/files; }",
        "/",
        503,
        "guarded",
    ),
    Case(
        "a folder of pages, one a status",
        f"{LIST} error_page 403 404 /sub/$status.html; location / {{ {PASS} }}"
        " location ^~ /sub/ { internal; allow all; root @FOLDER@/files; }",
        "/",
        403,
        "guarded",
    ),
    Case(
        "a page with an empty text, which is none",
        f"location / {{ {LIST} error_page 404 =200 @x; return 404 ''; {PASS} }} location @x {{ {PASS} }}",
        "/",
        200,
        "leaks",
        reason="return 404 is answered by @x",
    ),
    Case(
        "methods without a list, whose 404 is answered by what is public but for a list",
        f"error_page 404 =200 @x; location @x {{ deny 127.0.0.3; {PASS} }} location / {{ {LIST} {PASS} }}"
        ' location /in { return 403; limit_except GET { allow all; } deny all; try_files "" @x; }',
        "/in",
        200,
        "public",
        "@x",
        public=("@x",),
        method="POST",
    ),
    Case(
        "a name with a variable, and one of those that it may be is open",
        f"location / {{ try_files '' @$type; }} location @web {{ {LIST} {PASS} }} location @ws {{ {PASS} }}",
        "/",
        200,
        "leaks",
        reason="try_files goes on to @$type: no list",
        headers=("Upgrade: websocket",),
        beside="map $http_upgrade $type { default web; websocket ws; }",
    ),
    Case(
        "a page whose name has a variable",
        f"location / {{ error_page 403 =200 @$type; {LIST} {PASS} }} location @web {{ {PASS} }}",
        "/",
        200,
        "leaks",
        reason="its 403 is answered by @$type",
        beside="map $http_upgrade $type { default web; }",
    ),
    Case(
        "names with a variable, all with a list",
        f"location / {{ error_page 403 =200 @${{type}}b; {LIST} {PASS} }} location @web {{ {LIST} {PASS} }}"
        f" location @wide {{ {PASS} }}",
        "/",
        403,
        "guarded",
        beside="map $http_upgrade $type { default we; }",
    ),
    Case(
        "a body that is too long is refused before a return",
        f"location / {{ {LIST} client_max_body_size 1; error_page 413 =200 @x; return 404; }}"
        f" location @x {{ {PASS} }}",
        "/",
        200,
        "leaks",
        "@x",
        headers=("Content-Length: 5",),
    ),
    Case(
        "a page of the list's 403 that lua sends on",
        f"location / {{ error_page 403 =200 /page; {LIST} {PASS} }} location @in {{ {PASS} }}"
        " location = /page { internal; allow all; root @FOLDER@/files;"
        " access_by_lua_block { ngx.exec('@in') } }",
        "/",
        200,
        "leaks",
        reason="its 403 is answered by /page",
        lua=True,
    ),
    Case(
        "a folder as the page, whose index is the service",
        f"location / {{ error_page 403 =200 /sub/; {LIST} {PASS} }}"
        " location /sub/ { internal; allow all; alias @FOLDER@/files/; }"
        f" location = /sub/index.html {{ internal; allow all; {PASS} }}",
        "/",
        200,
        "leaks",
        reason="its 403 is answered by /sub/",
    ),
    Case(
        "a return that is not for a version as old",
        f"location / {{ {LIST} {PASS} }} location = /index.html {{ error_page 412 =200 @x; return 200; }}"
        " location @x { root @FOLDER@/files; }",
        "/index.html",
        200,
        "leaks",
        "@x",
        headers=("If-Unmodified-Since: Tue, 01 Jan 2036 00:00:00 GMT",),
    ),
    Case(
        "a code at the end of try_files, and its page",
        f"location / {{ {LIST} {PASS} }} location @x {{ {PASS} }}"
        " location /go { error_page 404 =200 @x; try_files '' =404; }",
        "/go",
        200,
        "leaks",
        "@x",
    ),
    Case(
        "a code at the end of try_files",
        f"location / {{ try_files '' =404; }} location = /x {{ {LIST} {PASS} }}",
        "/",
        404,
        "closed",
    ),
    Case(
        "files beside what a condition passes on",
        f"location / {{ {LIST} {PASS} }} location @x {{ {PASS} }}"
        f" location /pub {{ root @FOLDER@/none; if ($arg_y) {{ {PASS} }} error_page 404 =200 @x; }}",
        "/pub",
        200,
        "leaks",
        "@x",
        public=("/pub",),
    ),
    Case(
        "a header's variable that a set has changed",
        f"location / {{ {LIST} {PASS} }} location /go {{ if ($http_a) {{ return 404; }} set $http_a 1;"
        f" if ($http_a) {{ break; }} return 404; {PASS} }}",
        "/go",
        200,
        "leaks",
        "/go",
        "no list is in effect",
    ),
    Case(
        "a try_files that an if leaves out, behind a forged address",
        f"location / {{ {LIST} {PASS} }} location @x {{ {PASS} }} location /to/ {{ {REALIP}"
        ' if ($arg_y) { break; } return 404; try_files "" @x; }',
        "/to/in?y=1",
        404,
        "guarded",
        headers=(f"X-Forwarded-For: {FRIEND}",),
        public=("@x",),
    ),
    Case(
        "a return's text with what the client writes, and ssi",
        f"ssi on; location / {{ {LIST} {PASS} }}"
        ' location /no { default_type text/html; return 404 "nothing at $uri"; }',
        "/no%3C!--%23include%20virtual=%22/x%22%20--%3E",
        404,
        "leaks",
        "/no",
        "ssi fetches other locations into it",
    ),
    Case(
        "a return's text without anything of the client's, and ssi",
        f"ssi on; location / {{ {LIST} {PASS} }} location /no {{ default_type text/html; return 404 no; }}",
        "/no",
        404,
        "closed",
        "/no",
    ),
    Case(
        "an empty answer, and another location behind it",
        f"add_after_body /x; location / {{ {LIST} {PASS} }}"
        " location = /ok { default_type text/html; return 200; }",
        "/ok",
        200,
        "leaks",
        "= /ok",
        "add_after_body fetches other locations into it",
    ),
    Case(
        "a public service whose headers of another kind are passed over",
        f"location /in {{ internal; {PASS} }} location / {{ {LIST} {PASS} }}"
        f" location /to {{ fastcgi_ignore_headers X-Accel-Redirect; {PASS} }}",
        "/to/in",
        200,
        "leaks",
        "/in",
        "what answers at /to may send on to it",
        public=("/to",),
    ),
    Case(
        "lua of a public location sends on before it answers",
        f"location @in {{ {PASS} }} location / {{ {LIST} {PASS} }}"
        " location /open { access_by_lua_block { ngx.exec('@in') } root @FOLDER@/none; }",
        "/open",
        200,
        "leaks",
        "@in",
        "what answers at /open may send on to it",
        public=("/open",),
        lua=True,
    ),
    Case(
        "moved to what is public, and the page of its 403 answers in front of a list",
        f"{LIST} error_page 403 =200 @x; location / {{ rewrite ^ /go last; {PASS} }}"
        f" location /go {{ allow all; limit_except GET {{ {LIST} }} {PASS} }}"
        " location @x { return 200 SECRET; }",
        "/",
        200,
        "leaks",
        reason="rewritten to /go",
        public=("/go", "@x"),
        method="POST",
    ),
    Case(
        "a public service behind a list that limit_except has as well, and a forged address",
        f"location / {{ {LIST} {PASS} }} location /to {{ allow {FRIEND}; allow 127.0.0.3; deny all;"
        f" limit_except GET {{ auth_basic off; }} {REALIP} {PASS} }}",
        "/to/in",
        200,
        "leaks",
        reason="what answers at /to may send on to it",
        headers=(f"X-Forwarded-For: {FRIEND}",),
        public=("/to",),
    ),
    Case(
        "a public service behind a list that limit_except has as well, which lets no friend in",
        f"location / {{ {LIST} {PASS} }} location /to {{ {REALIP} allow 127.0.0.3; deny all;"
        f" limit_except GET {{ auth_basic off; }} {PASS} }} location = /open {{ {PASS} }}",
        "/",
        403,
        "guarded",
        headers=("X-Forwarded-For: 127.0.0.3",),
        public=("/to",),
    ),
    Case(
        "a page by name, of one file",
        f"location / {{ {LIST} if ($uri) {{ return 503; }} error_page 503 @m; {PASS} }}"
        " location @m { root @FOLDER@/files; rewrite ^ /sub/denied.html break; }",
        "/",
        503,
        "guarded",
    ),
    Case(
        "a page by name, of one file that is tried",
        f"location / {{ {LIST} error_page 403 @m; {PASS} }}"
        " location @m { root @FOLDER@/files; try_files /sub/denied.html =503; }",
        "/",
        403,
        "guarded",
        "@m",
    ),
    Case(
        "a page by name, of what is asked for",
        f"location / {{ {LIST} error_page 403 =200 @m; {PASS} }}"
        " location @m { root @FOLDER@/files; rewrite ^(.*)$ $1 break; }",
        "/index.html",
        200,
        "leaks",
    ),
    Case(
        "lua answers before the list",
        f'location / {{ {LIST} rewrite_by_lua_block {{ ngx.say("SECRET") ngx.exit(200) }} {PASS} }}',
        "/",
        200,
        "leaks",
        reason="rewrite_by_lua_block",
        lua=True,
    ),
    Case(
        "lua answers behind the list",
        f'location / {{ {LIST} content_by_lua_block {{ ngx.say("}}") }} }}',
        "/",
        403,
        "guarded",
        lua=True,
    ),
    Case(
        "lua instead of the list",
        f"location / {{ satisfy any; {LIST} access_by_lua_block {{ return }} {PASS} }}",
        "/",
        200,
        "leaks",
        reason="satisfy any",
        lua=True,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_stranger_gets_what_the_audit_says(case: Case) -> None:
    if case.lua and not LUA:
        pytest.skip("nginx has no lua module")
    outcome = asked(case)
    friend, findings = outcome.friend, outcome.findings
    assert outcome.stranger.status == case.status
    assert (
        friend.status == case.status if case.kind == "public" or case.status == 404 else friend.status != 403
    )
    about = [
        f for f in findings if f.location == case.location and (not case.beside or case.reason in f.reason)
    ]
    assert [f.kind for f in about][:1] == [case.kind], findings
    assert case.reason in about[0].reason
    assert case.kind != "leaks" or about[0].remedy
    assert case.kind == "leaks" or not [
        f for f in findings if f.kind == "leaks" and f.location == case.location
    ]


def test_a_regex_with_a_brace_has_to_be_quoted(tmp_path: Path) -> None:
    bad = "events {}\nhttp { server { location ~ ^/x{2}$ { allow all; } } }\n"
    assert opinion(bad, tmp_path).says != "accepts"
    with pytest.raises(NginxSyntaxError):
        parse(bad)
    good = bad.replace("^/x{2}$", '"^/x{2}$"')
    assert opinion(good, tmp_path).says == "accepts"
    assert parse(good)
