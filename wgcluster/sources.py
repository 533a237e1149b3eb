"""Who may send to a host's listen port."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network

import numpy as np
from numpy.typing import NDArray

from wgcluster.links import dialled_at
from wgcluster.model import Endpoint, Host
from wgcluster.prefixes import ANYWHERE, Network, Prefixes, order
from wgcluster.topology import Topology

_NONE = -1


class Sources:
    """The real addresses from which WireGuard's packets reach each host.

    A peer sends from the address of its endpoint, or of its site endpoint inside its site. Where from it
    dials is not known if it has none (NAT), if its endpoint is a name, or if that is of another family than
    the address it dials. A host that such a peer dials must be open to anywhere, as a gateway must for its
    road warriors; ``wg_clients_from`` narrows both.
    """

    def __init__(self, hosts: Sequence[Host], topology: Topology) -> None:
        self._hosts = hosts
        self._topology = topology
        endpoints = [one for host in hosts for one in (host.endpoint, host.site_endpoint)]
        self._prefixes = Prefixes(network for one in endpoints if (network := _exact(one)) is not None)
        self._sites: dict[str | None, tuple[NDArray[np.intp], NDArray[np.bool_], NDArray[np.bool_]]] = {}

    def of(self, index: int, has_clients: bool) -> tuple[Network, ...]:
        """The networks, as few prefixes as hold them, that may send to the host at ``index``."""
        host, linked = self._hosts[index], self._topology.linked[index]
        known, inside, families = self._seen_from(host.site)
        dialling = linked & self._topology.dials[:, index]
        strangers = has_clients
        for here, endpoint in (
            (dialling & inside, dialled_at(host, host.site)),
            (dialling & ~inside, host.endpoint),
        ):
            network = _exact(endpoint)
            sure = families[:, int(network.version == 6)] if network is not None else np.False_
            strangers = strangers or bool((here & ~sure).any())
        if strangers and not host.clients_from:
            return ANYWHERE
        chosen = np.unique(known[linked])
        chosen = chosen[chosen != _NONE]
        if not strangers:
            return self._prefixes.cover(chosen)
        wide = host.clients_from
        rest = [
            i for i in chosen.tolist() if not any(_within(self._prefixes.networks[i], net) for net in wide)
        ]
        cover = self._prefixes.cover(np.array(rest, np.intp))
        return tuple(sorted({*cover, *wide}, key=order))

    def _seen_from(self, site: str | None) -> tuple[NDArray[np.intp], NDArray[np.bool_], NDArray[np.bool_]]:
        """What a host of ``site`` knows of each other host.

        [host, 2]: the indices of its addresses; [host]: stands in the same site; [host, 2]: its addresses
        hold an IPv4, an IPv6 one.
        """
        if site not in self._sites:
            number = {network: i for i, network in enumerate(self._prefixes.networks)}
            count = len(self._hosts)
            known = np.full((count, 2), _NONE, np.intp)
            families = np.zeros((count, 2), np.bool_)
            for i, host in enumerate(self._hosts):
                for place, endpoint in enumerate((host.endpoint, dialled_at(host, site))):
                    network = _exact(endpoint)
                    if network is not None:
                        known[i, place] = number[network]
                        families[i, int(network.version == 6)] = True
            inside = np.array([site is not None and host.site == site for host in self._hosts])
            self._sites[site] = known, inside, families
        return self._sites[site]


def _exact(endpoint: Endpoint | None) -> Network | None:
    """The network that is just the endpoint's address; None where that is a name."""
    if endpoint is None or isinstance(endpoint.host, str):
        return None
    return ip_network(endpoint.host)


def _within(network: Network, wide: Network) -> bool:
    return network.version == wide.version and network.subnet_of(wide)  # type: ignore[arg-type]
