"""Who passes a list, and what each level hands down."""

from __future__ import annotations

import sys
import time
from ipaddress import ip_address, ip_network

import pytest

from wgcluster.inventory.schema import GuardedSite
from wgcluster.nginx.audit.audit import audit
from wgcluster.nginx.config.access import Families, admits, common_client, may_spoof, opening
from wgcluster.nginx.config.context import Context
from wgcluster.nginx.syntax.tree import Directive, parse

ALLOWED = (
    ip_network("10.0.0.0/24"),
    ip_network("fd00::/64"),
    ip_network("10.0.1.0/25"),
    ip_network("10.0.1.128/25"),
)
OPENINGS = [
    ("allow 10.0.0.0/24; allow fd00::/64; deny all;", True, None),
    ("allow 10.0.0.5; deny all;", True, None),
    ("allow 10.0.0.5/24; deny all;", True, None),  # host bits: nginx masks them
    ("allow 10.0.1.0/24; deny all;", True, None),  # two allowed halves
    ("allow 10.0.0.0/23; deny all;", True, None),
    ("allow 10.0.0.0/22; deny all;", True, "allow 10.0.0.0/22"),
    ("deny all; allow all;", True, None),
    ("allow all; deny all;", True, "allow all"),
    ("deny 10.9.9.9; deny all;", True, None),
    ("deny 10.9.9.9;", True, "does not end in deny all"),
    ("allow 10.0.0.0/24;", True, "does not end in deny all"),
    ("", True, "no list"),
    ("deny 0.0.0.0/0;", False, None),
    ("deny 0.0.0.0/0;", True, "does not end in deny all"),
    ("deny 0.0.0.0/0; deny ::/0;", True, None),
    ("deny 0.0.0.0/1; deny 128.0.0.0/1;", False, "does not end in deny all"),  # not reckoned: too clever
    ("allow ::/0; deny all;", False, None),  # nobody comes by v6
    ("allow ::/0; deny all;", True, "allow ::/0"),
    ("allow unix:; deny all;", True, None),
]


@pytest.mark.parametrize(("text", "v6", "why"), OPENINGS)
def test_what_lets_a_stranger_in(text: str, v6: bool, why: str | None) -> None:
    found = opening(parse(text), ALLOWED, Families(v4=True, v6=v6))
    if isinstance(found, Directive):
        found = " ".join([found.name, *found.args])
    assert found == why if why is None or found is None else why in found


def test_a_unix_socket_is_a_way_in() -> None:
    found = opening(parse("allow unix:; deny all;"), ALLOWED, Families.of(["unix:/a", "80"]))
    assert isinstance(found, Directive)


@pytest.mark.parametrize(
    ("listens", "families"),
    [
        (["80"], Families(True, False, False)),
        (["[::]:80"], Families(True, True, False)),
        (["unix:/a"], Families(False, False, True)),
        (["80", "unix:/a"], Families(True, False, True)),
    ],
)
def test_families(listens: list[str], families: Families) -> None:
    assert Families.of(listens) == families


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("set_real_ip_from 10.0.0.1;", None),
        ("set_real_ip_from unix:;", None),
        ("set_real_ip_from 10.0.0.1; set_real_ip_from 172.17.0.0/16;", "172.17.0.0/16"),
        ("set_real_ip_from proxy.test;", "proxy.test"),
    ],
)
def test_whose_word_may_be_forged(text: str, named: str | None) -> None:
    found = [trusted.args[0] for trusted in parse(text) if may_spoof(trusted, ALLOWED, (), ())]
    assert found == ([named] if named else [])


@pytest.mark.parametrize(
    ("before", "denied", "forges"),
    [
        ("allow 172.17.0.9; deny all;", "", True),  # one of the proxies passed the list before
        ("allow 172.18.0.9; deny all;", "", False),  # none did
        ("", "allow 172.17.0.9; deny all;", True),  # all but one were kept out there
        ("", "allow 172.17.0.0/16; deny all;", False),
    ],
)
def test_who_forges_has_come_by_the_lists_before(before: str, denied: str, forges: bool) -> None:
    (trusted,) = parse("set_real_ip_from 172.17.0.0/16;")
    kept_out = [parse(denied)] if denied else []
    assert may_spoof(trusted, ALLOWED, [parse(before)], kept_out) == forges


