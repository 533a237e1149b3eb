"""Which hosts are linked, and by which neighbour each host reaches every other.

A link is a pair of which at least one side can be dialled. WireGuard drops a packet whose source does not
lie in the AllowedIPs of the peer it came from (wg(8)), so a path must be the same both ways: paths are
shortest by integer weights that make every path unique, and a unique shortest path is its own way back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise

import numpy as np
import rustworkx
from numpy.typing import NDArray

from wgcluster.model import Cluster, Endpoint, Fault, Host

Matrix = NDArray[np.bool_]
Weights = NDArray[np.float64]

NOWHERE = -1  # in ``Topology.hop``: no way to that host

_EXACT_BITS = 53  # rustworkx adds weights as doubles: sums below 2^53 stay exact whole numbers


@dataclass(frozen=True, slots=True)
class Topology:
    """The links and routes of a cluster; hosts are named by their index in ``cluster.hosts``."""

    dials: Matrix  # [a, b]: a knows where to dial b
    linked: Matrix  # symmetric, False on the diagonal
    relays: NDArray[np.bool_]  # may carry the packets of others
    hop: NDArray[np.int32]  # [a, b]: the neighbour by which a reaches b; b itself if linked, or NOWHERE

    def carriers(self) -> NDArray[np.bool_]:
        """The hosts that do carry packets between two others."""
        carries = np.zeros(len(self.hop), np.bool_)
        far = ~self.linked & (self.hop != NOWHERE)
        np.fill_diagonal(far, False)
        carries[self.hop[far]] = True
        return carries


def dialled_at(host: Host, site: str | None) -> Endpoint | None:
    """Where others dial ``host`` from ``site``: at its site endpoint inside its own, else at its endpoint."""
    if host.site_endpoint is not None and host.site is not None and host.site == site:
        return host.site_endpoint
    return host.endpoint


def make_topology(cluster: Cluster) -> tuple[Topology, list[Fault]]:
    """Links and routes, and what is wrong with them; with faults the routes are incomplete."""
    hosts = cluster.hosts
    dials = _dials(hosts)
    linkable = dials | dials.T
    relays = gateways = np.array([host.gateway for host in hosts])
    faults = _check_gateways(cluster, dials)
    match cluster.topology:
        case "mesh":
            linked = linkable
        case "sites":
            sites = _numbered(hosts)
            linked = linkable & ((sites[:, None] == sites) | (gateways[:, None] & gateways))
        case "partial":
            relays = np.ones(len(hosts), np.bool_)
            linked = _declared(cluster, linkable, faults) if cluster.degree is None else _chosen(cluster)
    rank = np.zeros(len(hosts), np.int64)
    if cluster.topology != "partial":
        rank = _ranks(hosts, by_site=cluster.topology == "sites")
    topology = Topology(dials, linked, relays, _hops(hosts, linked, relays, rank))
    return topology, faults + _check_pieces(cluster, topology)


def _dials(hosts: Sequence[Host]) -> Matrix:
    sites = _numbered(hosts)
    anyone = np.array([host.endpoint is not None for host in hosts])
    inside = np.array([host.site_endpoint is not None and host.site is not None for host in hosts])
    dials: Matrix = anyone | (inside & (sites[:, None] == sites))
    np.fill_diagonal(dials, False)
    return dials


def _numbered(hosts: Sequence[Host]) -> NDArray[np.int32]:
    """The site of each host as a number; a host without one is a site of its own."""
    number: dict[str, int] = {}
    return np.array(
        [
            number.setdefault(host.site, len(number)) if host.site is not None else -1 - i
            for i, host in enumerate(hosts)
        ],
        np.int32,
    )


def _declared(cluster: Cluster, linkable: Matrix, faults: list[Fault]) -> Matrix:
    index = {host.name: i for i, host in enumerate(cluster.hosts)}
    linked: Matrix = np.zeros_like(linkable)
    for i, host in enumerate(cluster.hosts):
        for name in host.links:
            j = index[name]
            if not linkable[i, j]:
                faults.append(
                    Fault(host.name, "wg_links", name, "neither side can be dialled; give one a wg_endpoint")
                )
            linked[i, j] = linked[j, i] = True
    return linked & linkable


def _chosen(cluster: Cluster) -> Matrix:
    """About ``wg_degree`` links a host, of which few move when a host joins or leaves.

    Hosts that everyone can dial stand on rings, each ring ordered by a hash of the name: two links a ring,
    and one ring keeps them together whichever of them is lost. An odd degree adds one link a host by pairing
    neighbours of one more ring. A host that nobody can dial links to the ``degree`` dialled ones that rank
    highest for the pair (rendezvous hashing). A host that joins a ring takes one link of it apart; it takes
    each link of a host behind NAT with a chance of one in (dialled hosts).
    Two rings may share a link; then a host has one link less.
    """
    degree = cluster.degree or 0
    names = [host.name for host in cluster.hosts]
    linked: Matrix = np.zeros((len(names), len(names)), np.bool_)
    public = [i for i, host in enumerate(cluster.hosts) if host.endpoint is not None]
    behind = [i for i, host in enumerate(cluster.hosts) if host.endpoint is None]

    def link(pairs: Sequence[tuple[int, int]]) -> None:
        for a, b in pairs:
            linked[a, b] = linked[b, a] = a != b

    def ring(number: int) -> list[int]:
        return sorted(public, key=lambda i: _hash(f"{number} {names[i]}"))

    if len(public) <= degree + 1:
        link([(a, b) for a in public for b in public])
    else:
        for number in range(degree // 2):
            order = ring(number)
            link(list(pairwise([*order, order[0]])))
        if degree % 2:
            link(_paired(ring(degree // 2), names))
    if public and behind:
        hashes = np.array([_hash(name) for name in names], np.uint64)
        rank = _mix(hashes[behind][:, None] ^ hashes[public])
        best = np.argsort(rank, axis=1)[:, :degree]
        link([(a, public[j]) for a, row in zip(behind, best.tolist(), strict=True) for j in row])
    return linked


def _paired(order: Sequence[int], names: Sequence[str]) -> list[tuple[int, int]]:
    """Every host of the ring with one partner, but one if they are odd in number.

    Neighbours pair in the order of their hash, so that a host that joins disturbs only those beside it;
    who is left over forms a smaller ring and pairs again.
    """
    pairs: list[tuple[int, int]] = []
    while len(order) > 1:
        free = set(order)
        for a, b in sorted(pairwise(order), key=lambda pair: _hash(f"{names[pair[0]]} {names[pair[1]]}")):
            if a in free and b in free:
                free -= {a, b}
                pairs.append((a, b))
        order = [i for i in order if i in free]
    return pairs


def _hops(
    hosts: Sequence[Host], linked: Matrix, relays: NDArray[np.bool_], rank: NDArray[np.int64]
) -> NDArray[np.int32]:
    """The first step of the shortest path between every two hosts, over relays alone.

    A linked pair is one step apart and no path is shorter. The others meet through the relays: from a to
    the last relay by the shortest path, and from that one step to b.
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
        through = reach[far, g][:, None] + step[far, g]
        better = through < best
        best = np.where(better, through, best)
        chosen = np.where(better, via[far, g][:, None], chosen)
    block = np.ix_(far, far)
    hop[block] = np.where(hop[block] == NOWHERE, chosen, hop[block])
    return hop


