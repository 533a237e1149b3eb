"""Every packet from every address class to every other, hop by hop, all at once.

At each hop the longest prefix picks the peer, the link must come up, and the peer checks the source against
its AllowedIPs for the sender. By that check the receiver's own route to the source leads to the sender: so a
packet that has arrived can be answered over the same hops, and the checks of the answer are the lookups by
which the packet came. Where a relay masquerades, the answer comes back to it in the same way, and its
connection table sends it on to the original source.
``Fabric.forwarding`` covers the FORWARD chains of relays for both directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wgcluster.prove.fabric import Fabric
from wgcluster.prove.read import NONE, Flags

_Column = NDArray[Any]  # whole numbers, one a packet

# Linux sends with a TTL of 64 (RFC 1700). Each machine that forwards a packet, from or to a network behind it
# too, takes one off and drops the packet if none is left (RFC 1812, 5.3.1).
_MOST_FORWARDS = 63
_AT_ONCE = 1 << 18  # packets followed at a time: bounds the memory


class Why(IntEnum):
    """Why a packet does not arrive."""

    NO_ROUTE = 1  # no AllowedIPs of the sender hold the destination
    LINK = 2  # no handshake between two peers
    SOURCE = 3  # the receiver's AllowedIPs of this peer do not hold the source
    RELAY = 4  # FORWARD: from the tunnel into the tunnel
    INWARD = 5  # FORWARD: from the tunnel into the network behind the host
    OUTWARD = 6  # FORWARD: from that network into the tunnel
    HOPS = 7  # it goes round in circles


@dataclass(frozen=True, slots=True)
class Broken:
    """Packets that do not arrive, in columns of equal length. Source and destination are address classes."""

    source: _Column
    destination: _Column
    why: _Column
    at: _Column  # the machine that had it last
    to: _Column  # the machine it was for next, below 0: none
    seen_as: _Column  # the class of its source address there
    hop: _Column  # 1 for the first


@dataclass(frozen=True, slots=True)
class Walk:
    """What became of the packets, by node: [from, to]."""

    together: Flags  # both have addresses of one family
    reach: Flags  # and every packet arrives
    hops: NDArray[np.uint8]  # of the longest path; 0 within one machine
    broken: Broken


def walk(fabric: Fabric) -> Walk:
    """Follow every packet. Two nodes reach each other if all their address classes of one family do."""
    shape = len(fabric.nodes), len(fabric.nodes)
    together, lost = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    hops = np.zeros(shape, np.uint8)
    parts = [np.zeros((7, 0), np.int32)]
    for family in (0, 1):
        mine = np.flatnonzero(fabric.family == family)
        if not len(mine):
            continue
        node = fabric.node[mine]
        one_each = np.bincount(node).max() == 1
        steps = _Steps(fabric, family)
        width = max(1, _AT_ONCE // max(1, len(mine)))
        for begin in range(0, len(mine), width):
            some = mine[begin : begin + width]
            source, destination = np.repeat(some, len(mine)), np.tile(mine, len(some))
            taken, broken = _Batch(steps, source, destination).follow()
            block = np.ix_(node[begin : begin + width], node)
            together[block] = True
            if one_each:
                hops[block] = np.maximum(hops[block], taken.reshape(len(some), -1))
            else:
                np.maximum.at(hops, (fabric.node[source], fabric.node[destination]), taken)
            lost[fabric.node[broken[0]], fabric.node[broken[1]]] = True
            parts.append(broken)
    return Walk(together, together & ~lost, hops, Broken(*np.concatenate(parts, axis=1)))


class _Steps:
    """Every step a packet of one family can take: from each machine towards each address class.

    What does not depend on the source of a packet is checked here, once for all packets.
    """

    def __init__(self, fabric: Fabric, family: int) -> None:
        self.fabric, self.family = fabric, family
        route, forwarding = fabric.route, fabric.forwarding
        arrives = route == fabric.owner
        sound = route >= 0
        sound &= fabric.opens[np.arange(len(route))[:, None], route]
        sound &= arrives | forwarding.relay[route, family]
        sound &= ~arrives | ~fabric.behind | forwarding.inward
        # [class, machine]: the next hop, NONE if the step fails; and from which peer it accepts the class
        self.towards = np.where(sound, route, np.int32(NONE)).T.ravel()
        self.back = route.T.ravel()
        self.own_address = np.where(
            forwarding.masquerade[:, family], fabric.address[:, family], np.int32(NONE)
        )

    def why(self, at: _Column, target: _Column, seen: _Column) -> tuple[_Column, _Column]:
        """The first reason why the step of each packet fails, and the machine it was for."""
        fabric, forwarding = self.fabric, self.fabric.forwarding
        to = fabric.route[at, target]
        arrives = to == fabric.owner[target]
        checks = {
            Why.NO_ROUTE: to >= 0,
            Why.LINK: fabric.opens[at, to],
            Why.SOURCE: fabric.route[to, seen] == at,
            Why.RELAY: arrives | forwarding.relay[to, self.family],
            Why.INWARD: ~(arrives & fabric.behind[target]) | forwarding.inward[target],
        }
        return np.select([~check for check in checks.values()], list(checks)), to


class _Batch:
    """Packets of one family that are followed together.

    The columns are of the packets under way: which, where, for whom, and the rows of the source and of the
    target in the tables of ``_Steps``.
    """

    def __init__(self, steps: _Steps, source: _Column, destination: _Column) -> None:
        self.steps, self.fabric = steps, steps.fabric
        self.count = len(self.fabric.machines)
        self.source, self.destination = source, destination  # of all packets
        self.taken = np.zeros(len(source), np.uint8)  # hops of those that have arrived
        self.lost: list[_Column] = [np.zeros((7, 0), np.int32)]
        self.masquerades = bool((steps.own_address != NONE).any())
        owner = self.fabric.owner
        self.going: _Column = np.flatnonzero(owner[source] != owner[destination])
        self.at: _Column = owner[source[self.going]]
        self.goal: _Column = owner[destination[self.going]]
        self.seen: _Column = source[self.going] * self.count
        self.target: _Column = destination[self.going] * self.count

    def follow(self) -> tuple[NDArray[np.uint8], _Column]:
        """How many hops each packet took, and the rows of ``Broken`` for those that were lost."""
        if self.fabric.behind.any():
            self._leave()
        hop = 0
        while len(self.going):
            hop += 1
            self._hop(hop)
        return self.taken, np.concatenate(self.lost, axis=1)

    def _leave(self) -> None:
        """From the networks behind hosts into the tunnel."""
        source = self.source[self.going]
        leaving = self.fabric.behind[source]
        stays = leaving & ~self.fabric.forwarding.outward[source]
        self._drop(np.flatnonzero(stays), Why.OUTWARD, self.at[stays], 0)
        if self.masquerades:
            self._masquerade(np.flatnonzero(leaving))
        self._keep(np.flatnonzero(~stays))

    def _hop(self, hop: int) -> None:
        steps, at, count = self.steps, self.at, self.count
        to = steps.towards[self.target + at]
        passes = (to >= 0) & (steps.back[self.seen + to] == at)
        if not passes.all():
            bad = np.flatnonzero(~passes)
            why = steps.why(at[bad], self.target[bad] // count, self.seen[bad] // count)
            self._drop(bad, *why, hop)
        on = to != self.goal
        if hop + 1 >= _MOST_FORWARDS:  # earlier none can have been forwarded that often
            behind = self.fabric.behind
            first, last = behind[self.source[self.going]], behind[self.destination[self.going]]
            expires = np.flatnonzero(passes & (hop - 1 + first + (on | last) > _MOST_FORWARDS))
            self._drop(expires, Why.HOPS, to[expires], hop)
            passes[expires] = False
        self.taken[self.going[passes & ~on]] = hop
        self.at = to
        self._keep(np.flatnonzero(passes & on))
        if self.masquerades:
            self._masquerade(np.arange(len(self.at)))

    def _drop(self, which: _Column, why: _Column | Why, to: _Column, hop: int) -> None:
        packet, seen_as = self.going[which], self.seen[which] // self.count
        rows = (self.source[packet], self.destination[packet], why, self.at[which], to, seen_as, hop)
        self.lost.append(np.stack([np.broadcast_to(np.asarray(row, np.int32), which.shape) for row in rows]))

    def _keep(self, which: _Column) -> None:
        columns = (self.going, self.at, self.goal, self.seen, self.target)
        self.going, self.at, self.goal, self.seen, self.target = (column[which] for column in columns)

    def _masquerade(self, which: _Column) -> None:
        at, seen = self.at[which], self.seen[which]
        own = self.steps.own_address[at]
        hidden = (own != NONE) & self.fabric.forwarding.masqueraded_classes[at, seen // self.count]
        self.seen[which[hidden]] = own[hidden] * self.count
