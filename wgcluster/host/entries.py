"""Lines below a section of the answer of ``files/observe.sh`` -> files, units, routes, rules, peers.

Each raises ValueError for what the script does not print, in words that may be shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256

from wgcluster.firewall.tables import parse_save
from wgcluster.host import answer
from wgcluster.host.kernel_routes import TYPES, PolicyRule, Route, parse_routes, parse_rule
from wgcluster.host.observed import File, LivePeer, Rules, Ssh, Unit, WireguardInterface
from wgcluster.prefixes import Family


def owned(words: Sequence[str]) -> tuple[str, str]:
    """Mode and owner."""
    mode = answer.matching(answer.MODE, words[0], "mode")
    return mode, answer.matching(answer.OWNER, words[1] if words[1:] else "", "owner")


def file(words: Sequence[str]) -> File:
    match words:
        case ["file", mode, owner, _, digest, *target] if target:
            path = answer.matching(answer.PATH, " ".join(target), "path")
            return File("file", *owned((mode, owner)), answer.matching(answer.DIGEST, digest, "digest"), path)
        case ["absent" | "dangling" | "other" as kind]:
            return File(kind)
        case _:
            raise ValueError(f"a file is {answer.shown(' '.join(words))}")


def unit(words: Sequence[str]) -> Unit:
    enabled, slash, active = " ".join(words[1:]).partition("/")
    if not slash:
        raise ValueError(f"the unit {answer.shown(words[0])} has no states")
    for state in (enabled, active):
        answer.matching(answer.STATE, state.strip(), "state of a unit")
    return Unit(enabled.strip() == "enabled", active.strip() == "active")


def routes(lines: Sequence[str], family: str) -> Iterator[Route]:
    for line in lines:
        try:
            yield from parse_routes([line], 4 if family == "4" else 6)
        except (ValueError, IndexError):
            raise ValueError(f"{answer.shown(line)} is no route") from None


def policy(lines: Sequence[str], family: str) -> Iterator[PolicyRule]:
    for line in lines:
        answer.matching(answer.RULE, line, "rule of the routing policy")
        try:
            yield parse_rule(line, 4 if family == "4" else 6)
        except (ValueError, IndexError):
            raise ValueError(f"{answer.shown(line)} is no rule of the routing policy") from None


def interface(line: str) -> WireguardInterface:
    name, key, port = _fields(line, " ", 3)
    answer.matching(answer.KEY, key, "key")
    return WireguardInterface(answer.interface(name), key, answer.port(port))


def sysctl(line: str) -> tuple[str, str]:
    key, value = _fields(line, " ", 2)
    return answer.matching(answer.SYSCTL, key, "sysctl"), answer.matching(answer.VALUE, value, "value")


def _fields(line: str, separator: str, count: int) -> list[str]:
    fields = line.split(separator)
    if len(fields) != count:
        raise ValueError(f"{answer.shown(line)} has not {count} fields")
    return fields


def rules(words: Sequence[str], lines: Sequence[str]) -> Rules:
    family: Family = 4 if words[0] == "4" else 6
    return Rules(
        family,
        answer.matching(answer.TOOL, words[1], "tool"),
        words[2] == "primary",
        parse_save("\n".join(lines)),
        frozenset(_closed(lines)),
    )


def ssh(words: Sequence[str], lines: Sequence[str]) -> Ssh | None:
    names = [answer.interface(line) for line in lines]
    if not words and not names:
        return None
    source, source_port, own, port = _fields(" ".join(words), " ", 4)
    answer.port(source_port)
    answer.address(own)
    return Ssh(answer.address(source), answer.port(port), names[0] if names else None)


def with_texts(
    files: Mapping[str, File], sizes: Mapping[str, int], texts: bytes, masked: str
) -> Iterator[tuple[str, File]]:
    """Each file with its part of ``texts``, their concatenation, in which ``masked`` comes last.

    Raises:
        ValueError: a file was changed while it was read.
    """
    begin = 0
    for path, size in sizes.items():
        if path != masked:
            data = texts[begin : begin + size]
            begin += size
            if sha256(data).hexdigest() != files[path].digest:
                raise ValueError(f"{answer.shown(path)} was changed meanwhile; run this again")
            yield path, replace(files[path], data=data)
    if not texts.endswith(b".") or begin >= len(texts) or (masked not in sizes and begin + 1 != len(texts)):
        raise ValueError("the texts of files are cut off")
    if masked in sizes:
        yield masked, replace(files[masked], data=texts[begin:-1])


def addresses(lines: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Interface, address with prefix length, and scope of each line of ``ip -o addr show``, ip-address(8)."""
    for line in lines:
        words = line.split()
        if len(words) < 4 or "scope" not in words[4:-1]:
            raise ValueError(f"{answer.shown(line)} is no line of an address")
        if words[2] in ("inet", "inet6"):
            yield (
                answer.interface(words[1]),
                answer.with_prefix(words[3]),
                words[words.index("scope", 4) + 1],
            )


