"""Which WireGuard sessions a run renews, and which of two hosts initiates the handshake.

An interface that comes up has lost its sessions, but its peers have not: they continue to use the old one,
for 15 s if they wait for an answer and for two minutes if not (WireGuard whitepaper, 6.2). Over a new link
the first initiation may arrive before the other side knows the peer, and two initiations at the same moment
cancel each other: each is repeated after 5 s (Rekey-Timeout, 6.1), on every hop of a path.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from wgcluster.host.observed import Link
from wgcluster.plan.plan import HostPlan, Peer, Plan


@dataclass
class ChangedLinks:
    """Links that a run has changed, by names of hosts."""

    started: set[str] = field(default_factory=set)  # hosts whose interface came up
    peers: dict[str, frozenset[str]] = field(default_factory=dict)  # peers that were set on a host


def dialled(plan: Plan) -> dict[str, frozenset[str]]:
    """The names of the peers that each host can dial."""
    return {
        host.name: frozenset(peer.name for peer in host.peers if peer.endpoint is not None)
        for host in plan.hosts
    }


def handshake_initiators(
    host: str, dials: Mapping[str, frozenset[str]], touched: ChangedLinks, active: Collection[str]
) -> Iterator[str]:
    """The names of the peers to which ``host`` initiates the handshake, sorted.

    Of two hosts that can dial each other it is the one in the run, if only one is; else one whose interface
    was started, which has no session to lose; else the first by name.

    Args:
        dials: as ``dialled`` returns it.
        active: names of the hosts in the run that have not failed.
    """
    for peer in sorted(dials[host]):
        new = peer in touched.peers.get(host, ()) or host in touched.peers.get(peer, ())
        if not new and not {host, peer} & touched.started:
            continue
        alone = host not in dials[peer] or peer not in active
        if alone or (host not in touched.started, host) < (peer not in touched.started, peer):
            yield peer


def without_session(
    host: HostPlan, names: Collection[str], link: Link | None, touched: ChangedLinks
) -> list[Peer]:
    """The peers among ``names`` without a session that both sides know.

    Args:
        link: the live interface of the host.
    """
    heard = {key for key, live in link.peers.items() if live.handshake} if link is not None else set()
    return [
        peer
        for peer in host.peers
        if peer.name in names and ({host.name, peer.name} & touched.started or peer.public_key not in heard)
    ]
