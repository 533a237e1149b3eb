"""Which hosts can be linked: where each is dialled, and the links of a partial mesh."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from wgcluster.inventory.cluster import Host
from wgcluster.inventory.faults import Fault, fault

Matrix = NDArray[np.bool_]


def dials_of(hosts: Sequence[Host]) -> Matrix:
    """[a, b]: a knows an endpoint of b."""
    sites = site_numbers(hosts)
    anyone = np.array([host.endpoint is not None for host in hosts])
    inside = np.array([host.site_endpoint is not None and host.site is not None for host in hosts])
    dials: Matrix = anyone | (inside & (sites[:, None] == sites))
    np.fill_diagonal(dials, False)
    return dials


def site_numbers(hosts: Sequence[Host]) -> NDArray[np.int32]:
    """[host]: a number for its site; hosts without a site have one each."""
    number: dict[str, int] = {}
    return np.array(
        [
            number.setdefault(host.site, len(number)) if host.site is not None else -1 - i
            for i, host in enumerate(hosts)
        ],
        np.int32,
    )


def declared_links(hosts: Sequence[Host], linkable: Matrix, faults: list[Fault]) -> Matrix:
    """The links of ``wg_links``. One that neither side can open is added to ``faults`` and kept."""
    index = {host.name: i for i, host in enumerate(hosts)}
    linked: Matrix = np.zeros_like(linkable)
    for i, host in enumerate(hosts):
        for name in host.links:
            j = index[name]
            if not linkable[i, j]:
                faults.append(fault("wg_links.not-dialable", host.name, name))
            linked[i, j] = linked[j, i] = True
    return linked


def chosen_links(hosts: Sequence[Host], dials: Matrix, degree: int) -> Matrix:
    """About ``degree`` links per host, of which few change when a host joins or leaves.

    Hosts that all others can dial form rings, each ordered by a hash of the name: two links per host and
    ring. One ring stays connected whichever host is lost. An odd degree adds one link per host by pairing
    neighbours of one more ring. A host that not all others can dial links to the ``degree`` dialable ones
    that rank highest for the pair (rendezvous hashing). Two rings may share a link; a host then has one less.

    A dialable host that joins removes at most one link per ring, and one of each host behind NAT that links
    to it, on average ``degree`` / (dialable hosts) of them. With an odd degree some pairs change: four on
    average and at most seven in trials with 2,000 hosts. A host behind NAT that joins removes none. With at
    most ``degree`` + 1 dialable hosts all of them are linked to each other.

    Args:
        dials: [a, b], as ``dials_of`` returns it.
    """
    names = [host.name for host in hosts]
    linked: Matrix = np.zeros((len(names), len(names)), np.bool_)
    dialled_by = dials.sum(axis=0)
    public = np.flatnonzero(dialled_by == len(hosts) - 1).tolist()  # by all others
    behind = np.flatnonzero(dialled_by < len(hosts) - 1).tolist()

    def link(pairs: Sequence[tuple[int, int]]) -> None:
        for a, b in pairs:
            linked[a, b] = linked[b, a] = a != b

    def ring(number: int) -> list[int]:
        return sorted(public, key=lambda i: name_hash(f"{number} {names[i]}"))

    if len(public) <= degree + 1:
        link([(a, b) for a in public for b in public])
    else:
        for number in range(degree // 2):
            order = ring(number)
            link(list(pairwise([*order, order[0]])))
        if degree % 2:
            link(_paired(ring(degree // 2), names))
    if public and behind:
        hashes = np.array([name_hash(name) for name in names], np.uint64)
        rank = mix(hashes[behind][:, None] ^ hashes[public])
        best = np.argsort(rank, axis=1)[:, :degree]
        link([(a, public[j]) for a, row in zip(behind, best.tolist(), strict=True) for j in row])
    return linked


def _paired(order: Sequence[int], names: Sequence[str]) -> list[tuple[int, int]]:
    """One partner for every host of a ring, except for one if their number is odd.

    Neighbours are paired in the order of a hash, so that a host that joins affects only those near it; the
    rest forms a smaller ring and is paired again.
    """
    pairs: list[tuple[int, int]] = []
    while len(order) > 1:
        free = set(order)
        for a, b in sorted(pairwise(order), key=lambda pair: name_hash(f"{names[pair[0]]} {names[pair[1]]}")):
            if a in free and b in free:
                free -= {a, b}
                pairs.append((a, b))
        order = [i for i in order if i in free]
    return pairs


def name_hash(text: str) -> int:
    """64 bits of BLAKE2b."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread 64 bits evenly: the finalizer of splitmix64 (Steele, Lea, Flood 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
