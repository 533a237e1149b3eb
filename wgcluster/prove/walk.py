"""Every packet from every atom to every other, hop by hop, all at once.

At each hop the longest prefix picks the peer, the link must come up, and the peer checks the source against
the AllowedIPs it has for the machine that sent it. That check looks up, in the receiver's own table, the way
back to the source and finds the sender: so a packet that has arrived can be answered by the same hops, and
the answer's own checks are the lookups by which the packet came. Where a relay masquerades, the answer comes
back to it in the same manner and from there, by its connection table, goes on to the source before.
What else the answer needs, passage through each relay's FORWARD chain, ``Ground.gates`` holds for both ways.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wgcluster.prove.ground import Fabric
from wgcluster.prove.read import NONE, Flags

Column = NDArray[Any]  # whole numbers, one a packet

# Linux sends with a TTL of 64 (RFC 1700). Whoever forwards a packet takes one and drops it if none is left
# (RFC 1812, 5.3.1): each relay, and a host that hands it on from or to a network behind it.
_MOST_FORWARDS = 63
_AT_ONCE = 1 << 18  # packets followed at a time: bounds the memory


class Why(IntEnum):
    """Why a packet does not arrive."""

    NO_ROUTE = 1
    LINK = 2
    SOURCE = 3
    RELAY = 4
    INWARD = 5
    OUTWARD = 6
    HOPS = 7


@dataclass(frozen=True, slots=True)
class Broken:
    """Packets that do not arrive, as columns: what from and to (atoms), why, and where."""

    source: Column
    destination: Column
    why: Column
    at: Column  # the machine that had it last
    to: Column  # the machine it was for next, below 0 if there is none
    seen_as: Column  # the atom of its source address there
    hop: Column  # 1 for the first


@dataclass(frozen=True, slots=True)
class Walk:
    """What became of the packets, [from, to] by node."""

    together: Flags  # they have addresses of one family
    reach: Flags  # and every packet arrives
    hops: NDArray[np.uint8]  # of the longest way; 0 within one machine
    broken: Broken


def walk(ground: Fabric) -> Walk:
    """Follow every packet. A pair of nodes holds if it holds for all their atoms, family by family."""
    shape = len(ground.nodes), len(ground.nodes)
    together, lost = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    hops = np.zeros(shape, np.uint8)
    parts = [np.zeros((7, 0), np.int32)]
    for family in (0, 1):
        mine = np.flatnonzero(ground.family == family)
        if not len(mine):
            continue
        node = ground.node[mine]
        one_each = np.bincount(node).max() == 1
        steps = _Steps(ground, family)
        width = max(1, _AT_ONCE // max(1, len(mine)))
        for begin in range(0, len(mine), width):
            some = mine[begin : begin + width]
            source, destination = np.repeat(some, len(mine)), np.tile(mine, len(some))
            taken, broken = _follow(steps, source, destination)
            block = np.ix_(node[begin : begin + width], node)
            together[block] = True
            if one_each:
                hops[block] = np.maximum(hops[block], taken.reshape(len(some), -1))
            else:
                np.maximum.at(hops, (ground.node[source], ground.node[destination]), taken)
            lost[ground.node[broken[0]], ground.node[broken[1]]] = True
            parts.append(broken)
    return Walk(together, together & ~lost, hops, Broken(*np.concatenate(parts, axis=1)))


class _Steps:
    """Every step a packet of one family may take: from each machine towards each atom.

    All that does not depend on the packet's source is checked here, once for all packets of the same way.
    """

    def __init__(self, ground: Fabric, family: int) -> None:
        self.ground, self.family = ground, family
        route, gates = ground.route, ground.gates
        arrives = route == ground.owner
        sound = route >= 0
        sound &= ground.opens[np.arange(len(route))[:, None], route]
        sound &= arrives | gates.relay[route, family]
        sound &= ~arrives | ~ground.behind | gates.inward
        # [atom, machine]: the next hop, NONE if the step fails; and whom it takes packets of the atom from
        self.towards = np.where(sound, route, np.int32(NONE)).T.ravel()
        self.back = route.T.ravel()
        self.masked = np.where(gates.masquerade[:, family], ground.address[:, family], np.int32(NONE))

    def why(self, at: Column, target: Column, seen: Column) -> tuple[Column, Column]:
        """For packets whose step fails: the first reason, and the machine it was for."""
        ground, gates = self.ground, self.ground.gates
        to = ground.route[at, target]
        arrives = to == ground.owner[target]
        checks = {
            Why.NO_ROUTE: to >= 0,
            Why.LINK: ground.opens[at, to],
            Why.SOURCE: ground.route[to, seen] == at,
            Why.RELAY: arrives | gates.relay[to, self.family],
            Why.INWARD: ~(arrives & ground.behind[target]) | gates.inward[target],
        }
        return np.select([~check for check in checks.values()], list(checks)), to


def _follow(steps: _Steps, source: Column, destination: Column) -> tuple[NDArray[np.uint8], Column]:
    """How many hops each packet took, and the rows of ``Broken`` for those that were lost."""
    ground, count = steps.ground, len(steps.ground.machines)
    taken = np.zeros(len(source), np.uint8)
    lost: list[Column] = [np.zeros((7, 0), np.int32)]
    hides = bool((steps.masked != NONE).any())
    # Of the packets under way: which, where, for whom, and the rows of source and target in the tables.
    going = np.flatnonzero(ground.owner[source] != ground.owner[destination])
    at: Column = ground.owner[source[going]]
    goal: Column = ground.owner[destination[going]]
    seen: Column = source[going] * count
    target: Column = destination[going] * count

    def drop(which: Column, why: Column | Why, to: Column, hop: int) -> None:
        rows = (
            source[going[which]],
            destination[going[which]],
            why,
            at[which],
            to,
            seen[which] // count,
            hop,
        )
        lost.append(np.stack([np.broadcast_to(np.asarray(row, np.int32), which.shape) for row in rows]))

    def keep(which: Column) -> None:
        nonlocal going, at, goal, seen, target
        going, at, goal, seen, target = (column[which] for column in (going, at, goal, seen, target))

    def rewrite(which: Column) -> None:
        own = steps.masked[at[which]]
        hidden = (own != NONE) & ground.gates.masked[at[which], seen[which] // count]
        seen[which[hidden]] = own[hidden] * count

    if ground.behind.any():
        leaving = ground.behind[source[going]]
        stays = leaving & ~ground.gates.outward[source[going]]
        drop(np.flatnonzero(stays), Why.OUTWARD, at[stays], 0)
        if hides:
            rewrite(np.flatnonzero(leaving))
        keep(np.flatnonzero(~stays))
    hop = 0
    while len(going):
        hop += 1
        to = steps.towards[target + at]
        passes = (to >= 0) & (steps.back[seen + to] == at)
        if not passes.all():
            bad = np.flatnonzero(~passes)
            drop(bad, *steps.why(at[bad], target[bad] // count, seen[bad] // count), hop)
        on = to != goal
        if hop + 1 >= _MOST_FORWARDS:  # earlier none can have been forwarded that often
            from_behind, into = ground.behind[source[going]], ground.behind[destination[going]]
            expires = np.flatnonzero(passes & (hop - 1 + from_behind + (on | into) > _MOST_FORWARDS))
            drop(expires, Why.HOPS, to[expires], hop)
            passes[expires] = False
        taken[going[passes & ~on]] = hop
        at = to
        keep(np.flatnonzero(passes & on))
        if hides:
            rewrite(np.arange(len(at)))
    return taken, np.concatenate(lost, axis=1)
