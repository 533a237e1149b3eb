"""Which hosts are linked, and by which neighbour each host reaches every other.

A link is a pair of hosts of which at least one can be dialled. WireGuard drops a packet whose source is not
in the AllowedIPs of the peer that it came from (wg(8)), so a path must be the same in both directions:
integer weights make every shortest path unique, and therefore symmetric.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wgcluster.inventory.cluster import Cluster
from wgcluster.inventory.faults import Fault, fault
from wgcluster.plan.links import Matrix, chosen_links, declared_links, dials_of, site_numbers
from wgcluster.plan.routes import NOWHERE, first_hops, gateway_ranks
from wgcluster.text import abbreviated


@dataclass(frozen=True, slots=True)
class Topology:
    """The links and routes of a cluster, by indices of ``cluster.hosts``."""

    dials: Matrix  # [a, b]: a knows where to dial b
    linked: Matrix  # symmetric, False on the diagonal
    relays: NDArray[np.bool_]  # may forward packets between others
    hop: NDArray[np.int32]  # [a, b]: the neighbour by which a reaches b; b itself if linked, or NOWHERE

    def carriers(self) -> NDArray[np.bool_]:
        """[host]: forwards packets between two others."""
        carries = np.zeros(len(self.hop), np.bool_)
        far = ~self.linked & (self.hop != NOWHERE)
        np.fill_diagonal(far, False)
        carries[self.hop[far]] = True
        return carries


def make_topology(cluster: Cluster) -> tuple[Topology, list[Fault]]:
    """The links and routes of a cluster, and their faults.

    Links and routes are made as if the faults were repaired, so that one fault does not cause others: a site
    without a gateway would also be disconnected.

    Paths depend on links and names alone. A host that joins changes a path between two others only if a link
    of it is gone, if a new link gives one that is no longer, or if the new host is a gateway that precedes
    the one on the path by name (in ``sites``: of the same site). ``chosen_links`` says how many links change.
    """
    hosts = cluster.hosts
    dials = dials_of(hosts)
    gateways = np.array([host.gateway for host in hosts])
    faults = _check_gateways(cluster, dials, gateways)
    linkable = dials | dials.T
    relays = gateways
    match cluster.topology:
        case "mesh":
            linked = linkable
        case "sites":
            sites = site_numbers(hosts)
            linked = linkable & ((sites[:, None] == sites) | (gateways[:, None] & gateways))
        case "partial" if cluster.degree is None:
            relays = np.ones(len(hosts), np.bool_)
            linked = declared_links(hosts, linkable, faults)
        case "partial":
            relays = np.ones(len(hosts), np.bool_)
            linked = chosen_links(hosts, dials, cluster.degree)
    rank = np.zeros(len(hosts), np.int64)
    if cluster.topology != "partial":
        rank = gateway_ranks(hosts, by_site=cluster.topology == "sites")
    topology = Topology(dials, linked, relays, first_hops(hosts, linked, relays, rank))
    return topology, faults + _check_pieces(cluster, topology)


def _check_gateways(cluster: Cluster, dials: Matrix, gateways: NDArray[np.bool_]) -> list[Fault]:
    """Faults of gateways, which are repaired in ``dials`` and ``gateways``."""
    faults = []
    for i, host in enumerate(cluster.hosts):
        if host.gateway and host.endpoint is None and not dials[:, i].any():
            faults.append(fault("wg_gateway.not-dialable", host.name, True))
            dials[:, i] = True
            dials[i, i] = False
    sites: dict[str | None, list[int]] = {}
    for i, host in enumerate(cluster.hosts):
        sites.setdefault(host.site, []).append(i)
    if cluster.topology != "sites" or len(sites) == 1:
        return faults
    for site, members in sites.items():
        if not gateways[members].any():
            names = abbreviated(cluster.hosts[i].name for i in members)
            faults.append(fault("wg_gateway.none-in-site", site=site, names=names))
            gateways[members] = True
    return faults


def _check_pieces(cluster: Cluster, topology: Topology) -> list[Fault]:
    """Faults for hosts without a path to each other: parts without links, or pairs without a relay."""
    names = [host.name for host in cluster.hosts]
    pieces = _pieces(topology.linked)
    if len(pieces) > 1:
        listed = "; ".join(
            f"({i}) {abbreviated(names[j] for j in piece)}" for i, piece in enumerate(pieces, 1)
        )
        return [fault("wg_topology.pieces", value=cluster.topology, count=len(pieces), pieces=listed)]
    apart = topology.hop == NOWHERE
    return [
        fault("wg_topology.no-path", names[i], cluster.topology, names=cut)
        for i in np.flatnonzero(apart.any(axis=1))
        for cut in [abbreviated(names[j] for j in np.flatnonzero(apart[i]))]
    ]


def _pieces(linked: Matrix) -> list[list[int]]:
    """The connected components, the largest first."""
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