def _among_relays(
    hosts: Sequence[Host], linked: Matrix, middle: NDArray[np.intp], rank: NDArray[np.int64]
) -> tuple[Weights, Weights, NDArray[np.int32]]:
    """[host, relay]: the cost of a step; [relay, relay]: length and first step of the shortest path."""
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
        # on the shortest path from u, v is next exactly where its own remaining way is that step shorter
        first[u, np.isfinite(length[u]) & (length[u] == length[v] + weights[u, v])] = middle[v]
    np.fill_diagonal(first, middle)
    return step, length, first


def _to_relays(
    step: Weights, among: Weights, first: NDArray[np.int32], middle: NDArray[np.intp]
) -> tuple[Weights, NDArray[np.int32]]:
    """[host, relay]: the length of the shortest path there, and its first step."""
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
) -> Weights:
    """[host, relay]: what the step between them costs; 0 to itself, infinite without a link.

    Fewest steps come first, then the lowest sum of the relays' ranks, then a hash of the pairs: each is
    scaled so that ``longest`` steps of all that follows it stay below one unit of it.
    """
    steps_bits = (longest + 1).bit_length()
    whole = _EXACT_BITS - 1 - steps_bits
    one_rank = whole - steps_bits - 2 - int(rank.max()).bit_length()
    hashes = np.array([_hash(host.name) for host in hosts], np.uint64)
    ties = _mix(hashes[:, None] ^ hashes[middle]) >> np.uint64(64 - (one_rank - steps_bits))
    ranks = (rank[:, None] + rank[middle]).astype(np.float64)
    cost = 2.0**whole + 2.0**one_rank * ranks + ties
    step = np.where(linked[:, middle], cost, np.inf)
    step[middle, np.arange(len(middle))] = 0
    return step


