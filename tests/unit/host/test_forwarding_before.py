"""What forwarding was before us, whatever has happened since."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.chains import DOCKER, GATEWAY, PEERS, REJECT, filter_text
from wgcluster.firewall.nft import Chain, Rule, Table
from wgcluster.firewall.tables import parse_save
from wgcluster.host import paths
from wgcluster.host.forwarding_before import (
    Before,
    before,
    forward_policies,
    given_back,
    no_longer_forwarded,
    policies_back,
    text,
)
from wgcluster.host.observed import File, Observed, Rules

BARE = filter_text()
PATH = paths.before("wg")
OURS = "-A FORWARD -i wg -o wg -m comment --comment wgcluster-wg -j ACCEPT"


def seen(forwarding: str, table: str, **files: str) -> Observed:
    there = {path: File("file", data=words.encode()) for path, words in files.items()}
    rules = (Rules(4, "iptables", True, parse_save(table)), Rules(6, "ip6tables", True, parse_save(table)))
    return Observed(forwarding={4: forwarding, 6: forwarding}, rules=rules, files=there)


@pytest.mark.parametrize(
    ("forwarding", "table", "closed"),
    [
        ("0", BARE, True),
        ("0", DOCKER, True),
        ("1", BARE, False),  # somebody's router: it stays one
        ("1", DOCKER, True),  # Docker has switched it on, and closed it
    ],
)
def test_what_a_first_deploy_finds(forwarding: str, table: str, closed: bool) -> None:
    known = before(GATEWAY, seen(forwarding, table))
    assert forward_policies(GATEWAY, known) == ({4: "DROP", 6: "DROP"} if closed else {})
    assert forward_policies(replace(GATEWAY, firewall="off"), known) == {}


def test_what_is_remembered_counts_and_not_what_is_there_now() -> None:
    known = before(GATEWAY, seen("0", BARE))
    words = text(known)
    assert words is not None
    later = seen("1", DOCKER.replace("FORWARD DROP", "FORWARD ACCEPT"), **{PATH: words})
    assert before(GATEWAY, later) == known == dict.fromkeys((4, 6), Before(False, "ACCEPT"))
    assert text(before(GATEWAY, later)) == words


def test_a_deploy_that_remembered_nothing_has_switched_it_on() -> None:
    known = before(GATEWAY, seen("1", BARE, **{paths.SYSCTL: "net.ipv4.ip_forward = 1\n"}))
    assert known[4].closed


def test_a_router_of_old_is_not_closed_by_an_update() -> None:
    """Nobody knows what it forwarded before; it hides a network of its own, and that goes on."""
    table = BARE + "*nat\n-A POSTROUTING -s 192.168.50.0/24 -o eth0 -j MASQUERADE\nCOMMIT\n"
    old = seen("1", table, **{paths.SYSCTL: "net.ipv4.ip_forward = 1\n"})
    assert forward_policies(GATEWAY, before(GATEWAY, old)) == {}
    assert given_back(GATEWAY, old) == {}
    docker = seen(
        "1",
        DOCKER.replace("FORWARD DROP", "FORWARD ACCEPT"),
        **{paths.SYSCTL: "net.ipv4.ip_forward = 1\nnet.ipv6.conf.all.forwarding = 1\n"},
    )
    assert before(GATEWAY, docker)[4].closed


def test_a_family_that_we_did_not_switch_on_is_as_it_is() -> None:
    old = seen("1", BARE, **{paths.SYSCTL: "net.ipv4.ip_forward = 1\n", PATH: "4 off ACCEPT\n"})
    assert forward_policies(GATEWAY, before(GATEWAY, old)) == {4: "DROP"}


def test_without_a_memory_forwarding_is_never_switched_off() -> None:
    assert given_back(GATEWAY, seen("1", BARE, **{paths.SYSCTL: "net.ipv4.ip_forward = 1\n"})) == {}


def test_a_host_that_forwards_for_nobody_has_nothing_to_remember() -> None:
    assert text(before(PEERS, seen("0", BARE))) is None


def test_a_file_that_somebody_has_written_over_remembers_nothing() -> None:
    assert before(PEERS, seen("0", BARE, **{PATH: "4 perhaps ACCEPT\n5 off ACCEPT\n4 off\n"})) == {}


@pytest.mark.parametrize(
    ("rules", "ends"),
    [
        ((OURS,), True),
        ((OURS, f"-A FORWARD {REJECT}"), True),
        (
            ("-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", OURS, f"-A FORWARD {REJECT}"),
            True,
        ),
        ((OURS, "-A FORWARD -i docker0 ! -o docker0 -j ACCEPT"), False),
        ((OURS, "-A FORWARD -i wg2 -m comment --comment wgcluster-wg2 -j ACCEPT"), False),
    ],
)
def test_forwarding_ends_with_us_unless_somebody_uses_it(rules: tuple[str, ...], ends: bool) -> None:
    remembered = "4 off ACCEPT\n6 off ACCEPT\n"
    observed = seen("1", filter_text(*rules), **{PATH: remembered})
    assert set(given_back(GATEWAY, observed)) == ({4, 6} if ends else set())


def test_who_forwarded_before_us_goes_on() -> None:
    assert given_back(GATEWAY, seen("1", BARE, **{PATH: "4 on ACCEPT\n6 on DROP\n"})) == {}


@pytest.mark.parametrize(
    ("path", "line", "stays"),
    [
        ("/etc/sysctl.d/99-router.conf", "net.ipv4.ip_forward = 1", {4}),
        ("/etc/sysctl.d/99-router.conf", "net.ipv6.conf.all.forwarding=1", {6}),
        ("/etc/sysctl.d/99-router.conf", "net.ipv4.ip_forward = 0", set()),
        (paths.SYSCTL, "net.ipv4.ip_forward = 1", set()),
    ],
)
def test_who_has_a_file_of_his_own_for_it_goes_on(path: str, line: str, stays: set[int]) -> None:
    observed = replace(
        seen("1", BARE, **{PATH: "4 off ACCEPT\n6 off ACCEPT\n"}), sysctl_files={path: (line,)}
    )
    assert {4, 6} - set(given_back(GATEWAY, observed)) == stays


@pytest.mark.parametrize(
    ("family", "hook", "rules", "stays"),
    [
        ("ip", "postrouting", 1, {4}),
        ("inet", "forward", 1, {4, 6}),
        ("inet", "forward", 0, set()),  # Debian's nftables.conf as it comes
        ("inet", "input", 1, set()),
    ],
)
def test_native_rules_for_what_is_forwarded_keep_it_on(
    family: str, hook: str, rules: int, stays: set[int]
) -> None:
    chain = Chain(hook, "accept", rules=[Rule(1, ())] * rules)
    observed = replace(
        seen("1", BARE, **{PATH: "4 off ACCEPT\n6 off ACCEPT\n"}),
        nft=(Table(family, "x", {"through": chain}),),
    )
    assert {4, 6} - set(given_back(GATEWAY, observed)) == stays


WAS_OFF = "4 off ACCEPT\n6 off ACCEPT\n"
CLOSED = "iptables filter FORWARD policy DROP\nip6tables filter FORWARD policy DROP\n# end\n"
RULES = paths.rules("wg")


def test_who_is_no_gateway_any_more_gets_back_what_was_there() -> None:
    live = seen("1", BARE.replace("FORWARD ACCEPT", "FORWARD DROP"), **{PATH: WAS_OFF, RULES: CLOSED})
    assert (no_longer_forwarded(GATEWAY, live), policies_back(GATEWAY, live)) == ({}, {})
    only_six = replace(GATEWAY, forwards=(6,))
    assert no_longer_forwarded(only_six, live) == {4: Before(False, "ACCEPT")}
    assert policies_back(only_six, live) == {4: "ACCEPT"}
    assert policies_back(PEERS, live) == {4: "ACCEPT", 6: "ACCEPT"}


def test_what_others_rely_on_stays_forwarded_and_closed() -> None:
    live = seen("1", DOCKER, **{PATH: WAS_OFF, RULES: CLOSED})
    assert (no_longer_forwarded(PEERS, live), policies_back(PEERS, live)) == ({}, {})


def test_a_policy_goes_back_once_where_the_firewall_is_ours_no_more() -> None:
    """What its owner sets later is his: the rules for the boot tell whether the last deploy has set it."""
    live = seen("1", BARE.replace("FORWARD ACCEPT", "FORWARD DROP"), **{PATH: WAS_OFF, RULES: CLOSED})
    off = replace(GATEWAY, firewall="off")
    assert policies_back(off, live) == {4: "ACCEPT", 6: "ACCEPT"}
    assert no_longer_forwarded(off, live) == {}
    assert policies_back(off, replace(live, files={**live.files, RULES: File("file", data=b"# end\n")})) == {}
