"""Of two hosts whose link a run has made or cut, exactly one begins the session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

import pytest

from tests.support.small_clusters import article, planned
from wgcluster.host.observed import Link, LivePeer
from wgcluster.wireguard.sessions import ChangedLinks, dialled, handshake_initiators, without_session

# a and b can dial each other and d; c, behind NAT, dials them; nobody dials c
DIALS = {"a": "bd", "b": "ad", "c": "ab", "d": ""}
ALL = "abcd"


def begun(touched: ChangedLinks, active: str = ALL) -> set[str]:
    dials = {host: frozenset(peers) for host, peers in DIALS.items()}
    return {f"{host}{peer}" for host in active for peer in handshake_initiators(host, dials, touched, active)}


@pytest.mark.parametrize(
    ("started", "peers", "active", "pairs"),
    [
        ("", {}, ALL, ""),  # a run that changes nothing begins nothing
        (ALL, {}, ALL, "ab ad bd ca cb"),  # the first run: each link once
        ("b", {}, ALL, "ba bd cb"),  # who was started begins; c, whom nobody dials, begins anew
        ("d", {}, ALL, "ad bd"),
        ("", {"a": "b"}, ALL, "ab"),  # the one link, from one side
        ("", {"b": "a"}, ALL, "ab"),
        ("", {"a": "c"}, ALL, "ca"),
        ("", {"a": "b", "b": "a"}, "b", "ba"),  # a is left out, or has failed
        ("a", {}, "bcd", "ba ca"),
    ],
)
def test_who_begins(started: str, peers: Mapping[str, str], active: str, pairs: str) -> None:
    touched = ChangedLinks(set(started), {host: frozenset(names) for host, names in peers.items()})
    assert begun(touched, active) == set(pairs.split())


@pytest.mark.parametrize("started", ["".join(s) for n in range(5) for s in combinations(ALL, n)])
def test_no_link_is_begun_from_both_sides(started: str) -> None:
    found = begun(ChangedLinks(set(started), {"a": frozenset("b"), "b": frozenset("a")}))
    assert not [pair for pair in found if pair[::-1] in found]


def test_whom_the_hosts_of_a_plan_can_dial() -> None:
    made = planned(article())
    found = dialled(made)
    assert found.keys() == {host.name for host in made.hosts}
    for host in made.hosts:
        for peer in host.peers:
            assert (peer.name in found[host.name]) == (peer.endpoint is not None)


def test_who_was_heard_of_keeps_its_session_unless_one_was_started() -> None:
    made = planned(article()).host("root")
    cloud, backup = made.peers[1], made.peers[0]
    assert (backup.name, cloud.name) == ("backup", "cloud")
    heard = LivePeer(False, None, frozenset(), 1_700_000_000, None)
    link = Link(1420, peers={cloud.public_key: heard, backup.public_key: replace(heard, handshake=0)})

    def silent(link: Link | None, *started: str) -> list[str]:
        names = {"cloud", "backup"}
        return [peer.name for peer in without_session(made, names, link, ChangedLinks(set(started)))]

    assert silent(link) == ["backup"]
    assert silent(link, "cloud") == silent(link, "root") == ["backup", "cloud"]
    assert silent(Link(1420)) == silent(None) == ["backup", "cloud"]
    assert without_session(made, (), None, ChangedLinks()) == []
