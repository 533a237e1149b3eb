"""Disjoint networks, and the fewest prefixes that cover a selection of them and not one address more."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network, summarize_address_range
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

Network = IPv4Network | IPv6Network

ANYWHERE: tuple[Network, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))


def order(network: Network) -> tuple[int, int, int]:
    """The order in which networks are listed: family, address, the wider first."""
    return network.version, int(network.network_address), network.prefixlen


class Prefixes:
    """Networks that do not overlap, sorted once, so that many selections of them are covered quickly.

    ``networks`` is the sorted tuple; a selection is an ascending array of its indices.
    """

    def __init__(self, networks: Iterable[Network]) -> None:
        self.networks: tuple[Network, ...] = tuple(sorted(set(networks), key=order))
        self._touches = np.array(
            [
                one.version == two.version and int(one.broadcast_address) + 1 == int(two.network_address)
                for one, two in pairwise(self.networks)
            ],
            np.bool_,
        )
        self._covers = _Covers(self.networks)

    def cover(self, chosen: NDArray[np.intp]) -> tuple[Network, ...]:
        """The fewest prefixes that hold the chosen networks and nothing else, in the order of ``order``."""
        if not len(chosen):
            return ()
        apart = np.flatnonzero((np.diff(chosen) != 1) | ~self._touches[chosen[:-1]])
        firsts = chosen[np.concatenate(([0], apart + 1))].tolist()
        lasts = chosen[np.concatenate((apart, [len(chosen) - 1]))].tolist()
        runs = zip(firsts, lasts, strict=True)
        return tuple(chain.from_iterable(map(self._covers.__getitem__, runs)))


class _Covers(dict[tuple[int, int], tuple[Network, ...]]):
    """(first, last) of neighbours without a gap -> their cover; the same runs recur on every host."""

    def __init__(self, networks: tuple[Network, ...]) -> None:
        super().__init__()
        self._networks = networks

    def __missing__(self, run: tuple[int, int]) -> tuple[Network, ...]:
        start, end = self._networks[run[0]], self._networks[run[1]]
        if run[0] == run[1]:
            self[run] = (start,)
        else:  # of one family: networks of two never touch
            self[run] = tuple(summarize_address_range(start.network_address, end.broadcast_address))
        return self[run]
