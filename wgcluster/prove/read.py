"""The parsed texts of all machines; each section that recurs is parsed once."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface, ip_network
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from wgcluster.prefixes import Network
from wgcluster.prove.texts import MachineText
from wgcluster.wireguard import config as wgconf

Ints = NDArray[np.int64]
Indices = NDArray[np.int32]  # may have millions of entries
Flags = NDArray[np.bool_]

NONE = -1


@dataclass(frozen=True, slots=True)
class Peers:
    """Every different ``[Peer]`` section, in columns, with the AllowedIPs of all of them in one array."""

    key: Ints  # index in ``ParsedTexts.keys``
    endpoint: Ints  # index in ``ParsedTexts.endpoints`` or NONE
    keepalive: Flags
    secret: Ints  # number of the preshared key or NONE
    begin: Ints  # where its AllowedIPs begin in ``prefix``; one entry more than the others
    prefix: Indices  # index in ``ParsedTexts.prefixes``

    def prefixes_of(self, sections: Indices) -> tuple[Indices, Ints]:
        """The AllowedIPs of some sections, and for each the position of its section in ``sections``."""
        first = self.begin[sections]
        counts = self.begin[sections + 1] - first
        place = np.repeat(np.arange(len(sections)), counts)
        if len(place) == len(sections) and (counts == 1).all():
            return self.prefix[first], place
        offset = np.arange(len(place)) - np.repeat(np.cumsum(counts) - counts - first, counts)
        return self.prefix[offset], place


@dataclass(frozen=True, slots=True)
class ParsedTexts:
    """The parsed texts, with indices for keys, endpoints and prefixes."""

    machines: tuple[MachineText, ...]
    addresses: tuple[tuple[IPv4Interface | IPv6Interface, ...], ...]  # of each machine
    section: Indices  # the peers of all machines, one machine after the other, as indices of ``peers``
    start: Ints  # where those of each machine begin in ``section``; one entry more than there are machines
    peers: Peers
    keys: tuple[str, ...]
    endpoints: tuple[str, ...]  # each once, however it is spelled
    prefixes: tuple[Network, ...]

    def sections_of(self, machine: int) -> Indices:
        """The peers of one machine."""
        return self.section[self.start[machine] : self.start[machine + 1]]


def read(texts: Iterable[MachineText], faults: list[str]) -> ParsedTexts:
    """Parse all texts. One that cannot be parsed adds to ``faults`` and counts as empty."""
    machines: list[MachineText] = []
    addresses: list[tuple[IPv4Interface | IPv6Interface, ...]] = []
    sections: list[Indices] = [np.zeros(0, np.int32)]
    table = _Table()
    for machine in texts:
        machines.append(machine)
        try:
            interfaces, found = table.read(machine.config)
            own = tuple(ip_interface(text) for text in interfaces)
        except ValueError as error:
            faults.append(f"{machine.name}: its config cannot be read: {error}")
            own, found = (), sections[0]
        addresses.append(own)
        sections.append(found)
    return ParsedTexts(
        machines=tuple(machines),
        addresses=tuple(addresses),
        section=np.concatenate(sections),
        start=np.array(list(accumulate(map(len, sections))), np.int64),
        peers=table.peers(),
        keys=tuple(table.keys),
        endpoints=tuple(table.endpoints),
        prefixes=tuple(_network(text, faults) for text in table.prefixes),
    )


def _common(one: list[str], other: list[str]) -> int:
    """The length of the common prefix of two lists."""
    same, most = 0, min(len(one), len(other))
    while same < most:
        middle = (same + most + 1) // 2
        if one[same:middle] == other[same:middle]:
            same = middle
        else:
            most = middle - 1
    return same


class _Numbers(dict[str, int]):
    """Numbers for texts, in the order in which they first occur."""

    def __missing__(self, text: str) -> int:
        self[text] = number = len(self)
        return number


class _Table:
    """The different sections read so far."""

    def __init__(self) -> None:
        self.keys, self.endpoints, self.prefixes = _Numbers(), _Numbers(), _Numbers()
        self._secrets = _Numbers()
        self._known: dict[str, int] = {}  # row of a section by its text
        self._rows: list[tuple[int, int, bool, int]] = []
        self._start, self._prefix = [0], array("i")
        self._before: tuple[list[str], Indices] = ([], np.zeros(0, np.int32))  # the sections read last

    def read(self, text: str) -> tuple[tuple[str, ...], Indices]:
        """The addresses of a config and the rows of its sections.

        Raises:
            WgConfError: the text is no config.
        """
        head, *pieces = wgconf.cut(text)
        config = wgconf.parse(head)
        known = self._known
        try:
            found = self._looked_up(pieces)
        except KeyError:
            new = {piece: wgconf.parse_peer(piece) for piece in pieces if piece not in known}
            if None in new.values():  # not as we render it
                config = wgconf.parse(text)
                return config.addresses, np.array([self._row(peer) for peer in config.peers], np.int32)
            known.update((piece, self._row(peer)) for piece, peer in new.items() if peer is not None)
            found = np.array([known[piece] for piece in pieces], np.int32)
        self._before = pieces, found
        if config.peers:
            in_head = np.array([self._row(peer) for peer in config.peers], np.int32)
            found = np.concatenate((in_head, found))
        return config.addresses, found

    def _looked_up(self, pieces: list[str]) -> Indices:
        """The rows of known sections; KeyError for an unknown one. In a mesh only one or two differ."""
        before, rows = self._before
        first = _common(pieces, before)
        last = _common(pieces[first:][::-1], before[first:][::-1])
        between = pieces[first : len(pieces) - last]
        found = np.fromiter(map(self._known.__getitem__, between), np.int32, len(between))
        return np.concatenate((rows[:first], found, rows[len(rows) - last :]))

    def _row(self, peer: wgconf.ParsedPeer) -> int:
        self._rows.append(
            (
                self.keys[peer.public_key],
                NONE if peer.endpoint is None else self.endpoints[_plain(peer.endpoint)],
                peer.keepalive is not None,
                NONE if peer.preshared_key is None else self._secrets[peer.preshared_key],
            )
        )
        self._prefix.extend(map(self.prefixes.__getitem__, peer.allowed_ips))
        self._start.append(len(self._prefix))
        return len(self._rows) - 1

    def peers(self) -> Peers:
        columns = np.array(self._rows, np.int64).reshape(-1, 4)
        return Peers(
            key=columns[:, 0].copy(),
            endpoint=columns[:, 1].copy(),
            keepalive=columns[:, 2].astype(np.bool_),
            secret=columns[:, 3].copy(),
            begin=np.array(self._start, np.int64),
            prefix=np.array(self._prefix, np.int32),
        )


def _plain(endpoint: str) -> str:
    """One spelling of an endpoint: DNS names ignore case (RFC 4343) and need no last dot."""
    host, _, port = endpoint.rpartition(":")
    host = host.lower().removesuffix(".")
    if host.startswith("["):
        with suppress(ValueError):
            host = f"[{ip_address(host[1:-1])}]"
    return f"{host}:{port}"


def _network(text: str, faults: list[str]) -> Network:
    try:
        return ip_network(text, strict=False)  # WireGuard itself clears the host bits
    except ValueError:
        faults.append(f"AllowedIPs holds {text!r}, which is no network")
        return ip_network("0.0.0.0/32")
