"""Peers that are dialled by name: which, and whether the host can resolve their names."""

from __future__ import annotations

from collections.abc import Iterator

from wgcluster.host.observed import Observed
from wgcluster.plan.plan import HostPlan
from wgcluster.wireguard.config import is_name


def dialled_by_name(host: HostPlan) -> dict[str, list[str]]:
    """The names of the peers that the host dials, by the DNS name of their endpoint."""
    found: dict[str, list[str]] = {}
    for peer in host.peers:
        if peer.endpoint is not None and is_name(peer.endpoint):
            found.setdefault(peer.endpoint.rpartition(":")[0], []).append(peer.name)
    return found


def unresolved(host: HostPlan, observed: Observed) -> Iterator[str]:
    """Each name that the host could not resolve, in words."""
    for name, peers in dialled_by_name(host).items():
        if not observed.names.get(name, True):
            yield f"{name} does not resolve; {', '.join(peers)} cannot be dialled until it does"
