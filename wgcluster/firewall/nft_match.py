"""Which packets of a class an expression of nftables matches: libnftables-json(5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from wgcluster.firewall.tables import Match, Packet, match_port
from wgcluster.prefixes import Network

Expression = Mapping[str, Any]  # one statement or one side of a match, {"drop": null}

_ETHER = {"ip": 4, "ipv4": 4, "ip6": 6, "ipv6": 6}


def both(one: Match, other: Match) -> Match:
    """The conjunction of two matches."""
    if Match.NONE in (one, other):
        return Match.NONE
    return Match.ALL if one is other is Match.ALL else Match.SOME


def match(expression: Expression, family: int, packet: Packet) -> tuple[Match, bool]:
    """Which packets of a class it matches; and whether it selects certain addresses or services of them."""
    left, op, right = expression["left"], expression["op"], expression["right"]
    if not _carries(left, family, packet):
        return Match.NONE, False
    equal = _equals(left, right, family, packet)
    if op in ("==", "in"):
        return equal, equal is Match.SOME and _picks(left, packet)
    if op in ("!=", "!"):
        return {Match.ALL: Match.NONE, Match.NONE: Match.ALL, Match.SOME: Match.SOME}[equal], False
    return Match.SOME, False  # "<", ">="


def _parts(left: Expression) -> list[Expression]:
    """The parts of a left side: those of a concatenation; a masked value without its mask."""
    if "concat" in left:
        return list(left["concat"])
    return [left["&"][0]] if "&" in left else [left]


def _carries(left: Expression, family: int, packet: Packet) -> bool:
    """Can packets of this class have this field?"""
    for part in _parts(left):
        protocol = part["payload"].get("protocol", "th") if "payload" in part else "th"
        if protocol in _ETHER and _ETHER[protocol] != family:
            return False
        if protocol not in ("th", "ether", "vlan", *_ETHER) and packet.protocol not in (None, protocol):
            return False
    return True


def _picks(left: Expression, packet: Packet) -> bool:
    """Does it select addresses or services? Not among a single destination, but those that are dialled."""
    fields = {part["payload"].get("field") for part in _parts(left) if "payload" in part}
    picking = {"saddr", "sport", "dport", "protocol", "nexthdr"}
    if packet.destination is None or packet.destination.num_addresses > 1 or packet.sport is not None:
        picking.add("daddr")
    # the kernel asks where the source would be answered (nft(8), FIB EXPRESSIONS): a forged one nowhere
    reverse = any("saddr" in part.get("fib", {}).get("flags", ()) for part in _parts(left))
    return (
        reverse
        or bool(fields & picking)
        or any(part.get("meta", {}).get("key") == "l4proto" for part in _parts(left))
    )


def _equals(left: Expression, right: Any, family: int, packet: Packet) -> Match:
    """Is the left side one of the right side's values?"""
    values = _values(right)
    if values is None or "&" in left:
        return Match.SOME
    if "concat" in left:
        return _any(_concatenated(left["concat"], value, family, packet) for value in values)
    return _any(_equals_one(left, value, family, packet) for value in values)


def _concatenated(parts: Sequence[Expression], value: Any, family: int, packet: Packet) -> Match:
    found = Match.ALL
    for part, one in zip(parts, value["concat"], strict=True):
        found = both(found, _equals(part, one, family, packet))
    return found


def _any(found: Iterator[Match]) -> Match:
    results = set(found)
    return next((one for one in (Match.ALL, Match.SOME) if one in results), Match.NONE)


def _values(right: Any) -> list[Any] | None:
    """The values of a right side; None: a named set, whose elements are unknown."""
    if isinstance(right, str) and right.startswith("@"):
        return None
    if isinstance(right, dict) and "|" in right:
        return None
    listed = right["set"] if isinstance(right, dict) and "set" in right else right
    if isinstance(listed, str) and listed.startswith("@"):
        return None
    listed = listed if isinstance(listed, list) else [listed]
    return [one["elem"]["val"] if isinstance(one, dict) and "elem" in one else one for one in listed]


def _equals_one(left: Expression, value: Any, family: int, packet: Packet) -> Match:
    (kind, of), *_ = left.items()
    if not isinstance(of, dict):
        return Match.SOME
    match kind, of.get("field") or of.get("key"):
        case "payload", "saddr":
            return _in_network(value, packet.source)
        case "payload", "daddr":
            return _in_network(value, packet.destination)
        case "payload", "dport":
            return _is_port(value, packet.dport)
        case "payload", "sport":
            return _is_port(value, packet.sport)
        case ("payload", "protocol" | "nexthdr") | ("meta", "l4proto"):
            return _is_word(value, packet.protocol)
        case "meta", "iif" | "iifname":
            return _is_interface(value, packet.in_interface, packet.outside)
        case "meta", "oif" | "oifname":
            return _is_interface(value, packet.out_interface, packet.outside)
        case "meta", "nfproto" | "protocol":
            return Match.ALL if _ETHER.get(value) == family else Match.NONE
        case "meta", "pkttype":
            return Match.ALL if value in ("host", "unicast") else Match.NONE
        case "ct", "state" if packet.state is not None:
            if value.upper() not in packet.state:
                return Match.NONE
            return Match.ALL if len(packet.state) == 1 else Match.SOME
        case _:
            return Match.SOME


def _is_interface(value: Any, name: str | None, outside: str | None) -> Match:
    return Match.NONE if name is None and value == outside is not None else _is_word(value, name)


def _is_word(value: Any, word: str | None) -> Match:
    if word is None or not isinstance(value, str):
        return Match.SOME
    fits = word.startswith(value[:-1]) if value.endswith("*") else value == word
    return Match.ALL if fits else Match.NONE


def _is_port(value: Any, port: int | range | None) -> Match:
    if port is None:
        return Match.SOME
    low, high = value["range"] if isinstance(value, dict) and "range" in value else (value, value)
    if not isinstance(low, int) or not isinstance(high, int):
        return Match.SOME
    return match_port(low, high, port)


def _in_network(value: Any, network: Network | None) -> Match:
    if network is None:
        return Match.SOME
    try:
        if isinstance(value, str):
            low = high = ip_address(value)
        elif "prefix" in value:
            whole = ip_network(f"{value['prefix']['addr']}/{value['prefix']['len']}")
            low, high = whole[0], whole[-1]
        else:
            low, high = map(ip_address, value["range"])
    except (KeyError, TypeError, ValueError):
        return Match.SOME
    first, last = network[0], network[-1]
    if low.version != first.version or int(high) < int(first) or int(last) < int(low):
        return Match.NONE
    return Match.ALL if int(low) <= int(first) and int(last) <= int(high) else Match.SOME
