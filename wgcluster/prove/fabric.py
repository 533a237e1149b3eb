"""The parsed texts as arrays, on which all packets are followed at once.

The address space is partitioned into *address classes*: each address of a machine is one; a network behind a
host is one or, where some AllowedIPs end inside it, several. Packets to all addresses of a class take the
same path.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_network
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from wgcluster.firewall.tables import Chain, Match, Packet, match, packet_of, target, verdict
from wgcluster.prefixes import FAMILIES, Family, Network
from wgcluster.prove.read import NONE, Flags, Indices, Ints, ParsedTexts
from wgcluster.prove.texts import MachineText

Route = NDArray[np.int32]

UNKNOWN = -2  # in ``Fabric.route``: AllowedIPs of a peer whose key no machine has
_WIRE = "a wire"  # by which a network behind a host comes; no rule of ours speaks of it
_AT_ONCE = 1 << 20  # entries of ``Fabric.route`` filled at a time: bounds the memory


@dataclass(frozen=True, slots=True)
class AddressClass:
    """Addresses ``first`` to ``last`` of one family, all of one machine or of one network behind it."""

    family: Family
    first: int
    last: int
    owner: int  # index of the machine
    node: int  # index in ``Fabric.nodes``

    @property
    def address(self) -> IPv4Address | IPv6Address:
        return IPv4Address(self.first) if self.family == 4 else IPv6Address(self.first)


@dataclass(frozen=True, slots=True)
class ForwardingPolicy:
    """What each machine forwards, by its ip_forward and its FORWARD chains, answers included."""

    kernel: Flags  # [machine, family]: ip_forward is on
    relay: Flags  # [machine, family]: from the tunnel into the tunnel
    inward: Flags  # [class]: from the tunnel into the network behind its owner
    outward: Flags  # [class]: from that network into the tunnel
    masquerade: Flags  # [machine, family]: some of what it forwards gets its own address
    masqueraded_classes: Flags  # [machine, class]: what it forwards from there gets its own address


class Fabric:
    """Machines, nodes, address classes and the routes between them.

    A *node* is a machine, or a network behind one. ``faults`` holds what is wrong whatever the packets do.
    """

    def __init__(self, reading: ParsedTexts) -> None:
        self.reading = reading
        self.machines = reading.machines
        self.faults: list[str] = []
        subnets = [(i, one) for i, machine in enumerate(self.machines) for one in machine.subnets]
        self.nodes = [machine.name for machine in self.machines] + [str(one) for _, one in subnets]
        self.home = np.array([*range(len(self.machines)), *(i for i, _ in subnets)], np.int32)
        self.classes = sorted(
            self._partition(subnets), key=lambda address_class: (address_class.family, address_class.first)
        )
        self.owner = np.array([address_class.owner for address_class in self.classes], np.int32)
        self.node = np.array([address_class.node for address_class in self.classes], np.int32)
        self.family = np.array([address_class.family == 6 for address_class in self.classes], np.intp)
        self.behind = self.node >= len(self.machines)
        self.address = np.full((len(self.machines), 2), NONE, np.int32)  # [machine, family]: its own class
        for i, address_class in enumerate(self.classes):
            if not self.behind[i]:
                self.address[address_class.owner, self.family[i]] = i
        self.machine_of_key = self._holders()
        self.has_peer, self.opens = self._links()
        self.route = self._routes()
        self.forwarding = self._forwarding(subnets)

    def _partition(self, subnets: list[tuple[int, Network]]) -> Iterator[AddressClass]:
        taken: dict[tuple[Family, int], int] = {}
        ends: dict[Family, set[int]] = {4: set(), 6: set()}
        for i, interfaces in enumerate(self.reading.addresses):
            for interface in interfaces:
                place = interface.version, int(interface)
                if place in taken:
                    other = self.machines[taken[place]].name
                    self.faults.append(
                        f"{interface.ip} is the address of {other} and of {self.machines[i].name}"
                    )
                    continue
                taken[place] = i
                yield AddressClass(*place, int(interface), i, i)
        for network in (*self.reading.prefixes, *(one for _, one in subnets)):
            ends[network.version] |= {int(network.network_address), int(network.broadcast_address) + 1}
        for family, address in taken:
            ends[family] |= {address, address + 1}
        cuts = {family: sorted(found) for family, found in ends.items()}
        for node, (i, subnet) in enumerate(subnets, len(self.machines)):
            low, high = int(subnet.network_address), int(subnet.broadcast_address) + 1
            inside = cuts[subnet.version]
            parts = inside[bisect_left(inside, low) : bisect_right(inside, high)]
            for first, after in pairwise(parts):
                place = subnet.version, first
                if place in taken:
                    other = self.machines[taken[place]].name
                    self.faults.append(
                        f"{subnet} behind {self.machines[i].name} overlaps what belongs to {other}"
                    )
                    continue
                taken[place] = i
                yield AddressClass(*place, after - 1, i, node)

    def _holders(self) -> Ints:
        holder: dict[str, int] = {}
        for i, machine in enumerate(self.machines):
            if machine.public_key in holder:
                other = self.machines[holder[machine.public_key]].name
                self.faults.append(f"{other} and {machine.name} have the same key {machine.public_key}")
            holder[machine.public_key] = i
        return np.array([holder.get(key, UNKNOWN) for key in self.reading.keys], np.int64)

    def _links(self) -> tuple[Flags, Flags]:
        """[a, b]: a has b as a peer; and a packet from a can bring up the link to b."""
        count, peers, reading = len(self.machines), self.reading.peers, self.reading
        has = np.zeros((count, count), np.bool_)
        dials, keeps = has.copy(), has.copy()
        holder = self.machine_of_key[peers.key]
        section, other = reading.section, holder[reading.section]
        machine = np.repeat(np.arange(count), np.diff(reading.start))
        if (holder == UNKNOWN).any():
            ours = other != UNKNOWN
            section, other, machine = section[ours], other[ours], machine[ours]
        has[machine, other] = True
        dials[machine, other] = (peers.endpoint != NONE)[section]
        keeps[machine, other] = peers.keepalive[section]
        same_secret = np.ones_like(has)
        if (peers.secret != NONE).any():
            secret = np.full((count, count), NONE, np.int32)
            secret[machine, other] = peers.secret[section]
            same_secret = secret == secret.T
        for i in np.flatnonzero(has.sum(axis=1) != np.diff(reading.start)).tolist():
            key = peers.key[reading.sections_of(i)]
            for one in key[self.machine_of_key[key] == UNKNOWN]:
                self.faults.append(
                    f"{self.machines[i].name}: no machine has the key {reading.keys[one]} of a peer"
                )
            if len(np.unique(key)) < len(key):
                self.faults.append(f"{self.machines[i].name}: two peers have the same key")
        # The side with an endpoint initiates the handshake. The other must wait for its keepalive.
        self.dials, self.same_secret = dials, same_secret
        return has, has & has.T & self.same_secret & (dials | (dials & keeps).T)

    def _routes(self) -> Route:
        """[machine, class]: the peer whose AllowedIPs hold it by the longest prefix; the owner: itself."""
        low, high, exact = self._spans()
        route = np.full((len(self.machines), len(self.classes)), NONE, np.int32)
        width = max(1, _AT_ONCE // max(1, len(self.classes)))
        at_home = np.arange(len(self.classes))
        odd = np.zeros(len(self.machines), np.bool_)
        for first in range(0, len(self.machines), width):
            block = slice(first, first + width)
            odd[block] = self._fill(route[block], first, low, high, exact)
        odd[self.owner[route[self.owner, at_home] != NONE]] = True
        for i in np.flatnonzero(odd).tolist():
            self._fill_one(route[i], i, low, high, exact)
        route[self.owner, at_home] = self.owner
        return route

    def _fill(self, route: Route, first: int, low: Ints, high: Ints, exact: Flags) -> Flags:
        """The routes of the machines from ``first`` on, if no prefixes of one machine overlap.

        Returns:
            [machine]: this may be wrong for it, or there is a fault to report.
        """
        peers, start = self.reading.peers, self.reading.start[first : first + len(route) + 1]
        section = self.reading.section[start[0] : start[-1]]
        prefix, place = peers.prefixes_of(section)
        machine = np.repeat(np.arange(len(route)), np.diff(start))[place]
        holder = self.machine_of_key[peers.key[section]][place]
        odd = np.zeros(len(route), np.bool_)
        if not exact.all():
            odd[machine[~exact[prefix]]] = True
        classes, size = low[prefix], (high - low)[prefix]
        if not (size == 1).all():
            classes = np.repeat(classes - (np.cumsum(size) - size), size) + np.arange(size.sum())
            machine, holder = np.repeat(machine, size), np.repeat(holder, size)
        route[machine, classes] = holder
        told = np.bincount(machine, minlength=len(route))
        odd |= (route != NONE).sum(axis=1) != told
        return odd

    def _fill_one(self, route: Route, i: int, low: Ints, high: Ints, exact: Flags) -> None:
        """The routes of one machine, and the faults of its AllowedIPs, unless it is a road warrior."""
        peers, sections = self.reading.peers, self.reading.sections_of(i)
        prefix, place = peers.prefixes_of(sections)
        if self.machines[i].gateway is None:
            self._report_unowned(i, sections, prefix, place, exact)
        length = np.array([self.reading.prefixes[j].prefixlen for j in prefix], np.int64)
        by_length = np.argsort(length, kind="stable")  # WireGuard: the last of equal ones wins
        prefix, place = prefix[by_length], place[by_length]
        size = high[prefix] - low[prefix]
        classes = np.repeat(low[prefix] - (np.cumsum(size) - size), size) + np.arange(size.sum())
        holder = np.repeat(place, size)
        route[:] = NONE
        route[classes] = self.machine_of_key[peers.key[sections]][holder]
        if self.machines[i].gateway is None:
            self._report_overlap(i, sections, classes, holder)

    def _spans(self) -> tuple[Ints, Ints, Flags]:
        """[prefix]: the first class in it, the one after the last, and whether they fill it completely."""
        starts = {
            f: [address_class.first for address_class in self.classes if address_class.family == f]
            for f in FAMILIES
        }
        offset = {4: 0, 6: len(starts[4])}
        total = [0]
        for address_class in self.classes:
            total.append(total[-1] + address_class.last - address_class.first + 1)
        low, high, exact = [], [], []
        for network in self.reading.prefixes:
            first, last = int(network.network_address), int(network.broadcast_address)
            begin = offset[network.version] + bisect_left(starts[network.version], first)
            end = offset[network.version] + bisect_right(starts[network.version], last)
            low.append(begin)
            high.append(end)
            exact.append(total[end] - total[begin] == network.num_addresses)
        return np.array(low, np.int64), np.array(high, np.int64), np.array(exact, np.bool_)

    def _report_unowned(self, i: int, sections: Indices, prefix: Indices, place: Ints, exact: Flags) -> None:
        for j in np.flatnonzero(~exact[prefix]):
            self.faults.append(
                f"{self.machines[i].name}: AllowedIPs of {self._peer(sections[place[j]])} hold"
                f" {self.reading.prefixes[prefix[j]]}, in which addresses belong to nobody"
            )

    def _report_overlap(self, i: int, sections: Indices, classes: Ints, holder: Ints) -> None:
        times = np.bincount(classes, minlength=len(self.classes))
        for a in np.flatnonzero(times > 1):
            by = sorted({self._peer(sections[h]) for h in holder[classes == a]})
            if len(by) == 1:
                continue  # twice on one peer is once
            names = ", ".join(by)
            self.faults.append(
                f"{self.machines[i].name}: {self.classes[a].address} stands in the AllowedIPs of {names};"
                " the longest prefix takes it, of equal ones the last"
            )
        for a in np.flatnonzero((times > 0) & (self.owner == i)):
            names = ", ".join(self._peer(sections[h]) for h in holder[classes == a])
            self.faults.append(
                f"{self.machines[i].name}: its own {self.classes[a].address} is in the AllowedIPs of {names}"
            )

    def _peer(self, section: int) -> str:
        key = self.reading.peers.key[section]
        holder = self.machine_of_key[key]
        return f"the key {self.reading.keys[key]}" if holder == UNKNOWN else self.machines[holder].name

    def _forwarding(self, subnets: list[tuple[int, Network]]) -> ForwardingPolicy:
        count = len(self.machines)
        kernel = np.zeros((count, 2), np.bool_)
        relay, masquerade = kernel.copy(), kernel.copy()
        masqueraded_classes = np.zeros((count, len(self.classes)), np.bool_)
        for i, machine in enumerate(self.machines):
            tunnel = machine.interface
            for f, family in enumerate(FAMILIES):
                kernel[i, f] = family in machine.forwards
                through = Packet(tunnel, tunnel)
                relay[i, f] = kernel[i, f] and _passes(machine, family, through, through)
                for network in _masquerades(machine, family):
                    masquerade[i, f] = True
                    masqueraded_classes[i, self._within(network)] = True
        inward = np.zeros(len(self.classes), np.bool_)
        outward = inward.copy()
        for a in np.flatnonzero(self.behind):
            address_class = self.classes[a]
            machine = self.machines[address_class.owner]
            subnet = subnets[address_class.node - count][1]
            on = kernel[address_class.owner, self.family[a]]
            tunnel = machine.interface
            into = Packet(in_interface=tunnel, destination=subnet)
            out = Packet(in_interface=_WIRE, out_interface=tunnel, source=subnet)
            inward[a] = on and _passes(machine, address_class.family, into, out)
            outward[a] = on and _passes(machine, address_class.family, out, into)
        return ForwardingPolicy(kernel, relay, inward, outward, masquerade, masqueraded_classes)

    def _within(self, network: Network) -> slice:
        """The classes inside a network."""
        low = bisect_left(self.classes, (network.version, int(network.network_address)), key=_start)
        return slice(
            low, bisect_right(self.classes, (network.version, int(network.broadcast_address)), key=_start)
        )


def _start(address_class: AddressClass) -> tuple[Family, int]:
    return address_class.family, address_class.first


def _passes(machine: MachineText, family: Family, first: Packet, answer: Packet) -> bool:
    """Do the FORWARD chains accept the first packet of a connection and the answers to it?"""
    tables = machine.tables.get(family, {})
    return all(
        verdict(tables.get(table, {}), "FORWARD", replace(packet, state=frozenset({state}))) == "ACCEPT"
        for table in ("mangle", "filter")
        for packet, state in ((first, "NEW"), (answer, "ESTABLISHED"))
    )


def _masquerades(machine: MachineText, family: Family) -> Iterator[Network]:
    """The sources whose packets into the tunnel get the machine's own address."""
    chain = machine.tables.get(family, {}).get("nat", {}).get("POSTROUTING", Chain())
    for spec in chain.rules:
        packet = replace(packet_of(spec), out_interface=machine.interface)
        if target(spec) == "MASQUERADE" and match(spec, packet) is Match.ALL:
            yield packet.source or ip_network("0.0.0.0/0" if family == 4 else "::/0")
