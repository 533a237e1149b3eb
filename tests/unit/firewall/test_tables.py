"""Packets and verdicts: what the reading of iptables-save promises of a class of packets."""

from __future__ import annotations

import shlex
from dataclasses import replace
from ipaddress import ip_network

import pytest

from wgcluster.firewall.tables import (
    Chain,
    End,
    Match,
    Option,
    Packet,
    comment,
    first_end,
    join,
    match,
    options,
    packet_of,
    parse_save,
    target,
    verdict,
)

NEW = frozenset({"NEW"})
ANY = Packet()
SSH = Packet("eth0", None, ip_network("198.18.0.7/32"), ip_network("198.18.0.1/32"), "tcp", 22, NEW)
WG = replace(SSH, protocol="udp", dport=51820)
PING = replace(SSH, protocol="icmp", dport=None, icmp_type="8")
SIX = replace(SSH, source=ip_network("fd00::7/128"), destination=ip_network("fd00::1/128"))
RELAYED = replace(WG, in_interface="wg", out_interface="eth0", dport=53)
SITE = Packet(source=ip_network("198.18.0.0/16"))


def chains(text: str) -> dict[str, Chain]:
    return parse_save("*filter\n" + text.strip() + "\nCOMMIT\n")["filter"]


@pytest.mark.parametrize(
    ("rule", "packet", "expected"),
    [
        ("-j DROP", ANY, Match.ALL),
        ("-i eth0", SSH, Match.ALL),
        ("-i eth1", SSH, Match.NONE),
        ("-i eth+", SSH, Match.ALL),
        ("-i eth0+", SSH, Match.ALL),
        ("-i wg+", SSH, Match.NONE),
        ("-i +", ANY, Match.ALL),
        ("-i eth0", ANY, Match.SOME),
        ("! -i eth0", SSH, Match.NONE),
        ("! -i eth1", SSH, Match.ALL),
        ("! -i eth0", ANY, Match.SOME),
        ("-o eth0", RELAYED, Match.ALL),
        ("-o eth0", SSH, Match.SOME),
        ("-s 198.18.0.0/16", SSH, Match.ALL),
        ("-s 198.18.0.7/32", SSH, Match.ALL),
        ("-s 198.18.0.8/32", SSH, Match.NONE),
        ("-s 198.18.0.8/32", SITE, Match.SOME),
        ("-s 198.0.0.0/8", SITE, Match.ALL),
        ("! -s 198.18.0.8/32", SITE, Match.SOME),
        ("! -s 10.0.0.0/8", SITE, Match.ALL),
        ("-s 0.0.0.0/0", ANY, Match.ALL),
        ("-s fd00::/64", SIX, Match.ALL),
        ("-s fd00::/64", SSH, Match.NONE),
        ("-s 198.0.0.7/255.0.0.255", SSH, Match.SOME),
        ("-d 198.18.0.1/32", SSH, Match.ALL),
        ("-d 198.18.0.2/32", SSH, Match.NONE),
        ("-p tcp", SSH, Match.ALL),
        ("-p udp", SSH, Match.NONE),
        ("! -p udp", SSH, Match.ALL),
        ("-p all", ANY, Match.ALL),
        ("-p tcp -m tcp --dport 22", SSH, Match.ALL),
        ("-p tcp -m tcp --dport 23", SSH, Match.NONE),
        ("-p tcp -m tcp --dport 20:30", SSH, Match.ALL),
        ("-p tcp -m tcp --dport :21", SSH, Match.NONE),
        ("-p tcp -m tcp --dport 1024:", SSH, Match.NONE),
        ("-p tcp -m tcp ! --dport 22", SSH, Match.NONE),
        ("-p tcp -m tcp --dport 22", replace(SSH, dport=None), Match.SOME),
        ("-p tcp -m tcp --sport 22", SSH, Match.SOME),
        ("-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN", SSH, Match.SOME),
        ("-p tcp -m tcp --dport 20:30", replace(SSH, dport=range(22, 31)), Match.ALL),
        ("-p tcp -m tcp --dport 20:30", replace(SSH, dport=range(22, 32)), Match.SOME),
        ("-p tcp -m tcp --dport 22", replace(SSH, dport=range(23, 31)), Match.NONE),
        ("-p tcp -m multiport --dports 80,22", replace(SSH, dport=range(22, 31)), Match.SOME),
        ("-p tcp -m multiport --dports 80,443", SSH, Match.NONE),
        ("-p tcp -m multiport --dports 80,20:25", SSH, Match.ALL),
        ("-m conntrack --ctstate NEW", SSH, Match.ALL),
        ("-m state --state INVALID,NEW", SSH, Match.ALL),
        ("-m conntrack --ctstate RELATED,ESTABLISHED", SSH, Match.NONE),
        ("-m conntrack --ctstate RELATED,ESTABLISHED", ANY, Match.SOME),
        ("-m conntrack --ctstate NEW", Packet(state=frozenset({"NEW", "RELATED"})), Match.SOME),
        ("-m conntrack ! --ctstate NEW", SSH, Match.NONE),
        ("-p icmp -m icmp --icmp-type 8", PING, Match.ALL),
        ("-p icmp -m icmp --icmp-type 0", PING, Match.NONE),
        ("-p icmp -m icmp --icmp-type 8/0", PING, Match.SOME),
        ("-p icmp -m icmp --icmp-type any", PING, Match.ALL),
        ("-m comment --comment 'ours and theirs' -j DROP", SSH, Match.ALL),
        ("-m comment --comment -j -p udp -j DROP", SSH, Match.NONE),
        ("-m comment --comment ! -p tcp -j DROP", SSH, Match.ALL),
        ("-m limit --limit 5/min", SSH, Match.SOME),
        ("-m limit --limit 5/min -p udp", SSH, Match.NONE),
        ("-m socket -j ACCEPT", SSH, Match.SOME),
        ("-j REJECT --reject-with tcp-reset", ANY, Match.ALL),
    ],
)
def test_match(rule: str, packet: Packet, expected: Match) -> None:
    assert match(tuple(shlex.split(rule)), packet) is expected