def _ranks(hosts: Sequence[Host], by_site: bool) -> NDArray[np.int64]:
    """The place of each gateway among those of its site, or of the cluster, in the order of the names."""
    seen: Counter[str | None] = Counter()
    ranks = np.zeros(len(hosts), np.int64)
    for i, host in enumerate(hosts):
        if host.gateway:
            site = host.site if by_site else None
            ranks[i] = seen[site]
            seen[site] += 1
    return ranks


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread 64 bits evenly: the finalizer of splitmix64 (Steele, Lea, Flood 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _check_gateways(cluster: Cluster, dials: Matrix) -> list[Fault]:
    faults = [
        Fault(host.name, "wg_gateway", True, "nobody can dial this gateway; give it a wg_endpoint")
        for i, host in enumerate(cluster.hosts)
        if host.gateway and host.endpoint is None and not dials[:, i].any()
    ]
    if cluster.topology == "sites":
        sites: dict[str | None, list[Host]] = {}
        for host in cluster.hosts:
            sites.setdefault(host.site, []).append(host)
        if len(sites) > 1:
            faults += [
                Fault(
                    "",
                    "wg_gateway",
                    None,
                    f"site {site} has no gateway; set it on one of {some(h.name for h in members)}",
                )
                for site, members in sites.items()
                if not any(host.gateway for host in members)
            ]
    return faults


def _check_pieces(cluster: Cluster, topology: Topology) -> list[Fault]:
    """Hosts without a way to each other: pieces without any link, or pairs that lack a relay."""
    names = [host.name for host in cluster.hosts]
    pieces = _pieces(topology.linked)
    if len(pieces) > 1:
        listed = "; ".join(f"({i}) {some(names[j] for j in piece)}" for i, piece in enumerate(pieces, 1))
        return [
            Fault(
                "",
                "wg_topology",
                cluster.topology,
                f"the cluster is in {len(pieces)} pieces with no link between them: {listed}",
            )
        ]
    apart = topology.hop == NOWHERE
    return [
        Fault(
            names[i],
            "wg_topology",
            cluster.topology,
            f"no way to {some(names[j] for j in np.flatnonzero(apart[i]))}: neither side can be dialled and"
            " no gateway is linked to both; set wg_gateway on a host that can be dialled",
        )
        for i in np.flatnonzero(apart.any(axis=1))
    ]


def _pieces(linked: Matrix) -> list[list[int]]:
    """The connected parts, the largest first."""
    left = np.ones(len(linked), np.bool_)
    pieces = []
    while left.any():
        piece = np.zeros(len(linked), np.bool_)
        edge = piece.copy()
        edge[left.argmax()] = True
        while edge.any():
            piece |= edge
            edge = linked[edge].any(axis=0) & ~piece
        left &= ~piece
        pieces.append(np.flatnonzero(piece).tolist())
    return sorted(pieces, key=lambda piece: -len(piece))


def some(names: Iterable[str]) -> str:
    """The first ten names, and how many more there are."""
    listed = list(names)
    return ", ".join(listed[:10]) + (f" and {len(listed) - 10} more" if len(listed) > 10 else "")
