"""Where our rules go in the tables of a host, and what has to change there.

A rule without our mark is never removed nor reordered.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from wgcluster.firewall.rules import Rule, mark
from wgcluster.firewall.tables import (
    Chain,
    Packet,
    Spec,
    Tables,
    Verdict,
    comment,
    first_accept,
    first_end,
    join,
    packet_of,
    target,
    verdict,
)
from wgcluster.prefixes import Network

# Set in this order, one by one: the guard is in mangle before that of an older version leaves filter.
_TABLES = ("raw", "mangle", "filter", "nat", "security")
_NO_ANSWER = frozenset({"NEW", "INVALID", "UNTRACKED"})  # conntrack states of packets that are no answers


@dataclass(frozen=True, slots=True)
class Change:
    """The change of one chain: lines for ``iptables-restore --noflush``, and ``diff`` for people."""

    table: str
    chain: str
    lines: tuple[str, ...]
    diff: tuple[str, ...]  # "+ …", "- …", "~ … (reason)"


def changes(
    tables: Tables, rules: Sequence[Rule], interface: str, forward_policy: str | None = None
) -> list[Change]:
    """The changes that the chains of one family need; empty if they are right.

    A chain is right if it has each rule of ours exactly once, in order, and no foreign rule before them
    surely gives the packets of ours another verdict, or can accept what ours drops. Ours go before the first
    such rule; in FORWARD at most at position 2, counted from 1.

    Args:
        forward_policy: new policy of FORWARD, "ACCEPT" or "DROP"; None: it stays.
    """
    found: list[Change] = []
    keys = dict.fromkeys((rule.table, rule.chain) for rule in rules)
    for table, chains in tables.items():
        for name, chain in chains.items():
            if any(is_ours(spec, interface) for spec in chain.rules):
                keys.setdefault((table, name))  # type: ignore[arg-type]
    for table, name in keys:
        ours = [rule.spec for rule in rules if (rule.table, rule.chain) == (table, name)]
        change = _change(table, tables.get(table, {}), name, ours, interface)
        if change is not None:
            found.append(change)
    policy = tables.get("filter", {}).get("FORWARD", Chain()).policy
    if forward_policy not in (None, policy):
        diff = f"~ -t filter -P FORWARD {forward_policy}  (was {policy})"
        found.append(Change("filter", "FORWARD", (f":FORWARD {forward_policy} [0:0]",), (diff,)))
    return found


def for_other_backend(tables: Tables, rules: Sequence[Rule]) -> list[Rule]:
    """The rules that the other backend needs, too, because its own rules stop what they accept.

    Both backends hook into the kernel, and a packet must pass both. ``iptables`` shows only its own rules.
    """
    chains = tables.get("filter", {})
    foreign = {
        name: Chain(chain.policy, [s for s in chain.rules if not _marked(s)])
        for name, chain in chains.items()
    }
    return [
        rule
        for rule in rules
        if rule.table == "filter"
        and target(rule.spec) == "ACCEPT"
        and verdict(foreign, rule.chain, packet_of(rule.spec)) != "ACCEPT"
    ]


def is_ours(spec: Spec, interface: str) -> bool:
    """Does the rule have our mark?"""
    return comment(spec) == mark(interface)


def _marked(spec: Spec) -> bool:
    return comment(spec).startswith("wgcluster-")


def _change(
    table: str, chains: Mapping[str, Chain], name: str, ours: Sequence[Spec], interface: str
) -> Change | None:
    there = chains.get(name, Chain()).rules
    present = [spec for spec in there if is_ours(spec, interface)]
    blocked = _blocked(chains, name, interface)
    if present == list(ours) and not blocked:
        return None
    place = placed(table, chains, name, ours, interface)
    removed = [f"-D {name} {join(spec)}" for spec in present]
    added = [f"-I {name} {place + index} {join(spec)}" for index, spec in enumerate(ours)]
    return Change(table, name, (*removed, *added), tuple(_diff(table, name, present, ours, blocked)))


def _blocked(chains: Mapping[str, Chain], name: str, interface: str) -> dict[Spec, Spec]:
    """Our rules that are without effect, each with the foreign rule that precedes it."""
    dead: dict[Spec, Spec] = {}
    chain = chains.get(name, Chain())
    rules = chain.rules
    for position, spec in enumerate(rules):
        if not is_ours(spec, interface):
            continue
        ahead = {
            **chains,
            name: Chain(chain.policy, [s for s in rules[:position] if not is_ours(s, interface)]),
        }
        if (index := _obstacle(ahead, name, spec)) is not None:
            dead[spec] = ahead[name].rules[index]
    return dead


def _obstacle(chains: Mapping[str, Chain], name: str, spec: Spec) -> int | None:
    """The index of the first foreign rule after which ``spec`` would be without effect."""
    if target(spec) == "RETURN":
        return None
    packet = packet_of(spec)
    if target(spec) == "DROP":
        return first_accept(chains, name, replace(packet, state=_NO_ANSWER))
    if (
        target(spec) == "TCPMSS"
    ):  # the first packet of each direction: SYN is NEW, SYN and ACK are ESTABLISHED
        states = (frozenset({state}) for state in ("NEW", "ESTABLISHED"))
        ends = (first_end(chains, name, replace(packet, state=state)) for state in states)
        return min((end.index for end in ends if end is not None), default=None)
    end = first_end(chains, name, packet)
    return None if end is None or not _differs(spec, end.verdict) else end.index


def _differs(spec: Spec, verdict: Verdict) -> bool:
    if target(spec) == "ACCEPT":
        return verdict != "ACCEPT"
    return target(spec) != "REJECT" or verdict == "ACCEPT"  # a DROP before a REJECT is fine


def placed(table: str, chains: Mapping[str, Chain], name: str, ours: Sequence[Spec], interface: str) -> int:
    """The position of our first rule among the foreign rules of a chain, counted from 1."""
    chain = chains.get(name, Chain())
    others = [spec for spec in chain.rules if not is_ours(spec, interface)]
    foreign = {**chains, name: Chain(chain.policy, others)}
    places = [len(others) + 1]
    beside_others = (table, name) == ("filter", "FORWARD")
    if beside_others:
        places.append(2)
    for spec in ours:
        if (index := _obstacle(foreign, name, spec)) is not None:
            places.append(index + 1)
        packet = packet_of(spec)  # answers may be accepted by a foreign rule
        if beside_others and not packet.state and (end := first_end(foreign, name, packet)) is not None:
            places.append(end.index + 1)
    return min(places)


def _diff(
    table: str, name: str, present: Sequence[Spec], ours: Sequence[Spec], blocked: Mapping[Spec, Spec]
) -> Iterator[str]:
    where = f"-t {table} -A {name}"
    for spec in dict.fromkeys(present):
        surplus = present.count(spec) - ours.count(spec)
        if surplus > 0:
            times = f"  ({surplus} of {present.count(spec)} copies)" if present.count(spec) > 1 else ""
            yield f"- {where} {join(spec)}{times}"
    for spec in ours:
        if spec not in present:
            yield f"+ {where} {join(spec)}"
        elif spec in blocked:
            yield f"~ {where} {join(spec)}  (stood behind: {join(blocked[spec])})"
    if sorted(present) == sorted(ours) and present != list(ours):
        yield f"~ {where}: our rules put back in order"


def after(tables: Tables, made: Sequence[Change]) -> Tables:
    """The tables after the changes."""
    result: Tables = {
        table: {name: Chain(chain.policy, list(chain.rules)) for name, chain in chains.items()}
        for table, chains in tables.items()
    }
    for change in made:
        chains = result.setdefault(change.table, {})
        for line in change.lines:
            action, name, *words = shlex.split(line)
            if action.startswith(":"):
                chains.setdefault(action[1:], Chain()).policy = name
                continue
            rules = chains.setdefault(name, Chain()).rules
            if action == "-D":
                rules.remove(tuple(words))
            else:
                rules.insert(int(words[0]) - 1, tuple(words[1:]))
    return result


def would_close(
    tables: Tables, made: Sequence[Change], source: Network, port: int, interface: str | None
) -> bool:
    """After the changes, can a new connection from ``source`` to a TCP port on ``interface`` be refused?"""
    new = frozenset({"NEW"})
    packet = Packet(in_interface=interface, source=source, protocol="tcp", dport=port, state=new)
    return verdict(after(tables, made).get("filter", {}), "INPUT", packet) != "ACCEPT"


def restore_text(made: Sequence[Change]) -> str:
    """The input of one ``iptables-restore --noflush -w``, which changes each table atomically."""
    lines: list[str] = []
    for table in sorted({change.table for change in made}, key=_TABLES.index):
        lines.append(f"*{table}")
        lines += [line for change in made if change.table == table for line in change.lines]
        lines.append("COMMIT")
    return "\n".join(lines) + "\n"
