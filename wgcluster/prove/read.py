"""The texts of all machines, parsed, each section that recurs only once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_interface, ip_network

import numpy as np
from numpy.typing import NDArray

from wgcluster import wgconf
from wgcluster.prefixes import Network
from wgcluster.prove.texts import MachineText

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

NONE = -1
_FEW = 16  # prefixes: a section with more hardly stands in two configs to the letter


@dataclass(frozen=True, slots=True)
class Peers:
    """Every different ``[Peer]`` section: equal columns, and the AllowedIPs of all end to end."""

    key: Ints  # index in ``Reading.keys``
    endpoint: Ints  # index in ``Reading.endpoints`` or NONE
    keepalive: Flags
    secret: Ints  # number of the preshared key or NONE
    begin: Ints  # where its AllowedIPs begin in ``prefix``; one entry more than the others
    prefix: Ints  # index in ``Reading.prefixes``

    def prefixes_of(self, sections: Ints) -> tuple[Ints, Ints]:
        """All AllowedIPs of some sections, in order, each with the place of its section."""
        counts = self.begin[sections + 1] - self.begin[sections]
        place = np.repeat(np.arange(len(sections)), counts)
        offset = np.arange(len(place)) - np.repeat(np.cumsum(counts) - counts, counts)
        return self.prefix[self.begin[sections][place] + offset], place


@dataclass(frozen=True, slots=True)
class Reading:
    """What all texts say, with numbers for what recurs."""

    machines: tuple[MachineText, ...]
    addresses: tuple[tuple[IPv4Interface | IPv6Interface, ...], ...]  # of each machine
    sections: tuple[Ints, ...]  # of each machine: its peers, as indices of ``peers``
    peers: Peers
    keys: tuple[str, ...]
    endpoints: tuple[str, ...]
    prefixes: tuple[Network, ...]


def read(texts: Iterable[MachineText], faults: list[str]) -> Reading:
    """Parse all texts; one that cannot be read adds to ``faults`` and counts as empty."""
    machines: list[MachineText] = []
    addresses: list[tuple[IPv4Interface | IPv6Interface, ...]] = []
    sections: list[Ints] = []
    seen: dict[str, wgconf.ParsedPeer] = {}
    known: dict[int, int] = {}  # section by the identity of its ParsedPeer, which must stay alive
    kept: list[wgconf.ParsedPeer] = []
    keys: dict[str, int] = {}
    endpoints: dict[str, int] = {}
    secrets: dict[str, int] = {}
    prefixes: dict[str, int] = {}
    rows: list[tuple[int, int, bool, int]] = []
    begin, listed = [0], []

    def number(peer: wgconf.ParsedPeer) -> int:
        if id(peer) in known:
            return known[id(peer)]
        rows.append(
            (
                keys.setdefault(peer.public_key, len(keys)),
                NONE if peer.endpoint is None else endpoints.setdefault(peer.endpoint, len(endpoints)),
                peer.keepalive is not None,
                NONE if peer.preshared_key is None else secrets.setdefault(peer.preshared_key, len(secrets)),
            )
        )
        try:
            listed.extend([prefixes[text] for text in peer.allowed_ips])
        except KeyError:
            listed.extend([prefixes.setdefault(text, len(prefixes)) for text in peer.allowed_ips])
        begin.append(len(listed))
        if len(peer.allowed_ips) <= _FEW:
            known[id(peer)] = len(rows) - 1
            kept.append(peer)
        return len(rows) - 1

    for machine in texts:
        machines.append(machine)
        try:
            config = wgconf.parse(machine.config, seen)
            own = tuple(ip_interface(text) for text in config.addresses)
        except ValueError as error:
            faults.append(f"{machine.name}: its config cannot be read: {error}")
            config, own = wgconf.ParsedConfig(), ()
        addresses.append(own)
        try:
            section = [known[id(peer)] for peer in config.peers]
        except KeyError:
            section = [number(peer) for peer in config.peers]
        sections.append(np.array(section, np.int64))
    columns = np.array(rows, np.int64).reshape(-1, 4)
    return Reading(
        machines=tuple(machines),
        addresses=tuple(addresses),
        sections=tuple(sections),
        peers=Peers(
            key=columns[:, 0],
            endpoint=columns[:, 1],
            keepalive=columns[:, 2].astype(np.bool_),
            secret=columns[:, 3],
            begin=np.array(begin, np.int64),
            prefix=np.array(listed, np.int64),
        ),
        keys=tuple(keys),
        endpoints=tuple(endpoints),
        prefixes=tuple(_network(text, faults) for text in prefixes),
    )


def _network(text: str, faults: list[str]) -> Network:
    try:
        return ip_network(text, strict=False)  # WireGuard itself clears the host bits
    except ValueError:
        faults.append(f"AllowedIPs holds {text!r}, which is no network")
        return ip_network("0.0.0.0/32")
