"""Where the live interface differs from the plan: what a sync can change, and what needs a restart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_interface, ip_network

from wgcluster.host.kernel_routes import TYPES
from wgcluster.host.observed import Link, LivePeer, Observed
from wgcluster.inventory.keep import named
from wgcluster.plan.plan import HostPlan, Peer
from wgcluster.prefixes import Network, is_within
from wgcluster.wireguard.config import WgConfError, is_name, is_own_hook, parse

# A session ends 180 s after its handshake (WireGuard whitepaper, 6.1, Reject-After-Time).
SESSION = 180  # seconds


@dataclass(frozen=True, slots=True)
class Routes:
    """Differences from the routes that wg-quick(8) would add."""

    missing: tuple[Network, ...]
    surplus: tuple[str, ...]
    of_others: tuple[str, ...] = ()  # lines of ``ip route show dev``


def restart_reasons(host: HostPlan, link: Link) -> Iterator[str]:
    """Differences that only a restart of the interface can change."""
    if not link.up:
        yield "it is down"
    wanted = frozenset(map(str, host.addresses))
    if not wanted <= link.addresses:
        there = frozenset(a for a in link.addresses if not a.startswith("fe80:"))
        yield f"its addresses are {_listed(there)}, planned are {_listed(wanted)}"
    if host.mtu != link.mtu:
        yield f"its MTU is {link.mtu}, planned is {host.mtu}"


def former_addresses(host: HostPlan, text: str, link: Link | None) -> list[str]:
    """Live addresses that the config file has and the plan has not, where nothing else asks for a restart.

    Others that are live are not ours (``of_others``).
    """
    wanted = frozenset(map(str, host.addresses))
    if link is None or not wanted <= link.addresses:
        return []
    try:
        return sorted(link.addresses & set(parse(text).addresses) - wanted)
    except WgConfError:
        return []


def of_others(host: HostPlan, link: Link) -> tuple[list[str], list[str]]:
    """Addresses and routes on the interface that others put there.

    Returns:
        Those that ``wg_keep`` does not name, and those that it does.
    """
    ours = frozenset(map(str, host.addresses))
    found = [one for one in sorted(link.addresses - ours) if not one.startswith("fe80:")]
    kept = [one for one in found if _is_kept(host, ip_network(ip_interface(one).ip), [])]
    routes_there = routes(host, link.routes).of_others
    kept += [line for line in routes_there if _is_kept(host, _destination(line), line.split())]
    return [one for one in (*found, *routes_there) if one not in kept], kept


def _is_kept(host: HostPlan, network: Network, words: Sequence[str]) -> bool:
    protocol = named(words[words.index("proto") + 1]) if "proto" in words else ""
    return any(
        one == f"proto {protocol}" if isinstance(one, str) else is_within(network, one) for one in host.keep
    )


def _destination(line: str) -> Network:
    """Of a line of ``ip route show``."""
    word = next(word for word in line.split() if word not in TYPES)
    if word == "default":
        word = "::/0" if " pref " in f"{line} " else "0.0.0.0/0"
    return ip_network(word, strict=False)


def foreign_keys(text: str) -> list[str]:
    """Keys of a config file, other than ours, that run commands or change more than peers."""
    try:
        other = parse(text).other
    except WgConfError:
        return []
    return sorted(
        key for key, values in other.items() if not all(is_own_hook(f"{key} = {value}") for value in values)
    )


def live_differences(
    host: HostPlan, link: Link, clock: int, preshared_keys: Mapping[str, str], names: Mapping[str, str]
) -> Iterator[str]:
    """Each difference between the live peers and the plan, in words.

    Args:
        clock: the host's time, seconds since the epoch.
        preshared_keys: base64, by the name of the link.
        names: of peers by public key, for those that are removed.
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
    """Which peers a sync has to change.

    Args:
        clock: the host's time, seconds since the epoch.
        preshared_keys: base64, by the name of the link.

    Returns:
        Public keys of the peers to set, and of those to remove. None: the interface's own key or port
        differs, so everything is to be set.
    """
    if (link.public_key, link.port) != (host.public_key, host.port):
        return None
    gone = sorted(link.peers.keys() - {peer.public_key for peer in host.peers})
    there = [peer for peer in host.peers if peer.public_key in link.peers]
    if any(link.peers[key].preshared_key for key in gone):
        same_keys = False  # the digest includes a key that is unknown here
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


def peers_with_surplus(host: HostPlan, link: Link) -> tuple[list[str], list[str]]:
    """Public keys of peers whose preshared key, and of peers whose keepalive must be removed.

    ``wg syncconf`` before 2025-05 leaves both if the section of the peer no longer has them.
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
    # Another endpoint is fine as long as there are handshakes: the peer has roamed. What a name stands for,
    # the host alone knows.
    silent = clock - live.handshake > SESSION
    if peer.endpoint is not None and peer.endpoint != live.endpoint and silent and not is_name(peer.endpoint):
        yield f"is dialled at {live.endpoint or 'no endpoint'}, planned is {peer.endpoint}"


def endpoint_changes(old: str, new: str) -> list[str]:
    """Public keys of the peers whose Endpoint differs between two config texts."""
    try:
        before = {peer.public_key: peer.endpoint for peer in parse(old).peers}
    except WgConfError:
        before = {}
    return [p.public_key for p in parse(new).peers if p.endpoint != before.get(p.public_key, p.endpoint)]


def preshared_digest(peers: Sequence[Peer], preshared_keys: Mapping[str, str]) -> str:
    """The planned ``Link.preshared_digest``.

    Args:
        preshared_keys: base64, by the name of the link.
    """
    lines = sorted(
        f"{peer.public_key}\t{preshared_keys[peer.preshared_key]}\n" for peer in peers if peer.preshared_key
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest() if lines else ""


def routed(host: HostPlan) -> list[Network]:
    """The routes that wg-quick adds, sorted: AllowedIPs outside the networks of the addresses."""
    own = [address.network for address in host.addresses]
    wanted = {
        network
        for peer in host.peers
        for network in peer.allowed_ips
        if not any(network.network_address in o and network.prefixlen >= o.prefixlen for o in own)
    }
    return sorted(wanted, key=lambda n: (n.version, n))


def routes(host: HostPlan, lines: Sequence[str]) -> Routes:
    """Compare with the lines of ``ip route show dev``; routes not as wg-quick adds them are of others."""
    wanted = routed(host)
    there: dict[Network, str] = {}
    others: dict[str, Network] = {}
    for line in lines:
        destination, *words = line.split()
        if "proto kernel" in line:
            continue
        network = _destination(line)
        plain = destination not in ("default", *TYPES) and _as_wg_quick_adds(words, network.version)
        if plain and (network in wanted or not _is_kept(host, network, words)):
            there[network] = destination
        else:
            others[line.strip()] = network
    missing = [network for network in wanted if network not in there and network not in others.values()]
    return Routes(tuple(missing), tuple(there[n] for n in there if n not in wanted), tuple(others))


def _as_wg_quick_adds(words: Sequence[str], version: int) -> bool:
    """Has it no gateway, no protocol and the default metric, which only IPv6 shows?"""
    metric = words[words.index("metric") + 1] if "metric" in words else None
    return not {"proto", "via"} & set(words) and metric == (None if version == 4 else "1024")


def in_place(host: HostPlan, observed: Observed) -> bool:
    """Is the interface up with the addresses and the MTU of the plan?"""
    return observed.link is not None and not list(restart_reasons(host, observed.link))


def _listed(words: frozenset[str]) -> str:
    return ", ".join(sorted(words)) or "none"
