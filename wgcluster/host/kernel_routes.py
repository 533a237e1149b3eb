"""The routing tables of a host and the rules that choose among them, as the kernel shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from wgcluster.prefixes import Family, Network

# ip-route(8), TYPE: packets end at these routes.
_ENDS = ("unreachable", "blackhole", "prohibit", "throw")
TYPES = (*_ENDS, "unicast", "local", "broadcast", "multicast", "anycast", "nat")
# The default metric of added routes: in IPv6 IP6_RT_PRIO_USER (linux/ipv6_route.h).
_METRIC = {4: 0, 6: 1024}
# Words of a rule that have no value behind them (iproute2, ip/iprule.c, print_rule).
_FLAGS = ("not", "l3mdev", "[detached]", "[unresolved]")
_ACTIONS = ("blackhole", "unreachable", "prohibit", "nop", "masquerade")
# What else is no selector of packets.
_RESULTS = ("lookup", "goto", "suppress_prefixlength", "suppress_ifgroup", "realms", "map-to", "proto")


@dataclass(frozen=True, slots=True)
class Route:
    """One route as ``ip -o route show`` prints it, ip-route(8)."""

    network: Network
    devices: frozenset[str]  # one per next hop; none if it leads nowhere
    gateways: tuple[IPv4Address | IPv6Address, ...]
    metric: int
    ends: bool  # unreachable, blackhole …
    words: tuple[str, ...]
    table: str = "main"  # name or number

    def __str__(self) -> str:
        return " ".join(self.words)

    def is_below(self, network: Network) -> bool:
        """Does it only catch what no other route takes? Then ours precedes it, and it stays."""
        return self.ends and self.network == network and self.metric > _METRIC[network.version]

    def without_device(self) -> str:
        """The route as ``ip route show dev`` prints it; it must have one device."""
        place = self.words.index("dev")
        return " ".join(self.words[:place] + self.words[place + 2 :])


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """One rule as ``ip -o rule show`` prints it, ip-rule(8)."""

    family: Family
    priority: int
    inverted: bool  # "not"
    source: Network | None  # None: all
    destination: Network | None
    selectors: Mapping[str, str]  # all others, by name: "fwmark", "iif", "uidrange" …
    action: str  # "lookup", "goto", "unreachable" …
    table: str  # that it looks up; "": none
    suppressed: int  # routes with this prefix length or a shorter one do not count; -1: all do
    text: str

    def __str__(self) -> str:
        return self.text


def parse_routes(lines: Sequence[str], family: Family) -> tuple[Route, ...]:
    """Read ``ip -o -4 route show table all``, or ``-6``, without the kernel's own of table local.

    Raises:
        ValueError, IndexError: it never prints this.
    """
    found = (_route(line.replace("\\", " ").split(), family) for line in lines if line.strip())
    return tuple(one for one in found if one.table != "local" or "kernel" not in one.words)


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
        table=next((words[i + 1] for i in _places(words, "table")), "main"),
    )


def _places(words: Sequence[str], name: str) -> list[int]:
    return [place for place, word in enumerate(words) if word == name]


def parse_rule(line: str, family: Family) -> PolicyRule:
    """Read one line of ``ip -o rule show``.

    Raises:
        ValueError, IndexError: it never prints this.
    """
    number, *words = line.split()
    values: dict[str, str] = {}
    flags, action = set(), ""
    rest = iter(words)
    for word in rest:
        if word in _FLAGS:
            flags.add(word)
        elif word in _ACTIONS:
            action = word
        elif (value := next(rest, None)) is not None:
            values[word] = value
        else:
            raise ValueError(line)
    action = action or next((word for word in ("lookup", "goto", "map-to") if word in values), "")
    if not number.endswith(":") or not action:
        raise ValueError(line)
    selectors = {key: value for key, value in values.items() if key not in ("from", "to", *_RESULTS)}
    return PolicyRule(
        family=family,
        priority=int(number[:-1]),
        inverted="not" in flags,
        source=_selected(values.get("from", "all")),
        destination=_selected(values.get("to", "all")),
        selectors=selectors | ({"l3mdev": ""} if "l3mdev" in flags else {}),
        action=action,
        table=values.get("lookup", ""),
        suppressed=int(values.get("suppress_prefixlength", -1)),
        text=" ".join((number, *words)),
    )


def _selected(word: str) -> Network | None:
    return None if word == "all" else ip_network(word, strict=False)
