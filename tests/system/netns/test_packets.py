"""The verdict that is read out of the chains, and whether a real packet then arrives."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.net import BACKENDS, Filter, Namespace, namespaces
from tests.support.rulesets import ours, tables
from wgcluster.firewall.placement import after, changes
from wgcluster.firewall.tables import Packet, Tables, verdict
from wgcluster.prefixes import FAMILIES, Family

NEW = frozenset({"NEW"})
PORTS = (22, 51500, 51820)
ARRIVAL = 0.05  # seconds; over a veth pair a packet is there when the call that sent it returns

# left is on mid's interface "wg", right on its "eth0"; the addresses are those the random rules speak of
MID = {
    4: {"wg": "198.18.128.1", "eth0": "198.18.128.2"},
    6: {"wg": "2001:db8::80:1", "eth0": "2001:db8::80:2"},
}
LEFT = {4: ("198.18.0.3", "198.19.0.7"), 6: ("2001:db8::3", "fd00::7")}
RIGHT = {4: ("198.18.0.2", "198.18.0.9"), 6: ("2001:db8::2", "fd00::9")}


@dataclass(frozen=True)
class Probe:
    """One packet and the class that holds just it."""

    sender: Namespace
    chain: str
    source: str
    destination: str
    packet: Packet


class Line:
    """left --- wg mid eth0 --- right; mid forwards and its filter judges."""

    def __init__(self, left: Namespace, mid: Namespace, right: Namespace) -> None:
        self.left, self.mid, self.right = left, mid, right
        for name in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            self._sysctl(mid, name, "1")
        for name in ("net.ipv4.conf.all.rp_filter", "net.ipv4.conf.default.rp_filter"):
            self._sysctl(mid, name, "0")
        for name in ("icmp_ratelimit", "icmp_msgs_per_sec"):  # a refusal of ours is not what is slow
            self._sysctl(mid, f"net.ipv4.{name}", "0" if name == "icmp_ratelimit" else "100000")
        for other, device, addresses in ((left, "wg", LEFT), (right, "eth0", RIGHT)):
            mid.run("ip", "link", "add", device, "type", "veth", "peer", "name", "up0", "netns", other.name)
            for family in FAMILIES:
                self._address(mid, device, MID[family][device], family)
                for address in addresses[family]:
                    self._address(other, "up0", address, family)
            self._up(mid, device)
            self._up(other, "up0")
            for family in FAMILIES:
                self._neighbour(mid, device, addresses[family], other, "up0")
                self._neighbour(other, "up0", (MID[family][device],), mid, device)
                for address in addresses[family]:
                    mid.run("ip", "route", "replace", address, "dev", device)
                other.run("ip", "route", "replace", MID[family][device], "dev", "up0")
                other.run(
                    "ip",
                    f"-{family}",
                    "route",
                    "add",
                    "default",
                    "via",
                    MID[family][device],
                    "dev",
                    "up0",
                    "onlink",
                )
        self.listening = {
            (family, kind, namespace.name, port): self._listen(namespace, family, kind, port)
            for family in FAMILIES
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)
            for namespace in (left, mid, right)
            for port in PORTS
        }

    def close(self) -> None:
        for one in self.listening.values():
            one.close()

    @staticmethod
    def _sysctl(namespace: Namespace, name: str, value: str) -> None:
        namespace.run("sh", "-c", f"echo {value} >/proc/sys/{name.replace('.', '/')} 2>/dev/null || true")

    @staticmethod
    def _address(namespace: Namespace, device: str, address: str, family: Family) -> None:
        words = ("nodad",) if family == 6 else ()
        namespace.run("ip", "address", "add", address, "dev", device, *words)

    @staticmethod
    def _up(namespace: Namespace, device: str) -> None:
        namespace.run("ip", "link", "set", device, "up")

    @staticmethod
    def _neighbour(
        near: Namespace, device: str, addresses: tuple[str, ...], far: Namespace, theirs: str
    ) -> None:
        """By hand, since the rules may well drop neighbour discovery."""
        lladdr = far.run("sh", "-c", f"ip -o link show {theirs} | sed 's/.*ether \\([^ ]*\\).*/\\1/'").strip()
        for address in addresses:
            near.run("ip", "neigh", "replace", address, "lladdr", lladdr, "dev", device, "nud", "permanent")

    @staticmethod
    def _listen(namespace: Namespace, family: Family, kind: socket.SocketKind, port: int) -> socket.socket:
        made = namespace.socket(family, kind)
        if family == 6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(("0.0.0.0" if family == 4 else "::", port))
        if kind == socket.SOCK_STREAM:
            made.listen(64)
        return made

    def probes(self, family: Family) -> Iterator[Probe]:
        """Every packet of the small world: to mid by UDP and TCP, through it by UDP."""
        for sender, sources, targets, device, out in (
            (self.left, LEFT, RIGHT, "wg", "eth0"),
            (self.right, RIGHT, LEFT, "eth0", "wg"),
        ):
            for source in sources[family]:
                for port in PORTS:
                    for protocol in ("udp", "tcp"):
                        target = MID[family][device]
                        packet = Packet(
                            device, None, ip_network(source), ip_network(target), protocol, port, NEW
                        )
                        yield Probe(sender, "INPUT", source, target, packet)
                    for target in targets[family]:
                        packet = Packet(device, out, ip_network(source), ip_network(target), "udp", port, NEW)
                        yield Probe(sender, "FORWARD", source, target, packet)

    def arrived(self, family: Family, probes: list[Probe]) -> list[bool]:
        """Send them all, each from a port of its own, and look once who came."""
        there: set[int] = set()
        connecting: dict[int, socket.socket] = {}
        for number, probe in enumerate(probes):
            kind = socket.SOCK_DGRAM if probe.packet.protocol == "udp" else socket.SOCK_STREAM
            made = probe.sender.socket(family, kind)
            made.bind((probe.source, 0))
            where = (probe.destination, probe.packet.dport)
            if kind == socket.SOCK_STREAM:
                made.connect_ex(where)
                connecting[number] = made
            else:
                with made:
                    made.sendto(str(number).encode(), where)
        time.sleep(ARRIVAL)
        for number, made in connecting.items():
            with made:
                try:
                    made.getpeername()
                    there.add(number)
                except OSError:
                    pass
        for (version, kind, _, _), one in self.listening.items():
            if version == family:
                there |= set(self._received(one, kind))
        return [number in there for number in range(len(probes))]

    @staticmethod
    def _received(one: socket.socket, kind: socket.SocketKind) -> Iterator[int]:
        for _ in range(1000):
            try:
                if kind == socket.SOCK_STREAM:
                    one.accept()[0].close()
                else:
                    yield int(one.recv(64))
            except BlockingIOError:
                return


@pytest.fixture(scope="module")
def line() -> Iterator[Line]:
    with namespaces("left", "mid", "right") as (left, mid, right):
        made = Line(left, mid, right)
        yield made
        made.close()


def expected(there: Tables, probes: list[Probe]) -> list[str]:
    return [verdict(there["filter"], probe.chain, probe.packet) for probe in probes]


def compare(line: Line, judge: Filter, there: Tables) -> None:
    judge.load(there)
    probes = list(line.probes(judge.family))
    said = expected(judge.tables(), probes)
    came = line.arrived(judge.family, probes)
    wrong = [
        f"{probe.chain} {probe.packet}: {word}, {'came' if arrived else 'did not come'}"
        for probe, word, arrived in zip(probes, said, came, strict=True)
        if (word == "ACCEPT") != arrived
    ]
    assert wrong == []


in_all = pytest.mark.parametrize(
    ("family", "backend"), [(family, backend) for family in FAMILIES for backend in BACKENDS]
)


@pytest.mark.parametrize("family", FAMILIES)
def test_with_an_empty_filter_all_of_them_come(line: Line, family: Family) -> None:
    Filter(line.mid, family, "nft").load({})
    Filter(line.mid, family, "legacy").load({})
    probes = list(line.probes(family))
    assert line.arrived(family, probes) == [True] * 48


@in_all
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_chain(line: Line, family: Family, backend: str, data: st.DataObject) -> None:
    """With the rules of some host of ours in it."""
    there = data.draw(tables(family))
    made = changes(there, [rule for rule in data.draw(ours(family)) if rule.table == "filter"], "wg")
    for each in BACKENDS:  # a packet has to pass both
        Filter(line.mid, family, each).load({})
    compare(line, Filter(line.mid, family, backend), after(there, made))
