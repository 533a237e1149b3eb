"""The config file for wg-quick(8): rendered from a HostPlan, and parsed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from wgcluster.host import paths
from wgcluster.plan.plan import HostPlan, Peer
from wgcluster.prefixes import Interface, Network
from wgcluster.text import HIDDEN

MARK = "# wgcluster: written by the deploy, which puts back whatever is changed here"
# A relay sends packets out of the interface they came in on, for which the kernel would send redirects, and
# forwards only what comes in by an interface whose own value is 1 (kernel.org, networking/ip-sysctl). Each
# start resets both. Where they cannot be set the host keeps its tunnel.
RELAYS = "PostUp = cd /proc/sys/net/ipv4/conf/%i && echo 0 >send_redirects && echo 1 >forwarding || :"
# As earlier versions wrote it: ours as well, so that a new file is no reason for a restart.
_RELAYS_BEFORE = "PostUp = sysctl -q -w net/ipv4/conf/%i/send_redirects=0"
# The rules are set before the interface comes up. If they cannot be set the host keeps its tunnel, and verify
# tells which are missing.
RULES_FIRST = f"PreUp = {paths.FIREWALL_SCRIPT} %i || :"

# By which MindFlavor/prometheus_wireguard_exporter names a peer, since 3.4.0 (its README, "Friendly names").
FRIENDLY_NAME = "# friendly_name = "

# WireGuard resolves a name once, and an interface whose config has one that does not resolve never starts. So
# names stand in comments, from which the script sets them, now and whenever the peer is silent.
NAMED = "# Endpoint = "
RESOLVED_LAST = f"PostUp = {paths.ENDPOINTS_SCRIPT} %i || :"

_OFTEN_SHARED = 16  # AllowedIPs: peers with as many or fewer recur in other configs
_SECTION = "\n[Peer]\n"

_SECRET = re.compile(r"^([\s#;]*(?:PrivateKey|PresharedKey)\s*[=:\s]\s*)\S.*$", re.IGNORECASE | re.MULTILINE)


class WgConfError(ValueError):
    """A text that wg-quick(8) and wg(8) would refuse; the message names the line."""


@dataclass(slots=True)
class ParsedPeer:
    """One parsed ``[Peer]`` section."""

    public_key: str = ""
    preshared_key: str | None = None
    allowed_ips: tuple[str, ...] = ()
    endpoint: str | None = None
    named: bool = False  # the endpoint stands in a comment, for our script
    keepalive: int | None = None  # seconds


@dataclass(slots=True)
class ParsedConfig:
    """A parsed config: the values of the ``[Interface]`` section, and the peers in their order."""

    addresses: tuple[str, ...] = ()
    private_key: str | None = None
    listen_port: int | None = None
    mtu: int | None = None
    other: dict[str, list[str]] = field(default_factory=dict)  # hooks, Table, SaveConfig …
    peers: list[ParsedPeer] = field(default_factory=list)


class RenderCache:
    """Texts of networks and peers, rendered once for the whole cluster.

    Hosts share the networks of a plan, and in a mesh its peers. They are recognized by ``id``, and kept alive
    so that no other object can get the same.
    """

    def __init__(self) -> None:
        self._kept: list[object] = []
        self._networks: dict[int, str] = {}
        self._peers: dict[int, str] = {}

    def networks(self, networks: Sequence[Network]) -> str:
        """Networks with commas between them."""
        known = self._networks
        try:
            return ", ".join([known[id(network)] for network in networks])
        except KeyError:
            for network in networks:
                if id(network) not in known:
                    self._kept.append(network)
                    known[id(network)] = str(network)
        return ", ".join([known[id(network)] for network in networks])

    def peers(self, peers: Sequence[Peer], secrets: Mapping[str, str]) -> list[str]:
        """The ``[Peer]`` sections, each after an empty line.

        Args:
            secrets: preshared keys, base64, by the name of the link.
        """
        known = self._peers
        try:
            return list(
                map(known.__getitem__, map(id, peers))
            )  # without a Python loop: there may be a million
        except KeyError:
            return [known.get(id(peer)) or self._peer(peer, secrets) for peer in peers]

    def _peer(self, peer: Peer, secrets: Mapping[str, str]) -> str:
        text = "\n".join(["", *_peer_lines(peer, secrets, self.networks(peer.allowed_ips))])
        # a peer with a secret or many networks is not shared
        if peer.preshared_key is None and len(peer.allowed_ips) <= _OFTEN_SHARED:
            self._kept.append(peer)
            self._peers[id(peer)] = text
        return text


def is_name(endpoint: str | None) -> bool:
    """Is it a name, which has to be resolved? "name:port", not "address:port" or "[v6]:port"."""
    return endpoint is not None and not (
        endpoint.startswith("[") or endpoint.rpartition(":")[0].replace(".", "").isdigit()
    )


def own_hooks(host: HostPlan) -> list[str]:
    """The lines of our config that wg-quick runs as commands."""
    return [
        *([RULES_FIRST] if host.firewall != "off" else []),
        *([RELAYS] if 4 in host.forwards else []),
        *([RESOLVED_LAST] if any(is_name(peer.endpoint) for peer in host.peers) else []),
    ]


def is_own_hook(line: str) -> bool:
    """Has this or an earlier version written the line?"""
    return line in (RULES_FIRST, RELAYS, RESOLVED_LAST, _RELAYS_BEFORE)


def render(
    host: HostPlan,
    private_key: str = HIDDEN,
    preshared_keys: Mapping[str, str] | None = None,
    cache: RenderCache | None = None,
) -> str:
    """The config file of one host.

    Args:
        private_key: base64, 44 characters; by default the text has ``(hidden)``.
        preshared_keys: base64, by the name of the link (``Peer.preshared_key``).
        cache: one for all hosts of a plan saves time.
    """
    secrets = preshared_keys or {}
    cache = cache or RenderCache()
    lines = [
        MARK,
        f"# host {host.name}",
        "",
        *interface_lines(host.addresses, private_key, host.mtu, host.port),
        *own_hooks(host),
        *cache.peers(host.peers, secrets),
    ]
    return "\n".join(lines) + "\n"


def interface_lines(
    addresses: Iterable[Interface], private_key: str, mtu: int, port: int | None = None
) -> list[str]:
    """The ``[Interface]`` section."""
    return [
        "[Interface]",
        *(f"Address = {address}" for address in addresses),
        f"PrivateKey = {private_key}",
        *([] if port is None else [f"ListenPort = {port}"]),
        f"MTU = {mtu}",
    ]


def _peer_lines(peer: Peer, secrets: Mapping[str, str], networks: str) -> list[str]:
    """The ``[Peer]`` section; ``networks``: the text of its AllowedIPs."""
    lines = [
        "[Peer]",
        f"# {'client' if peer.is_client else 'host'} {peer.name}",
        f"{FRIENDLY_NAME}{peer.name}",
        f"PublicKey = {peer.public_key}",
    ]
    if peer.preshared_key is not None:
        lines.append(f"PresharedKey = {secrets.get(peer.preshared_key, HIDDEN)}")
    lines.append(f"AllowedIPs = {networks}")
    if peer.endpoint is not None:
        lines.append(f"{NAMED if is_name(peer.endpoint) else 'Endpoint = '}{peer.endpoint}")
    if peer.keepalive is not None:
        lines.append(f"PersistentKeepalive = {peer.keepalive}")
    return lines


def mask(text: str) -> str:
    """``text`` with ``(hidden)`` in place of every key."""
    return _SECRET.sub(rf"\1{HIDDEN}", text)


def cut(text: str) -> list[str]:
    """Split a config: the text before the first ``[Peer]`` line, then the text after each.

    Only lines as ``render`` writes them count. Identical pieces recur in the configs of a cluster, so that
    each needs parsing once: the first by ``parse``, the others by ``parse_peer``.
    """
    return text.split(_SECTION)


def parse_peer(piece: str) -> ParsedPeer | None:
    """Parse a piece after a ``[Peer]`` line.

    Returns:
        None: parse the whole text, since another section begins in the piece or it has a fault.
    """
    try:
        config = parse(_SECTION + piece)
    except WgConfError:
        return None
    return config.peers[0] if config == ParsedConfig(peers=config.peers[:1]) else None


def parse(text: str) -> ParsedConfig:
    """Parse a config as wg-quick and wg do: keys in any case; ``#`` begins a comment anywhere.

    Of comments, the names of endpoints are read, as our script does.

    Raises:
        WgConfError: a line cannot be read, is outside a section, or has a bad number.
    """
    config = ParsedConfig()
    peer: ParsedPeer | None = None
    section = ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.split("#", 1)[0].strip()
        if not line:
            if peer is not None and raw.startswith(NAMED):
                peer.endpoint, peer.named = raw.removeprefix(NAMED), True
            continue
        if line.startswith("["):
            section = line.lower()
            if section == "[peer]":
                peer = ParsedPeer()
                config.peers.append(peer)
            elif section != "[interface]":
                raise WgConfError(f"line {number}: {line} is neither [Interface] nor [Peer]")
            continue
        name, equals, value = line.partition("=")
        if not equals or not section:
            raise WgConfError(f"line {number}: {mask(line)!r} is no 'Key = value' inside a section")
        try:
            if section == "[peer]" and peer is not None:
                _read_peer(peer, name.strip().lower(), value.strip())
            else:
                _read_interface(config, name.strip(), value.strip())
        except ValueError as error:
            raise WgConfError(f"line {number}: {mask(line)!r}: {error}") from None
    return config


def _split(value: str) -> tuple[str, ...]:
    parts = value.split(", ")  # as we write it: three times as fast
    if value.count(",") == value.count(" ") == len(parts) - 1 and "" not in parts:
        return tuple(parts)
    return tuple([part for word in value.split(",") if (part := word.strip())])


def _read_interface(config: ParsedConfig, name: str, value: str) -> None:
    match name.lower():
        case "address":
            config.addresses += _split(value)
        case "privatekey":
            config.private_key = value
        case "listenport":
            config.listen_port = int(value)
        case "mtu":
            config.mtu = int(value)
        case _:
            config.other.setdefault(name, []).append(value)


def _read_peer(peer: ParsedPeer, name: str, value: str) -> None:
    match name:
        case "publickey":
            peer.public_key = value
        case "presharedkey":
            peer.preshared_key = value
        case "allowedips":
            peer.allowed_ips += _split(value)
        case "endpoint":
            peer.endpoint = value
        case "persistentkeepalive":
            peer.keepalive = None if value == "off" else int(value) or None
        case _:
            raise ValueError("no key of a [Peer] section")
