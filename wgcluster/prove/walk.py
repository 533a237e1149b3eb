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

from wgcluster.prove.ground import Ground
from wgcluster.prove.read import NONE, Flags

Column = NDArray[Any]  # whole numbers, one a packet

MAX_HOPS = 64  # Linux sends with a TTL of 64 (RFC 1700), and each relay takes one
_AT_ONCE = 1 << 20  # packets followed at a time: bounds the memory


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


def walk(ground: Ground) -> Walk:
    """Follow every packet. A pair of nodes holds if it holds for all their atoms, family by family."""
    shape = len(ground.nodes), len(ground.nodes)
    together, lost = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    hops = np.zeros(shape, np.uint8)
    parts = [np.zeros((7, 0), np.int32)]
    for family in (0, 1):
        mine = np.flatnonzero(ground.family == family).astype(np.int32)
        width = max(1, _AT_ONCE // max(1, len(mine)))
        for begin in range(0, len(mine), width):
            source, destination = (
                grid.ravel() for grid in np.meshgrid(mine, mine[begin : begin + width], indexing="ij")
            )
            taken, broken = _follow(ground, family, source, destination)
            a, b = ground.node[source], ground.node[destination]
            together[a, b] = True
            np.maximum.at(hops, (a, b), taken)
            lost[ground.node[broken[0]], ground.node[broken[1]]] = True
            parts.append(broken)
    return Walk(together, together & ~lost, hops, Broken(*np.concatenate(parts, axis=1)))


def _follow(
    ground: Ground, family: int, source: Column, destination: Column
) -> tuple[NDArray[np.uint8], Column]:
    """How many hops each packet took, and the rows of ``Broken`` for those that were lost."""
    route, gates = ground.route, ground.gates
    taken = np.zeros(len(source), np.uint8)
    lost: list[Column] = []
    at, goal, seen = ground.owner[source], ground.owner[destination], source.copy()

    def drop(which: Column, why: Column | Why, to: Column, hop: int) -> None:
        rows = (source[which], destination[which], why, at[which], to, seen[which], hop)
        lost.append(np.stack([np.broadcast_to(np.asarray(row, np.int32), which.shape) for row in rows]))

    def rewrite(which: Column, machine: Column) -> None:
        address = ground.address[machine, family]
        hides = gates.masquerade[machine, family] & (address != NONE)
        seen[which[hides]] = address[hides]

    going = np.flatnonzero(at != goal)
    leaving = ground.behind[source[going]]
    stays = leaving & ~gates.outward[source[going]]
    drop(going[stays], Why.OUTWARD, at[going[stays]], 0)
    rewrite(going[leaving], at[going[leaving]])
    going = going[~stays]
    for hop in range(1, MAX_HOPS + 1):
        if not len(going):
            break
        sender, target = at[going], destination[going]
        to = route[sender, target]
        arrives = to == goal[going]
        checks = {
            Why.NO_ROUTE: to >= 0,
            Why.LINK: ground.opens[sender, to],
            Why.SOURCE: route[to, seen[going]] == sender,
            Why.RELAY: arrives | gates.relay[to, family],
            Why.INWARD: ~(arrives & ground.behind[target]) | gates.inward[target],
        }
        passes = np.logical_and.reduce(list(checks.values()))
        if not passes.all():
            bad = ~passes
            why = np.select([~check[bad] for check in checks.values()], list(checks))
            drop(going[bad], why, to[bad], hop)
        taken[going[arrives & passes]] = hop
        on = passes & ~arrives
        going, to = going[on], to[on]
        at[going] = to
        rewrite(going, to)
    drop(going, Why.HOPS, at[going], MAX_HOPS)
    return taken, np.concatenate(lost, axis=1)
