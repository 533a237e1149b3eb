"""The rules a host gets, and what has to change in the chains that it has."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from tests.support.chains import (
    BASELINE,
    DOCKER,
    EVERYWHERE,
    GATEWAY,
    PEERS,
    REJECT,
    filter_table,
    filter_text,
    of,
    six,
)
from wgcluster.firewall.placement import (
    Change,
    after,
    changes,
    for_other_backend,
    is_ours,
    restore_text,
    would_close,
)
from wgcluster.firewall.rules import Rule, desired_rules
from wgcluster.firewall.tables import Packet, Spec, Tables, join, parse_save, verdict
from wgcluster.inventory.schema import OpenPort
from wgcluster.plan.plan import HostPlan, Peer
from wgcluster.prefixes import FAMILIES, Family

OURS = "-m comment --comment wgcluster-wg"
RELAY = f"-i wg -o wg {OURS} -j ACCEPT"
ANSWERS = f"-o wg -m conntrack --ctstate RELATED,ESTABLISHED {OURS} -j ACCEPT"
CLOSED = f"! -i wg -o wg -m conntrack ! --ctstate RELATED,ESTABLISHED {OURS} -j DROP"
BLOCK = [RELAY, ANSWERS]
CLAMP = [
    f"{way} -p tcp -m tcp --tcp-flags SYN,RST SYN {OURS} -j TCPMSS --clamp-mss-to-pmtu"
    for way in ("-i wg", "-o wg")
]
FORWARDS = replace(PEERS, listen_from=(), forwards=(4, 6))  # these in FORWARD, those in raw and mangle
LISTEN = f"-p udp -m udp --dport 51820 {OURS} -j ACCEPT"


def lines(host: HostPlan, family: Family) -> list[str]:
    return [f"{rule.table} {rule.chain} {join(rule.spec)}" for rule in of(host, family)]


def chain(tables: Tables, name: str, table: str = "filter") -> list[str]:
    return [join(spec) for spec in tables[table][name].rules]


def settled(tables: Tables, rules: list[Rule]) -> Tables:
    """``tables`` once ``rules`` are in; asking again must find nothing left to do."""
    result = after(tables, changes(tables, rules, "wg"))
    assert changes(result, rules, "wg") == []
    return result


# What is wanted

# on every host: nobody gets into the overlay by another interface, and nothing is forwarded into it
NOBODY = [
    f"raw PREROUTING -i lo {OURS} -j RETURN",
    f"raw PREROUTING -d 10.0.0.3/32 ! -i wg {OURS} -j DROP",
    f"raw PREROUTING -s 10.0.0.0/24 ! -i wg {OURS} -j DROP",
    f"mangle FORWARD {CLOSED}",
    f"filter FORWARD {ANSWERS}",
]
NOBODY_6 = [line.replace("10.0.0.3/32", "fd00::3/128").replace("10.0.0.0/24", "fd00::/64") for line in NOBODY]


def test_a_family_without_an_overlay_address_needs_no_guard() -> None:
    host = replace(PEERS, addresses=PEERS.addresses[:1])
    assert [rule.chain for rule in of(host, 6)] == ["INPUT"]


def test_peers_open_the_listen_port_to_those_who_dial_it() -> None:
    assert lines(PEERS, 4) == [
        f"filter INPUT -s 198.18.0.2/32 -p udp -m udp --dport 51821 {OURS} -j ACCEPT",
        f"filter INPUT -s 198.18.4.0/24 -p udp -m udp --dport 51821 {OURS} -j ACCEPT",
        *NOBODY,
    ]
    assert lines(PEERS, 6) == [
        f"filter INPUT -s 2001:db8::2/128 -p udp -m udp --dport 51821 {OURS} -j ACCEPT",
        *NOBODY_6,
    ]


def test_anywhere_swallows_every_narrower_source() -> None:
    host = replace(PEERS, listen_from=(*PEERS.listen_from, ip_network("0.0.0.0/0")))
    assert lines(host, 4)[:1] == [f"filter INPUT -p udp -m udp --dport 51821 {OURS} -j ACCEPT"]
    assert [len([one for one in lines(host, family) if "INPUT" in one]) for family in FAMILIES] == [1, 1]


def test_a_gateway_forwards_its_networks_and_masquerades() -> None:
    assert lines(GATEWAY, 4) == [
        f"filter INPUT {LISTEN}",
        NOBODY[0],
        f"raw PREROUTING -s 172.16.0.0/12 -m rpfilter --invert {OURS} -j DROP",
        f"raw PREROUTING -s 172.16.0.0/12 {OURS} -j RETURN",
        *NOBODY[1:3],
        *(f"mangle FORWARD {rule}" for rule in CLAMP),
        f"mangle FORWARD ! -s 172.16.0.0/12 {CLOSED}",
        f"filter FORWARD {RELAY}",
        f"filter FORWARD -d 172.16.0.0/12 -i wg {OURS} -j ACCEPT",
        f"filter FORWARD -s 172.16.0.0/12 -o wg {OURS} -j ACCEPT",
        NOBODY[4],
        f"nat POSTROUTING -s 10.0.0.0/24 -o wg {OURS} -j MASQUERADE",
    ]
    six_of_it = [line.replace("10.0.0.3/32", "fd00::3/128") for line in lines(GATEWAY, 4)]
    for old, new in (("10.0.0.0/24", "fd00::/64"), ("172.16.0.0/12", "fd01::/64")):
        six_of_it = [line.replace(old, new) for line in six_of_it]
    assert lines(GATEWAY, 6) == six_of_it


def test_of_several_networks_each_gets_into_the_tunnel() -> None:
    """One stands in the rule itself: what RETURN lets by, rules of others behind it do not see."""
    host = replace(GATEWAY, subnets=(ip_network("172.16.0.0/12"), ip_network("192.168.5.0/24")))
    assert [line for line in lines(host, 4) if line.startswith("mangle")] == [
        *(f"mangle FORWARD {rule}" for rule in CLAMP),
        f"mangle FORWARD -s 192.168.5.0/24 -o wg {OURS} -j RETURN",
        f"mangle FORWARD ! -s 172.16.0.0/12 {CLOSED}",
    ]


def test_masquerade_takes_what_comes_by_the_tunnel_and_no_network_of_its_own() -> None:
    behind = (ip_network("10.0.0.3/32"), ip_network("172.20.0.0/16"), ip_network("fd02::/64"))
    host = replace(GATEWAY, peers=(Peer("edge", "E" * 42 + "A=", behind),))
    nat = [line for family in FAMILIES for line in lines(host, family) if "MASQUERADE" in line]
    assert [line.split()[3] for line in nat] == ["10.0.0.0/24", "172.20.0.0/16", "fd00::/64", "fd02::/64"]


@pytest.mark.parametrize("forwards", [(), (4,), (6,), (4, 6)])
def test_a_family_that_is_not_forwarded_lets_nothing_through(forwards: tuple[Family, ...]) -> None:
    host = replace(GATEWAY, forwards=forwards)
    for family in FAMILIES:
        found = [rule for rule in lines(host, family) if "FORWARD" in rule or "nat" in rule]
        assert (found == NOBODY[3:]) == (family not in forwards)


def test_without_masquerade_the_nat_table_is_left_alone() -> None:
    assert {rule.table for rule in desired_rules(replace(GATEWAY, masquerade=False))} == {
        "raw",
        "mangle",
        "filter",
    }


def test_masquerade_lan_hides_the_tunnel_from_the_networks_behind() -> None:
    host = replace(GATEWAY, masquerade=False, masquerade_lan=True)
    assert [line for family in FAMILIES for line in lines(host, family) if line.startswith("nat")] == [
        f"nat POSTROUTING -s 10.0.0.0/24 -d 172.16.0.0/12 ! -o wg {OURS} -j MASQUERADE",
        f"nat POSTROUTING -s fd00::/64 -d fd01::/64 ! -o wg {OURS} -j MASQUERADE",
    ]


def test_beside_others_a_port_is_opened_for_the_tunnel_or_the_interface_named() -> None:
    ports = (
        OpenPort("8000-8100"),
        OpenPort(53, "udp", (ip_network("10.0.0.7/32"),)),
        OpenPort(22, interface="eth1"),
    )
    host = replace(GATEWAY, firewall_allow=ports)
    opened = [
        f"filter INPUT -i wg -p tcp -m tcp --dport 8000:8100 {OURS} -j ACCEPT",
        f"filter INPUT -s 10.0.0.7/32 -i wg -p udp -m udp --dport 53 {OURS} -j ACCEPT",
        f"filter INPUT -i eth1 -p tcp -m tcp --dport 22 {OURS} -j ACCEPT",
    ]
    assert [line for line in lines(host, 4) if "INPUT" in line][1:] == opened
    assert [line for line in lines(host, 6) if "INPUT" in line][1:] == [opened[0], opened[2]]
    alone = replace(host, addresses=host.addresses[:1])  # nobody comes through the tunnel with IPv6
    assert [line for line in lines(alone, 6) if "INPUT" in line][1:] == [opened[2]]
    closed = [line for line in lines(replace(host, firewall="baseline"), 4) if "INPUT" in line]
    assert closed[-4:-1] == [opened[0].replace("-i wg ", ""), opened[1].replace("-i wg ", ""), opened[2]]


def test_off_is_off() -> None:
    assert desired_rules(replace(GATEWAY, firewall="off")) == ()


def test_the_baseline_is_the_articles_list() -> None:
    assert [line for line in lines(BASELINE, 4) if " INPUT " in line] == [
        f"filter INPUT -m conntrack --ctstate RELATED,ESTABLISHED {OURS} -j ACCEPT",
        f"filter INPUT -i lo {OURS} -j ACCEPT",
        f"filter INPUT -p icmp -m icmp --icmp-type 8 {OURS} -j ACCEPT",
        f"filter INPUT -s 198.18.0.2/32 -p udp -m udp --dport 51820 {OURS} -j ACCEPT",
        f"filter INPUT -s 198.18.4.0/24 -p udp -m udp --dport 51820 {OURS} -j ACCEPT",
        f"filter INPUT -s 198.18.9.0/24 -p tcp -m tcp --dport 22 {OURS} -j ACCEPT",
        f"filter INPUT -p tcp -m tcp --dport 443 {OURS} -j ACCEPT",
        f"filter INPUT -s 198.18.9.0/24 -p udp -m udp --dport 53 {OURS} -j ACCEPT",
        f"filter INPUT {OURS} -j REJECT --reject-with icmp-host-prohibited",
    ]


def test_the_baselines_ipv6_is_its_ipv4_with_neighbour_discovery() -> None:
    host = replace(BASELINE, listen_from=EVERYWHERE, firewall_allow=(BASELINE.firewall_allow[1],))
    four, ipv6 = lines(host, 4), lines(host, 6)
    ping = f"filter INPUT -p icmp -m icmp --icmp-type 8 {OURS} -j ACCEPT"
    own = [
        f"filter INPUT -p ipv6-icmp -m icmp6 --icmpv6-type {kind} {OURS} -j ACCEPT"
        for kind in (128, 130, 131, 132, 133, 134, 135, 136, 143)
    ] + [f"filter INPUT -s fe80::/10 -p udp -m udp --dport 546 {OURS} -j ACCEPT"]
    where = four.index(ping)
    expected = [
        six(line)
        .replace("172.16.0.0/12", "fd01::/64")
        .replace("10.0.0.3/32", "fd00::3/128")
        .replace("10.0.0.0/24", "fd00::/64")
        for line in four
    ]
    assert ipv6 == [*expected[:where], *own, *expected[where + 1 :]]


def test_a_rule_shows_as_the_command_that_adds_it() -> None:
    shown = [
        str(rule) for rule in desired_rules(FORWARDS) if (rule.table, rule.chain) == ("filter", "FORWARD")
    ]
    assert shown[0] == f"iptables -t filter -A FORWARD {RELAY}"
    assert shown[2] == f"ip6tables -t filter -A FORWARD {RELAY}"


# Where it goes


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ([], BLOCK),
        ([REJECT], [*BLOCK, REJECT]),
        (["-i docker0 -o eth0 -j ACCEPT", REJECT], ["-i docker0 -o eth0 -j ACCEPT", *BLOCK, REJECT]),
        (["-i a -j DROP"], ["-i a -j DROP", *BLOCK]),
        (["-i a -j DROP", "-j LOG", "-j LOG"], ["-i a -j DROP", *BLOCK, "-j LOG", "-j LOG"]),
        (["-i wg -j DROP"], [*BLOCK, "-i wg -j DROP"]),
        (["-i w+ -j DROP"], [*BLOCK, "-i w+ -j DROP"]),
        (["! -i eth0 -j DROP"], [*BLOCK, "! -i eth0 -j DROP"]),
        (["-j ACCEPT"], [*BLOCK, "-j ACCEPT"]),
        (["-j RETURN", "-j DROP"], [*BLOCK, "-j RETURN", "-j DROP"]),
        ([*BLOCK, REJECT], [*BLOCK, REJECT]),
        ([*BLOCK, *BLOCK, REJECT], [*BLOCK, REJECT]),
        ([*BLOCK, REJECT, RELAY], [*BLOCK, REJECT]),
        ([REJECT, *BLOCK], [*BLOCK, REJECT]),
        (["-i a -j DROP", REJECT, *BLOCK], ["-i a -j DROP", *BLOCK, REJECT]),
        # in the right place or further up it stays
        ([*BLOCK, "-i a -j DROP"], [*BLOCK, "-i a -j DROP"]),
        (["-i a -j DROP", "-i b -j DROP", *BLOCK], ["-i a -j DROP", "-i b -j DROP", *BLOCK]),
        # one of ours that was made by an older plan, and one of another interface's
        ([f"-i wg {OURS} -j ACCEPT", REJECT], [*BLOCK, REJECT]),
        (["-i wg2 -o wg2 -m comment --comment wgcluster-wg2 -j ACCEPT", REJECT],
         ["-i wg2 -o wg2 -m comment --comment wgcluster-wg2 -j ACCEPT", *BLOCK, REJECT]),
        # what others let into the tunnel is stopped in mangle
        (["-s 198.18.0.0/16 -j ACCEPT"], ["-s 198.18.0.0/16 -j ACCEPT", *BLOCK]),
        (["-i docker0 -j ACCEPT", REJECT], ["-i docker0 -j ACCEPT", *BLOCK, REJECT]),
        (["-j theirs"], ["-j theirs", *BLOCK]),
        (["-j NFQUEUE --queue-num 0"], ["-j NFQUEUE --queue-num 0", *BLOCK]),
        (["-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"],
         ["-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", *BLOCK]),
        (["-j MARK --set-xmark 0x1/0x1", REJECT], ["-j MARK --set-xmark 0x1/0x1", *BLOCK, REJECT]),
        (["-p tcp -j DROP"], ["-p tcp -j DROP", *BLOCK]),
        (["-m conntrack --ctstate DNAT -j ACCEPT"], ["-m conntrack --ctstate DNAT -j ACCEPT", *BLOCK]),
        (["-m conntrack --ctstate ESTABLISHED,UNTRACKED -j ACCEPT"],
         ["-m conntrack --ctstate ESTABLISHED,UNTRACKED -j ACCEPT", *BLOCK]),
    ],
)  # fmt: skip
def test_forward(there: list[str], expected: list[str]) -> None:
    nested = "-A theirs -p tcp -m tcp --dport 443 -j ACCEPT"
    tables = filter_table(*(f"-A FORWARD {rule}" for rule in there), nested)
    result = settled(tables, of(FORWARDS))
    assert chain(result, "FORWARD") == expected
    assert chain(result, "FORWARD", "mangle") == [*CLAMP, CLOSED]
    made = changes(tables, of(FORWARDS), "wg")
    found = [change for change in made if (change.table, change.chain) == ("filter", "FORWARD")]
    assert (found == []) == (there == expected)


def test_the_policy_of_forward_is_set_where_it_is_asked_for() -> None:
    tables = settled(filter_table("-A FORWARD -i a -o b -j ACCEPT"), of(FORWARDS))
    assert changes(tables, of(FORWARDS), "wg", "ACCEPT") == []
    made = changes(tables, of(FORWARDS), "wg", "DROP")
    assert shown(made) == ["~ -t filter -P FORWARD DROP  (was ACCEPT)"]
    assert restore_text(made) == "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n"
    result = after(tables, made)
    assert result["filter"]["FORWARD"] == replace(tables["filter"]["FORWARD"], policy="DROP")
    assert changes(result, of(FORWARDS), "wg", "DROP") == []


@pytest.mark.parametrize("family", FAMILIES)
def test_beside_docker(family: Family) -> None:
    """DOCKER-USER, which is the operator's, stays in front; all the rest of Docker's comes behind."""
    text = DOCKER if family == 4 else six(DOCKER)
    tables = parse_save(text)
    result = settled(tables, of(GATEWAY, family))
    rules = [rule for rule in of(GATEWAY, family) if (rule.table, rule.chain) == ("filter", "FORWARD")]
    ours = [join(rule.spec) for rule in rules]
    assert chain(result, "FORWARD")[: len(ours) + 1] == ["-j DOCKER-USER", *ours]
    for table, chains in tables.items():
        for name, one in chains.items():
            foreign = [spec for spec in result[table][name].rules if not is_ours(spec, "wg")]
            assert (result[table][name].policy, foreign) == (one.policy, one.rules)
    assert verdict(result["filter"], "FORWARD", Packet("wg", "wg")) == "ACCEPT"
    source = ip_network("192.168.0.0/24" if family == 4 else "2001:db8::/64")
    new = Packet("docker0", "wg", source=source, state=frozenset({"NEW"}))
    assert verdict(result["mangle"], "FORWARD", new) == "DROP"


def test_what_docker_user_drops_is_no_longer_dropped_for_the_tunnel() -> None:
    tables = parse_save(DOCKER.replace("-A DOCKER-USER -j RETURN", "-A DOCKER-USER ! -i eth0 -j DROP"))
    assert chain(settled(tables, of(FORWARDS)), "FORWARD")[:3] == [*BLOCK, "-j DOCKER-USER"]


LOGDROP = (
    ":INPUT ACCEPT [0:0]\n:LOGDROP - [0:0]",
    "-A LOGDROP -m limit --limit 5/min -j LOG",
    "-A LOGDROP -j DROP",
)


@pytest.mark.parametrize(
    ("there", "place"),
    [
        (["-p tcp -m tcp --dport 22 -j ACCEPT", REJECT], 1),
        (["-p tcp -j DROP", "-p udp -j DROP"], 1),
        (["-p udp -m udp --dport 51820 -j DROP"], 0),
        (["-p udp -m udp --dport 51000:52000 -j DROP"], 0),
        (["-p udp -m udp --dport 53 -j DROP"], 1),
        # who accepts does our work: nothing to go in front of
        (["-p udp -j ACCEPT", REJECT], 2),
        (["-s 198.18.0.9/32 -j DROP", "-j LOGDROP"], 1),
        (["-m set --match-set bans src -j DROP", "-j ACCEPT"], 2),
    ],
)
def test_input(there: list[str], place: int) -> None:
    heads, *nested = LOGDROP
    tables = filter_table(*(f"-A INPUT {rule}" for rule in there), *nested, heads=heads)
    rules = of(replace(PEERS, port=51820, listen_from=EVERYWHERE))
    result = settled(tables, rules)
    assert chain(result, "INPUT") == [*there[:place], LISTEN, *there[place:]]


def test_the_baseline_goes_in_front_of_what_ends_the_chain() -> None:
    tables = filter_table(
        "-A INPUT -p tcp -m tcp --dport 22 -j f2b",
        "-A INPUT -p tcp -m tcp --dport 25 -j ACCEPT",
        f"-A INPUT {REJECT}",
        "-A f2b -s 198.18.0.66/32 -j DROP",
        "-A f2b -j RETURN",
    )
    rules = [rule for rule in of(BASELINE) if rule.chain == "INPUT"]
    result = chain(settled(tables, rules), "INPUT")
    assert result[:2] == ["-p tcp -m tcp --dport 22 -j f2b", "-p tcp -m tcp --dport 25 -j ACCEPT"]
    assert result[2:-1] == [join(rule.spec) for rule in rules]
    assert result[-1] == REJECT


def test_a_baseline_behind_accept_all_is_no_firewall() -> None:
    result = chain(settled(filter_table("-A INPUT -j ACCEPT"), of(BASELINE)), "INPUT")
    assert result[-1] == "-j ACCEPT"
    assert result[-2] == f"{OURS} {REJECT}"


@pytest.mark.parametrize("end", ["-j ACCEPT", "-o wg -j ACCEPT", "-j DROP"])
def test_masquerade_goes_in_front_of_what_ends_the_chain(end: str) -> None:
    tables = parse_save(f"*nat\n:POSTROUTING ACCEPT\n-A POSTROUTING {end}\nCOMMIT\n")
    result = settled(tables, of(GATEWAY))
    assert chain(result, "POSTROUTING", "nat") == [f"-s 10.0.0.0/24 -o wg {OURS} -j MASQUERADE", end]


MASKED = "-i eth0 -p tcp -j ACCEPT"


@pytest.mark.parametrize(
    ("there", "place"),
    [
        (["-p tcp -j TCPMSS --clamp-mss-to-pmtu", "-j MARK --set-xmark 0x1/0x1"], 2),
        # what might take a packet out of the chain comes behind ours
        ([MASKED], 0),
        (["-j MARK --set-xmark 0x1/0x1", "-j theirs"], 1),
        (["-i docker0 -o eth0 -j ACCEPT", "-m conntrack --ctstate INVALID -j ACCEPT"], 1),
        # what it lets by would keep the MSS of an answer
        (["-i docker0 -o eth0 -j ACCEPT", "-m conntrack --ctstate ESTABLISHED -j ACCEPT"], 1),
    ],
)
def test_the_tunnel_is_closed_in_mangle_behind_what_marks(there: list[str], place: int) -> None:
    nested = "-A theirs -p tcp -m tcp --dport 443 -j ACCEPT"
    text = filter_text(*(f"-A FORWARD {rule}" for rule in there), nested).replace("*filter", "*mangle")
    result = settled(parse_save(text), of(FORWARDS))
    assert chain(result, "FORWARD", "mangle") == [*there[:place], *CLAMP, CLOSED, *there[place:]]


# What is put right


def shown(made: list[Change]) -> list[str]:
    return [line for change in made for line in change.diff]


RIGHT = [f"-A INPUT {LISTEN}", f"-A FORWARD {RELAY}", f"-A FORWARD {ANSWERS}"]
PLAIN = replace(FORWARDS, port=51820, listen_from=EVERYWHERE)
PLAIN_RULES = [rule for rule in of(PLAIN) if rule.table == "filter"]


@pytest.mark.parametrize(
    ("there", "diff"),
    [
        (RIGHT, []),
        ([*RIGHT, f"-A INPUT {REJECT}", f"-A FORWARD {REJECT}"], []),
        ([RIGHT[0], *RIGHT[2:]], [f"+ -t filter -A FORWARD {RELAY}"]),
        ([*RIGHT, RIGHT[0]], [f"- -t filter -A INPUT {LISTEN}  (1 of 2 copies)"]),
        ([*RIGHT, RIGHT[0], RIGHT[1], *RIGHT[:2]], [f"- -t filter -A INPUT {LISTEN}  (2 of 3 copies)",
                                                   f"- -t filter -A FORWARD {RELAY}  (2 of 3 copies)"]),
        ([f"-A INPUT {REJECT}", *RIGHT], [f"~ -t filter -A INPUT {LISTEN}  (stood behind: {REJECT})"]),
        ([*RIGHT[:1], "-A FORWARD -i w+ -j DROP", *RIGHT[1:]],
         [f"~ -t filter -A FORWARD {RELAY}  (stood behind: -i w+ -j DROP)"]),
        ([*RIGHT[:1], "-A FORWARD -i eth0 -j ACCEPT", *RIGHT[1:]], []),
        # what closed the tunnel in versions before 1.0
        ([*RIGHT, f"-A FORWARD -o wg {OURS} -j DROP"], [f"- -t filter -A FORWARD -o wg {OURS} -j DROP"]),
        ([*RIGHT, f"-A INPUT -p tcp {OURS} -j ACCEPT"], [f"- -t filter -A INPUT -p tcp {OURS} -j ACCEPT"]),
        # a chain in which nothing of ours is wanted
        ([*RIGHT, f"-A OUTPUT ! -o a {OURS} -j ACCEPT"], [f"- -t filter -A OUTPUT ! -o a {OURS} -j ACCEPT"]),
        # edited by hand into what is no single port
        ([f"-A INPUT -p udp -m udp --dport 1:2 {OURS} -j ACCEPT", *RIGHT[1:]],
         [f"- -t filter -A INPUT -p udp -m udp --dport 1:2 {OURS} -j ACCEPT",
          f"+ -t filter -A INPUT {LISTEN}"]),
    ],
)  # fmt: skip
def test_drift(there: list[str], diff: list[str]) -> None:
    tables = filter_table(*there)
    assert shown(changes(tables, PLAIN_RULES, "wg")) == diff
    settled(tables, PLAIN_RULES)


def test_another_order_is_put_back() -> None:
    rules = [rule for rule in of(PEERS) if rule.chain == "INPUT"]
    tables = filter_table(*(f"-A INPUT {join(rule.spec)}" for rule in reversed(rules)))
    assert shown(changes(tables, rules, "wg")) == ["~ -t filter -A INPUT: our rules put back in order"]
    assert settled(tables, rules)["filter"]["INPUT"].rules == [rule.spec for rule in rules]


@pytest.mark.parametrize(
    "text", [DOCKER, DOCKER.replace("DROP", "ACCEPT"), f"*filter\n-A INPUT {REJECT}\nCOMMIT\n"]
)
def test_teardown_leaves_the_host_as_it_was(text: str) -> None:
    tables = parse_save(text)
    result = after(tables, changes(tables, of(BASELINE), "wg"))
    assert result != tables
    bare = after(result, changes(result, [], "wg"))
    assert {name: one for name, one in bare["filter"].items() if one.rules} == {
        name: one for name, one in tables["filter"].items() if one.rules
    }
    assert not bare["raw"]["PREROUTING"].rules + bare["mangle"]["FORWARD"].rules
    assert changes(bare, [], "wg") == []


def test_restore_text() -> None:
    tables = parse_save(f"*filter\n:FORWARD ACCEPT\n-A FORWARD {REJECT}\n-A FORWARD {RELAY}\nCOMMIT\n")
    rules = [
        rule for rule in of(replace(GATEWAY, listen_from=(), subnets=())) if rule.table in ("filter", "nat")
    ]
    assert restore_text(changes(tables, rules, "wg")) == (
        f"*filter\n-D FORWARD {RELAY}\n-I FORWARD 1 {RELAY}\n-I FORWARD 2 {ANSWERS}\n"
        f"COMMIT\n*nat\n-I POSTROUTING 1 -s 10.0.0.0/24 -o wg {OURS} -j MASQUERADE\nCOMMIT\n"
    )


def test_is_ours() -> None:
    def says(text: str) -> Spec:
        return ("-m", "comment", "--comment", text, "-j", "ACCEPT")

    assert is_ours(says("wgcluster-wg"), "wg")
    assert not is_ours(says("wgcluster-wg2"), "wg")
    assert not is_ours(says("see wgcluster-wg"), "wg")
    assert not is_ours(("-j", "ACCEPT"), "wg")


# The other backend


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ([], ["INPUT", "INPUT", "FORWARD", "FORWARD"]),
        ([f"-A INPUT {REJECT}"], ["INPUT", "INPUT", "FORWARD", "FORWARD"]),
        (["-A INPUT -j ACCEPT"], ["FORWARD", "FORWARD"]),
        (["-A INPUT -j ACCEPT", "-A FORWARD -j ACCEPT"], []),
        (["-A INPUT -s 198.18.0.0/30 -p udp -j ACCEPT"], ["INPUT", "FORWARD", "FORWARD"]),
        # ours already there do not count as the host's own
        ([f"-A FORWARD {RELAY}", "-A INPUT -j ACCEPT"], ["FORWARD", "FORWARD"]),
    ],
)
def test_the_other_backend_gets_what_it_would_stop(there: list[str], expected: list[str]) -> None:
    closed = ":INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]"
    rules = of(replace(PEERS, forwards=(4,), masquerade=True))
    assert [rule.chain for rule in for_other_backend(filter_table(*there, heads=closed), rules)] == expected


def test_a_backend_that_lets_all_through_gets_nothing() -> None:
    assert for_other_backend(filter_table(), of(BASELINE)) == []


# Who would be locked out


@pytest.mark.parametrize(
    ("source", "port", "interface", "there", "closed"),
    [
        ("198.18.9.5/32", 22, "eth0", [], False),
        ("198.18.8.5/32", 22, "eth0", [], True),
        ("198.18.9.5/32", 2222, "eth0", [], True),
        ("198.18.8.5/32", 443, "eth0", [], False),
        ("198.18.8.5/32", 22, "lo", [], False),
        ("198.18.8.5/32", 22, "eth0", ["-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT"], False),
        ("198.18.8.5/32", 22, "eth0", ["-A INPUT -p tcp -m state --state NEW -j ACCEPT"], False),
        ("198.18.8.5/32", 22, "eth0", ["-A INPUT -s 198.18.8.0/24 -j ACCEPT", f"-A INPUT {REJECT}"], False),
        ("198.18.8.5/32", 22, "eth0", ["-A INPUT -i eth0 -p tcp -j ACCEPT"], False),
        ("198.18.8.5/32", 22, None, ["-A INPUT -i eth0 -p tcp -j ACCEPT"], True),
        # who says that the rule still lets this one in tomorrow?
        ("198.18.8.5/32", 22, "eth0", ["-A INPUT -m set --match-set friends src -j ACCEPT"], True),
        ("198.18.8.5/32", 22, "eth0", ["-A INPUT -j ACCEPT"], True),
        ("2001:db8:9::5/128", 22, "eth0", [], False),
        ("2001:db8:8::5/128", 22, "eth0", [], True),
    ],
)  # fmt: skip
def test_closes(source: str, port: int, interface: str | None, there: list[str], closed: bool) -> None:
    tables, network = filter_table(*there), ip_network(source)
    made = changes(tables, of(BASELINE, 4 if network.version == 4 else 6), "wg")
    assert would_close(tables, made, network, port, interface) is closed
