"""The output of ``nft -j list ruleset``, and what in it drops packets: nft(8), libnftables-json(5)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from wgcluster.firewall.nft_match import Expression, both, match
from wgcluster.firewall.tables import Match, Packet

# Statements that neither match nor decide.
_PLAIN = frozenset({"counter", "log", "notrack", "mangle", "comment", "set"})
_FAMILIES = {"ip": (4,), "ip6": (6,), "inet": (4, 6), "netdev": (4, 6)}
_ELSEWHERE = frozenset({"dnat", "redirect"})
_VERDICTS = frozenset({"accept", "drop", "reject", "return", "jump", "goto"}) | _ELSEWHERE


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a chain."""

    handle: int
    expressions: tuple[Expression, ...]


@dataclass(slots=True)
class Chain:
    """``hook`` is "input", "forward" …; "": only rules lead into the chain."""

    hook: str
    policy: str
    priority: int = 0  # the chains of a hook are passed in this order, lowest first
    devices: tuple[str, ...] = ()  # of the hooks "ingress" and "egress"
    rules: list[Rule] = field(default_factory=list)


@dataclass(slots=True)
class Table:
    """One table with its chains and verdict maps."""

    family: str  # "ip", "ip6", "inet", "netdev"
    name: str
    chains: dict[str, Chain] = field(default_factory=dict)
    maps: dict[str, Any] = field(default_factory=dict)  # elements by name


@dataclass(frozen=True, slots=True)
class Stop:
    """Where packets are dropped or redirected.

    By a rule (its handle) in a chain reached from ``base``, or by a policy.
    """

    table: Table
    base: str
    chain: str
    handle: int | None

    def __str__(self) -> str:
        where = f"{self.table.family} {self.table.name} {self.chain}"
        return f"the policy of {where}" if self.handle is None else f"the rule {self.handle} of {where}"


def parse_ruleset(text: str) -> tuple[Table, ...]:
    """The tables that see IP packets.

    Raises:
        ValueError: it is no output of nft.
    """
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
                table.chains[one["name"]] = _chain(one)
            elif kind == "map":
                table.maps[one["name"]] = one.get("elem")
            elif kind == "rule":
                rule = Rule(int(one["handle"]), tuple(one.get("expr", ())))
                table.chains[one["chain"]].rules.append(rule)
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, json.JSONDecodeError):
        raise ValueError("nft list ruleset: not as in libnftables-json(5)") from None
    return tuple(tables.values())


def _chain(one: Mapping[str, Any]) -> Chain:
    devices = one.get("dev", ())
    return Chain(
        one.get("hook", ""),
        one.get("policy", "accept"),
        int(one.get("prio", 0)),
        (devices,) if isinstance(devices, str) else tuple(devices),
    )


def stop(table: Table, base: str, family: int, packet: Packet) -> Stop | None:
    """Where packets of a class may be dropped in a base chain; unknown expressions may match and drop.

    Skipped are rules for other packets, and rules for certain addresses or services among these: a list of
    attackers, a closed port.
    """
    if family not in _FAMILIES[table.family]:
        return None
    found = _Walk(table, base, family, packet).through(base)
    if found is None and table.chains[base].policy == "drop":
        return Stop(table, base, base, None)
    return found if isinstance(found, Stop) else None


def redirect(table: Table, base: str, family: int, packet: Packet) -> Stop | None:
    """The rule that may give packets of a class another destination, nft(8), "NAT statements".

    Rules for certain sources among these are skipped.
    """
    if family not in _FAMILIES[table.family]:
        return None
    seen: set[str] = set()

    def through(name: str) -> Stop | None:
        seen.add(name)
        for rule in table.chains[name].rules if name in table.chains else ():
            for outcome in _understood(table, rule, family, packet):
                if outcome.verdict in _ELSEWHERE and (outcome.sure or not outcome.narrow):
                    return Stop(table, base, name, rule.handle)
                if outcome.target and outcome.target not in seen and (found := through(outcome.target)):
                    return found
        return None

    return through(base)


@dataclass(slots=True)
class _Walk:
    """Follows a class of packets from one base chain."""

    table: Table
    base: str
    family: int
    packet: Packet
    known: dict[str, Stop | Literal[True] | None] = field(default_factory=dict)  # results of ``through``

    def through(self, name: str) -> Stop | Literal[True] | None:
        """A Stop; True: all are accepted; None: some or all return to the caller of the chain."""
        if name not in self.known:
            self.known[name] = None  # the kernel refuses a loop
            self.known[name] = self._through(name)
        return self.known[name]

    def _through(self, name: str) -> Stop | Literal[True] | None:
        some_left = False  # after a return of some of them
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
    verdict: str  # "accept", "drop", "reject", "return", "jump", "goto", "dnat", "redirect"
    target: str  # the chain it leads to, or ""
    sure: bool  # for every packet of the class
    narrow: bool  # for certain addresses or services only


def _understood(table: Table, rule: Rule, family: int, packet: Packet) -> list[_Outcome]:
    """The possible outcomes of a rule; one that is not as in libnftables-json(5) may drop anything."""
    try:
        return list(_outcomes(table, rule, family, packet))
    except (AttributeError, KeyError, TypeError, ValueError):
        return [_Outcome("drop", "", sure=False, narrow=False)]


def _outcomes(table: Table, rule: Rule, family: int, packet: Packet) -> Iterator[_Outcome]:
    """The possible outcomes of a rule for packets of a class; none if it is for others."""
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
    """Keys and verdicts of a verdict map; one with unknown elements may drop anything."""
    elements = table.maps.get(data[1:]) if isinstance(data, str) else data["set"]
    if elements is None:
        elements = [("@", {"drop": None})]
    for key, verdict in elements:
        yield (key["elem"]["val"] if isinstance(key, dict) and "elem" in key else key), verdict
