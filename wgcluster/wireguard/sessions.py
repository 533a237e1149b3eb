"""Which sessions of WireGuard a run makes anew, and which of two hosts begins one.

An interface that comes up has forgotten its sessions, but its peers have not: they go on sending into the
old one, for 15 s if they wait for an answer and for two minutes if they do not (WireGuard whitepaper, 6.2).
Over a new link the first hello may have come before the other side knew of it, and two that say hello at the
same moment answer neither: each is said again after 5 s (Rekey-Timeout, 6.1), on every hop of a way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from wgcluster.host.observed import Link
from wgcluster.plan.plan import HostPlan, Peer, Plan


@dataclass
class ChangedLinks:
    """Links that a run has made or cut; all by names of hosts."""

    started: set[str] = field(default_factory=set)  # their interface came up
    peers: dict[str, frozenset[str]] = field(default_factory=dict)  # those that were set, by where


def dialled(plan: Plan) -> dict[str, frozenset[str]]:
    """The names of the peers that each host can dial."""
    return {
        host.name: frozenset(peer.name for peer in host.peers if peer.endpoint is not None)
        for host in plan.hosts
    }


def handshake_initiators(
    host: str, dials: Mapping[str, frozenset[str]], touched: ChangedLinks, active: Collection[str]
) -> Iterator[str]:
    """The names of the peers with which ``host`` begins, sorted.

    Of two that can dial each other it is one that was started, which has no session to lose, or the first by
    name; and it is the one that takes part in the run, if the other does not.

    Args:
        dials: as ``dialled`` gives it.
        active: names of the hosts that take part in the run and have not failed.
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
    """Those of the peers called ``names`` that have no session now which both sides know of.

    Args:
        link: the host's interface as it is now.
    """
    heard = {key for key, live in link.peers.items() if live.handshake} if link is not None else set()
    return [
        peer
        for peer in host.peers
        if peer.name in names and ({host.name, peer.name} & touched.started or peer.public_key not in heard)
    ]