def sysctl_files(lines: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The files of sysctl.d(5) by path, each with its lines about forwarding and IPv6.

    All files are named first, without a line; then each line follows the path of its file.
    """
    found: dict[str, tuple[str, ...]] = {}
    for line in lines:
        path, tab, text = line.partition("\t")
        answer.matching(answer.SYSCTL_FILE, path, "file of sysctl.d")
        if (path in found) != bool(tab):
            raise ValueError(f"{answer.shown(line)} is no line of a file of sysctl.d")
        found[path] = (*found[path], text) if tab else ()
    return found


def sources(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each destination and the address that the kernel sends to it from: ``ip route get``, ip-route(8)."""
    for line in lines:
        words = line.split()
        words = words[1:] if words[0] in TYPES else words
        if "src" in words[1:-1]:
            yield answer.address(words[0]), answer.address(words[words.index("src", 1) + 1])


def _closed(lines: Sequence[str]) -> Iterator[str]:
    """The tables that ``iptables-save`` reports it cannot show (iptables/xtables-save.c)."""
    for line in lines:
        if line.startswith("# Table `") and line.endswith("' is incompatible, use 'nft' tool."):
            yield line.removeprefix("# Table `").partition("'")[0]


def nginx(output: bytes) -> tuple[str | None, str]:
    """The error and the dump of ``nginx -T``, from its outputs and its exit status, which comes last.

    It prints messages first, and the dump if nothing is wrong (src/core/nginx.c, main).
    """
    text, _, status = output.decode("utf-8", "surrogateescape").removesuffix("\n").rpartition("\n")
    if answer.number(status, "exit status", high=255):
        return text.strip(), ""
    _, mark, dump = text.partition("# configuration file ")
    return None, mark + dump


def oldest(now: str, stats: Sequence[str]) -> float | None:
    """When the oldest of some processes started, in seconds since the epoch; None: there is none.

    Args:
        now: ``date +%s.%N``; some systems have whole seconds alone.
        stats: lines of proc_pid_stat(5); the first is of a process that has just started.
    """
    # field 22, in ticks since boot; field 2, a name, may have blanks; USER_HZ is 100, time(7)
    own, *others = (_ticks(line) for line in stats) if stats else (0,)
    seconds = float(now) if now.replace(".", "").isdigit() else float(now.partition(".")[0]) + 1
    return seconds - (own - min(others)) / 100 if others else None


def _ticks(line: str) -> int:
    words = line.rpartition(")")[2].split()
    if len(words) < 20:
        raise ValueError(f"{answer.shown(line)} is no line of a process")
    return answer.number(words[19], "time in ticks", high=10**14)


def changed(line: str) -> tuple[str, float]:
    when, _, path = line.partition(" ")
    return answer.matching(answer.PATH, path, "path"), float(answer.matching(answer.TIME, when, "time"))


def dump(lines: Sequence[str]) -> tuple[str, int, dict[str, LivePeer]]:
    """The interface's public key and port, and its peers by public key."""
    public_key, port = _fields(lines[0], "\t", 2)
    peers: dict[str, LivePeer] = {}
    for line in lines[1:]:
        key, preshared, endpoint, allowed, handshake, keepalive = _fields(line, "\t", 6)
        if answer.matching(answer.KEY, key, "key") in peers:
            raise ValueError(f"the peer {answer.shown(key)} is there twice")
        peers[key] = LivePeer(
            preshared_key=answer.one_of(("psk", "-"), preshared, "word for a preshared key") == "psk",
            endpoint=None if endpoint == "(none)" else answer.endpoint(endpoint),
            allowed_ips=frozenset()
            if allowed == "(none)"
            else frozenset(map(answer.network, allowed.split(","))),
            handshake=answer.number(handshake, "time", high=2**40),
            keepalive=None if keepalive == "off" else answer.number(keepalive, "keepalive", 1, 65535),
        )
    return answer.matching(answer.KEY, public_key, "key"), answer.port(port), peers
