"""The addresses a lab lives on: one /19 block, checked against what the machine already talks to.

The first /20 of a block is "the internet", one bridge that all hosts share (Docker keeps bridges apart);
each /24 after it is a private network behind a router. IPv6 follows from it: a /59 of fd57:6763::/32
(unique local, RFC 4193), whose next bytes are the first three of the block.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    NetmaskValueError,
    ip_address,
    ip_network,
)
from pathlib import Path

from lab.errors import LabError

POOL = IPv4Network("198.18.0.0/15")  # RFC 2544, 11.4.2: for benchmarks of network devices, routed nowhere
DEFAULT_BLOCK = "198.18.0.0/19"
VARIABLE = "WGCLUSTER_LAB_SUBNET"
ROUTER_AT = 2  # a router's place in the network behind it; Docker's bridge has .1
_LANS = 16


@dataclass(frozen=True, slots=True)
class Underlay:
    """The addresses of one lab."""

    block: IPv4Network

    @classmethod
    def parse(cls, text: str | None = None) -> Underlay:
        """The block that ``text``, else the environment, else the default names.

        Raises:
            LabError: it is no /19.
        """
        text = text or os.environ.get(VARIABLE) or DEFAULT_BLOCK
        try:
            block = IPv4Network(text)
        except (AddressValueError, NetmaskValueError, ValueError) as error:
            raise LabError(f"the lab's subnet {text}: {error}; write it like {DEFAULT_BLOCK}") from None
        if block.prefixlen != 19:
            raise LabError(f"the lab's subnet {text}: it must be a /19, like {DEFAULT_BLOCK}")
        return cls(block)

    @property
    def block6(self) -> IPv6Network:
        return self._site6(0).supernet(new_prefix=59)

    @property
    def internet(self) -> IPv4Network:
        return next(self.block.subnets(new_prefix=20))

    @property
    def internet6(self) -> IPv6Network:
        return self._site6(0)

    def lan(self, number: int) -> IPv4Network:
        """The private network behind router ``number``, counted from 0; there are 16."""
        if not 0 <= number < _LANS:
            raise LabError(f"a lab has room for {_LANS} private networks; take several labs for more")
        return IPv4Network((int(self.block.network_address) + ((16 + number) << 8), 24))

    def lan6(self, number: int) -> IPv6Network:
        return self._site6(1 + number)

    def _site6(self, number: int) -> IPv6Network:
        block = int(self.block.network_address)
        # fd57:6763 : first two bytes of the block : third byte, then the site : host
        bits = (0xFD57_6763 << 96) | ((block >> 16) << 80) | (((block >> 8) & 0xFF | number) << 64)
        return IPv6Network((bits, 64))

    def address(self, network: IPv4Network, at: int) -> IPv4Address:
        return network.network_address + at

    def address6(self, network: IPv6Network, at: int) -> IPv6Address:
        # 258 -> ::1:2, so that one sees which IPv4 address it goes with
        return network.network_address + ((at >> 8 << 16) | (at & 0xFF))


def faults(underlay: Underlay, foreign: Iterable[tuple[IPv4Network | IPv6Network, str]]) -> list[str]:
    """What of ``underlay`` the machine already uses: (network, where it stands) pairs that overlap."""
    found = []
    for network, where in foreign:
        ours = underlay.block if isinstance(network, IPv4Network) else underlay.block6
        if ours.overlaps(network):
            found.append(f"{ours} overlaps {network} ({where})")
    return found


def check(underlay: Underlay, foreign: Iterable[tuple[IPv4Network | IPv6Network, str]]) -> None:
    """
    Raises:
        LabError: the machine already uses these addresses; names each clash and a block that is free.
    """
    foreign = list(foreign)
    found = faults(underlay, foreign)
    if not found:
        return
    free = next(free_blocks(foreign), None)
    how = f"set {VARIABLE} (or --subnet) to a free /19" + (f", for example {free.block}" if free else "")
    raise LabError("\n".join([*(f"the lab's subnet: {fault}" for fault in found), how]))


def free_blocks(foreign: Iterable[tuple[IPv4Network | IPv6Network, str]]) -> Iterator[Underlay]:
    """The blocks of 198.18.0.0/15 that are not in use, without the demo's."""
    foreign = list(foreign)
    for block in POOL.subnets(new_prefix=19):
        underlay = Underlay(block)
        if str(block) != DEFAULT_BLOCK and not faults(underlay, foreign):
            yield underlay


def machine_networks(mirrors: Iterable[str]) -> list[tuple[IPv4Network | IPv6Network, str]]:
    """What this machine talks to: its routes, its resolvers, and the package mirrors' addresses."""
    found: list[tuple[IPv4Network | IPv6Network, str]] = []
    if shutil.which("ip"):  # not on a Mac, where Docker's networks are inside a machine of its own
        for family in ("-4", "-6"):
            answer = subprocess.run(
                ["ip", "-json", family, "route"], capture_output=True, text=True, check=False
            )
            for route in json.loads(answer.stdout or "[]"):
                if route["dst"] != "default" and not route["dst"].startswith(("fe80", "multicast")):
                    found.append((ip_network(route["dst"], strict=False), f"route dev {route.get('dev')}"))
    return found + servers(mirrors)


def servers(mirrors: Iterable[str]) -> list[tuple[IPv4Network | IPv6Network, str]]:
    """Where this machine's resolvers and the package mirrors are."""
    found: list[tuple[IPv4Network | IPv6Network, str]] = []
    resolv = Path("/etc/resolv.conf")
    for line in resolv.read_text().splitlines() if resolv.exists() else []:
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            found.append((ip_network(ip_address(words[1].partition("%")[0])), f"{resolv}"))
    for mirror in mirrors:
        try:
            answers = socket.getaddrinfo(mirror, 80, type=socket.SOCK_STREAM)
        except OSError:
            continue  # a mirror that cannot be found is told by the image's build
        found += [(ip_network(ip_address(answer[4][0])), f"package mirror {mirror}") for answer in answers]
    return found
