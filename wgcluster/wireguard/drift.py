"""Where a host's interface differs from its plan: what a sync can mend and what takes a restart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from wgcluster.host.kernel_routes import TYPES
from wgcluster.host.observed import Link, LivePeer, Observed
from wgcluster.plan.plan import HostPlan, Peer
from wgcluster.prefixes import Network
from wgcluster.wireguard.config import NO_REDIRECTS, RULES_FIRST, WgConfError, parse

# A session ends 180 s after its handshake (WireGuard whitepaper, 6.1, Reject-After-Time).
SESSION = 180  # seconds


@dataclass(frozen=True, slots=True)
class Routes:
    """Routes that wg-quick(8) would have at its next start and those it would not."""

    missing: tuple[Network, ...]
    surplus: tuple[str, ...]


def restart_reasons(host: HostPlan, link: Link) -> Iterator[str]:
    """What only taking the interface down and up can change."""
    if not link.up:
        yield "it is down"
    wanted = frozenset(map(str, host.addresses))
    there = frozenset(a for a in link.addresses if not a.startswith("fe80:"))
    if wanted != there:
        yield f"its addresses are {_listed(there)}, planned are {_listed(wanted)}"
    if host.mtu != link.mtu:
        yield f"its MTU is {link.mtu}, planned is {host.mtu}"


def hooks(text: str) -> list[str]:
    """Keys of an older config file that run commands or change more than peers; none are ours."""
    try:
        other = parse(text).other
    except WgConfError:
        return []
    ours = {key: [value] for key, _, value in (line.partition(" = ") for line in (RULES_FIRST, NO_REDIRECTS))}
    return sorted(key for key, values in other.items() if ours.get(key) != values)


def peer_changes(
    host: HostPlan, link: Link, clock: int, preshared_keys: Mapping[str, str], names: Mapping[str, str]
) -> Iterator[str]:
    """Each difference between the live peers and the plan, in words; nothing if there is none.

    Args:
        clock: the host's time, seconds since the epoch.
        preshared_keys: base64 by the name of the link.
        names: of peers by public key, for those that are to go.
    """
    if link.public_key != host.public_key:
        yield "the interface has another private key"
    if link.port != host.port:
        yield f"it listens on port {link.port}, planned is {host.port}"
    planned = {peer.public_key: peer for peer in host.peers}
    for key in sorted(link.peers.keys() - planned.keys()):
        yield f"- peer {names.get(key, key)}"
    for peer in host.peers:
        live = link.peers.get(peer.public_key)
        if live is None:
            yield f"+ peer {peer.name} ({', '.join(map(str, peer.allowed_ips))})"
        else:
            yield from (f"~ peer {peer.name}: {change}" for change in _differences(peer, live, clock))
    digest = preshared_digest(host.peers, preshared_keys)
    if planned.keys() == link.peers.keys() and link.preshared_digest != digest:
        yield "~ preshared keys differ"


def peers_to_set(
    host: HostPlan, link: Link, clock: int, preshared_keys: Mapping[str, str]
) -> tuple[list[str], list[str]] | None:
    """Public keys of the peers that differ and of those that are to go; all others can be left alone.

    None where the interface's own key or port differs: then all of it is to be set.

    Args:
        clock: the host's time, seconds since the epoch.
        preshared_keys: base64 by the name of the link.
    """
    if (link.public_key, link.port) != (host.public_key, host.port):
        return None
    gone = sorted(link.peers.keys() - {peer.public_key for peer in host.peers})
    there = [peer for peer in host.peers if peer.public_key in link.peers]
    if any(link.peers[key].preshared_key for key in gone):
        same_keys = False  # the digest counts a key that nobody knows any more
    else:
        same_keys = link.preshared_digest == preshared_digest(there, preshared_keys)
    differ = [
        peer.public_key
        for peer in host.peers
        if (live := link.peers.get(peer.public_key)) is None
        or not (same_keys or peer.preshared_key is None)
        or any(_differences(peer, live, clock))
    ]
    return differ, gone


def left_behind(host: HostPlan, link: Link) -> tuple[list[str], list[str]]:
    """Public keys of the peers whose preshared key is to go, and of those whose keepalive is.

    "wg" before 2025-05 leaves both at a peer whose section no longer names them.
    """
    there = [(peer, link.peers[peer.public_key]) for peer in host.peers if peer.public_key in link.peers]
    unshared = [peer.public_key for peer, live in there if live.preshared_key and peer.preshared_key is None]
    unkept = [peer.public_key for peer, live in there if live.keepalive and peer.keepalive is None]
    return unshared, unkept


def _differences(peer: Peer, live: LivePeer, clock: int) -> Iterator[str]:
    wanted = frozenset(map(str, peer.allowed_ips))
    if wanted != live.allowed_ips:
        yield f"AllowedIPs are {_listed(live.allowed_ips)}, planned are {_listed(wanted)}"
    if peer.keepalive != live.keepalive:
        yield f"keepalive is {live.keepalive or 'off'}, planned is {peer.keepalive or 'off'}"
    if (peer.preshared_key is not None) != live.preshared_key:
        yield "has a preshared key too many" if live.preshared_key else "lacks its preshared key"
    # A peer that answers from elsewhere has roamed, which is its right as long as it is heard of.
    silent = clock - live.handshake > SESSION
    if peer.endpoint is not None and peer.endpoint != live.endpoint and silent and _is_address(peer.endpoint):
        yield f"is dialled at {live.endpoint or 'no endpoint'}, planned is {peer.endpoint}"


def _is_address(endpoint: str) -> bool:
    """A name is resolved on the host; nothing here can tell whether the live address is its own."""
    return endpoint.startswith("[") or endpoint.rpartition(":")[0].replace(".", "").isdigit()


def endpoint_changes(old: str, new: str) -> list[str]:
    """Public keys of peers whose Endpoint differs between two config texts, for a sync that must follow."""
    try:
        before = {peer.public_key: peer.endpoint for peer in parse(old).peers}
    except WgConfError:
        before = {}
    return [p.public_key for p in parse(new).peers if p.endpoint != before.get(p.public_key, p.endpoint)]


def preshared_digest(peers: Sequence[Peer], preshared_keys: Mapping[str, str]) -> str:
    """``Link.preshared_digest`` where all is as planned.

    Args:
        preshared_keys: base64 by the name of the link.
    """
    lines = sorted(
        f"{peer.public_key}\t{preshared_keys[peer.preshared_key]}\n" for peer in peers if peer.preshared_key
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest() if lines else ""


def routed(host: HostPlan) -> list[Network]:
    """What wg-quick routes to the interface: all AllowedIPs that no network of an address covers, sorted."""
    own = [address.network for address in host.addresses]
    wanted = {
        network
        for peer in host.peers
        for network in peer.allowed_ips
        if not any(network.network_address in o and network.prefixlen >= o.prefixlen for o in own)
    }
    return sorted(wanted, key=lambda n: (n.version, n))


def routes(host: HostPlan, lines: Sequence[str]) -> Routes:
    """Compare with ``ip route show dev``; what is not as wg-quick adds it is another's, and never surplus."""
    wanted = routed(host)
    there: dict[Network, str] = {}
    others: set[Network] = set()
    for line in lines:
        destination, *words = line.split()
        if "proto kernel" in line or destination in ("default", *TYPES):
            continue
        network = ip_network(destination, strict=False)
        if _as_wg_quick_adds(words, network.version):
            there[network] = destination
        else:
            others.add(network)
    missing = [network for network in wanted if network not in there and network not in others]
    return Routes(tuple(missing), tuple(there[n] for n in there if n not in wanted))


def _as_wg_quick_adds(words: Sequence[str], version: int) -> bool:
    """Without a gateway, a protocol or a metric of its own; IPv6 shows the usual metric."""
    metric = words[words.index("metric") + 1] if "metric" in words else None
    return not {"proto", "via"} & set(words) and metric == (None if version == 4 else "1024")


def in_place(host: HostPlan, observed: Observed) -> bool:
    """Is the interface up with the addresses and the MTU of the plan?"""
    return observed.link is not None and not list(restart_reasons(host, observed.link))


def _listed(words: frozenset[str]) -> str:
    return ", ".join(sorted(words)) or "none"
