"""Where a packet is lost, in words: the pair, the hop and the rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from wgcluster.prove.ground import STRANGER, Fabric
from wgcluster.prove.read import Flags
from wgcluster.prove.walk import Broken, Why
from wgcluster.text import counted


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, with everything in ``message``; the rest is for programs."""

    message: str
    source: str | None = None
    destination: str | None = None
    at: str | None = None  # the machine where it breaks
    rule: str | None = None  # "no-route", "link", "source", "relay", "inward", "outward", "hops", "stranger"
    pairs: int = 0  # how many pairs break there for this reason


def causes(ground: Fabric, broken: Broken, required: Flags) -> Iterator[Finding]:
    """What stops packets that must arrive: a finding for each place and reason, with the first such pair."""
    node = ground.node
    counts = np.flatnonzero(required[node[broken.source], node[broken.destination]])
    place = np.stack([broken.why[counts], broken.at[counts], broken.to[counts]])
    _, first, inverse = np.unique(place, axis=1, return_index=True, return_inverse=True)
    pair = node[broken.source[counts]].astype(np.int64) * len(ground.nodes) + node[broken.destination[counts]]
    for group, row in enumerate(first):
        i = counts[row]
        pairs = len(np.unique(pair[inverse.ravel() == group]))
        source = ground.nodes[node[broken.source[i]]]
        destination = ground.nodes[node[broken.destination[i]]]
        at, rule = explain(ground, broken, i)
        more = f" (and {counted(pairs - 1, 'more pair')})" if pairs > 1 else ""
        yield Finding(
            f"{source} -> {destination}{more}: hop {max(1, broken.hop[i])}, {at}: {rule}",
            source,
            destination,
            at,
            Why(broken.why[i]).name.lower().replace("_", "-"),
            pairs,
        )


def explain(ground: Fabric, broken: Broken, i: int) -> tuple[str, str]:
    """The machine at which the packet of row ``i`` is lost, and why."""
    at, to = int(broken.at[i]), int(broken.to[i])
    names = [machine.name for machine in ground.machines]
    target = ground.atoms[broken.destination[i]]
    family = 4 if target.family == 4 else 6
    match Why(broken.why[i]):
        case Why.NO_ROUTE if to == STRANGER:
            return names[at], f"AllowedIPs give {target.address} to a peer whose key no machine has"
        case Why.NO_ROUTE:
            return names[at], f"no peer has {target.address} in its AllowedIPs"
        case Why.LINK:
            return names[at], _link(ground, at, to)
        case Why.SOURCE:
            source = ground.atoms[broken.seen_as[i]].address
            holder = int(ground.route[to, broken.seen_as[i]])
            has = "no peer has it" if holder < 0 else "its own" if holder == to else f"{names[holder]} has it"
            return (
                names[to],
                f"drops it, as {source} is not in the AllowedIPs of its peer {names[at]} ({has})",
            )
        case Why.RELAY:
            return names[to], _forward(ground, to, family, "from the tunnel into the tunnel")
        case Why.INWARD:
            return names[to], _forward(ground, to, family, f"from the tunnel to {target.address}")
        case Why.OUTWARD:
            return names[at], _forward(ground, at, family, "from the network behind it into the tunnel")
        case Why.HOPS:
            return names[to], "still under way when its time to live ends: the way is too long or a circle"


def _link(ground: Fabric, at: int, to: int) -> str:
    here, there = ground.machines[at].name, ground.machines[to].name
    if not ground.has_peer[to, at]:
        return f"{there} has no peer with the key of {here}"
    if not ground.same_secret[at, to]:
        return f"the link to {there} has a PresharedKey that differs or stands on one side only"
    if not ground.dials[to, at]:
        return f"neither {here} nor {there} has an Endpoint for the other, so nobody can open the link"
    return (
        f"has no Endpoint for {there}, and {there} has no PersistentKeepalive for {here}:"
        " the link is down until the other side sends something"
    )


def _forward(ground: Fabric, machine: int, family: int, way: str) -> str:
    if not ground.gates.kernel[machine, int(family == 6)]:
        return f"ip_forward is off for IPv{family}"
    return f"its FORWARD chain does not let through what goes {way}, or not the answers"
