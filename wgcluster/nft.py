"""What ``nft -j list ruleset`` prints, and what in it stops a packet: nft(8), libnftables-json(5)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from wgcluster.iptables import Match, Packet

Expression = Mapping[str, Any]  # one statement, {"drop": null}

# These neither decide nor select.
_PLAIN = frozenset({"counter", "log", "notrack", "mangle", "comment", "set"})
_FAMILIES = {"ip": (4,), "ip6": (6,), "inet": (4, 6)}
_ETHER = {"ip": 4, "ipv4": 4, "ip6": 6, "ipv6": 6}
_VERDICTS = frozenset({"accept", "drop", "reject", "return", "jump", "goto"})
_DEEPEST = 16  # NFT_JUMP_STACK_SIZE, linux/netfilter/nf_tables.h


@dataclass(frozen=True, slots=True)
class Rule:
    handle: int
    expressions: tuple[Expression, ...]


@dataclass(slots=True)
class Chain:
    """``hook`` is "input", "forward" …, "" where only rules lead into it."""

    hook: str
    policy: str
    rules: list[Rule] = field(default_factory=list)


@dataclass(slots=True)
class Table:
    family: str  # "ip", "ip6", "inet"
    name: str
    chains: dict[str, Chain] = field(default_factory=dict)
    maps: dict[str, Any] = field(default_factory=dict)  # elements by name


@dataclass(frozen=True, slots=True)
class Stop:
    """Where packets end: by the rule of a handle, in a chain that ``base`` leads into, or by its policy."""

    table: Table
    base: str
    chain: str
    handle: int | None

    def __str__(self) -> str:
        where = f"{self.table.family} {self.table.name} {self.chain}"
        return f"the policy of {where}" if self.handle is None else f"the rule {self.handle} of {where}"


def parse_ruleset(text: str) -> tuple[Table, ...]:
    """The tables that see IP packets; ValueError for what is no answer of nft's."""
    tables: dict[tuple[str, str], Table] = {}
    try:
        for kind, one in (item for entry in json.loads(text)["nftables"] for item in entry.items()):
            if kind == "table" and one["family"] in _FAMILIES and "dormant" not in one.get("flags", ()):
                tables[one["family"], one["name"]] = Table(one["family"], one["name"])
            table = tables.get((one.get("family"), one.get("table")))
            if table is None:
                continue
            if kind == "chain":
                table.chains[one["name"]] = Chain(one.get("hook", ""), one.get("policy", "accept"))
            elif kind == "map":
                table.maps[one["name"]] = one.get("elem")
            elif kind == "rule":
                table.chains[one["chain"]].rules.append(Rule(one["handle"], tuple(one.get("expr", ()))))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"nft list ruleset: {error!r} is not as in libnftables-json(5)") from None
    return tuple(tables.values())


def stops(table: Table, hook: str, family: int, packet: Packet) -> Iterator[Stop]:
    """Where in the base chains of a hook a packet of this class may end; closed by default.

    Passed over is what surely is for other packets, or for certain addresses or services among these: a list
    of attackers, a port that nobody is to reach.
    """
    for name, chain in table.chains.items():
        if chain.hook == hook and family in _FAMILIES[table.family]:
            found = _walk(table, name, name, family, packet)
            if isinstance(found, Stop):
                yield found
            elif found is None and chain.policy == "drop":
                yield Stop(table, name, name, None)


def _walk(
    table: Table, base: str, name: str, family: int, packet: Packet, depth: int = 0
) -> Stop | bool | None:
    """A Stop; True: all are accepted; None: they come back to where the chain was called from."""
    chain = table.chains.get(name)
    for rule in chain.rules if chain is not None and depth < _DEEPEST else ():
        for outcome in _understood(table, rule, family, packet):
            if outcome.verdict in ("drop", "reject") and not outcome.narrow:
                return Stop(table, base, name, rule.handle)
            if outcome.verdict in ("jump", "goto") and not outcome.narrow:
                found = _walk(table, base, outcome.target, family, packet, depth + 1)
                if isinstance(found, Stop) or (found and outcome.sure):
                    return found
            if outcome.sure and outcome.verdict in ("accept", "return", "goto"):
                return True if outcome.verdict == "accept" else None
    return None


@dataclass(frozen=True, slots=True)
class _Outcome:
    verdict: str  # "accept", "drop", "reject", "return", "jump", "goto"
    target: str  # the chain it leads into, or ""
    sure: bool  # for every packet of the class
    narrow: bool  # for certain addresses or services only


def _understood(table: Table, rule: Rule, family: int, packet: Packet) -> list[_Outcome]:
    """What a rule may do; one that is not as in libnftables-json(5) may drop anything."""
    try:
        return list(_outcomes(table, rule, family, packet))
    except (AttributeError, KeyError, TypeError, ValueError):
        return [_Outcome("drop", "", sure=False, narrow=False)]


