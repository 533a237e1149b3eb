"""Whose the listen port is, and rules that send elsewhere what comes to it."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_interface
from typing import Any

import pytest

from tests.support.chains import PEERS
from wgcluster.firewall.nft import parse_ruleset
from wgcluster.firewall.tables import parse_save
from wgcluster.host.observed import Link, Observed, Rules, WireguardInterface
from wgcluster.verify.listen_port import port_redirected, port_taken

HERE = Observed(
    interface_addresses=(
        ("lo", ip_interface("127.0.0.1/8")),
        ("eth0", ip_interface("198.18.0.9/20")),
        ("eth0", ip_interface("2001:db8::9/64")),
        ("eth0", ip_interface("fe80::9/64")),
        ("wg", ip_interface("10.0.0.2/24")),
    )
)
PORT = PEERS.port
TO = f"-p udp -m udp --dport {PORT} -j DNAT --to-destination 172.17.0.2:{PORT}"
DOCKER = "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n"


@pytest.mark.parametrize(
    ("observed", "codes"),
    [
        (HERE, []),
        (replace(HERE, port_bound=True, port_users=("dnsmasq",)), ["wg_port.taken"]),
        (replace(HERE, port_bound=True), ["wg_port.taken"]),
        (replace(HERE, port_bound=True, link=Link(1420, port=PORT)), []),  # our own socket
        (
            replace(HERE, port_bound=True, link=Link(1420, port=PORT + 1), tools=frozenset({"wg"})),
            ["wg_port.taken"],
        ),
        (replace(HERE, port_bound=True, link=Link(1420)), []),  # the port is unknown: wg is gone
        (
            replace(HERE, port_bound=True, interfaces=(WireguardInterface("wg9", "K", PORT),)),
            ["wg_port.taken"],
        ),
        # ours under another name, which is refused as such
        (
            replace(HERE, port_bound=True, interfaces=(WireguardInterface("w", PEERS.public_key, PORT),)),
            [],
        ),
    ],
)
def test_whose_the_port_is(observed: Observed, codes: list[str]) -> None:
    assert [fault.code for fault in port_taken(PEERS, observed)] == codes


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ("", False),
        (f"-A PREROUTING {TO}", True),
        (f"{DOCKER}-A DOCKER ! -i docker0 {TO}", True),
        (f"-A DOCKER ! -i docker0 {TO}", False),  # nothing leads there
        (f"{DOCKER}-A DOCKER -i docker0 -j RETURN\n-A DOCKER {TO.replace(str(PORT), '53')}", False),
        (f"-A PREROUTING -d 198.18.0.9/32 {TO}", True),
        (f"-A PREROUTING -d 198.18.0.77/32 {TO}", False),  # what goes through it to another
        (f"-A PREROUTING -d 10.0.0.2/32 {TO}", False),  # inside the tunnel
        (f"-A PREROUTING -p udp -m multiport --dports 53,{PORT} -j REDIRECT --to-ports 53", True),
        ("-A PREROUTING -d 198.18.0.9/32 -j DNAT --to-destination 192.168.1.5", True),
        (f"-A PREROUTING -p udp -m udp --dport {PORT} -j ACCEPT\n-A PREROUTING {TO}", False),
        (f"-A PREROUTING {TO.replace('udp', 'tcp')}", False),
        (f"-A POSTROUTING {TO}", False),
    ],
)
def test_rules_of_iptables(rules: str, found: bool) -> None:
    text = f"*nat\n:PREROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n{rules}\nCOMMIT\n".replace("\n\n", "\n")
    seen = replace(HERE, rules=(Rules(4, "iptables", True, parse_save(text)),))
    assert [fault.code for fault in port_redirected(PEERS, seen)] == ["wg_port.redirected"] * found


@pytest.mark.parametrize(("own", "found"), [("2001:db8::9", True), ("2001:db8::77", False)])
def test_rules_of_ip6tables(own: str, found: bool) -> None:
    rule = f"-A PREROUTING -d {own}/128 -p udp -m udp --dport {PORT} -j DNAT --to-destination [fd99::2]:9"
    text = f"*nat\n:PREROUTING ACCEPT [0:0]\n{rule}\nCOMMIT\n"
    seen = replace(HERE, rules=(Rules(6, "ip6tables", True, parse_save(text)),))
    assert [fault.code for fault in port_redirected(PEERS, seen)] == ["wg_port.redirected"] * found


def payload(protocol: str, field: str, right: object) -> dict[str, Any]:
    left = {"payload": {"protocol": protocol, "field": field}}
    return {"match": {"op": "==", "left": left, "right": right}}


UDP = payload("udp", "dport", PORT)
DNAT = {"dnat": {"addr": "172.17.0.2", "port": PORT}}


@pytest.mark.parametrize(
    ("expressions", "found"),
    [
        ([UDP, DNAT], True),
        ([UDP, {"redirect": {"port": 53}}], True),
        ([payload("udp", "dport", 53), DNAT], False),
        ([payload("tcp", "dport", PORT), DNAT], False),
        ([payload("ip", "daddr", "198.18.0.9"), UDP, DNAT], True),
        ([payload("ip", "daddr", "198.18.0.77"), UDP, DNAT], False),
        ([payload("ip6", "daddr", "2001:db8::9"), UDP, DNAT], True),
        ([{"jump": {"target": "inner"}}], True),
        ([UDP, {"accept": None}], False),
    ],
)
def test_rules_of_nft(expressions: list[dict[str, Any]], found: bool) -> None:
    table = {"family": "inet", "name": "t"}
    chain = {"family": "inet", "table": "t", "name": "pre", "type": "nat", "hook": "prerouting"}
    inner = {"family": "inet", "table": "t", "name": "inner"}
    rule = {"family": "inet", "table": "t", "chain": "pre", "handle": 7, "expr": expressions}
    last = {"family": "inet", "table": "t", "chain": "inner", "handle": 8, "expr": [UDP, DNAT]}
    items = [{"table": table}, {"chain": chain}, {"chain": inner}, {"rule": rule}, {"rule": last}]
    seen = replace(HERE, nft=parse_ruleset(json.dumps({"nftables": items})))
    assert [fault.code for fault in port_redirected(PEERS, seen)] == ["wg_port.redirected"] * found
