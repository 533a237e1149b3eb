"""Where packets are lost, in words: the pair, the hop and the rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from wgcluster.prove.fabric import UNKNOWN, Fabric
from wgcluster.prove.read import Flags
from wgcluster.prove.walk import Broken, Why
from wgcluster.text import counted


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault; ``message`` has everything, the other fields are for programs."""

    message: str
    source: str | None = None
    destination: str | None = None
    at: str | None = None  # the machine where it breaks
    rule: str | None = None  # "no-route", "link", "source", "relay", "inward", "outward", "hops", "stranger"
    pairs: int = 0  # how many pairs it breaks


def causes(fabric: Fabric, broken: Broken, required: Flags) -> Iterator[Finding]:
    """Why required packets are lost: a finding for each machine and reason, with the first such pair.

    Args:
        required: [from, to] by node.
    """
    node = fabric.node
    counts = np.flatnonzero(required[node[broken.source], node[broken.destination]])
    place = np.stack([broken.why[counts], broken.at[counts], broken.to[counts]])
    _, first, inverse = np.unique(place, axis=1, return_index=True, return_inverse=True)
    pair = node[broken.source[counts]].astype(np.int64) * len(fabric.nodes) + node[broken.destination[counts]]
    for group, row in enumerate(first):
        i = counts[row]
        pairs = len(np.unique(pair[inverse.ravel() == group]))
        source = fabric.nodes[node[broken.source[i]]]
        destination = fabric.nodes[node[broken.destination[i]]]
        at, rule = explain(fabric, broken, i)
        more = f" (and {counted(pairs - 1, 'more pair')})" if pairs > 1 else ""
        yield Finding(
            f"{source} -> {destination}{more}: hop {max(1, broken.hop[i])}, {at}: {rule}",
            source,
            destination,
            at,
            Why(broken.why[i]).name.lower().replace("_", "-"),
            pairs,
        )


def explain(fabric: Fabric, broken: Broken, i: int) -> tuple[str, str]:
    """The machine at which the packet of row ``i`` is lost, and why."""
    at, to = int(broken.at[i]), int(broken.to[i])
    names = [machine.name for machine in fabric.machines]
    target = fabric.classes[broken.destination[i]]
    family = 4 if target.family == 4 else 6
    match Why(broken.why[i]):
        case Why.NO_ROUTE if to == UNKNOWN:
            return names[at], f"AllowedIPs give {target.address} to a peer whose key no machine has"
        case Why.NO_ROUTE:
            return names[at], f"no peer has {target.address} in its AllowedIPs"
        case Why.LINK:
            return names[at], _link(fabric, at, to)
        case Why.SOURCE:
            source = fabric.classes[broken.seen_as[i]].address
            holder = int(fabric.route[to, broken.seen_as[i]])
            has = "no peer has it" if holder < 0 else "its own" if holder == to else f"{names[holder]} has it"
            return (
                names[to],
                f"drops it, as {source} is not in the AllowedIPs of its peer {names[at]} ({has})",
            )
        case Why.RELAY:
            return names[to], _forward(fabric, to, family, "from the tunnel into the tunnel")
        case Why.INWARD:
            return names[to], _forward(fabric, to, family, f"from the tunnel to {target.address}")
        case Why.OUTWARD:
            return names[at], _forward(fabric, at, family, "from the network behind it into the tunnel")
        case Why.HOPS:
            return names[to], "still under way when its time to live ends: the way is too long or a circle"


def _link(fabric: Fabric, at: int, to: int) -> str:
    here, there = fabric.machines[at].name, fabric.machines[to].name
    if not fabric.has_peer[to, at]:
        return f"{there} has no peer with the key of {here}"
    if not fabric.same_secret[at, to]:
        return f"the link to {there} has a PresharedKey that differs or stands on one side only"
    if not fabric.dials[to, at]:
        return f"neither {here} nor {there} has an Endpoint for the other, so nobody can open the link"
    return (
        f"has no Endpoint for {there}, and {there} has no PersistentKeepalive for {here}:"
        " the link is down until the other side sends something"
    )


def _forward(fabric: Fabric, machine: int, family: int, way: str) -> str:
    if not fabric.forwarding.kernel[machine, int(family == 6)]:
        return f"ip_forward is off for IPv{family}"
    return f"its FORWARD chain does not let through what goes {way}, or not the answers"
