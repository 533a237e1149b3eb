"""Checkers beside the access list, and shared caches, of modules that are not installed for tests.

Those that are, a real nginx is asked about: tests/system/nginx/cases/.
"""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from crossplane import analyzer  # type: ignore[import-untyped]

from wgcluster.inventory.schema import GuardedSite
from wgcluster.nginx.audit.audit import Finding, audit
from wgcluster.nginx.config.harmless import is_harmless

PUB = "^~ /pub/"


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
