"""Hosts whose loss cuts others off, even if the rest were planned again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import rustworkx

from wgcluster.prove.fabric import Fabric
from wgcluster.prove.read import Flags, Ints
from wgcluster.text import abbreviated


def losses(fabric: Fabric) -> Iterator[str]:
    """A sentence for each host that others depend on.

    Every host that may relay can replace a lost one. Road warriors always depend on their gateway, which is
    the only one in their configs.
    """
    machines = fabric.machines
    hosts = np.array([i for i, machine in enumerate(machines) if machine.gateway is None], np.intp)
    linked = (fabric.opens | fabric.opens.T)[np.ix_(hosts, hosts)]
    relays = np.array([machines[i].may_relay for i in hosts], np.bool_)
    warriors: dict[str, list[str]] = {}
    for machine in machines:
        if machine.gateway is not None:
            warriors.setdefault(machine.gateway, []).append(machine.name)
    names = [machines[i].name for i in hosts]
    cuts = {name: (cut, rest) for name, cut, rest in _cuts(linked, relays, names)}
    for name in sorted({*cuts, *warriors}):
        cut, rest = cuts.get(name, ([], []))
        if cut:
            reach = "reaches" if len(cut) == 1 else "reach"
            yield f"if {name} is lost, {abbreviated(cut)} no longer {reach} {abbreviated(rest)}"
        if name in warriors:
            several = len(warriors[name]) > 1
            yield f"if {name} is lost, {abbreviated(warriors[name])} {'are' if several else 'is'} cut off"


def _cuts(linked: Flags, relays: Flags, names: list[str]) -> Iterator[tuple[str, list[str], list[str]]]:
    """Each host whose loss separates others: its name, the smaller side, the other side."""
    if not linked.any():
        return
    a, b = np.nonzero(np.triu(linked & relays[:, None] & relays))
    graph: rustworkx.PyGraph[int, None] = rustworkx.PyGraph(multigraph=False)
    graph.add_nodes_from(range(len(names)))
    graph.add_edges_from_no_data(list(zip(a.tolist(), b.tolist(), strict=True)))
    everyone = bool(relays.all())
    candidates = rustworkx.articulation_points(graph) if everyone else np.flatnonzero(relays).tolist()
    before = None if everyone else _apart(linked, graph, relays)
    for lost in sorted(candidates):
        rest = graph.copy()
        rest.remove_node(lost)
        if everyone:
            parts = sorted(map(sorted, rustworkx.connected_components(rest)), key=len)
            cut, kept = [i for part in parts[:-1] for i in part], parts[-1]
        else:
            left = relays.copy()
            left[lost] = False
            apart = _apart(linked, rest, left)
            if apart is None:
                continue
            apart[lost] = apart[:, lost] = False
            cut, kept = _sides(apart if before is None else apart & ~before)
        if cut:
            yield names[lost], [names[i] for i in sorted(cut)], [names[i] for i in sorted(kept)]


def _apart(linked: Flags, graph: rustworkx.PyGraph[int, None], relays: Flags) -> Flags | None:
    """[a, b]: no link and no path over relays connects them; None: all are connected."""
    groups = [sorted(part) for part in rustworkx.connected_components(graph) if relays[next(iter(part))]]
    member = np.zeros((len(linked), max(1, len(groups))), np.float32)  # floats multiply fast
    for g, part in enumerate(groups):
        member[:, g] = linked[:, part].any(axis=1)
        member[part, g] = 1
    kinds, kind = np.unique(
        member, axis=0, return_inverse=True
    )  # few: most hosts are linked to the same groups
    meets = kinds @ kinds.T > 0
    if meets.all():
        return None
    apart: Flags = np.logical_not(meets[kind][:, kind] | linked)
    np.fill_diagonal(apart, False)
    return apart


def _sides(apart: Flags) -> tuple[list[int], list[int]]:
    """Greedy vertex cover of the disconnected pairs: (cut-off hosts, the rest)."""
    missing: Ints = apart.sum(axis=1)
    cut: list[int] = []
    while missing.any():
        worst = int(missing.argmax())
        cut.append(worst)
        missing = missing - apart[worst]
        missing[cut] = 0
    missed = np.flatnonzero(apart[cut].any(axis=0)).tolist()
    return cut, sorted(set(missed) - set(cut))
