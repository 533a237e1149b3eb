"""What differs between a live interface and its plan, a test for each kind of difference."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from ipaddress import ip_interface, ip_network

import pytest

from wgcluster.host.observed import Link, LivePeer, Observed
from wgcluster.inventory.schema import HostSettings
from wgcluster.plan.plan import HostPlan, Peer
from wgcluster.wireguard.config import render
from wgcluster.wireguard.drift import (
    SESSION,
    Routes,
    endpoint_changes,
    foreign_keys,
    former_addresses,
    in_place,
    live_differences,
    of_others,
    peers_to_set,
    peers_with_surplus,
    preshared_digest,
    restart_reasons,
    routes,
)

OWN, CLOUD, LAPTOP, SHARED = (letter * 42 + "A=" for letter in "KCLS")
SECRETS = {"cloud|root": SHARED}
CLOCK = 1_700_000_000
HOST = HostPlan(
    name="root",
    interface="wg",
    addresses=(ip_interface("10.0.0.2/24"), ip_interface("fd00::2/64")),
    port=51820,
    mtu=1420,
    public_key=OWN,
    peers=(
        Peer(
            "cloud",
            CLOUD,
            (ip_network("10.0.0.3/32"), ip_network("172.16.0.0/12"), ip_network("fd00::3/128")),
            endpoint="198.18.0.9:51821",
            keepalive=25,
            preshared_key="cloud|root",
        ),
        Peer("laptop", LAPTOP, (ip_network("10.0.0.100/32"),), is_client=True),
    ),
)
ROUTES = (
    "10.0.0.0/24 proto kernel scope link src 10.0.0.2",
    "172.16.0.0/12 scope link",
    "fd00::/64 proto kernel metric 256 pref medium",
    "fe80::/64 proto kernel metric 256 pref medium",
)
LIVE = {
    CLOUD: LivePeer(
        preshared_key=True,
        endpoint="198.18.0.9:51821",
        allowed_ips=frozenset({"10.0.0.3/32", "172.16.0.0/12", "fd00::3/128"}),
        handshake=CLOCK - 30,
        keepalive=25,
    ),
    LAPTOP: LivePeer(False, "198.18.5.5:1234", frozenset({"10.0.0.100/32"}), 0, None),
}
LINK = Link(
    mtu=1420,
    addresses=frozenset({"10.0.0.2/24", "fd00::2/64", "fe80::1234/64"}),
    routes=ROUTES,
    public_key=OWN,
    port=51820,
    peers=LIVE,
    preshared_digest=preshared_digest(HOST.peers, SECRETS),
)


def found(link: Link, host: HostPlan = HOST) -> list[str]:
    return list(live_differences(host, link, CLOCK, SECRETS, {LAPTOP: "laptop"}))


def cloud(**changed: object) -> Link:
    return replace(LINK, peers={**LIVE, CLOUD: replace(LIVE[CLOUD], **changed)})  # type: ignore[arg-type]


def test_as_planned_there_is_nothing() -> None:
    assert found(LINK) == []
    assert list(restart_reasons(HOST, LINK)) == []
    assert routes(HOST, LINK.routes) == Routes((), ())
    assert in_place(HOST, Observed(link=LINK))


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        (replace(LINK, up=False), "it is down"),
        (replace(LINK, mtu=1380), "its MTU is 1380, planned is 1420"),
        (
            replace(LINK, addresses=frozenset({"10.0.0.2/24", "10.9.9.9/32"})),
            "its addresses are 10.0.0.2/24, 10.9.9.9/32, planned are 10.0.0.2/24, fd00::2/64",
        ),
        (
            replace(LINK, addresses=frozenset({"fe80::1/64"})),
            "its addresses are none, planned are 10.0.0.2/24, fd00::2/64",
        ),
    ],
)
def test_what_only_a_restart_mends(link: Link, reason: str) -> None:
    assert list(restart_reasons(HOST, link)) == [reason]
    assert not in_place(HOST, Observed(link=link))
    assert found(link) == []


def test_an_interface_that_is_not_there_is_not_in_place() -> None:
    assert not in_place(HOST, Observed())


@pytest.mark.parametrize(
    ("link", "changes"),
    [
        (replace(LINK, public_key=SHARED), ["the interface has another private key"]),
        (replace(LINK, port=4242), ["it listens on port 4242, planned is 51820"]),
        (
            replace(LINK, peers={**LIVE, SHARED: LIVE[LAPTOP]}),
            [f"- peer {SHARED}"],
        ),
        (replace(LINK, peers={CLOUD: LIVE[CLOUD]}), ["+ peer laptop (10.0.0.100/32)"]),
        (replace(LINK, peers={}), [
            "+ peer cloud (10.0.0.3/32, 172.16.0.0/12, fd00::3/128)", "+ peer laptop (10.0.0.100/32)"]),
        (
            cloud(allowed_ips=frozenset({"10.0.0.3/32"})),
            ["~ peer cloud: AllowedIPs are 10.0.0.3/32, planned are 10.0.0.3/32, 172.16.0.0/12, fd00::3/128"],
        ),
        (
            cloud(allowed_ips=frozenset()),
            ["~ peer cloud: AllowedIPs are none, planned are 10.0.0.3/32, 172.16.0.0/12, fd00::3/128"],
        ),
        (cloud(keepalive=None), ["~ peer cloud: keepalive is off, planned is 25"]),
        (cloud(keepalive=5), ["~ peer cloud: keepalive is 5, planned is 25"]),
        (cloud(preshared_key=False), ["~ peer cloud: lacks its preshared key"]),
        (
            replace(LINK, peers={**LIVE, LAPTOP: replace(LIVE[LAPTOP], preshared_key=True)}),
            ["~ peer laptop: has a preshared key too many"],
        ),
        (replace(LINK, preshared_digest="0" * 64), ["~ preshared keys differ"]),
    ],
)  # fmt: skip
def test_what_a_sync_mends(link: Link, changes: list[str]) -> None:
    assert found(link) == changes
    assert list(restart_reasons(HOST, link)) == []


def test_only_the_peers_that_differ_are_set() -> None:
    def given(link: Link, host: HostPlan = HOST) -> tuple[list[str], list[str]] | None:
        return peers_to_set(host, link, CLOCK, SECRETS)

    assert given(LINK) == ([], [])
    assert given(cloud(allowed_ips=frozenset())) == ([CLOUD], [])
    assert given(replace(LINK, port=1)) is None
    assert given(replace(LINK, public_key=CLOUD)) is None
    # the digest is of the live peers
    only_cloud = replace(LINK, peers={CLOUD: LIVE[CLOUD]}, preshared_digest=digest(f"{CLOUD}\t{SHARED}\n"))
    assert given(only_cloud) == ([LAPTOP], [])
    only_laptop = replace(LINK, peers={LAPTOP: LIVE[LAPTOP]}, preshared_digest="")
    assert given(only_laptop) == ([CLOUD], [])
    # one of the preshared keys differs, and the digest does not tell which
    assert given(replace(LINK, preshared_digest="0" * 64)) == ([CLOUD], [])
    # a peer goes that has none; one goes that has one which nobody knows
    assert given(LINK, replace(HOST, peers=HOST.peers[:1])) == ([], [LAPTOP])
    assert given(LINK, replace(HOST, peers=HOST.peers[1:])) == ([], [CLOUD])
    other = replace(LINK, peers={**LIVE, OWN: LIVE[CLOUD]}, preshared_digest=digest("whatever"))
    assert given(other) == ([CLOUD], [OWN])


def test_what_wg_leaves_behind_is_named() -> None:
    assert peers_with_surplus(HOST, LINK) == ([], [])
    bare = replace(HOST, peers=(replace(HOST.peers[0], preshared_key=None, keepalive=None), *HOST.peers[1:]))
    assert peers_with_surplus(bare, LINK) == ([CLOUD], [CLOUD])
    assert peers_with_surplus(bare, replace(LINK, peers={})) == ([], [])


def test_a_peer_that_is_to_go_has_its_name_if_it_is_known() -> None:
    host = replace(HOST, peers=HOST.peers[:1])
    assert found(LINK, host) == ["- peer laptop"]


@pytest.mark.parametrize(
    ("planned", "live", "age", "changes"),
    [
        ("198.18.0.9:51821", "198.18.0.9:51821", SESSION + 1, []),
        # heard of from elsewhere: it has roamed
        ("198.18.0.9:51821", "198.18.7.7:51821", SESSION, []),
        (
            "198.18.0.9:51821",
            "198.18.7.7:51821",
            SESSION + 1,
            ["~ peer cloud: is dialled at 198.18.7.7:51821, planned is 198.18.0.9:51821"],
        ),
        (
            "[2001:db8::9]:51821",
            None,
            SESSION + 1,
            ["~ peer cloud: is dialled at no endpoint, planned is [2001:db8::9]:51821"],
        ),
        # only the host knows what a name means there
        ("cloud.example:51821", "198.18.7.7:51821", SESSION + 1, []),
        (None, "198.18.7.7:51821", SESSION + 1, []),
    ],
)
def test_endpoints(planned: str | None, live: str | None, age: int, changes: list[str]) -> None:
    host = replace(HOST, peers=(replace(HOST.peers[0], endpoint=planned), HOST.peers[1]))
    assert found(cloud(endpoint=live, handshake=CLOCK - age), host) == changes


@pytest.mark.parametrize(
    ("lines", "missing", "surplus"),
    [
        (ROUTES[:1], ["172.16.0.0/12"], []),
        ((*ROUTES, "192.168.5.0/24 scope link"), [], ["192.168.5.0/24"]),
        ((*ROUTES, "10.0.0.77 scope link"), [], ["10.0.0.77"]),
        ((*ROUTES, "fd77::/64 metric 1024 pref medium"), [], ["fd77::/64"]),
        # what others have put on the interface
        ((*ROUTES, "192.168.5.0/24 proto static scope link", "fd77::/64 proto bird metric 1024"), [], []),
        ((*ROUTES, "192.168.5.0/24 via 10.0.0.3", "192.168.6.0/24 scope link metric 50"), [], []),
        ((*ROUTES, "fd77::/64 metric 20 pref medium"), [], []),
        ((ROUTES[0], "172.16.0.0/12 proto static scope link"), [], []),
        ((*ROUTES, "default scope link", "multicast ff00::/8 table local"), [], []),
        ((), ["172.16.0.0/12"], []),
    ],
)
def test_routes(lines: tuple[str, ...], missing: list[str], surplus: list[str]) -> None:
    seen = routes(HOST, lines)
    assert (seen.missing, seen.surplus) == (tuple(map(ip_network, missing)), tuple(surplus))


VIP, VIP6 = "10.0.0.50/32", "fd00::50/128"
GUESTS = replace(
    LINK,
    addresses=LINK.addresses | {VIP, VIP6, "fe80::7/64"},
    routes=(
        *ROUTES,
        "192.168.9.0/24 via 10.0.0.3 proto bird metric 32",
        "192.168.8.0/24 scope link",
        "fd88::/64 proto 186 metric 20 pref medium",
        "default proto static metric 1024 pref medium",
    ),
)
ALL = [
    VIP,
    VIP6,
    "192.168.9.0/24 via 10.0.0.3 proto bird metric 32",
    "fd88::/64 proto 186 metric 20 pref medium",
    "default proto static metric 1024 pref medium",
]


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ((), []),
        (("proto bird",), ALL[2:3]),
        (("proto bgp",), ALL[3:4]),
        (("proto static", "proto zebra"), ALL[4:]),
        (("10.0.0.50",), ALL[:1]),
        (("10.0.0.0/24", "fd00::/8", "192.168.0.0/16"), [*ALL[:4]]),
        (("fd00::50", "fd88::/65"), ALL[1:2]),
    ],
)
def test_what_others_put_there_is_told_or_kept(keep: tuple[str, ...], kept: list[str]) -> None:
    named = HostSettings.model_validate({"wg_name": "a", "wg_address": "10.0.0.2", "wg_keep": list(keep)})
    host = replace(HOST, keep=named.wg_keep)
    told = [one for one in ALL if one not in kept]
    seen = routes(host, GUESTS.routes)
    if "192.168.0.0/16" in keep:
        kept.append("192.168.8.0/24 scope link")
        assert seen.surplus == ()
    else:
        assert seen.surplus == ("192.168.8.0/24",)
    there = of_others(host, GUESTS)
    assert (sorted(there[0]), sorted(there[1])) == (sorted(told), sorted(kept))
    assert list(restart_reasons(host, GUESTS)) == []
    assert in_place(host, Observed(link=GUESTS))
    assert seen.missing == ()


def test_an_address_of_an_earlier_deploy_is_ours_to_take_off() -> None:
    four = replace(HOST, addresses=HOST.addresses[:1])
    earlier = render(HOST, OWN, SECRETS)
    assert former_addresses(four, earlier, GUESTS) == ["fd00::2/64"]
    assert former_addresses(four, render(four, OWN, SECRETS), GUESTS) == []
    assert former_addresses(four, "what?", GUESTS) == []
    assert former_addresses(four, earlier, None) == []
    # here the missing one asks for a restart
    moved = replace(HOST, addresses=(ip_interface("10.0.0.7/24"),))
    assert former_addresses(moved, earlier, GUESTS) == []
    assert list(restart_reasons(moved, GUESTS)) != []


def test_routes_of_both_families_sorted() -> None:
    far = ("fd77::/64", "192.168.9.0/24", "192.168.8.0/24", "10.0.0.0/8")
    host = replace(HOST, peers=(replace(HOST.peers[0], allowed_ips=tuple(map(ip_network, far))),))
    assert [str(network) for network in routes(host, ()).missing] == [
        "10.0.0.0/8",
        "192.168.8.0/24",
        "192.168.9.0/24",
        "fd77::/64",
    ]


def test_endpoint_changes() -> None:
    old = render(HOST, OWN, SECRETS)
    moved = old.replace("198.18.0.9:51821", "198.18.0.10:51821")
    assert endpoint_changes(old, old) == []
    assert endpoint_changes(old, moved) == [CLOUD]
    assert endpoint_changes(old, old.replace("Endpoint = 198.18.0.9:51821\n", "")) == [CLOUD]
    assert endpoint_changes(old.replace("Endpoint = 198.18.0.9:51821\n", ""), old) == [CLOUD]
    # a peer that is new has none to change, and of what cannot be read nothing is known
    assert endpoint_changes("[Interface]\n", old) == []
    assert endpoint_changes("what?\n", moved) == []


def test_hooks() -> None:
    assert foreign_keys(render(HOST)) == []
    text = "[Interface]\nPostUp = iptables -I FORWARD 2 -i %i -j ACCEPT\nSaveConfig = true\nMTU = 1420\n"
    assert foreign_keys(text) == ["PostUp", "SaveConfig"]
    assert foreign_keys("what?\n") == []


def test_a_name_in_the_file_of_the_version_before_is_the_same_endpoint() -> None:
    """Neither a restart nor a sync, though the new file has another hook."""
    named = replace(HOST, forwards=(4,), peers=(replace(HOST.peers[0], endpoint="a.example.net:51820"),))
    new = render(named)
    old = "".join(line for line in new.splitlines(keepends=True) if "wgcluster-endpoints" not in line)
    old = old.replace("# Endpoint", "Endpoint")
    assert old != new
    assert foreign_keys(old) == foreign_keys(new) == []
    assert endpoint_changes(old, new) == []
    assert endpoint_changes(old.replace("a.example", "b.example"), new) == [CLOUD]


def digest(lines: str) -> str:
    return hashlib.sha256(lines.encode()).hexdigest()


def test_preshared_digest() -> None:
    assert preshared_digest(HOST.peers, SECRETS) == digest(f"{CLOUD}\t{SHARED}\n")
    both = [replace(peer, preshared_key="cloud|root") for peer in HOST.peers]
    lines = sorted(f"{key}\t{SHARED}\n" for key in (CLOUD, LAPTOP))
    for some in (both, both[::-1]):
        assert preshared_digest(some, {"cloud|root": SHARED}) == digest("".join(lines))
    assert preshared_digest([replace(peer, preshared_key=None) for peer in both], {}) == ""
