"""The main routing table of a host, as the kernel shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from wgcluster.prefixes import Family, Network

# ip-route(8), TYPE: packets end at these routes.
_ENDS = ("unreachable", "blackhole", "prohibit", "throw")
TYPES = (*_ENDS, "unicast", "local", "broadcast", "multicast", "anycast", "nat")
# The default metric of added routes: in IPv6 IP6_RT_PRIO_USER (linux/ipv6_route.h).
_METRIC = {4: 0, 6: 1024}


@dataclass(frozen=True, slots=True)
class Route:
    """One route as ``ip -o route show`` prints it, ip-route(8)."""

    network: Network
    devices: frozenset[str]  # one per next hop; none if it leads nowhere
    gateways: tuple[IPv4Address | IPv6Address, ...]
    metric: int
    ends: bool  # unreachable, blackhole …
    words: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.words)

    def is_below(self, network: Network) -> bool:
        """Does it only catch what no other route takes? Then ours precedes it, and it stays."""
        return self.ends and self.network == network and self.metric > _METRIC[network.version]

    def without_device(self) -> str:
        """The route as ``ip route show dev`` prints it; it must have one device."""
        place = self.words.index("dev")
        return " ".join(self.words[:place] + self.words[place + 2 :])


def parse_routes(lines: Sequence[str], family: Family) -> tuple[Route, ...]:
    """Read ``ip -o -4 route show`` or ``ip -o -6 route show``.

    Raises:
        ValueError, IndexError: it never prints this.
    """
    return tuple(_route(line.replace("\\", " ").split(), family) for line in lines if line.strip())


def _route(words: Sequence[str], family: Family) -> Route:
    kind = words[0] if words[0] in TYPES else ""
    destination = words[1] if kind else words[0]
    if destination == "default":
        destination = "0.0.0.0/0" if family == 4 else "::/0"
    # "via inet6 fe80::1" if the next hop is of the other family
    vias = [words[i + 1 + (words[i + 1] in ("inet", "inet6"))] for i in _places(words, "via")]
    return Route(
        network=ip_network(destination, strict=False),
        devices=frozenset(words[i + 1] for i in _places(words, "dev")),
        gateways=tuple(ip_address(via) for via in vias),
        metric=next((int(words[i + 1]) for i in _places(words, "metric")), 0),
        ends=kind in _ENDS,
        words=tuple(words),
    )


def _places(words: Sequence[str], name: str) -> list[int]:
    return [place for place, word in enumerate(words) if word == name]
