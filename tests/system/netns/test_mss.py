"""TCP through hosts whose tunnel is narrower than what lies behind them, where nobody hears of it.

The tunnel's interface is a veth with the tunnel's name and MTU: our rules go by the name alone.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Interface, IPv6Interface, ip_interface, ip_network
from select import select
from time import monotonic

import pytest

from tests.support.net import BACKENDS, Filter, Namespace, namespaces
from wgcluster.firewall.placement import changes, restore_text
from wgcluster.firewall.rules import Rule, desired_rules
from wgcluster.firewall.tables import target
from wgcluster.plan.plan import HostPlan, Peer
from wgcluster.prefixes import FAMILIES, Family

SIZE = 200_000  # bytes, more than a window of small packets
NETWORKS = {
    "left": ("10.1.0.0/24", "fd01::/64"),
    "wg": ("10.0.0.0/24", "fd00::/64"),
    "right": ("10.2.0.0/24", "fd02::/64"),
}
# what masquerade_lan gives the tunnel's packets, and what they have before
OWN = {4: "10.2.0.1", 6: "fd02::1"}
INSIDE = {4: "10.1.0.9", 6: "fd01::9"}
SERVER = {4: "10.2.0.9", 6: "fd02::9"}


@dataclass
class Sites:
    """left --1500-- one ==wg== two --1500-- right; one and two are hosts of ours, with a network each."""

    left: Namespace
    one: Namespace
    two: Namespace
    right: Namespace

    def plan(self, name: str) -> HostPlan:
        mine, theirs = ("left", "right") if name == "one" else ("right", "left")
        own = [address(network, 1 if name == "one" else 2) for network in NETWORKS["wg"]]
        behind = tuple(ip_network(network) for network in NETWORKS[theirs])
        peer = Peer("other", "O" * 42 + "A=", behind)
        return HostPlan(
            name, "wg", tuple(own), 51820, 1420, "K" * 42 + "A=", (peer,), forwards=(4, 6),
            subnets=tuple(ip_network(network) for network in NETWORKS[mine]),
        )  # fmt: skip

    def rule(self, name: str, backend: str, rules: list[Rule]) -> None:
        for family in FAMILIES:
            judge = Filter(getattr(self, name), family, backend)
            for one in BACKENDS:
                Filter(judge.namespace, family, one).load({})
            made = changes(judge.tables(), [rule for rule in rules if rule.family == family], "wg")
            if made:
                judge.restore(restore_text(made))

    def mtu(self, name: str, size: int) -> None:
        getattr(self, name).run("ip", "link", "set", "wg", "mtu", str(size))

    def fetched(self, family: Family) -> tuple[int, str]:
        """How much left gets of what it asks right for, in 2 s without a byte, and whom right has seen."""
        with (
            self.right.socket(family, socket.SOCK_STREAM) as listener,
            self.left.socket(family, socket.SOCK_STREAM) as asking,
        ):
            listener.bind((SERVER[family], 0))
            listener.listen()
            asking.bind((INSIDE[family], 0))
            with suppress(BlockingIOError):
                asking.connect((SERVER[family], listener.getsockname()[1]))
            if not select([listener], [], [], 2)[0]:
                return 0, ""
            serving, (seen, *_) = listener.accept()
            with serving:
                serving.setblocking(False)
                got, sent, end = 0, 0, monotonic() + 2
                while got < SIZE and monotonic() < end:
                    readable, writable, _ = select([asking], [serving] if sent < SIZE else [], [], 0.2)
                    if writable:
                        with suppress(BlockingIOError):
                            sent += serving.send(bytes(min(65536, SIZE - sent)))
                    if readable:
                        got += len(asking.recv(65536))
                        end = monotonic() + 2
                return got, seen


def address(network: str, number: int) -> IPv4Interface | IPv6Interface:
    whole = ip_network(network)
    return ip_interface(f"{whole[number]}/{whole.prefixlen}")


@pytest.fixture(scope="module")
def sites() -> Iterator[Sites]:
    with namespaces("left", "one", "two", "right") as made:
        sites = Sites(*made)
        left, one, two, right = made
        for here, device, there, other in (
            (left, "eth0", one, "eth0"),
            (one, "wg", two, "wg"),
            (two, "eth0", right, "eth0"),
        ):
            here.run("ip", "link", "add", device, "type", "veth", "peer", "name", other, "netns", there.name)
        ends = [(left, "eth0", "left", 9), (one, "eth0", "left", 1), (one, "wg", "wg", 1)]
        ends += [(two, "wg", "wg", 2), (two, "eth0", "right", 1), (right, "eth0", "right", 9)]
        for namespace, device, where, number in ends:
            for network in NETWORKS[where]:
                one_of = str(address(network, number))
                namespace.run("ip", "address", "add", one_of, "dev", device, *["nodad"] * (":" in one_of))
            namespace.run("ip", "link", "set", device, "up")
        for namespace in (left, right):  # neither hears that a packet was too big
            for tool, kind in (
                ("iptables-nft", "icmp --icmp-type 3/4"),
                ("ip6tables-nft", "icmpv6 --icmpv6-type 2"),
            ):
                namespace.run(tool, "-A", "INPUT", "-p", *kind.split(), "-j", "DROP")
        for namespace in (one, two):
            namespace.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        for namespace, via, to in ((left, "left", 1), (right, "right", 1)):
            for network in NETWORKS[via]:
                namespace.run("ip", "route", "add", "default", "via", str(address(network, to).ip))
        for namespace, where, number in ((one, "right", 2), (two, "left", 1)):
            for network, hop in zip(NETWORKS[where], NETWORKS["wg"], strict=True):
                namespace.run("ip", "route", "add", network, "via", str(address(hop, number).ip), "dev", "wg")
        yield sites


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("one", "two"), [(1420, 1420), (1420, 1300)])
def test_large_answers_arrive(sites: Sites, backend: str, one: int, two: int) -> None:
    """Without our rules they do not: that is what makes this a test."""
    sites.mtu("one", one)
    sites.mtu("two", two)
    for with_ours in (False, True):
        for name in ("one", "two"):
            rules = list(desired_rules(sites.plan(name)))
            sites.rule(name, backend, [rule for rule in rules if with_ours or target(rule.spec) != "TCPMSS"])
        for family in FAMILIES:
            got, seen = sites.fetched(family)
            assert seen == INSIDE[family]
            assert (got == SIZE) == with_ours, f"IPv{family}: {got}"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_tunnel_that_is_narrower_at_the_other_end(sites: Sites, backend: str) -> None:
    """two alone has our rules; what one lets in by its wider tunnel is too big for two's."""
    sites.mtu("one", 1420)
    sites.mtu("two", 1300)
    sites.rule("one", backend, [])
    outward = [rule for rule in desired_rules(sites.plan("two")) if not _for_what_comes_in(rule)]
    for rules, whole in ((outward, False), (list(desired_rules(sites.plan("two"))), True)):
        sites.rule("two", backend, rules)
        for family in FAMILIES:
            assert (sites.fetched(family)[0] == SIZE) == whole


def _for_what_comes_in(rule: Rule) -> bool:
    return target(rule.spec) == "TCPMSS" and rule.spec[0] == "-i"


@pytest.mark.parametrize("backend", BACKENDS)
def test_nobody_behind_needs_a_way_back(sites: Sites, backend: str) -> None:
    """right has no route to the tunnel's other end; with wg_masquerade_lan it needs none."""
    for name in ("one", "two"):
        sites.mtu(name, 1420)
    sites.right.run("ip", "route", "del", "default")
    sites.right.run("ip", "-6", "route", "del", "default")
    try:
        plan = sites.plan("two")
        for lan, seen in ((False, {4: "", 6: ""}), (True, OWN)):
            sites.rule("one", backend, list(desired_rules(sites.plan("one"))))
            sites.rule("two", backend, list(desired_rules(replace(plan, masquerade_lan=lan))))
            for family in FAMILIES:
                assert sites.fetched(family) == ((SIZE if lan else 0), seen[family])
    finally:
        for network in NETWORKS["right"]:
            sites.right.run("ip", "route", "add", "default", "via", str(address(network, 1).ip))
