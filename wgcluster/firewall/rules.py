"""HostPlan -> the rules it needs, in order; and what has to change in the tables that a host has.

A rule is written as ``iptables-save`` prints it, so that what is there and what is wanted compare as text.
Ours carry the comment ``wgcluster-<interface>``; a rule without it is never removed nor reordered.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv6Network, ip_network
from typing import Literal

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
from wgcluster.inventory.schema import Network
from wgcluster.plan.plan import HostPlan

Family = Literal[4, 6]
FAMILIES: tuple[Family, Family] = (4, 6)

# Neighbour discovery and multicast listeners, which IPv6 cannot do without, and ping (RFC 4890, 4.4.1).
# Errors such as "packet too big" belong to a flow and pass as RELATED.
_ICMPV6_TYPES = (128, 130, 131, 132, 133, 134, 135, 136, 143)
_LINK_LOCAL = IPv6Network("fe80::/10")
_DHCPV6_CLIENT = 546  # RFC 8415, 7.2
_REJECT = {4: "icmp-host-prohibited", 6: "icmp6-adm-prohibited"}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of ours: where it belongs and its words without ``-A CHAIN``."""

    family: Family
    table: Literal["raw", "filter", "nat"]
    chain: Literal["PREROUTING", "INPUT", "FORWARD", "POSTROUTING"]
    spec: Spec

    def __str__(self) -> str:
        tool = "iptables" if self.family == 4 else "ip6tables"
        return f"{tool} -t {self.table} -A {self.chain} {join(self.spec)}"


@dataclass(frozen=True, slots=True)
class Change:
    """What makes one chain right, as lines of one ``iptables-restore --noflush``; shown by ``diff``."""

    table: str
    chain: str
    lines: tuple[str, ...]
    diff: tuple[str, ...]  # "+ …", "- …", "~ … (reason)"


def mark(interface: str) -> str:
    """The comment by which a rule of ours is found again."""
    return f"wgcluster-{interface}"


def wanted(host: HostPlan) -> tuple[Rule, ...]:
    """All rules of ``host``, both families, in their order within each chain."""
    if host.firewall == "off":
        return ()
    return tuple(rule for family in FAMILIES for rule in (*_input(host, family), *_tunnel(host, family)))


def tunnel_rules(host: HostPlan) -> tuple[Rule, ...]:
    """Those of ``wanted`` that say what enters and leaves the tunnel; not who may dial the host."""
    if host.firewall == "off":
        return ()
    return tuple(rule for family in FAMILIES for rule in _tunnel(host, family))


def _ours(host: HostPlan, *words: str, to: str = "ACCEPT") -> Spec:
    return (*words, "-m", "comment", "--comment", mark(host.interface), "-j", *to.split())


