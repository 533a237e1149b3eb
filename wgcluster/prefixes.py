"""Disjoint networks, and the fewest prefixes that cover exactly a selection of them."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_network,
    summarize_address_range,
)
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface  # an address with the length of its network
Network = IPv4Network | IPv6Network
Family = Literal[4, 6]
FAMILIES: tuple[Family, Family] = (4, 6)

ANYWHERE: tuple[Network, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))


def order(network: Network) -> tuple[int, int, int]:
    """Sort key for networks: by family, address, length."""
    return network.version, int(network.network_address), network.prefixlen


def is_within(one: Network, other: Network) -> bool:
    """Is ``one`` a part of ``other``, or the same?"""
    return one.version == other.version and one.subnet_of(other)  # type: ignore[arg-type]


class Prefixes:
    """Networks that do not overlap, sorted once, to cover many selections of them quickly.

    ``networks`` is the sorted tuple; a selection is an ascending array of indices in it.
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
        self._array = np.empty(len(self.networks), object)
        self._array[:] = self.networks
        self._covers: dict[tuple[int, int], tuple[Network, ...]] = {}

    def cover(self, chosen: NDArray[np.intp]) -> tuple[Network, ...]:
        """The fewest prefixes that cover exactly the chosen networks, sorted by ``order``."""
        if not len(chosen):
            return ()
        apart = np.flatnonzero((np.diff(chosen) != 1) | ~self._touches[chosen[:-1]])
        firsts = chosen[np.concatenate(([0], apart + 1))]
        lasts = chosen[np.concatenate((apart, [len(chosen) - 1]))]
        networks: list[Network] = self._array[firsts].tolist()  # right for runs of one
        for run in np.flatnonzero(firsts != lasts)[::-1].tolist():
            networks[run : run + 1] = self._run(int(firsts[run]), int(lasts[run]))
        return tuple(networks)

    def _run(self, first: int, last: int) -> tuple[Network, ...]:
        """The cover of adjacent networks; cached, since the same runs recur on every host."""
        if (first, last) not in self._covers:
            # both of one family
            start, end = self.networks[first].network_address, self.networks[last].broadcast_address
            self._covers[first, last] = tuple(summarize_address_range(start, end))
        return self._covers[first, last]
