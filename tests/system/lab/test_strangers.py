"""A stranger on every wire tries every overlay address in every way; only what is planned arrives.

What arrives is counted by the kernel in a table that the deploy never touches: ``security``, behind every
rule that might have dropped it.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface

import pytest

from tests.support.lab.topologies import STRANGER, Edit, Live, live, with_first, without_ours
from tests.support.net import missing
from wgcluster.prefixes import FAMILIES, Family
from wgcluster.prove.proof import prove_texts
from wgcluster.prove.texts import MachineText

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

Address = IPv4Address | IPv6Address

ICMP = {4: 1, 6: 58}
UDP, TCP = 17, 6
ELSEWHERE = {4: "198.51.100.9", 6: "2001:db8:66::9"}  # documentation networks: nobody's
BEHIND = re.compile(rf"{STRANGER}net\d")


def _let_in(host: str, family: Family, *words: str) -> Edit:
    """Somebody accepts it in front of our rules, in every table that might drop it."""

    def edit(texts: dict[str, MachineText]) -> None:
        for table in ("mangle", "filter"):
            with_first(host, family, *words, "-j", "ACCEPT", table=table)(texts)

    return edit


# {topology: what is planted at whom, and says to whom that lets a stranger in}
FAULTS: dict[str, dict[str, tuple[str, Edit]]] = {
    "mesh": {
        "our rules gone from FORWARD": ("root", without_ours("root", 4, "FORWARD", "mangle")),
        "somebody lets a protocol through": (
            "hub",
            _let_in("hub", 6, "-p", "udp"),
        ),
        "the guard of the addresses gone": ("cloud", without_ours("cloud", 4, "PREROUTING", "raw")),
        "the same in IPv6": ("web", without_ours("web", 6, "PREROUTING", "raw")),
    },
    "sites": {
        "all let through behind masquerade": ("fra1", _let_in("fra1", 4)),
        "the guard of the addresses gone": ("ams1", without_ours("ams1", 4, "PREROUTING", "raw")),
    },
    "partial": {"the guard of the addresses gone": ("e", without_ours("e", 6, "PREROUTING", "raw"))},
}


@pytest.fixture(scope="module", params=["mesh", "sites", "partial"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Live]:
    with live(request.param) as made:
        for machine in made.overlay.machines.values():
            # the kernel's own check of sources must not do the work of our rules
            machine.shell.run(
                "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; done;"
                " for f in /proc/sys/net/ipv4/conf/*/accept_local; do echo 1 >$f; done"
            )
        for host in made.plan.hosts:
            for family in FAMILIES:
                judge = made.overlay.machines[host.name].filter(family, made.overlay.backend)
                for address in host.addresses:
                    if address.version == family:
                        words = ("-d", str(address.network), "!", "-i", "lo")
                        judge.namespace.run(judge.tool, "-t", "security", "-A", "INPUT", *words)
                judge.namespace.run(judge.tool, "-t", "security", "-A", "FORWARD", "-o", "wg")
        yield made


def arrived(cluster: Live) -> dict[str, int]:
    """Packets delivered to an overlay address or sent into the tunnel since last asked, by host."""
    found: dict[str, int] = {}
    for host in cluster.plan.hosts:
        for family in FAMILIES:
            judge = cluster.overlay.machines[host.name].filter(family, cluster.overlay.backend)
            shown = judge.namespace.run(judge.tool, "-t", "security", "-vnxL", "-Z")
            counts = [int(line.split()[0]) for line in shown.splitlines() if re.match(r" +\d+ +\d+ ", line)]
            if sum(counts):
                found[host.name] = found.get(host.name, 0) + sum(counts)
    return found


def overlay_addresses(cluster: Live, family: Family) -> list[Address]:
    hosts, clients = cluster.plan.hosts, cluster.plan.clients
    there = [one for own in (*(h.addresses for h in hosts), *(c.addresses for c in clients)) for one in own]
    return [one.ip for one in there if one.version == family]


def neighbours(cluster: Live, stranger: str, family: Family) -> list[Address]:
    """Addresses of the hosts of the cluster that stand on his wire."""
    (wire, _), *_ = cluster.overlay.machines[stranger].station.ends.values()
    return [
        ip_interface(address).ip
        for host in cluster.plan.hosts
        for switch, own in cluster.overlay.machines[host.name].station.ends.values()
        for address in own
        if switch == wire and ip_interface(address).version == family
    ]


def attack(cluster: Live) -> int:
    """Every stranger, by way of each of his neighbours, to each address; how many packets were sent."""
    sent = 0
    for name in cluster.overlay.machines:
        if not name.startswith(STRANGER):
            continue
        for family in FAMILIES:
            targets = overlay_addresses(cluster, family)
            for neighbour in neighbours(cluster, name, family) if targets else ():
                sent += _send(cluster, name, family, neighbour, targets)
    return sent


def _send(
    cluster: Live, stranger: str, family: Family, neighbour: Address, targets: Sequence[Address]
) -> int:
    machine = cluster.overlay.machines[stranger]
    networks = dict.fromkeys(str(one.network) for h in cluster.plan.hosts for one in h.addresses)
    lines = [f"ping -{family} -c 1 -W 2 {neighbour} >/dev/null || true"]  # who has that address?
    lines += [
        f"ip -{family} route replace {network} via {neighbour}"
        for network in networks
        if (":" in network) == (family == 6)
    ]
    machine.shell.run("\n".join(lines))
    (_, own), *_ = machine.station.ends.values()
    wire = next(ip_interface(one).ip for one in own if ip_interface(one).version == family)
    # behind a host stands an announced network: who has an address of it may send, and nobody else
    sources = [ip_address(ELSEWHERE[family]), *targets] + ([] if BEHIND.match(stranger) else [wire])
    with machine.namespace.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        if family == 6:
            raw.setsockopt(socket.IPPROTO_IPV6, 36, 1)  # IPV6_HDRINCL, linux/in6.h
        raw.setblocking(True)
        packets = [
            (target, _packet(source, target, protocol))
            for target in targets
            for source in sources
            for protocol in (ICMP[family], UDP, TCP)
        ]
        for target, packet in packets:
            with suppress(OSError):
                raw.sendto(packet, (str(target), 0))
    return len(packets)


def _packet(source: Address, target: Address, protocol: int) -> bytes:
    """RFC 791 or 8200, and one that asks for an answer in it: RFC 792 or 4443, 768, 9293."""
    ping = struct.pack("!BBHHH", 8 if source.version == 4 else 128, 0, 0, 7, 7)
    datagram = struct.pack("!HHHH", 7777, 22, 8, 0)
    connect = struct.pack("!HHIIBBHHH", 7777, 22, 1, 0, 5 << 4, 2, 1024, 0, 0)
    body = {UDP: datagram, TCP: connect}.get(protocol, ping)
    at = {UDP: 6, TCP: 16}.get(protocol, 2)
    length = len(body)
    pseudo = source.packed + target.packed + struct.pack("!II", length, protocol)
    body = body[:at] + struct.pack("!H", _checksum(body if protocol == 1 else pseudo + body)) + body[at + 2 :]
    if source.version == 6:
        return struct.pack("!IHBB", 6 << 28, length, protocol, 64) + source.packed + target.packed + body
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 7, 0, 64, protocol, 0)
    return head + source.packed + target.packed + body


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def test_nothing_gets_in_and_all_that_is_planned_does(cluster: Live) -> None:
    cluster.overlay.tell(cluster.texts)
    proof = prove_texts(cluster.texts.values())
    assert proof.ok
    planned = {(a, b) for a, b, verdict, _ in proof.rows() if verdict == "reached"}
    assert cluster.overlay.reached(cluster.nodes, planned) == planned
    arrived(cluster)  # the pings
    assert attack(cluster) > 1000
    assert arrived(cluster) == {}
    assert cluster.overlay.reached(cluster.nodes, planned, asked=planned) == planned


def test_what_others_accept_later_opens_nothing(cluster: Live) -> None:
    """Docker puts its chains in front of ours whenever it starts."""
    texts = dict(cluster.texts)
    for host in cluster.plan.hosts:
        for family in FAMILIES:
            with_first(host.name, family, "-j", "ACCEPT")(texts)
    assert prove_texts(texts.values()).ok
    cluster.overlay.tell(texts)
    arrived(cluster)
    attack(cluster)
    assert arrived(cluster) == {}
    cluster.overlay.tell(cluster.texts)


def test_with_a_fault_the_proof_names_the_host_by_which_they_get_in(
    cluster: Live, subtests: pytest.Subtests
) -> None:
    for name, (host, plant) in FAULTS[cluster.plan.topology].items():
        with subtests.test(name):
            texts = dict(cluster.texts)
            plant(texts)
            named = {fault.at for fault in prove_texts(texts.values()).faults if fault.rule == "stranger"}
            assert named == {host}
            cluster.overlay.tell(texts)
            arrived(cluster)
            attack(cluster)
            assert host in arrived(cluster)
    cluster.overlay.tell(cluster.texts)
