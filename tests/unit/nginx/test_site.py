"""The list file."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from wgcluster.inventory.schema import GuardedSite
from wgcluster.nginx.config.site import allow_list, list_path
from wgcluster.nginx.syntax.tree import parse

SITE = GuardedSite(
    "/etc/nginx/sites-available/a", "a.test", ("/",), (), (ip_network("10.0.0.0/24"), ip_network("fd00::/64"))
)


def test_the_list_ends_in_deny_all() -> None:
    assert allow_list(SITE).splitlines()[1:] == ["allow 10.0.0.0/24;", "allow fd00::/64;", "deny all;"]
    assert [d.name for d in parse(allow_list(SITE))] == ["allow", "allow", "deny"]


def test_a_site_has_one_path_and_no_other_site_has_it() -> None:
    sites = [
        SITE,
        replace(SITE, file="/etc/nginx/sites-available/b"),
        *(
            replace(SITE, server_name=n)
            for n in ("*.a.test", "_.a.test", "~^a.test$", "", "default", "é.test", "x" * 300)
        ),
    ]
    paths = [list_path(site) for site in sites]
    assert len(set(paths)) == len(paths)
    assert list_path(replace(SITE, allow=(), scope="server")) == paths[0]


@pytest.mark.parametrize(
    "name", ["a.test", "~^(?<n>.+)\\.a$", "../../x", "a b;{}", "", "é", "\udcff", "x" * 300]
)
def test_a_path_is_one_plain_word_in_our_folder(name: str) -> None:
    path = list_path(replace(SITE, server_name=name))
    assert path.rpartition("/")[0] == "/etc/nginx/wgcluster"
    assert set(path) <= set("abcdefghijklmnopqrstuvwxyz0123456789/._-")
    assert len(path) < 120
    assert [d.args for d in parse(f"include {path};")] == [(path,)]
