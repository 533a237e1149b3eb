"""Tables as hosts have them, word for word from iptables-save, and hosts that get rules."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface, ip_network

from wgcluster.firewall.rules import Rule, desired_rules
from wgcluster.firewall.tables import Tables, parse_save
from wgcluster.inventory.schema import OpenPort
from wgcluster.plan.plan import HostPlan
from wgcluster.prefixes import Family

EVERYWHERE = (ip_network("0.0.0.0/0"), ip_network("::/0"))

PEERS = HostPlan(
    name="cloud",
    interface="wg",
    addresses=(ip_interface("10.0.0.3/24"), ip_interface("fd00::3/64")),
    port=51821,
    mtu=1420,
    public_key="K" * 42 + "A=",
    peers=(),
    listen_from=(ip_network("198.18.0.2/32"), ip_network("198.18.4.0/24"), ip_network("2001:db8::2/128")),
)
GATEWAY = replace(
    PEERS,
    name="root",
    port=51820,
    listen_from=EVERYWHERE,
    forwards=(4, 6),
    masquerade=True,
    subnets=(ip_network("172.16.0.0/12"), ip_network("fd01::/64")),
)
BASELINE = replace(
    GATEWAY,
    listen_from=PEERS.listen_from,
    firewall="baseline",
    firewall_allow=(
        OpenPort(22, "tcp", (ip_network("198.18.9.0/24"), ip_network("2001:db8:9::/48"))),
        OpenPort(443, "tcp"),
        OpenPort(53, "udp", (ip_network("198.18.9.0/24"),)),
    ),
)

# Docker 20.10 of Debian 12 with one container that publishes a port; DOCKER-USER untouched.
DOCKER = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
COMMIT
"""
HEADS = ":INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
REJECT = "-j REJECT --reject-with icmp-host-prohibited"


def filter_text(*rules: str, heads: str = HEADS) -> str:
    """The text of a filter table that holds ``rules``, each with its "-A CHAIN"."""
    return "\n".join(["*filter", heads.strip(), *rules, "COMMIT"]) + "\n"


def filter_table(*rules: str, heads: str = HEADS) -> Tables:
    return parse_save(filter_text(*rules, heads=heads))


def of(host: HostPlan, family: Family = 4) -> list[Rule]:
    """The rules that ``host`` gets in one family."""
    return [rule for rule in desired_rules(host) if rule.family == family]


def six(text: str) -> str:
    """The same table as ip6tables-save prints it."""
    for old, new in (("icmp-host-prohibited", "icmp6-adm-prohibited"), ("172.17.0.2/32", "fd17::2/128"),
                     ("172.17.0.0/16", "fd17::/64"), ("127.0.0.0/8", "::1/128"),
                     ("172.17.0.2:80", "[fd17::2]:80")):  # fmt: skip
        text = text.replace(old, new)
    return text
