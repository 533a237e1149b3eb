"""A WireGuard interface as the kernel keeps it: what wg-quick, wg and ip make of a config text.

Read here anew from wg(8) and wg-quick(8), not with the code under test.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface, ip_network

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

Network = IPv4Network | IPv6Network


class Failed(Exception):  # noqa: N818 - a command that fails is no error of the model
    """What a command prints on standard error before it exits with 1."""


@dataclass
class Peer:
    preshared_key: str | None = None
    endpoint: str | None = None
    handshake: int = 0  # seconds since the epoch, 0: never
    keepalive: int | None = None  # seconds


@dataclass
class Interface:
    """Up since ``start``; ``routed`` is the cryptokey routing table: each prefix has one peer."""

    private_key: str = ""
    port: int = 0
    mtu: int = 1420
    up: bool = True
    addresses: list[str] = field(default_factory=list)
    routes: list[Network] = field(default_factory=list)  # beside those that the addresses bring
    peers: dict[str, Peer] = field(default_factory=dict)
    routed: dict[Network, str] = field(default_factory=dict)

    @classmethod
    def start(cls, text: str) -> Interface:
        """What ``wg-quick up`` makes of a config."""
        link = cls()
        link.sync(text)
        settings = next(values for name, values in sections(text) if name == "Interface")
        link.mtu = int(settings["MTU"][0])
        link.addresses = words(settings["Address"])
        own = [ip_interface(address).network for address in link.addresses]
        for network in link.routed:
            if not any(network.version == o.version and within(network, o) for o in own):
                link.routes.append(network)
        return link

    def sync(self, text: str) -> None:
        """``wg syncconf`` before 2025-05: what left the file stays at a peer that stays, as facts have it."""
        found = sections(text)
        settings = next(values for name, values in found if name == "Interface")
        self.private_key = settings["PrivateKey"][0]
        self.port = int(settings["ListenPort"][0])
        keys = [values["PublicKey"][0] for name, values in found if name == "Peer"]
        self.peers = {key: self.peers.get(key, Peer()) for key in keys}
        self.add(text, keys)

    def add(self, text: str, keys: Sequence[str]) -> None:
        """``wg addconf`` with the sections of ``text`` that are of these peers."""
        for name, values in sections(text):
            if name == "Interface" or values["PublicKey"][0] not in keys:
                continue
            key = values["PublicKey"][0]
            peer = self.peers.setdefault(key, Peer())
            if "PresharedKey" in values:
                peer.preshared_key = values["PresharedKey"][0]
            if "Endpoint" in values:
                peer.endpoint = resolved(values["Endpoint"][0])
            if "PersistentKeepalive" in values:
                peer.keepalive = int(values["PersistentKeepalive"][0])
            self._forget_routed(key)
            for network in words(values["AllowedIPs"]):
                self.routed[ip_network(network)] = key  # the last peer that names a prefix has it

    def remove_peer(self, key: str) -> None:
        """``wg set INTERFACE peer KEY remove``."""
        self.peers.pop(key, None)
        self._forget_routed(key)

    def _forget_routed(self, key: str) -> None:
        self.routed = {network: owner for network, owner in self.routed.items() if owner != key}

    def set_peer(self, key: str, option: str, value: str) -> None:
        """``wg set INTERFACE peer KEY OPTION VALUE``."""
        match option, value:
            case "preshared-key", "/dev/null":
                self.peers[key].preshared_key = None
            case "persistent-keepalive", "0":
                self.peers[key].keepalive = None
            case _:
                raise Failed(f"Invalid argument: {option} {value}")

    def dump(self) -> list[str]:
        """The lines of ``wg show INTERFACE dump`` as observe.sh cuts them down."""
        lines = [f"{public_key(self.private_key)}\t{self.port}"]
        for key, peer in self.peers.items():
            allowed = ",".join(str(network) for network, owner in self.routed.items() if owner == key)
            secret = "-" if peer.preshared_key is None else "psk"
            ends = (str(peer.handshake), str(peer.keepalive or "off"))
            lines.append("\t".join((key, secret, peer.endpoint or "(none)", allowed or "(none)", *ends)))
        return lines

    def preshared_digest(self) -> str:
        lines = sorted(
            f"{key}\t{peer.preshared_key}\n" for key, peer in self.peers.items() if peer.preshared_key
        )
        return hashlib.sha256("".join(lines).encode()).hexdigest() if lines else ""

    def route_lines(self) -> list[str]:
        """``ip -4 route show dev`` and then ``ip -6 route show dev``."""
        lines = []
        for version in (4, 6):
            own = [ip_interface(a) for a in self.addresses if ip_interface(a).version == version]
            for one in own:
                if version == 6:
                    lines.append(f"{one.network} proto kernel metric 256 pref medium")
                elif one.network.prefixlen < 32:
                    lines.append(f"{one.network} proto kernel scope link src {one.ip}")
            for network in self.routes:
                if network.version == version:
                    single = network.prefixlen == network.max_prefixlen
                    name = str(network.network_address if single else network)
                    lines.append(f"{name} scope link" if version == 4 else f"{name} metric 1024 pref medium")
        return lines


def sections(text: str) -> list[tuple[str, dict[str, list[str]]]]:
    """Name and values of each section of a config."""
    found: list[tuple[str, dict[str, list[str]]]] = []
    for line in text.splitlines():
        line = (
            line.removeprefix("# ") if line.startswith("# Endpoint = ") else line
        )  # wgcluster-endpoints sets it
        line = line.split("#")[0].strip()
        if line.startswith("["):
            found.append((line.strip("[]"), {}))
        elif line:
            name, value = line.split("=", 1)
            found[-1][1].setdefault(name.strip(), []).append(value.strip())
    return found


def hooks(text: str, interface: str) -> list[str]:
    """What wg-quick runs once the interface is up."""
    settings = next(values for name, values in sections(text) if name == "Interface")
    return [hook.replace("%i", interface) for hook in settings.get("PostUp", [])]


def words(values: list[str]) -> list[str]:
    return [word.strip() for value in values for word in value.split(",")]


def within(network: Network, other: Network) -> bool:
    return network.network_address in other and network.prefixlen >= other.prefixlen


def public_key(private_key: str) -> str:
    """``wg pubkey``."""
    key = X25519PrivateKey.from_private_bytes(base64.b64decode(private_key))
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def resolved(endpoint: str) -> str:
    """Where packets go: an address as it stands, a name as some resolver has it."""
    name, _, port = endpoint.rpartition(":")
    try:
        address = ip_address(name.strip("[]"))
    except ValueError:
        return f"198.18.255.{len(name) % 250 + 1}:{port}"
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
