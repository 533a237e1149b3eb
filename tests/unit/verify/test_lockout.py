"""The run refuses rules that would shut out the run."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import Literal

import pytest

from tests.support.chains import BASELINE, EVERYWHERE, GATEWAY, PEERS, REJECT, filter_table, of
from wgcluster.firewall.rules import desired_rules
from wgcluster.firewall.tables import Tables
from wgcluster.host.backends import changes_by_tool
from wgcluster.host.observed import Observed, Rules, Ssh
from wgcluster.inventory.schema import OpenPort
from wgcluster.prefixes import FAMILIES
from wgcluster.verify.lockout import lockout

SSH = Ssh("198.18.8.5", 22, "eth0")
CLOSED = ":INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]"


def seen(ssh: Ssh | None, tables: Tables | None = None, *others: Rules) -> Observed:
    rules = tuple(Rules(family, "iptables", True, tables or {}) for family in FAMILIES)
    return Observed(ssh=ssh, rules=(*rules, *others))


def test_the_message_says_what_to_write() -> None:
    (fault,) = lockout(BASELINE, seen(SSH))
    assert fault.code == "firewall.locks-out"
    assert "from 198.18.8.5 to TCP port 22," in fault.message
    assert 'add {"port": 22, "from": ["198.18.8.5/32"]} to firewall_allow' in fault.message


def test_what_it_says_helps() -> None:
    mended = replace(BASELINE, firewall_allow=(OpenPort(22, "tcp", (ip_network("198.18.8.5/32"),)),))
    assert not list(lockout(mended, seen(SSH)))


@pytest.mark.parametrize("source", ["2001:db8:8::5", "fe80::5%eth0"])
def test_ipv6(source: str) -> None:
    (fault,) = lockout(BASELINE, seen(Ssh(source, 2222, "eth0")))
    assert f'add {{"port": 2222, "from": ["{source.removesuffix("%eth0")}/128"]}}' in fault.message


@pytest.mark.parametrize(
    ("ssh", "there"),
    [
        (None, None),  # it is managed another way, docker exec for one
        (Ssh("198.18.9.5", 22, "eth0"), None),
        (Ssh("2001:db8:9::5", 22, "eth0"), None),
        (Ssh("198.18.8.5", 443, "eth0"), None),
        (Ssh("127.0.0.1", 2222, "lo"), None),
        (SSH, filter_table("-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT", f"-A INPUT {REJECT}")),
    ],
)
def test_who_still_gets_in(ssh: Ssh | None, there: Tables | None) -> None:
    assert not list(lockout(BASELINE, seen(ssh, there)))


def test_rules_behind_the_baselines_reject_do_not_help() -> None:
    there = filter_table(f"-A INPUT {REJECT}", "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT")
    assert list(lockout(BASELINE, seen(SSH, there)))


def test_only_the_baseline_closes_anything() -> None:
    for mode in (PEERS, replace(BASELINE, firewall="off")):
        assert not list(lockout(mode, seen(SSH)))


def test_a_host_without_iptables_is_about_to_get_it() -> None:
    assert list(lockout(BASELINE, Observed(ssh=SSH)))
    assert not list(lockout(BASELINE, Observed(ssh=replace(SSH, source="198.18.9.5"))))


@pytest.mark.parametrize("mode", ["peers", "baseline"])
@pytest.mark.parametrize(
    ("source", "interface", "refused"),
    [("192.168.50.7", "wg", True), ("10.0.0.9", "wg", False), ("172.16.3.4", "wg", False)],
)
def test_a_run_to_the_overlay_address_from_elsewhere(
    mode: Literal["peers", "baseline"], source: str, interface: str, refused: bool
) -> None:
    """Its packets are dropped once our rules are in, those of what is under way too."""
    faults = list(lockout(replace(GATEWAY, firewall=mode), seen(Ssh(source, 22, interface))))
    assert ("firewall.locks-out-of-overlay" in [fault.code for fault in faults]) is refused
    assert not list(lockout(replace(GATEWAY, firewall="off"), seen(Ssh(source, 22, "wg"))))


def test_once_in_place_it_changes_nothing() -> None:
    """Who was let in by what stands there is not asked again."""
    rules = [f"-A INPUT {' '.join(rule.spec)}" for rule in of(BASELINE) if rule.chain == "INPUT"]
    assert not list(lockout(BASELINE, seen(SSH, filter_table(*rules))))


def test_each_backend_gets_what_it_needs() -> None:
    other = Rules(4, "iptables-legacy", False, filter_table(heads=CLOSED))
    host = replace(PEERS, port=51820, listen_from=EVERYWHERE)
    made = list(changes_by_tool(desired_rules(host), "wg", seen(None, None, other)))
    assert [(saved.tool, saved.family) for saved, _ in made] == [
        ("iptables", 4),
        ("iptables", 6),
        ("iptables-legacy", 4),
    ]
    idle = Rules(4, "iptables-legacy", False, filter_table())
    assert len(list(changes_by_tool(desired_rules(host), "wg", seen(None, None, idle)))) == 2
