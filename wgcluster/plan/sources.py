"""From which addresses a host's listen port is used."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from itertools import chain

import numpy as np

from wgcluster.inventory.cluster import Endpoint, Host, dialled_at
from wgcluster.plan.links import site_numbers
from wgcluster.plan.topology import Topology
from wgcluster.prefixes import ANYWHERE, Network, Prefixes, order

_NONE = -1
_ASKED = 64  # destinations a host


class Sources:
    """The real addresses from which WireGuard's packets reach each host.

    A peer sends from the address of its endpoint, or of its site endpoint inside its site, and from those of
    ``wg_source``. The first is unknown if
    it has no endpoint (NAT), if the endpoint is a name, or if it is of another family than the address it
    dials. A host that such a peer dials must accept packets from anywhere, as a gateway for its road
    warriors; ``wg_clients_from`` narrows both.
    """

    def __init__(self, hosts: Sequence[Host], topology: Topology) -> None:
        self._hosts = hosts
        self._topology = topology
        public = [_exact(host.endpoint) for host in hosts]
        private = [_exact(dialled_at(host, host.site)) for host in hosts]  # inside its own site
        self._prefixes = Prefixes(one for one in (*public, *private) if one is not None)
        number = {network: i for i, network in enumerate(self._prefixes.networks)}
        # [host, 2]: index of its address outside and inside its site; and their families, 0: none
        pairs = list(zip(public, private, strict=True))
        self._known = np.array([[_NONE if n is None else number[n] for n in pair] for pair in pairs], np.intp)
        self._family = np.array([[0 if n is None else n.version for n in pair] for pair in pairs], np.int8)
        self._numbers = site_numbers(hosts)
        self._has_more = np.array([bool(host.sources) for host in hosts])

    def of(self, index: int, has_clients: bool) -> tuple[Network, ...]:
        """The networks that may send to a host, as the fewest prefixes.

        Args:
            index: of the host.
            has_clients: road warriors dial it.
        """
        host, linked = self._hosts[index], self._topology.linked[index]
        inside = self._numbers == self._numbers[index]
        dialling = linked & self._topology.dials[:, index]
        strangers = has_clients
        for here, endpoint in (
            (dialling & inside, dialled_at(host, host.site)),
            (dialling & ~inside, host.endpoint),
        ):
            network = _exact(endpoint)
            if network is None:
                strangers = strangers or bool(here.any())
            else:
                fits = self._family == network.version
                sure = fits[:, 0] | (fits[:, 1] & inside)
                strangers = strangers or bool((here & ~sure).any())
        if strangers and not host.clients_from:
            return ANYWHERE
        known = np.zeros(len(self._prefixes.networks) + 1, np.bool_)  # one more, for _NONE
        known[self._known[linked, 0]] = True
        known[self._known[linked & inside, 1]] = True
        chosen = np.flatnonzero(known[:_NONE])
        wide = {*host.clients_from} if strangers else set()
        wide.update(*(self._hosts[i].sources for i in np.flatnonzero(linked & self._has_more).tolist()))
        if not wide:
            return self._prefixes.cover(chosen)
        rest = [
            i for i in chosen.tolist() if not any(_within(self._prefixes.networks[i], net) for net in wide)
        ]
        cover = self._prefixes.cover(np.array(rest, np.intp))
        return tuple(sorted({*cover, *wide}, key=order))


def dialled_by(host: Host, hosts: Sequence[Host]) -> tuple[str, ...]:
    """Addresses that a host may dial, to ask its kernel from where it sends there; the first 64 of them.

    None for a host whose own address others do not know: what it sends from is nobody's rule. Those that it
    is linked to by ``wg_links`` come first. A mesh of a thousand would take a million questions.
    """
    if _exact(host.endpoint) is None and _exact(dialled_at(host, host.site)) is None:
        return ()
    linked = (one for one in hosts if one.name in host.links)
    found: dict[str, None] = {}
    for one in chain(linked if host.links else (), hosts):
        end = dialled_at(one, host.site) if one is not host else None
        if end is not None and not isinstance(end.host, str):
            found[str(end.host)] = None
        if len(found) == _ASKED:
            break
    return tuple(found)


def _exact(endpoint: Endpoint | None) -> Network | None:
    """The endpoint's address as a network; None: it is a name, or there is none."""
    if endpoint is None or isinstance(endpoint.host, str):
        return None
    return ip_network(endpoint.host)


def _within(network: Network, wide: Network) -> bool:
    return network.version == wide.version and network.subnet_of(wide)  # type: ignore[arg-type]