def _outcomes(table: Table, rule: Rule, family: int, packet: Packet) -> Iterator[_Outcome]:
    """What a rule may do with packets of a class; nothing if it surely is for others."""
    matched, narrow = Match.ALL, False
    for expression in rule.expressions:
        (kind, value), *_ = expression.items()
        if kind == "match":
            one, only_some = _match(value, family, packet)
            matched, narrow = _both(matched, one), narrow or only_some
            if matched is Match.NONE:
                return
        elif kind == "vmap":
            for key, verdict in _pairs(table, value["data"]):
                one, only_some = _match({"left": value["key"], "op": "==", "right": key}, family, packet)
                if one is not Match.NONE:
                    yield _outcome(verdict, _both(matched, one) is Match.ALL, narrow or only_some)
        elif kind in _VERDICTS:
            yield _outcome(expression, matched is Match.ALL, narrow)
        elif kind not in _PLAIN:
            matched = Match.SOME  # "limit" and whatever else there is


def _outcome(verdict: Expression, sure: bool, narrow: bool) -> _Outcome:
    (kind, value), *_ = verdict.items()
    return _Outcome(kind, value["target"] if kind in ("jump", "goto") else "", sure, narrow)


def _pairs(table: Table, data: Any) -> Iterator[tuple[Any, Expression]]:
    """Keys and verdicts of a verdict map; one whose elements are not shown may drop anything."""
    elements = table.maps.get(data[1:]) if isinstance(data, str) else data["set"]
    if elements is None:
        elements = [("@", {"drop": None})]
    for key, verdict in elements:
        yield (key["elem"]["val"] if isinstance(key, dict) and "elem" in key else key), verdict


def _both(one: Match, other: Match) -> Match:
    if Match.NONE in (one, other):
        return Match.NONE
    return Match.ALL if one is other is Match.ALL else Match.SOME


def _match(match: Expression, family: int, packet: Packet) -> tuple[Match, bool]:
    """Does it match all, some or none of a class; and does it pick certain addresses or services of it?"""
    left, op, right = match["left"], match["op"], match["right"]
    if not _carries(left, family, packet):
        return Match.NONE, False
    equal = _equals(left, right, family, packet)
    if op in ("==", "in"):
        return equal, equal is Match.SOME and _picks(left)
    if op in ("!=", "!"):
        return {Match.ALL: Match.NONE, Match.NONE: Match.ALL, Match.SOME: Match.SOME}[equal], False
    return Match.SOME, False  # "<", ">="


def _parts(left: Expression) -> list[Expression]:
    """What a left side is made of: of a concatenation each part, of a masked value the value."""
    if "concat" in left:
        return list(left["concat"])
    return [left["&"][0]] if "&" in left else [left]


def _carries(left: Expression, family: int, packet: Packet) -> bool:
    """May a packet of this class have such a field at all?"""
    for part in _parts(left):
        protocol = part["payload"].get("protocol", "th") if "payload" in part else "th"
        if protocol in _ETHER and _ETHER[protocol] != family:
            return False
        if protocol not in ("th", "ether", "vlan", *_ETHER) and packet.protocol not in (None, protocol):
            return False
    return True


def _picks(left: Expression) -> bool:
    fields = {part["payload"].get("field") for part in _parts(left) if "payload" in part}
    return bool(fields & {"saddr", "daddr", "sport", "dport", "protocol", "nexthdr"}) or any(
        part.get("meta", {}).get("key") == "l4proto" for part in _parts(left)
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
        found = _both(found, _equals(part, one, family, packet))
    return found


def _any(found: Iterator[Match]) -> Match:
    results = set(found)
    return next((one for one in (Match.ALL, Match.SOME) if one in results), Match.NONE)


def _values(right: Any) -> list[Any] | None:
    """The values of a right side; None for a named set, whose elements are not shown."""
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
        case ("payload", "protocol" | "nexthdr") | ("meta", "l4proto"):
            return _is_word(value, packet.protocol)
        case "meta", "iif" | "iifname":
            return _is_word(value, packet.in_interface)
        case "meta", "oif" | "oifname":
            return _is_word(value, packet.out_interface)
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


def _is_word(value: Any, word: str | None) -> Match:
    if word is None or not isinstance(value, str):
        return Match.SOME
    fits = word.startswith(value[:-1]) if value.endswith("*") else value == word
    return Match.ALL if fits else Match.NONE


def _is_port(value: Any, port: int | None) -> Match:
    if port is None:
        return Match.SOME
    low, high = value["range"] if isinstance(value, dict) and "range" in value else (value, value)
    if not isinstance(low, int) or not isinstance(high, int):
        return Match.SOME
    return Match.ALL if low <= port <= high else Match.NONE


def _in_network(value: Any, network: IPv4Network | IPv6Network | None) -> Match:
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