def test_levels_hand_down_what_the_inner_one_does_not_say() -> None:
    http = Context().enter(
        parse("allow 10.0.0.1; auth_basic x; satisfy any; set_real_ip_from 10.0.0.9; root /a;")
    )
    server = http.enter(parse("error_page 403 /x; auth_request /ok; merge_slashes off; limit_req zone=a;"))
    inner = server.enter(parse("deny all; auth_basic off; satisfy all; alias /b; recursive_error_pages on;"))
    assert [d.name for d in server.rules] == ["allow"]
    assert [d.name for d in inner.rules] == ["deny"]
    assert [d.name for d in server.auth] == ["auth_basic", "auth_request"]
    assert [d.name for d in inner.auth] == ["auth_request"]
    assert (server.satisfying_checker, inner.satisfying_checker) == (server.auth[0], None)
    assert [d.args for d in inner.trusted] == [("10.0.0.9",)]
    assert [d.args for d in inner.error_pages] == [("403", "/x")]
    assert inner.root is not None
    assert inner.root.args == ("/b",)
    assert (http.splits_slashes, inner.splits_slashes is not None) == (None, True)
    assert (server.pages_recurse, inner.pages_recurse) == (False, True)
    assert len(inner.limits) == 1


def test_an_if_hands_its_own_down_to_nobody() -> None:
    (location,) = parse("location / { if ($a) { satisfy any; } deny all; }")
    assert Context().enter(location.body).satisfy is None


LISTS = [
    (("allow 10.0.0.1; deny all;", "allow 10.0.0.2; deny all;"), None),
    (("allow 10.0.0.0/30; deny all;", "deny 10.0.0.0/31; allow 10.0.0.2; deny all;"), "10.0.0.2"),
    (("allow 192.0.2.0/24; deny all;", "deny 192.0.2.0/25; allow all;"), "192.0.2.128"),
    (("allow 172.16.0.0/12; deny all;",), None),  # all of them are barred
    (("allow 172.16.0.0/12; deny all;", "allow all;"), None),
    (("allow 172.0.0.0/8; deny all;",), "172.0.0.0"),
    (("deny 0.0.0.0/1; allow all;", "deny 128.0.0.0/1; allow all;"), None),
]


@pytest.mark.parametrize(("lists", "client"), LISTS)
def test_a_client_whom_several_lists_let_in(lists: tuple[str, ...], client: str | None) -> None:
    found = common_client([parse(text) for text in lists], [ip_network("172.16.0.0/12")], Families(v6=False))
    assert found == (ip_address(client) if client else None)


@pytest.mark.parametrize(
    ("listed", "client", "admitted"),
    [
        ("allow 10.0.0.0/8; deny all;", "10.1.1.1", True),
        ("allow 10.0.0.0/8; deny all;", "::1", False),
        ("allow 10.0.0.0/8; deny all;", "unix:", False),
        ("allow unix:; deny all;", "unix:", True),
        ("deny all; allow all;", "10.1.1.1", False),
        ("deny 10.0.0.1;", "10.1.1.1", True),
    ],
)
def test_whom_a_list_lets_in(listed: str, client: str, admitted: bool) -> None:
    assert admits(parse(listed), "unix:" if client == "unix:" else ip_address(client)) == admitted


@pytest.mark.skipif(sys.gettrace() is not None, reason="what measures coverage takes longer")
def test_long_lists_are_judged_in_time() -> None:
    """A list of a CDN's networks, believed and let in, and a long list of who is kept out."""
    networks = [f"173.{i}.48.0/20" for i in range(200)]
    listed = "".join(f"allow {network}; " for network in networks) + "deny all;"
    kept_out = "".join(f"deny 5.{i // 250}.{i % 250}.0/24; " for i in range(3000))
    believed = "".join(f"set_real_ip_from {network}; " for network in networks)
    inside = "".join(f"location /{i}/ {{ {listed} error_page 403 502 @down; }}" for i in range(20))
    inside += "location @down { return 503; }"
    text = f"events {{}} http {{ {kept_out} server {{ server_name a; {believed} {inside} }} }}"
    site = GuardedSite("/n", "a", tuple(f"/{i}/" for i in range(20)), (), tuple(map(ip_network, networks)))
    began = time.process_time()
    found = audit({"/n": text}, [site])
    assert time.process_time() - began < 5
    assert {f.kind for f in found if f.location.startswith("/")} == {"guarded"}
