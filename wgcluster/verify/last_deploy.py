"""What an earlier deploy put on a host, compared with the registry and the plan of this one.

Our config file there has the former peers, and the networks that the host reached through each.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import collapse_addresses, ip_network
from typing import NamedTuple

from wgcluster.host import paths
from wgcluster.host.observed import Observed
from wgcluster.inventory.cluster import Client
from wgcluster.inventory.faults import Fault, fault
from wgcluster.plan.plan import HostPlan, Plan
from wgcluster.prefixes import Network
from wgcluster.text import abbreviated
from wgcluster.wireguard import config as wgconf

# As wgconf.render writes it, with the comments of any version. Peers that were added by hand lack our first.
_PEER = re.compile(
    r"^# (host|client) ([\w.-]+)\n(?:# .*\n)*PublicKey = (\S+)\n(PresharedKey = .*\n)?AllowedIPs = (.*)$",
    re.MULTILINE | re.ASCII,
)


@dataclass(frozen=True, slots=True)
class EarlierPeer:
    """A peer in the host's config file."""

    name: str
    public_key: str
    is_client: bool
    shared: bool  # it has a preshared key
    allowed_ips: str


@dataclass(frozen=True)
class LastDeploy:
    """A host before this run."""

    part: HostPlan  # its plan now
    text: str  # its config file, without secrets; "": it has none, or not ours
    key: str  # its public key; "": unknown
    same: bool  # its config file does not change

    @cached_property
    def peers(self) -> list[EarlierPeer]:
        return [
            EarlierPeer(name, key, kind == "client", bool(shared), allowed)
            for kind, name, key, shared, allowed in _PEER.findall(self.text)
        ]


class Move(NamedTuple):
    """A network that was reached through one host and now through another."""

    old: str
    new: str
    network: Network


def last_deploy(part: HostPlan, observed: Observed, shown: wgconf.RenderCache) -> LastDeploy:
    """What an earlier deploy put on a host.

    Args:
        shown: the cache of ``wgconf.render``.
    """
    text = observed.file(paths.config(part.interface)).text
    if not text.startswith(wgconf.MARK):
        return LastDeploy(part, "", "", same=False)
    key = observed.link.public_key if observed.link is not None else ""
    # Comparing texts is much faster than parsing the peers of many hosts.
    return LastDeploy(part, text, key or observed.config_key, text == wgconf.render(part, cache=shown))


def unknown_keys(one: LastDeploy, known: Collection[str], made: set[str], registry: str) -> Fault | None:
    """A fault if a host has keys that the registry does not know.

    The host was then deployed with another registry, or the registry is an older copy.

    Args:
        known: present and former public keys of the registry.
        made: names of hosts and links whose keys are new in this run.
        registry: the name of its file.
    """
    if not one.text:
        return None
    found = ["its own"] if one.key not in known and (one.key or one.part.name in made) else []
    # The links of a host with a new key are new, too.
    links = {
        peer.public_key
        for peer in one.part.peers
        if peer.preshared_key in made and not made & {one.part.name, peer.name}
    }
    for peer in one.peers if links or not one.same else ():
        if peer.public_key not in known:
            found.append(f"that of {peer.name}")
        elif peer.shared and peer.public_key in links:
            found.append(f"the preshared one with {peer.name}")
    if not found:
        return None
    keys = abbreviated(found)
    return fault("keystore.unknown-keys", one.part.name, key="", registry=registry, keys=keys)


def restore(registry: str) -> str:
    """The remedy if hosts have keys that the registry does not know."""
    return (
        f"{registry} is not the one that they were deployed with, or an older copy of it: restore it, from"
        " git or a backup. If it is lost for good: --data new_keys=True; what it does not know is replaced or"
        " let go, and road warriors need their configs anew"
    )


def moved_clients(clients: Iterable[Client], plan: Plan) -> set[tuple[str, str, str]]:
    """Road warriors whose gateway changes: (name, old gateway, new gateway)."""
    now = {client.name: client.gateway.name for client in plan.clients}
    return {
        (client.name, client.gateway, now[client.name])
        for client in clients
        if client.gateway not in (None, now[client.name])
    }


def moved_from(one: LastDeploy, plan: Plan) -> set[tuple[str, str, str]]:
    """The same, for road warriors in the config of a host."""
    now = {client.public_key: client.gateway.name for client in plan.clients}
    return {
        (peer.name, one.part.name, now[peer.public_key])
        for peer in one.peers
        if peer.is_client and now.get(peer.public_key, one.part.name) != one.part.name
    }


def moved_ways(one: LastDeploy, shown: wgconf.RenderCache) -> Iterator[Move]:
    """The networks that a host reaches through another host than before."""
    was = {peer.name: peer.allowed_ips for peer in one.peers if not peer.is_client}
    will = {peer.name: shown.networks(peer.allowed_ips) for peer in one.part.peers if not peer.is_client}
    # Peers do not share networks, so unchanged ones have none that moves.
    before, after = _carriers(was.items() - will.items()), _carriers(will.items() - was.items())
    for network in sorted({*before, *after}, key=lambda net: (net.version, net)):
        old, new = _carrier(network, before), _carrier(network, after)
        if old and new and old != new:
            yield Move(old, new, network)


def _carriers(peers: Iterable[tuple[str, str]]) -> dict[Network, str]:
    return {network: name for name, allowed in peers for network in _networks(allowed)}


def _networks(text: str) -> Iterator[Network]:
    """The networks of an AllowedIPs line; invalid words, edited by hand, are skipped."""
    for word in text.split(","):
        try:
            yield ip_network(word.strip(), strict=False)
        except ValueError:
            continue


def _carrier(network: Network, by: Mapping[Network, str]) -> str | None:
    """The peer whose longest prefix covers the whole network; None: no peer."""
    for length in range(network.prefixlen, -1, -1):
        if (name := by.get(network.supernet(new_prefix=length))) is not None:
            return name
    return None


def announced(
    plan: Plan, found: Iterable[LastDeploy], clients: Collection[tuple[str, str, str]]
) -> Iterator[str]:
    """A sentence for each road warrior and each path that moves to another host.

    Args:
        found: each host of the run as it was.
        clients: from ``moved_clients``.
    """
    moved = set(clients)
    shown = wgconf.RenderCache()
    ways: dict[tuple[str, str], tuple[dict[str, None], set[Network]]] = {}  # hosts and networks
    for one in found:
        if one.same:
            continue
        moved |= moved_from(one, plan)
        for move in moved_ways(one, shown):
            hosts, networks = ways.setdefault((move.old, move.new), ({}, set()))
            hosts[one.part.name] = None
            networks.add(move.network)
    for name, old, new in sorted(moved):
        yield (
            f"{name} comes in through {new}, no longer through {old}: it is cut off until it has its config"
            f" anew (python -m wgcluster client show {name})"
        )
    for (old, new), (hosts, networks) in sorted(ways.items()):
        whole = (
            str(network)
            for family in (4, 6)
            for network in collapse_addresses(n for n in networks if n.version == family)  # type: ignore[type-var]
        )
        way = f"the way of {abbreviated(hosts)} to {abbreviated(whole)}"
        yield f"{way} leads through {new}, no longer through {old}"
