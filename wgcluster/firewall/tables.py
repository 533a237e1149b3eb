"""Tables as ``iptables-save`` prints them, and their verdicts: iptables(8), iptables-extensions(8)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import ip_network
from typing import Literal, NamedTuple

from wgcluster.prefixes import Network

Verdict = Literal["ACCEPT", "DROP", "REJECT"]
Spec = tuple[str, ...]  # a rule without its "-A CHAIN", one word an element

_POLICIES = ("ACCEPT", "DROP", "QUEUE", "-")
_TERMINAL: Mapping[str, Verdict] = {"ACCEPT": "ACCEPT", "DROP": "DROP", "REJECT": "REJECT"}

# Targets after which the packet continues with the next rule: iptables-extensions(8), "TARGET EXTENSIONS".
_GOES_ON = frozenset(
    {"AUDIT", "CHECKSUM", "CLASSIFY", "CONNMARK", "CONNSECMARK", "CT", "DSCP", "ECN", "HL", "LOG", "MARK"}
    | {"NFLOG", "NOTRACK", "RATEEST", "SECMARK", "SET", "TCPMSS", "TCPOPTSTRIP", "TEE", "TOS", "TRACE", "TTL"}
)

# Extensions that match by their options alone; others, such as "-m socket", match by themselves.
_PLAIN = frozenset({"comment", "conntrack", "icmp", "icmp6", "multiport", "state", "tcp", "udp"})
_SAFE_WORD = re.compile(r"[\w!@%+=:,./-]+", re.ASCII)
_SAFE_LINE = re.compile(rf"{_SAFE_WORD.pattern}(?: {_SAFE_WORD.pattern})*+", re.ASCII)


@dataclass(slots=True)
class Chain:
    """One chain: its policy ("-" for a user's own) and its rules in order."""

    policy: str = "ACCEPT"
    rules: list[Spec] = field(default_factory=list)


Tables = dict[str, dict[str, Chain]]  # table -> chain name -> chain


@dataclass(frozen=True, slots=True)
class Packet:
    """A class of packets; None: any value."""

    in_interface: str | None = None
    out_interface: str | None = None
    source: Network | None = None
    destination: Network | None = None
    protocol: str | None = None  # "tcp", "udp", "icmp", "ipv6-icmp"
    dport: int | range | None = None  # a range: all of these ports
    state: frozenset[str] | None = None  # conntrack states, any of these
    icmp_type: str | None = None
    sport: int | None = None
    outside: str | None = None  # an interface by which they neither come nor go


class Match(Enum):
    """Whether a rule matches all, none, or possibly some packets of a class."""

    ALL = "all"
    SOME = "some"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class End:
    """Where all packets of a class end in a chain: at rule ``index`` (from 0), or by the policy."""

    index: int
    verdict: Verdict


class Option(NamedTuple):
    """One option of a rule with its values: ``! -i eth0`` is ``Option("-i", ("eth0",), True)``."""

    name: str
    values: tuple[str, ...]
    negated: bool


_COMMENT = 256  # bytes, iptables-extensions(8): so many lines a rule can have
_LONGEST = 2**14  # characters


def parse_save(text: str) -> Tables:
    """Read the output of ``iptables-save`` or ``ip6tables-save``, without counters and comments.

    Raises:
        ValueError: it never prints such a line, or a table is incomplete or there twice.
    """
    tables: Tables = {}
    chains: dict[str, Chain] | None = None
    lines = iter(text.split("\n"))  # str.splitlines splits at other characters, too
    for line in lines:
        if line.startswith("*") and chains is None and line[1:].strip() not in tables:
            chains = tables[line[1:].strip()] = {}
        elif chains is not None and line == "COMMIT":
            chains = None
        elif chains is not None and line.startswith(":"):
            name, policy = _chain(line)
            chains[name] = Chain(policy)
        elif chains is not None and line.startswith("-A "):
            _, name, *spec = _rule(line, lines)
            chains.setdefault(name, Chain("-")).rules.append(tuple(spec))
        elif not line.startswith("#") and (line or chains is not None):
            raise ValueError(f"{line[:60]!a} is no line of iptables-save")
    if chains is not None:
        raise ValueError("a table of rules has no end")
    return tables


def _chain(line: str) -> tuple[str, str]:
    words = line[1:].split()
    if len(words) < 2 or words[1] not in _POLICIES:
        raise ValueError(f"{line[:60]!a} is no chain")
    return words[0], words[1]


def _rule(line: str, more: Iterator[str]) -> list[str]:
    """The words of a rule, and of further lines while a quote is open: a comment may have line ends."""
    for _ in range(_COMMENT):
        if len(line) > _LONGEST:
            raise ValueError(f"{line[:60]!a} is too long for a rule")
        try:
            words = shlex.split(line)
            break
        except ValueError:
            line += "\n" + next(more, "")
    else:
        raise ValueError(f"{line[:60]!a} has no end")
    if len(words) < 2:
        raise ValueError(f"{line[:60]!a} is no rule")
    # iptables prints the name in /etc/protocols, if it is there
    return [
        "ipv6-icmp" if word == "icmpv6" and words[i - 1] == "-p" else word for i, word in enumerate(words)
    ]


def join(spec: Spec) -> str:
    """A rule as ``iptables-restore`` reads it, with double quotes only."""
    line = " ".join(spec)
    if _SAFE_LINE.fullmatch(line) and line.count(" ") == len(spec) - 1:  # most are: one test for all words
        return line
    return " ".join(word if _SAFE_WORD.fullmatch(word) else _quoted(word) for word in spec)


def _quoted(word: str) -> str:
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def options(spec: Spec) -> Iterator[Option]:
    """The options of a rule, in their order."""
    position = 0
    while position < len(spec):
        negated = spec[position] == "!"
        name = spec[position + negated] if position + negated < len(spec) else ""
        end = position + negated + 1
        end += name == "--comment"  # its text may look like an option
        while end < len(spec) and not spec[end].startswith("-") and spec[end] != "!":
            end += 1
        yield Option(name, tuple(spec[position + negated + 1 : end]), negated)
        position = end


def target(spec: Spec) -> str:
    """The target of a rule: "ACCEPT", a chain …; "": it only counts."""
    return next((one.values[0] for one in options(spec) if one.name in ("-j", "-g") and one.values), "")


def comment(spec: Spec) -> str:
    """The comment of a rule; "": none."""
    return next((one.values[0] for one in options(spec) if one.name == "--comment" and one.values), "")


def match(spec: Spec, packet: Packet) -> Match:
    """Which packets of a class a rule matches; unknown options give Match.SOME."""
    some = False
    for option in options(spec):
        if option.name in ("-j", "-g"):
            break  # what follows belongs to the target
        result = _match_option(option, packet)
        if option.negated:
            result = {Match.ALL: Match.NONE, Match.NONE: Match.ALL, Match.SOME: Match.SOME}[result]
        if result is Match.NONE:
            return Match.NONE
        some = some or result is Match.SOME
    return Match.SOME if some else Match.ALL


def first_end(chains: Mapping[str, Chain], name: str, packet: Packet, depth: int = 0) -> End | None:
    """The first rule that no packet of this class gets past; None: some may reach the end of the chain."""
    for index, spec in enumerate(chains[name].rules if name in chains else ()):
        verdict = _end_of_rule(chains, spec, packet, depth)
        if verdict == "RETURN":  # from a built-in chain: to its policy
            return None if depth else End(index, _policy(chains[name]))
        if verdict is not None:
            return End(index, verdict)
    return None


def verdict(chains: Mapping[str, Chain], name: str, packet: Packet) -> Verdict:
    """The verdict on all packets of a class in a built-in chain: its first end, else its policy.

    Rules that match only some of them are skipped.
    """
    end = first_end(chains, name, packet)
    if end is not None:
        return end.verdict
    return _policy(chains[name]) if name in chains else "ACCEPT"


def first_accept(chains: Mapping[str, Chain], name: str, packet: Packet, depth: int = 0) -> int | None:
    """The index of the first rule that may accept some packets of this class; None: there surely is none.

    The opposite of ``first_end``: unknown options may match, and unknown targets may accept.
    """
    chain = chains.get(name, Chain())
    for index, spec in enumerate(chain.rules):
        matched, where = match(spec, packet), target(spec)
        if matched is Match.NONE or not where or where in _GOES_ON:
            continue
        goes = any(option.name == "-g" for option in options(spec))
        if where == "RETURN":
            accepts = not depth and _policy(chain) == "ACCEPT"
        elif where in chains:
            inside = depth >= 16 or first_accept(chains, where, packet, depth + 1) is not None
            accepts = inside or (goes and not depth and _policy(chain) == "ACCEPT")
        else:
            accepts = where not in ("DROP", "REJECT")
        if accepts:
            return index
        if matched is Match.ALL and where in ("DROP", "REJECT", "RETURN"):
            return None
    return None


def is_translated(chains: Mapping[str, Chain], name: str, packet: Packet, depth: int = 0) -> bool | None:
    """Does a chain of nat give all packets of a class another source? None: they reach its end unchanged."""
    returned = False  # some of them, to the caller
    for spec in chains.get(name, Chain()).rules:
        matched, where = match(spec, packet), target(spec)
        if matched is Match.NONE or not where or where in _GOES_ON:
            continue
        found: bool | None = where in ("MASQUERADE", "SNAT")
        if where == "RETURN" and depth:
            if matched is Match.ALL:
                return None
            returned, found = True, None
        elif where in chains and depth < 16:
            found = is_translated(chains, where, packet, depth + 1)
        if found is False or (found and matched is Match.ALL):
            return None if found and returned else found
    return None


def _policy(chain: Chain) -> Verdict:
    return _TERMINAL.get(chain.policy, "ACCEPT")


def _end_of_rule(
    chains: Mapping[str, Chain], spec: Spec, packet: Packet, depth: int
) -> Verdict | Literal["RETURN"] | None:
    matched = match(spec, packet)
    where = target(spec)
    if matched is Match.NONE or not where:
        return None
    if where == "RETURN":
        # In a user-defined chain a possible RETURN lets packets skip the rules below.
        return "RETURN" if matched is Match.ALL or depth else None
    goes = any(option.name == "-g" for option in options(spec))  # returns to the caller of this chain
    if matched is Match.SOME:
        return "RETURN" if goes and depth else None
    if where in _TERMINAL:
        return _TERMINAL[where]
    if where in chains and depth < 16:
        end = first_end(chains, where, packet, depth + 1)
        if end is not None:
            return end.verdict
    return "RETURN" if goes else None


def _match_option(option: Option, packet: Packet) -> Match:
    value = option.values[0] if option.values else ""
    match option.name:
        case "-m":
            return Match.ALL if value in _PLAIN else Match.SOME
        case "--comment":
            return Match.ALL
        case "-i":
            return _match_interface(value, packet.in_interface, packet.outside)
        case "-o":
            return _match_interface(value, packet.out_interface, packet.outside)
        case "-s":
            return _match_network(value, packet.source)
        case "-d":
            return _match_network(value, packet.destination)
        case "-p":
            return _match_set({value}, packet.protocol) if value != "all" else Match.ALL
        case "--dport" | "--dports":
            return _match_ports(value, packet.dport)
        case "--sport" | "--sports":
            return _match_ports(value, packet.sport)
        case "--ctstate" | "--state":
            return _match_states(frozenset(value.split(",")), packet.state)
        case "--icmp-type" | "--icmpv6-type":
            return _match_icmp(value, packet.icmp_type)
        case _:
            return Match.SOME


def _match_set(wanted: set[str], value: str | None) -> Match:
    if value is None:
        return Match.SOME
    return Match.ALL if value in wanted else Match.NONE


def _match_icmp(wanted: str, value: str | None) -> Match:
    kind, _, code = wanted.partition("/")
    if kind == "any":
        return Match.ALL
    result = _match_set({kind}, value)
    return Match.SOME if code and result is Match.ALL else result


def _match_interface(pattern: str, name: str | None, outside: str | None) -> Match:
    if pattern in ("", "+"):
        return Match.ALL
    if name is None:
        return Match.NONE if pattern == outside else Match.SOME
    fits = name.startswith(pattern[:-1]) if pattern.endswith("+") else name == pattern
    return Match.ALL if fits else Match.NONE


def _match_network(value: str, network: Network | None) -> Match:
    wanted = _network(value)
    if wanted is None:
        return Match.SOME
    if wanted.prefixlen == 0:
        return Match.ALL
    if network is None:
        return Match.SOME
    if wanted.version != network.version:
        return Match.NONE
    if network.subnet_of(wanted):  # type: ignore[arg-type]
        return Match.ALL
    return Match.SOME if wanted.subnet_of(network) else Match.NONE  # type: ignore[arg-type]


def _match_ports(value: str, port: int | range | None) -> Match:
    if port is None:
        return Match.SOME
    found = Match.NONE
    for part in value.split(","):
        low, _, high = part.partition(":")
        if not (low or "0").isdigit() or not (high or "0").isdigit():
            return Match.SOME
        one = match_port(int(low or 0), int(high or (65535 if ":" in part else low)), port)
        if one is Match.ALL:
            return Match.ALL
        found = Match.SOME if one is Match.SOME else found
    return found


def match_port(low: int, high: int, port: int | range) -> Match:
    """Which of the ports lie between two, both included."""
    first, last = (port[0], port[-1]) if isinstance(port, range) else (port, port)
    if last < low or high < first:
        return Match.NONE
    return Match.ALL if low <= first and last <= high else Match.SOME


def _match_states(wanted: frozenset[str], states: frozenset[str] | None) -> Match:
    if states is None or wanted & {"DNAT", "SNAT"}:  # flags of a flow, apart from its state
        return Match.SOME
    if states <= wanted:
        return Match.ALL
    return Match.SOME if states & wanted else Match.NONE


def packet_of(spec: Sequence[str]) -> Packet:
    """The class of packets that a rule matches, as far as its options are simple."""
    found = {one.name: one.values[0] for one in options(tuple(spec)) if one.values and not one.negated}
    states = found.get("--ctstate")
    low, colon, high = found.get("--dport", "").partition(":")
    port = None
    if low.isdigit() and (high.isdigit() or not colon):
        port = range(int(low), int(high) + 1) if colon else int(low)
    return Packet(
        in_interface=found.get("-i"),
        out_interface=found.get("-o"),
        source=_network(found.get("-s")),
        destination=_network(found.get("-d")),
        protocol=found.get("-p"),
        dport=port,
        state=frozenset(states.split(",")) if states else None,
        icmp_type=found.get("--icmp-type", found.get("--icmpv6-type")),
    )


def _network(value: str | None) -> Network | None:
    try:
        return None if value is None else ip_network(value, strict=False)
    except ValueError:
        return None  # a mask that is not a prefix
