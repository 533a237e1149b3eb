"""Does every packet arrive? The rendered texts are parsed and every packet is followed hop by hop.

The proof knows only the texts that the hosts will get, not how the plan was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from wgcluster.inventory.expectations import read_expectation
from wgcluster.plan.plan import Plan
from wgcluster.prove.causes import Finding, causes, explain
from wgcluster.prove.fabric import Fabric
from wgcluster.prove.loss import losses
from wgcluster.prove.read import NONE, Flags, read
from wgcluster.prove.strangers import let_in
from wgcluster.prove.texts import MachineText, texts_of
from wgcluster.prove.walk import Walk, walk

Verdict = Literal["reached", "lost", "hidden", "none"]


@dataclass(frozen=True, slots=True, eq=False)
class Proof:
    """Reachability between every two of ``nodes``: hosts, road warriors, and networks behind hosts.

    ``faults`` is empty if all required packets arrive; ``warnings`` stop no deploy.
    """

    nodes: tuple[str, ...]
    faults: tuple[Finding, ...]
    warnings: tuple[str, ...]
    walk: Walk
    required: Flags  # [from, to] by node: it is a fault if these packets do not arrive

    @property
    def ok(self) -> bool:
        return not self.faults

    def verdict(self, source: str, destination: str) -> Verdict:
        """What becomes of packets between two nodes.

        Returns:
            "hidden": they do not arrive and need not, as to a road warrior behind a masquerading gateway, or
                to a network that the host stands in.
            "none": the two have no addresses of one family.

        Raises:
            KeyError: there is no such node.
        """
        return self._verdict(self._number(source), self._number(destination))

    def hops(self, source: str, destination: str) -> int:
        """The number of links on the path; 0 within one machine, or if nothing arrives."""
        a, b = self._number(source), self._number(destination)
        return int(self.walk.hops[a, b]) if self.walk.reach[a, b] else 0

    def rows(self) -> Iterator[tuple[str, str, Verdict, int]]:
        """(from, to, verdict, hops) for every ordered pair of different nodes."""
        for a, source in enumerate(self.nodes):
            for b, destination in enumerate(self.nodes):
                if a != b:
                    verdict = self._verdict(a, b)
                    yield source, destination, verdict, int(self.walk.hops[a, b]) * (verdict == "reached")

    def counts(self) -> dict[Verdict, int]:
        """How many ordered pairs have each verdict."""
        off = ~np.eye(len(self.nodes), dtype=np.bool_)
        reach, together = self.walk.reach & off, self.walk.together & off
        return {
            "reached": int(reach.sum()),
            "lost": int((together & ~reach & self.required).sum()),
            "hidden": int((together & ~reach & ~self.required).sum()),
            "none": int((off & ~together).sum()),
        }

    def as_dict(self) -> dict[str, object]:
        """Plain data for JSON."""
        return {
            "ok": self.ok,
            "pairs": self.counts(),
            "longest_way": int(np.where(self.walk.reach, self.walk.hops, 0).max(initial=0)),
            "faults": [
                {
                    "message": one.message,
                    "from": one.source,
                    "to": one.destination,
                    "at": one.at,
                    "rule": one.rule,
                    "pairs": one.pairs,
                }
                for one in self.faults
            ],
            "warnings": list(self.warnings),
        }

    def _number(self, name: str) -> int:
        try:
            return self.nodes.index(name)
        except ValueError:
            raise KeyError(name) from None

    def _verdict(self, a: int, b: int) -> Verdict:
        if self.walk.reach[a, b]:
            return "reached"
        if not self.walk.together[a, b]:
            return "none"
        return "lost" if self.required[a, b] else "hidden"


def prove(plan: Plan) -> Proof:
    """Render the texts of a whole plan and prove them."""
    return prove_texts(texts_of(plan), plan.expect)


def prove_texts(texts: Iterable[MachineText], expect: Sequence[str] = ()) -> Proof:
    """Follow a packet between every two nodes and back.

    A road warrior whose gateway masquerades is hidden: only the gateway, the networks behind it and its other
    road warriors must reach it.

    Args:
        texts: every machine of the cluster, including road warriors.
        expect: entries of ``wg_expect``.
    """
    unread: list[str] = []
    fabric = Fabric(read(texts, unread))
    followed = walk(fabric)
    required = followed.together & ~_hidden(fabric)
    wrong = [Finding(message) for message in (*unread, *fabric.faults)]
    wrong += let_in(fabric.reading)
    wrong += _endpoints_twice(fabric)
    wrong += _expected(fabric, followed, required, expect)
    wrong += causes(fabric, followed.broken, required)
    return Proof(tuple(fabric.nodes), tuple(wrong), tuple(losses(fabric)), followed, required)


def _hidden(fabric: Fabric) -> Flags:
    count = len(fabric.nodes)
    hidden = np.zeros((count, count), np.bool_)
    number = {machine.name: i for i, machine in enumerate(fabric.machines)}
    for i, machine in enumerate(fabric.machines):
        gateway = number.get(machine.gateway or "")
        if gateway is not None and fabric.forwarding.masquerade[gateway].any():
            near = [
                home == gateway or fabric.machines[home].gateway == machine.gateway for home in fabric.home
            ]
            hidden[:, i] = ~np.array(near)
        for network in machine.beside:
            if str(network) in fabric.nodes:
                node = fabric.nodes.index(str(network))
                hidden[i, node] = hidden[node, i] = True
    return hidden


def _endpoints_twice(fabric: Fabric) -> Iterator[Finding]:
    """Machines that share an endpoint, of which only one can be dialled.

    Different sites may use the same private address.
    """
    reading, sites = fabric.reading, [machine.site for machine in fabric.machines]
    number = {site: i for i, site in enumerate(dict.fromkeys(sites))}
    site_of = np.array([-1 - i if site is None else number[site] for i, site in enumerate(sites)], np.int32)
    owner = fabric.machine_of_key[reading.peers.key]
    by = np.repeat(site_of, np.diff(reading.start))
    seen = np.zeros((len(owner), 2), np.bool_)  # [section, 1]: used inside the site of its machine
    seen[reading.section, (site_of[np.maximum(owner, 0)][reading.section] == by).astype(np.intp)] = True
    seen[(reading.peers.endpoint == NONE) | (owner < 0)] = False
    uses = {
        (int(reading.peers.endpoint[section]), int(owner[section]), bool(inside))
        for section, inside in np.argwhere(seen)
    }
    anywhere = {(address, holder) for address, holder, inside in uses if not inside}
    holders: dict[int, dict[int, str | None]] = {}
    for address, holder, _ in uses:
        site = None if (address, holder) in anywhere else sites[holder]
        holders.setdefault(address, {})[holder] = site
    for address, found in sorted(holders.items()):
        in_sites = list(found.values())
        if len(found) > 1 and (None in in_sites or len(set(in_sites)) < len(in_sites)):
            names = " and ".join(sorted(fabric.machines[holder].name for holder in found))
            shown = fabric.reading.endpoints[address]
            yield Finding(f"{shown} is the endpoint of {names}: give each a port of its own", rule="endpoint")


def _expected(fabric: Fabric, followed: Walk, required: Flags, expect: Sequence[str]) -> Iterator[Finding]:
    """Faults of ``wg_expect``. Changes ``required`` to what the entries say."""
    number = {name: i for i, name in enumerate(fabric.nodes)}
    broken = followed.broken
    for text in expect:
        try:
            expectation = read_expectation(text)
            a, b = number[expectation.source], number[expectation.destination]
        except KeyError as unknown:
            yield Finding(f"wg_expect {text!r}: {unknown.args[0]} is no host, client or network")
            continue
        except ValueError as error:
            yield Finding(f"wg_expect {text!r}: {error}")
            continue
        required[a, b] = expectation.reaches and bool(followed.together[a, b])
        if bool(followed.reach[a, b]) == expectation.reaches:
            continue
        why = f"it does arrive, in {followed.hops[a, b]} hops"
        if expectation.reaches:
            why = "they have no address of one family"
            rows = np.flatnonzero((fabric.node[broken.source] == a) & (fabric.node[broken.destination] == b))
            if len(rows):
                why = ": ".join(explain(fabric, broken, int(rows[0])))
        names = expectation.source, expectation.destination
        yield Finding(f"wg_expect {text!r} does not hold: {why}", *names, rule="expect", pairs=1)