# What Debian and Oracle Cloud images, Docker and fail2ban leave behind, and what a person makes of it.
IMAGE = """
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [463:49013]
-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p icmp -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp -m state --state NEW -m tcp --dport 22 -j ACCEPT
-A INPUT -j REJECT --reject-with icmp-host-prohibited
-A FORWARD -j REJECT --reject-with icmp-host-prohibited
"""
NESTED = """
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:bans - [0:0]
:log - [0:0]
:public - [0:0]
:wire - [0:0]
-A INPUT -p tcp -m tcp --dport 22 -j bans
-A INPUT -i eth+ -j public
-A INPUT -p udp -j log
-A FORWARD -i wg -g wire
-A FORWARD -j ACCEPT
-A bans -s 198.18.0.9/32 -j REJECT --reject-with icmp-port-unreachable
-A bans -j RETURN
-A log -m limit --limit 1/sec -j LOG
-A log -j DROP
-A public -i eth0 -p icmp -j RETURN
-A public -p tcp -m tcp --dport 22 -j ACCEPT
-A public -m set --match-set friends src -j RETURN
-A public -j REJECT --reject-with icmp-port-unreachable
-A wire -p udp -m udp --dport 53 -j ACCEPT
"""
GOES = ":INPUT ACCEPT [0:0]\n:a - [0:0]\n:b - [0:0]\n-A INPUT -j a\n-A a -p udp -g b\n-A a -j DROP"
COUNTS = ":INPUT ACCEPT [0:0]\n-A INPUT -j LOG\n-A INPUT\n-A INPUT -j DROP"
RETURNS = """
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
-A INPUT -p tcp -j RETURN
-A INPUT -j ACCEPT
-A FORWARD -j RETURN
-A FORWARD -j DROP
"""


@pytest.mark.parametrize(
    ("text", "chain", "packet", "end", "expected"),
    [
        (IMAGE, "INPUT", SSH, End(3, "ACCEPT"), "ACCEPT"),
        (IMAGE, "INPUT", PING, End(1, "ACCEPT"), "ACCEPT"),
        (IMAGE, "INPUT", WG, End(4, "REJECT"), "REJECT"),
        (IMAGE, "INPUT", replace(WG, state=None), End(4, "REJECT"), "REJECT"),
        (IMAGE, "INPUT", replace(WG, in_interface="lo"), End(2, "ACCEPT"), "ACCEPT"),
        (IMAGE, "FORWARD", ANY, End(0, "REJECT"), "REJECT"),
        (IMAGE, "OUTPUT", SSH, None, "ACCEPT"),
        (NESTED, "INPUT", SSH, End(1, "ACCEPT"), "ACCEPT"),
        (NESTED, "INPUT", replace(SSH, source=ip_network("198.18.0.9/32")), End(0, "REJECT"), "REJECT"),
        # it may be a friend's, and then it comes back and is dropped; not surely rejected
        (NESTED, "INPUT", WG, End(2, "DROP"), "DROP"),
        (NESTED, "INPUT", PING, None, "DROP"),
        (NESTED, "INPUT", replace(SSH, in_interface="wg"), None, "DROP"),
        # -g does not come back to FORWARD: what wire lets through meets the policy
        (NESTED, "FORWARD", RELAYED, End(0, "ACCEPT"), "ACCEPT"),
        (NESTED, "FORWARD", replace(RELAYED, dport=80), End(0, "DROP"), "DROP"),
        (NESTED, "FORWARD", replace(RELAYED, in_interface="eth0"), End(1, "ACCEPT"), "ACCEPT"),
        (RETURNS, "INPUT", SSH, End(0, "DROP"), "DROP"),
        (RETURNS, "INPUT", WG, End(1, "ACCEPT"), "ACCEPT"),
        (RETURNS, "FORWARD", ANY, End(0, "ACCEPT"), "ACCEPT"),
        (":INPUT DROP [0:0]", "INPUT", ANY, None, "DROP"),
        (":INPUT DROP [0:0]", "FORWARD", ANY, None, "ACCEPT"),
        # what may go from a to b comes back behind a's caller, not to a
        (GOES, "INPUT", ANY, None, "ACCEPT"),
        (GOES, "INPUT", SSH, End(0, "DROP"), "DROP"),
        (COUNTS, "INPUT", ANY, End(2, "DROP"), "DROP"),
    ],
)
def test_verdict(text: str, chain: str, packet: Packet, end: End | None, expected: str) -> None:
    assert first_end(chains(text), chain, packet) == end
    assert verdict(chains(text), chain, packet) == expected


