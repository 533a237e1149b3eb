"""Firewalls beside ours, by what is in force; real ones: tests/system/lab/test_foreign_firewalls.py."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_interface
from typing import Any

import pytest

from tests.support.chains import EVERYWHERE, GATEWAY, PEERS
from wgcluster.firewall.nft import parse_ruleset
from wgcluster.firewall.tables import parse_save
from wgcluster.host.observed import Observed, Rules, Unit
from wgcluster.inventory.schema import OpenPort
from wgcluster.plan.plan import HostPlan, Peer
from wgcluster.verify.foreign_firewalls import foreign_firewalls

PLAN = replace(GATEWAY, forwards=(4,), subnets=(), listen_from=EVERYWHERE)
OPENS = replace(PLAN, forwards=(), firewall_allow=(OpenPort("8000-8100"),))
HELD = (("eth0", ip_interface("198.18.0.9/20")), ("wg", ip_interface("fd00::2/64")))


def matching(key: str, value: Any, op: str = "==", **left: Any) -> dict[str, Any]:
    return {"match": {"op": op, "left": left or {"meta": {"key": key}}, "right": value}}


def ruleset(
    hook: str,
    *rules: list[Any],
    family: str = "inet",
    policy: str = "accept",
    name: str = "theirs",
    dev: Any = None,
    **more: Any,
) -> str:
    base = {"family": family, "table": name, "name": "gate", "hook": hook, "policy": policy, "prio": 0}
    base |= {"dev": dev} if dev else {}
    lines: list[dict[str, Any]] = [{"table": {"family": family, "name": name, **more}}, {"chain": base}]
    for handle, expressions in enumerate(rules, 7):
        rule = {"family": family, "table": name, "chain": "gate", "handle": handle, "expr": expressions}
        lines.append({"rule": rule})
    return json.dumps({"nftables": [{"metainfo": {"version": "1.0.6"}}, *lines]})


def found(text: str, plan: HostPlan = PLAN, **more: Any) -> list[str]:
    faults = foreign_firewalls(plan, Observed(nft=parse_ruleset(text), interface_addresses=HELD, **more))
    return [fault.message for fault in faults]


DROP = {"drop": None}
DADDR: Any = {"payload": {"protocol": "ip", "field": "daddr"}}


@pytest.mark.parametrize(
    ("text", "stopped"),
    [
        (ruleset("forward", [matching("iifname", "docker0"), DROP]), False),
        (ruleset("forward", [matching("oifname", "docker0"), DROP]), False),
        (ruleset("forward", [matching("oifname", "wg"), DROP]), True),
        (ruleset("forward", [matching("iifname", {"set": ["wg", "eth0"]}), {"accept": None}], [DROP]), False),
        # a service that nobody is to reach, and all but one
        (ruleset("forward", [matching("", 25, payload={"protocol": "tcp", "field": "dport"}), DROP]), False),
        (
            ruleset("forward", [matching("", 25, "!=", payload={"protocol": "tcp", "field": "dport"}), DROP]),
            True,
        ),
        (ruleset("forward", [matching("l4proto", "udp"), DROP]), False),
        (ruleset("forward", policy="drop"), True),
        (ruleset("forward", policy="drop", family="ip"), True),
        # it forwards IPv4 alone, and has no IPv6 that anyone could dial it by
        (ruleset("forward", policy="drop", family="ip6"), False),
        # what comes to its only address is all that comes
        (ruleset("input", [matching("", "198.18.0.9", **DADDR), DROP]), True),
        (ruleset("input", [matching("", "198.18.0.10", **DADDR), DROP]), False),
        (ruleset("input", [matching("", "@own", **DADDR), DROP]), True),
        (ruleset("forward", [matching("", "10.0.0.9", **DADDR), DROP]), False),
        (ruleset("input", policy="drop", family="ip6"), False),
        (ruleset("output", policy="drop"), True),
        (ruleset("input", policy="drop", family="bridge"), False),
        (ruleset("input", policy="drop", flags=["dormant"]), False),
        (ruleset("input", [matching("", "@x", payload={"protocol": "ip", "field": "saddr"}), DROP]), False),
        # what is not as documented
        (ruleset("input", [{"match": {"op": "==", "left": {}, "right": 1}}, DROP]), True),
        (ruleset("input", [{"match": {"op": "==", "left": {"hash": 7}, "right": 1}}, DROP]), True),
        (ruleset("input", [{"vmap": {"key": {"meta": {"key": "iif"}}, "data": {"set": [["lo"]]}}}]), True),
        (ruleset("input", [{"jump": {}}]), True),
        # some leave the chain before they are accepted
        (
            ruleset("forward", [matching("mark", 1), {"return": None}], [{"accept": None}], policy="drop"),
            True,
        ),
        (ruleset("forward", [matching("mark", 1), {"goto": {"target": "x"}}], [{"accept": None}]), False),
        (ruleset("input", [{"later": {"than": "this"}}, DROP]), True),
        (ruleset("input", [{"later": {"than": "this"}}, {"accept": None}], [DROP]), True),
        (ruleset("input", [{"jump": {"target": "gate"}}]), False),  # the kernel has no such loop
    ],
)
def test_what_nft_drops(text: str, stopped: bool) -> None:
    assert bool(found(text)) == stopped
    assert found(text, replace(PLAN, firewall="off", forwards=(), listen_from=())) == []


DIALS = replace(
    PLAN,
    listen_from=(),
    forwards=(),
    peers=(
        Peer("cloud", "C" * 42 + "A=", (), endpoint="198.18.0.7:51821"),
        Peer("six", "S" * 42 + "A=", (), endpoint="[2001:db8::7]:51822"),
    ),
)
TCP_TO: Any = {"payload": {"protocol": "tcp", "field": "dport"}}
UDP_TO: Any = {"payload": {"protocol": "udp", "field": "dport"}}
UDP_FROM: Any = {"payload": {"protocol": "udp", "field": "sport"}}
SADDR_ROUTE: Any = {"fib": {"result": "oif", "flags": ["saddr", "iif"]}}


@pytest.mark.parametrize(
    ("text", "plan", "words"),
    [
        (ruleset("output", [matching("", 51821, **UDP_TO), DROP]), DIALS, ["UDP from port 51820"]),
        (ruleset("output", [matching("", 51822, **UDP_TO), DROP], family="ip"), DIALS, []),
        (
            ruleset("output", [matching("", 51822, **UDP_TO), DROP], family="ip6"),
            DIALS,
            ["UDP from port 51820"],
        ),
        (ruleset("output", [matching("", "198.18.0.7", **DADDR), DROP]), DIALS, ["UDP from port 51820"]),
        (ruleset("output", [matching("", "198.18.0.8", **DADDR), DROP]), DIALS, []),
        (ruleset("output", [matching("", "@bad", **DADDR), DROP]), DIALS, []),  # as with sources
        (ruleset("output", [matching("", 51820, **UDP_FROM), {"accept": None}], policy="drop"), DIALS, []),
        (ruleset("output", [matching("oifname", "wg"), DROP]), DIALS, []),
        (ruleset("output", [matching("oifname", "wg", "!="), DROP]), DIALS, ["UDP from port 51820"]),
        (ruleset("postrouting", [matching("l4proto", "udp"), DROP]), DIALS, ["UDP from port 51820"]),
        # who listens to nobody still needs the answers
        (ruleset("input", policy="drop"), DIALS, ["UDP to port 51820"]),
        (
            ruleset(
                "input",
                [matching("state", "established", ct={"key": "state"}), {"accept": None}],
                policy="drop",
            ),
            DIALS,
            [],
        ),
        # PLAN is dialled, and forwards
        (ruleset("prerouting", [matching("", 51820, **UDP_TO), DROP]), PLAN, ["UDP to port 51820"]),
        (ruleset("prerouting", [matching("iifname", "wg"), DROP]), PLAN, ["what is forwarded for wg"]),
        (ruleset("prerouting", [matching("", False, **SADDR_ROUTE), DROP]), PLAN, []),
        (ruleset("postrouting", [matching("oifname", "wg"), DROP]), PLAN, ["what is forwarded for wg"]),
        (ruleset("input", [matching("iifname", "wg"), DROP]), PLAN, []),
        (ruleset("input", [matching("iifname", "wg", "!="), DROP]), PLAN, ["UDP to port 51820"]),
        (
            ruleset("ingress", [matching("", 51820, **UDP_TO), DROP], family="netdev", dev="eth0"),
            PLAN,
            ["UDP to port 51820"],
        ),
        (ruleset("ingress", [matching("", 51820, **UDP_TO), DROP], family="netdev", dev="wg"), PLAN, []),
        (
            ruleset(
                "ingress", [matching("", "10.0.0.0", **DADDR), DROP], family="netdev", dev=["eth0", "wg"]
            ),
            PLAN,
            [],
        ),
        (
            ruleset("ingress", [matching("", 51820, **UDP_TO), DROP], family="netdev"),
            PLAN,
            ["UDP to port 51820"],
        ),
        (ruleset("ingress", policy="drop", family="netdev", dev="wg"), PLAN, ["what is forwarded for wg"]),
        # what firewall_allow opens
        (ruleset("input", [matching("", 8050, **TCP_TO), DROP]), OPENS, []),
        (
            ruleset("input", [matching("", {"range": [1, 9000]}, **TCP_TO), DROP]),
            OPENS,
            ["TCP to port 8000-8100"],
        ),
        (ruleset("input", [matching("iifname", "wg"), DROP]), OPENS, ["TCP to port 8000-8100"]),
    ],
)
def test_every_hook_on_the_way_is_looked_at(text: str, plan: HostPlan, words: list[str]) -> None:
    messages = found(text, plan)
    assert [message.partition(" drops ")[2].partition(";")[0] for message in messages] == words


def test_the_chain_that_a_packet_meets_first_is_told_first() -> None:
    late = ruleset("input", policy="drop").replace('"prio": 0', '"prio": 10')
    first = ruleset("input", policy="drop", name="first").replace('"prio": 0', '"prio": -10')
    both = {"nftables": json.loads(late)["nftables"] + json.loads(first)["nftables"]}
    assert [message.split()[5] for message in found(json.dumps(both))] == ["first", "theirs"]


def test_the_rule_and_the_remedy_are_named() -> None:
    text = ruleset("input", [{"counter": None}], [{"reject": {"type": "tcp reset"}}])
    (message,) = found(text)
    assert "the rule 8 of inet theirs gate drops UDP to port 51820" in message
    assert "('nft insert rule inet theirs gate udp dport 51820 accept', and" in message
    behind = replace(PLAN, subnets=GATEWAY.subnets)
    assert (
        "'nft insert rule inet theirs gate iifname \"wg\" accept' and"
        " 'nft insert rule inet theirs gate oifname \"wg\" accept'"
    ) in found(ruleset("forward", policy="drop"), behind)[0]


def test_a_drop_of_the_very_peers_is_one() -> None:
    saddr: Any = {"payload": {"protocol": "ip", "field": "saddr"}}
    inside = {"prefix": {"addr": "198.18.4.0", "len": 23}}
    assert found(ruleset("input", [matching("", inside, **saddr), DROP]), PEERS)
    elsewhere = {"range": ["198.18.6.0", "198.18.9.255"]}
    assert not found(ruleset("input", [matching("", elsewhere, **saddr), DROP]), PEERS)
    assert found(ruleset("input", [matching("", elsewhere, "!=", **saddr), DROP]), PEERS)


def test_what_iptables_shows_is_judged_there() -> None:
    text = ruleset("input", family="ip", policy="drop", name="filter").replace('"gate"', '"INPUT"')
    shown = (Rules(4, "iptables", True, parse_save("*filter\n:INPUT DROP [0:0]\nCOMMIT")),)
    assert found(text, rules=shown) == []
    assert found(text) != []
    mine = text.replace('"INPUT"', '"mine"')
    assert found(mine, rules=shown) != []


def test_rules_that_nft_does_not_show_may_drop_anything() -> None:
    observed = Observed(nft_error="Error: JSON support not compiled-in")
    (fault,) = foreign_firewalls(PLAN, observed)
    assert fault.code == "firewall.nft-unreadable"
    assert "(Error: JSON support not compiled-in)" in fault.message


UFW = "*filter\n:INPUT DROP [0:0]\n:{0} - [0:0]\n-A INPUT -j {0}\n-A {0} -p tcp --dport 1 -j ACCEPT\nCOMMIT"


@pytest.mark.parametrize(
    ("observed", "code"),
    [
        (
            Observed(rules=(Rules(4, "iptables", True, parse_save(UFW.format("ufw-before-input"))),)),
            "ufw-active",
        ),
        (
            Observed(rules=(Rules(6, "ip6tables", True, parse_save(UFW.format("ufw6-after-input"))),)),
            "ufw-active",
        ),
        (Observed(ufw=True, units={"ufw.service": Unit(True, True)}), "ufw-active"),
        (Observed(ufw=True, units={"ufw.service": Unit(True, False)}), "ufw-enabled"),
        (Observed(ufw=True), ""),
        (Observed(units={"ufw.service": Unit(True, True)}), ""),
        (Observed(rules=(Rules(4, "iptables", True, parse_save(UFW.format("mine"))),)), ""),
        (
            Observed(rules=(Rules(4, "iptables", True, parse_save(UFW.format("INPUT_ZONES"))),)),
            "firewalld-without-unit",
        ),
        (Observed(units={"firewalld.service": Unit(False, True)}), "firewalld-active"),
        (Observed(units={"firewalld.service": Unit(True, False)}), "firewalld-enabled"),
        (Observed(rules=(Rules(4, "iptables", True, {}, frozenset({"filter"})),)), "table-not-shown"),
        (Observed(rules=(Rules(4, "iptables", True, {}, frozenset({"raw"})),)), "table-not-shown"),
        (Observed(rules=(Rules(4, "iptables", True, {}, frozenset({"security"})),)), ""),
        (Observed(rules=(Rules(4, "iptables-nft", False, {}, frozenset({"filter"})),)), ""),
    ],
)
def test_managers_by_what_is_in_force(observed: Observed, code: str) -> None:
    codes = [fault.code for fault in foreign_firewalls(PLAN, observed)]
    assert codes == ([f"firewall.{code}"] if code else [])


@pytest.mark.parametrize(
    "text", ['{"nftables": 7}', "{}", '{"nftables": [7]}', '{"nftables": [{"table": []}]}', "{"]
)
def test_what_nft_never_prints_is_not_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"nft list|Expecting"):
        parse_ruleset(text)


def test_names_that_would_reach_the_terminal_are_not_read() -> None:
    with pytest.raises(ValueError, match="a name that nft does not allow"):
        parse_ruleset(ruleset("input", policy="drop", name="\x1b[2J"))
    with pytest.raises(ValueError, match="not as in libnftables-json"):
        parse_ruleset('{"nftables": ' + "[" * 100_000)
