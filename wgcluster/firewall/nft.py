"""What ``nft -j list ruleset`` prints, and what in it stops a packet: nft(8), libnftables-json(5)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from wgcluster.firewall.nft_match import Expression, both, match
from wgcluster.firewall.tables import Match, Packet

# These neither decide nor select.
_PLAIN = frozenset({"counter", "log", "notrack", "mangle", "comment", "set"})
_FAMILIES = {"ip": (4,), "ip6": (6,), "inet": (4, 6)}
_VERDICTS = frozenset({"accept", "drop", "reject", "return", "jump", "goto"})


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
            if not all(str(one.get(key, "")).isprintable() for key in ("name", "table", "chain")):
                raise ValueError("nft list ruleset: a name that nft does not allow")
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
                rule = Rule(int(one["handle"]), tuple(one.get("expr", ())))
                table.chains[one["chain"]].rules.append(rule)
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, json.JSONDecodeError):
        raise ValueError("nft list ruleset: not as in libnftables-json(5)") from None
    return tuple(tables.values())


def stop(table: Table, base: str, family: int, packet: Packet) -> Stop | None:
    """Where packets of a class may end on their way through a base chain; closed by default.

    Passed over is what surely is for other packets, or for certain addresses or services among these: a list
    of attackers, a port that nobody is to reach.
    """
    if family not in _FAMILIES[table.family]:
        return None
    found = _Walk(table, base, family, packet).through(base)
    if found is None and table.chains[base].policy == "drop":
        return Stop(table, base, base, None)
    return found if isinstance(found, Stop) else None


@dataclass(slots=True)
class _Walk:
    """A class of packets on its way from one base chain."""

    table: Table
    base: str
    family: int
    packet: Packet
    known: dict[str, Stop | Literal[True] | None] = field(default_factory=dict)  # what ``through`` said

    def through(self, name: str) -> Stop | Literal[True] | None:
        """A Stop; True: all are accepted; None: some or all come back to where the chain was called from."""
        if name not in self.known:
            self.known[name] = None  # the kernel refuses a loop
            self.known[name] = self._through(name)
        return self.known[name]

    def _through(self, name: str) -> Stop | Literal[True] | None:
        some_left = False  # by a return that not all of them take
        chain = self.table.chains.get(name)
        for rule in chain.rules if chain is not None else ():
            for outcome in _understood(self.table, rule, self.family, self.packet):
                if outcome.narrow and not outcome.sure:
                    continue
                if outcome.verdict in ("drop", "reject"):
                    return Stop(self.table, self.base, name, rule.handle)
                found = self.through(outcome.target) if outcome.target else None
                if isinstance(found, Stop):
                    return found
                accepted = found or outcome.verdict == "accept"
                leaves = outcome.verdict in ("return", "goto") and not accepted
                if outcome.sure and (accepted or leaves):
                    return True if accepted and not some_left else None
                some_left = some_left or leaves
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
            one, only_some = match(value, family, packet)
            matched, narrow = both(matched, one), narrow or only_some
            if matched is Match.NONE:
                return
        elif kind == "vmap":
            for key, verdict in _pairs(table, value["data"]):
                one, only_some = match({"left": value["key"], "op": "==", "right": key}, family, packet)
                if one is not Match.NONE:
                    yield _outcome(verdict, both(matched, one) is Match.ALL, narrow or only_some)
        elif kind in _VERDICTS:
            yield _outcome(expression, matched is Match.ALL, narrow)
        elif kind not in _PLAIN:
            matched = Match.SOME  # "limit" and whatever else there is


def _outcome(verdict: Expression, sure: bool, narrow: bool) -> _Outcome:
    (kind, value), *_ = verdict.items()
    return _Outcome(kind, str(value["target"]) if kind in ("jump", "goto") else "", sure, narrow)


def _pairs(table: Table, data: Any) -> Iterator[tuple[Any, Expression]]:
    """Keys and verdicts of a verdict map; one whose elements are not shown may drop anything."""
    elements = table.maps.get(data[1:]) if isinstance(data, str) else data["set"]
    if elements is None:
        elements = [("@", {"drop": None})]
    for key, verdict in elements:
        yield (key["elem"]["val"] if isinstance(key, dict) and "elem" in key else key), verdict