def test_a_jump_in_a_ring_ends() -> None:
    """The kernel refuses such a table, so this is a text cut together by hand."""
    ring = chains(":INPUT DROP [0:0]\n:a - [0:0]\n-A INPUT -j a\n-A a -j a")
    assert verdict(ring, "INPUT", ANY) == "DROP"


def test_parse_save() -> None:
    tables = parse_save(
        "# Generated by iptables-save v1.8.9\n*nat\n:POSTROUTING ACCEPT [5:300]\n"
        '-A POSTROUTING -o wg -m comment --comment "say \\"hi\\" \\\\ there" -j MASQUERADE\nCOMMIT\n'
        "# Completed\n*filter\n:INPUT DROP [0:0]\n:mine - [0:0]\n-A mine -j RETURN\nCOMMIT\n"
    )
    masquerade = ("-o", "wg", "-m", "comment", "--comment", 'say "hi" \\ there', "-j", "MASQUERADE")
    assert tables == {
        "nat": {"POSTROUTING": Chain("ACCEPT", [masquerade])},
        "filter": {"INPUT": Chain("DROP"), "mine": Chain("-", [("-j", "RETURN")])},
    }
    assert comment(masquerade) == 'say "hi" \\ there'
    assert target(masquerade) == "MASQUERADE"
    assert shlex.split(join(masquerade)) == list(masquerade)


def test_a_line_break_in_a_comment_leaves_the_rule_countable() -> None:
    rules = chains(
        ':INPUT ACCEPT [0:0]\n-A INPUT -m comment --comment "two\nlines" -j DROP\n-A INPUT -j ACCEPT'
    )
    assert len(rules["INPUT"].rules) == 2
    assert rules["INPUT"].rules[1] == ("-j", "ACCEPT")


def test_icmpv6_has_one_name() -> None:
    """iptables knows both, and which one it prints is up to /etc/protocols."""
    assert chains(":INPUT ACCEPT\n-A INPUT -p icmpv6 -j ACCEPT")["INPUT"].rules == [
        ("-p", "ipv6-icmp", "-j", "ACCEPT")
    ]


def test_options() -> None:
    rule = tuple(shlex.split("! -s 198.18.0.1/32 -p tcp -m tcp ! --tcp-flags SYN,ACK SYN -g there"))
    assert list(options(rule)) == [
        Option("-s", ("198.18.0.1/32",), True),
        Option("-p", ("tcp",), False),
        Option("-m", ("tcp",), False),
        Option("--tcp-flags", ("SYN,ACK", "SYN"), True),
        Option("-g", ("there",), False),
    ]
    assert target(rule) == "there"
    assert target(("-p", "tcp")) == comment(("-p", "tcp")) == ""


@pytest.mark.parametrize(
    ("rule", "packet"),
    [
        (
            "-s 198.18.0.7/32 -p udp -m udp --dport 51820 -j ACCEPT",
            Packet(source=ip_network("198.18.0.7/32"), protocol="udp", dport=51820),
        ),
        ("-i wg -o eth0 -d fd00::/64", Packet("wg", "eth0", destination=ip_network("fd00::/64"))),
        (
            "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            Packet(state=frozenset({"RELATED", "ESTABLISHED"})),
        ),
        (
            "-p ipv6-icmp -m icmp6 --icmpv6-type 128 -j ACCEPT",
            Packet(protocol="ipv6-icmp", icmp_type="128"),
        ),
        # edited by hand: what cannot be told is left open
        ("! -i wg -p tcp -m tcp --dport 1: -s 10.0.0.1/255.0.0.255", Packet(protocol="tcp")),
        ("-p udp -m udp --dport 8000:8100", Packet(protocol="udp", dport=range(8000, 8101))),
    ],
)
def test_packet_of(rule: str, packet: Packet) -> None:
    assert packet_of(shlex.split(rule)) == packet
