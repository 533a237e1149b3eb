"""Shortest paths that are unique, and therefore the same in both directions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import rustworkx
from numpy.typing import NDArray

from wgcluster.inventory.cluster import Host
from wgcluster.plan.links import Matrix, mix, name_hash

_Weights = NDArray[np.float64]

NOWHERE = -1  # instead of a host: no path

_EXACT_BITS = 53  # rustworkx adds weights as doubles: sums below 2^53 stay exact whole numbers


def first_hops(
    hosts: Sequence[Host], linked: Matrix, relays: NDArray[np.bool_], rank: NDArray[np.int64]
) -> NDArray[np.int32]:
    """The first hop of the shortest path between every two hosts, over relays.

    Linked hosts are one step apart. For others the path leads to the last relay by the shortest path, and
    from there in one step to the destination.

    Args:
        linked: [host, host].
        relays: [host]: may forward packets.
        rank: [host]: paths over lower ranks are preferred.

    Returns:
        [from, to]: index of a host, or NOWHERE.
    """
    own = np.arange(len(hosts), dtype=np.int32)
    hop = np.where(linked, own, np.int32(NOWHERE))
    np.fill_diagonal(hop, own)
    far = np.flatnonzero((hop == NOWHERE).any(axis=1))
    middle = np.flatnonzero(relays)
    if not len(far) or not len(middle):
        return hop
    step, among, first = _among_relays(hosts, linked, middle, rank)
    if len(middle) == len(hosts):
        return first
    reach, via = _to_relays(step, among, first, middle)
    best = np.full((len(far), len(far)), np.inf)
    chosen = np.full((len(far), len(far)), NOWHERE, np.int32)
    for g in range(len(middle)):
        last = np.flatnonzero(np.isfinite(step[far, g]))  # the hosts that are linked to this relay
        through = reach[far, g][:, None] + step[far[last], g]
        better = through < best[:, last]
        best[:, last] = np.where(better, through, best[:, last])
        chosen[:, last] = np.where(better, via[far, g][:, None], chosen[:, last])
    block = np.ix_(far, far)
    hop[block] = np.where(hop[block] == NOWHERE, chosen, hop[block])
    return hop


def _among_relays(
    hosts: Sequence[Host], linked: Matrix, middle: NDArray[np.intp], rank: NDArray[np.int64]
) -> tuple[_Weights, _Weights, NDArray[np.int32]]:
    """[host, relay]: the cost of a step; [relay, relay]: length and first hop of the shortest path."""
    a, b = np.nonzero(linked[np.ix_(middle, middle)])
    graph: rustworkx.PyGraph[None, float] = rustworkx.PyGraph(multigraph=False)
    graph.add_nodes_from([None] * len(middle))
    graph.add_edges_from([(u, v, 1.0) for u, v in zip(a.tolist(), b.tolist(), strict=True) if u < v])
    step = _steps(hosts, linked, middle, rank, longest=int(rustworkx.distance_matrix(graph).max()) + 2)
    weights = step[middle]
    graph.add_edges_from(
        [(u, v, weights[u, v]) for u, v in zip(a.tolist(), b.tolist(), strict=True) if u < v]
    )
    length = np.full((len(middle), len(middle)), np.inf)
    np.fill_diagonal(length, 0)
    for source, found in rustworkx.all_pairs_dijkstra_path_lengths(graph, float).items():
        length[source, list(found.keys())] = list(found.values())
    first = np.full(length.shape, NOWHERE, np.int32)
    for u, v in zip(a.tolist(), b.tolist(), strict=True):
        # v is the next hop from u exactly where the rest of the path is shorter by that step
        first[u, np.isfinite(length[u]) & (length[u] == length[v] + weights[u, v])] = middle[v]
    np.fill_diagonal(first, middle)
    return step, length, first


def _to_relays(
    step: _Weights, among: _Weights, first: NDArray[np.int32], middle: NDArray[np.intp]
) -> tuple[_Weights, NDArray[np.int32]]:
    """[host, relay]: the length of the shortest path and its first hop."""
    reach = np.full_like(step, np.inf)
    via = np.full(step.shape, NOWHERE, np.int32)
    for g, relay in enumerate(middle):
        through = step[:, g][:, None] + among[g]
        better = through < reach
        reach = np.where(better, through, reach)
        via = np.where(better, np.int32(relay), via)
    reach[middle], via[middle] = among, first
    return reach, via


def _steps(
    hosts: Sequence[Host],
    linked: Matrix,
    middle: NDArray[np.intp],
    rank: NDArray[np.int64],
    longest: int,
) -> _Weights:
    """[host, relay]: the cost of a step; 0 to itself, infinite without a link.

    Costs order paths by the number of steps, then the sum of the relays' ranks, then a hash of the pairs:
    each is scaled so that ``longest`` steps of what follows add up to less than one unit of it.
    """
    steps_bits = (longest + 1).bit_length()
    whole = _EXACT_BITS - 1 - steps_bits
    one_rank = whole - steps_bits - 2 - int(rank.max()).bit_length()
    hashes = np.array([name_hash(host.name) for host in hosts], np.uint64)
    ties = mix(hashes[:, None] ^ hashes[middle]) >> np.uint64(64 - (one_rank - steps_bits))
    ranks = (rank[:, None] + rank[middle]).astype(np.float64)
    cost = 2.0**whole + 2.0**one_rank * ranks + ties
    step = np.where(linked[:, middle], cost, np.inf)
    step[middle, np.arange(len(middle))] = 0
    return step


def gateway_ranks(hosts: Sequence[Host], by_site: bool) -> NDArray[np.int64]:
    """[host]: the rank of each gateway by name in its site (``by_site``) or in the cluster; 0 for others."""
    seen: Counter[str | None] = Counter()
    ranks = np.zeros(len(hosts), np.int64)
    for i, host in enumerate(hosts):
        if host.gateway:
            site = host.site if by_site else None
            ranks[i] = seen[site]
            seen[site] += 1
    return ranks
