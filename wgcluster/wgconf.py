"""HostPlan -> the text wg-quick(8) reads, with the secrets put in last; and text -> parsed, for checks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from wgcluster.plan import HostPlan, Peer

MARK = "# wgcluster: written by the deploy, which puts back whatever is changed here"
HIDDEN = "(hidden)"

_SECRET = re.compile(r"^(\s*(?:PrivateKey|PresharedKey)\s*=\s*)\S.*$", re.IGNORECASE | re.MULTILINE)


class WgConfError(ValueError):
    """A text is not what wg-quick(8) and wg(8) describe; the message names the line."""


@dataclass(slots=True)
class ParsedPeer:
    """One ``[Peer]`` section as it stands in a text."""

    public_key: str = ""
    preshared_key: str | None = None
    allowed_ips: tuple[str, ...] = ()
    endpoint: str | None = None
    keepalive: int | None = None  # seconds


@dataclass(slots=True)
class ParsedConfig:
    """A whole text: the ``[Interface]`` section's values and the peers in their order."""

    addresses: tuple[str, ...] = ()
    private_key: str | None = None
    listen_port: int | None = None
    mtu: int | None = None
    other: dict[str, list[str]] = field(default_factory=dict)  # hooks, Table, SaveConfig …
    peers: list[ParsedPeer] = field(default_factory=list)


def render(host: HostPlan, private_key: str = HIDDEN, preshared_keys: Mapping[str, str] | None = None) -> str:
    """The config file of one host.

    Args:
        host: what the host gets.
        private_key: base64, 44 characters; without it the text shows ``(hidden)``.
        preshared_keys: base64 by the name of the link (``Peer.preshared_key``).
    """
    secrets = preshared_keys or {}
    lines = [
        MARK,
        f"# host {host.name}",
        "",
        "[Interface]",
        *(f"Address = {address}" for address in host.addresses),
        f"PrivateKey = {private_key}",
        f"ListenPort = {host.port}",
        f"MTU = {host.mtu}",
    ]
    for peer in host.peers:
        lines += ["", *_peer(peer, secrets)]
    return "\n".join(lines) + "\n"


def _peer(peer: Peer, secrets: Mapping[str, str]) -> list[str]:
    lines = [
        "[Peer]",
        f"# {'client' if peer.is_client else 'host'} {peer.name}",
        f"PublicKey = {peer.public_key}",
    ]
    if peer.preshared_key is not None:
        lines.append(f"PresharedKey = {secrets.get(peer.preshared_key, HIDDEN)}")
    lines.append(f"AllowedIPs = {', '.join(map(str, peer.allowed_ips))}")
    if peer.endpoint is not None:
        lines.append(f"Endpoint = {peer.endpoint}")
    if peer.keepalive is not None:
        lines.append(f"PersistentKeepalive = {peer.keepalive}")
    return lines


def mask(text: str) -> str:
    """``text`` with the value of every secret line replaced by ``(hidden)``."""
    return _SECRET.sub(rf"\1{HIDDEN}", text)


def parse(text: str) -> ParsedConfig:
    """Read a config as wg-quick and wg do: keys in any case, ``#`` begins a comment anywhere.

    Raises:
        WgConfError: for a line that is neither, a key outside a section, or a number that is none.
    """
    config = ParsedConfig()
    peer: ParsedPeer | None = None
    section = ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.split("#", 1)[0].strip()
        if not line:
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
            raise WgConfError(f"line {number}: {line!r} is no 'Key = value' inside a section")
        try:
            if section == "[peer]" and peer is not None:
                _read_peer(peer, name.strip().lower(), value.strip())
            else:
                _read_interface(config, name.strip(), value.strip())
        except ValueError as error:
            raise WgConfError(f"line {number}: {line!r}: {error}") from None
    return config


def _split(value: str) -> tuple[str, ...]:
    return tuple(part for part in (word.strip() for word in value.split(",")) if part)


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