def _input(host: HostPlan, family: Family) -> Iterator[Rule]:
    specs = [
        _ours(host, *_source(source), "-p", "udp", "-m", "udp", "--dport", str(host.port))
        for source in _widest(host.listen_from, family)
    ]
    if host.firewall == "baseline":
        specs = [
            _ours(host, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED"),
            _ours(host, "-i", "lo"),
            *(_ours(host, *words) for words in _icmp(family)),
            *specs,
            *(_ours(host, *words) for words in _allowed(host, family)),
            _ours(host, to=f"REJECT --reject-with {_REJECT[family]}"),
        ]
    yield from (Rule(family, "filter", "INPUT", spec) for spec in specs)


def _tunnel(host: HostPlan, family: Family) -> Iterator[Rule]:
    """Nobody gets into the overlay by the wire, whatever the host forwards and whatever its policies are.

    Linux answers for each of its addresses on every interface, and where it forwards it takes a packet for
    the overlay from anyone who sends it one. So what is for an own overlay address, or pretends to come from
    the overlay, is dropped unless it came by the interface, as wg-quick(8) itself does for a full tunnel, or
    from a network that this host announces; and the tunnel takes from this host only what the plan forwards,
    and answers.
    """
    wg = host.interface
    own = [address for address in host.addresses if address.version == family]
    behind = [str(network) for network in host.subnets if network.version == family]
    if not own:
        return
    raw = [_ours(host, "-i", "lo", to="RETURN"), *(_ours(host, "-s", one, to="RETURN") for one in behind)]
    raw += [_ours(host, "-d", str(ip_network(one.ip)), "!", "-i", wg, to="DROP") for one in own]
    networks = dict.fromkeys(str(one.network) for one in own)
    raw += [_ours(host, "-s", network, "!", "-i", wg, to="DROP") for network in networks]
    yield from (Rule(family, "raw", "PREROUTING", spec) for spec in raw)
    forward = []
    if family in host.forwards:
        forward.append(_ours(host, "-i", wg, "-o", wg))
        forward += [_ours(host, "-d", network, "-i", wg) for network in behind]
        forward += [_ours(host, "-s", network, "-o", wg) for network in behind]
    forward.append(_ours(host, "-o", wg, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED"))
    forward.append(_ours(host, "-o", wg, to="DROP"))
    yield from (Rule(family, "filter", "FORWARD", spec) for spec in forward)
    if host.masquerade and family in host.forwards:
        for source in _by_tunnel(host, family):
            yield Rule(family, "nat", "POSTROUTING", _ours(host, "-s", source, "-o", wg, to="MASQUERADE"))


def _by_tunnel(host: HostPlan, family: Family) -> list[str]:
    """Networks whose packets reach ``host`` by the interface: POSTROUTING cannot ask where one came in."""
    overlay = [address.network for address in host.addresses if address.version == family]
    others = [
        network
        for peer in host.peers
        for network in peer.allowed_ips
        if network.version == family and not any(network.subnet_of(one) for one in overlay)  # type: ignore[arg-type]
    ]
    return list(dict.fromkeys(map(str, [*overlay, *others])))


def _source(network: Network) -> tuple[str, ...]:
    return ("-s", str(network)) if network.prefixlen else ()


def _widest(networks: Sequence[Network], family: Family) -> list[Network]:
    """Those of one family without any that another holds."""
    own = [network for network in networks if network.version == family]
    everywhere = [network for network in own if network.prefixlen == 0]
    return everywhere[:1] or own


def _icmp(family: Family) -> Iterator[tuple[str, ...]]:
    if family == 4:
        yield ("-p", "icmp", "-m", "icmp", "--icmp-type", "8")
        return
    for kind in _ICMPV6_TYPES:
        yield ("-p", "ipv6-icmp", "-m", "icmp6", "--icmpv6-type", str(kind))
    yield (*_source(_LINK_LOCAL), "-p", "udp", "-m", "udp", "--dport", str(_DHCPV6_CLIENT))


def _allowed(host: HostPlan, family: Family) -> Iterator[tuple[str, ...]]:
    anywhere = ip_network("0.0.0.0/0" if family == 4 else "::/0")
    for allow in host.firewall_allow:
        for source in _widest(allow.sources or (anywhere,), family):
            port = ("-p", allow.protocol, "-m", allow.protocol, "--dport", str(allow.port))
            yield (*_source(source), *port)


def changes(
    tables: Tables, rules: Sequence[Rule], interface: str, forward_policy: str | None = None
) -> list[Change]:
    """What makes the chains of one family right; empty if they are.

    ``forward_policy`` is what the policy of FORWARD becomes, "ACCEPT" or "DROP"; None: it stays.

    A chain is right when each rule of ours is in it exactly once, in order, and no foreign rule in front
    surely ends the chain with another verdict for the packets that ours is for, nor might accept what ours
    drops. Ours go in front of the first rule that would; in FORWARD at position 2 if that is further up,
    counted from 1.
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


def elsewhere(tables: Tables, rules: Sequence[Rule]) -> list[Rule]:
    """Those of ``rules`` that the other backend needs too: what they let in is stopped by rules there.

    Both backends hook into the kernel and a packet has to pass each. ``iptables`` shows only its own.
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
    place = placed(chains, name, ours, interface)
    removed = [f"-D {name} {join(spec)}" for spec in present]
    added = [f"-I {name} {place + index} {join(spec)}" for index, spec in enumerate(ours)]
    return Change(table, name, (*removed, *added), tuple(_diff(table, name, present, ours, blocked)))


def _blocked(chains: Mapping[str, Chain], name: str, interface: str) -> dict[Spec, Spec]:
    """Rules of ours that never see a packet, each with the foreign rule that takes it first."""
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
    """The first foreign rule behind which ``spec`` would not do what it is for."""
    if target(spec) == "RETURN":
        return None
    packet = packet_of(spec)
    if target(spec) == "DROP":
        return first_accept(chains, name, replace(packet, state=frozenset({"NEW"})))
    end = first_end(chains, name, packet)
    return None if end is None or not _differs(spec, end.verdict) else end.index


def _differs(spec: Spec, verdict: Verdict) -> bool:
    if target(spec) == "ACCEPT":
        return verdict != "ACCEPT"
    return target(spec) != "REJECT" or verdict == "ACCEPT"  # what is dropped need not be rejected


def placed(chains: Mapping[str, Chain], name: str, ours: Sequence[Spec], interface: str) -> int:
    """Where ``ours`` begin among the rules of others in a chain, counted from 1."""
    chain = chains.get(name, Chain())
    others = [spec for spec in chain.rules if not is_ours(spec, interface)]
    foreign = {**chains, name: Chain(chain.policy, others)}
    places = [len(others) + 1]
    if name == "FORWARD":
        places.append(2)
    for spec in ours:
        if (index := _obstacle(foreign, name, spec)) is not None:
            places.append(index + 1)
        packet = packet_of(spec)  # answers that somebody else's rule accepts need none of ours
        if name == "FORWARD" and not packet.state and (end := first_end(foreign, name, packet)) is not None:
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
    """The tables as they will be once ``made`` is applied."""
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


def closes(tables: Tables, made: Sequence[Change], source: Network, port: int, interface: str | None) -> bool:
    """Would a new connection from ``source`` to TCP ``port`` on ``interface`` no longer surely get in?"""
    new = frozenset({"NEW"})
    packet = Packet(in_interface=interface, source=source, protocol="tcp", dport=port, state=new)
    return verdict(after(tables, made).get("filter", {}), "INPUT", packet) != "ACCEPT"


def restore_text(made: Sequence[Change]) -> str:
    """The input of one ``iptables-restore --noflush -w`` of one family: each table changes at once."""
    lines: list[str] = []
    for table in dict.fromkeys(change.table for change in made):
        lines.append(f"*{table}")
        lines += [line for change in made if change.table == table for line in change.lines]
        lines.append("COMMIT")
    return "\n".join(lines) + "\n"
