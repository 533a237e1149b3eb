"""A host as it is: the values that ``files/observe.sh`` prints."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import Literal

from wgcluster.firewall.nft import Table, parse_ruleset
from wgcluster.firewall.tables import Tables, parse_save
from wgcluster.host import answer
from wgcluster.host.kernel_routes import Route, parse_routes

Address = IPv4Interface | IPv6Interface


@dataclass(frozen=True, slots=True)
class File:
    """One path. ``kind`` is "dangling" for a link to nowhere, "other" for what is no regular file."""

    kind: Literal["file", "absent", "dangling", "other"] = "absent"
    mode: str = ""  # octal, "600"
    owner: str = ""  # "root:root"
    digest: str = ""  # SHA-256 of the bytes, in hex
    target: str = ""  # the path behind all symbolic links
    data: bytes = b""  # secrets cut out

    @property
    def text(self) -> str:
        """``data`` so that every byte comes back by encoding with the same handler."""
        return self.data.decode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Unit:
    enabled: bool = False
    active: bool = False


@dataclass(frozen=True, slots=True)
class LivePeer:
    """One peer as ``wg show dump`` has it."""

    preshared_key: bool
    endpoint: str | None
    allowed_ips: frozenset[str]
    handshake: int  # seconds since the epoch, 0: never
    keepalive: int | None  # seconds


@dataclass(frozen=True, slots=True)
class Link:
    """The interface as it is up now."""

    mtu: int
    up: bool = True  # IFF_UP, netdevice(7)
    addresses: frozenset[str] = frozenset()
    routes: tuple[str, ...] = ()  # lines of ``ip route show dev``
    public_key: str = ""
    port: int = 0
    peers: dict[str, LivePeer] = field(default_factory=dict)
    preshared_digest: str = ""  # SHA-256 of the sorted lines of ``wg show preshared-keys`` that hold one


@dataclass(frozen=True, slots=True)
class Interface:
    """A WireGuard interface beside the one that the plan is about."""

    name: str
    public_key: str
    port: int


@dataclass(frozen=True, slots=True)
class Rules:
    """What one tool's ``-save`` prints; ``tool`` is "iptables", "ip6tables-legacy" …"""

    family: Literal[4, 6]
    tool: str
    primary: bool
    tables: Tables
    closed: frozenset[str] = frozenset()  # tables that it does not show, for what nft has put there


@dataclass(frozen=True, slots=True)
class Ssh:
    """The connection that this run manages the host through, as the host sees it."""

    source: str
    port: int
    interface: str | None


@dataclass(frozen=True, slots=True)
class Observed:
    """A host as it is."""

    user: int = 0  # as whom it was looked at
    tools: frozenset[str] = frozenset()
    module: Literal["loaded", "available", "missing"] = "missing"
    container: bool = False  # asked only where the module is missing
    directory: tuple[str, str] = ("", "")  # mode and owner of /etc/wireguard
    files: dict[str, File] = field(default_factory=dict)
    units: dict[str, Unit] = field(default_factory=dict)
    ufw: bool = False
    link: Link | None = None
    config_key: str = ""  # public key of the config file, asked only where the interface is down
    interfaces: tuple[Interface, ...] = ()  # the other ones of WireGuard
    addresses: tuple[str, ...] = ()  # all of global scope, without their prefix
    held: tuple[tuple[str, Address], ...] = ()  # every address, by interface
    routes: tuple[Route, ...] = ()  # of the main table, both families
    clock: int = 0  # seconds since the epoch
    forwarding: dict[int, str] = field(default_factory=dict)  # by family: "0", "1"; "-": no such family
    sysctls: dict[str, str] = field(default_factory=dict)  # "net/ipv4/conf/all/send_redirects" -> "1"
    rules: tuple[Rules, ...] = ()
    nft: tuple[Table, ...] = ()  # all tables that see IP packets, those of iptables-nft too
    nft_error: str = ""  # why they are not known, where nft is installed
    ssh: Ssh | None = None
    guarded: tuple[str, ...] = ()  # site files that hold lines of ours
    lists: tuple[str, ...] = ()  # list files of ours
    folders: tuple[str, ...] = ()  # those of ours that are empty
    nginx_cut_off: bool = False  # a replacement of its files is under way, or its run has died
    nginx_started: float | None = None  # when its oldest worker did, in seconds since the epoch
    nginx_changed: dict[str, float] = field(default_factory=dict)  # when each of its files and folders was
    nginx_error: str | None = None  # what ``nginx -t`` says, None: nothing is wrong
    nginx_dump: str = ""
    nginx_links: dict[str, str] = field(
        default_factory=dict
    )  # file by the path nginx reads it at, if another

    def file(self, path: str) -> File:
        return self.files.get(path, File())

    def unit(self, name: str) -> Unit:
        return self.units.get(name, Unit())


@dataclass(frozen=True, slots=True)
class Look:
    """What ``observe.sh`` is asked for, and what its answer must therefore hold."""

    interface: str
    files: tuple[str, ...] = ()  # paths of ours, read whole
    sites: tuple[str, ...] = ()  # paths of nginx, read whole, links followed
    dump: bool = False  # the effective nginx configuration, too

    def __str__(self) -> str:  # pyinfra logs it
        return f"{self.interface} and what goes with it"


_UNITS = (
    "wg-quick@{}.service",
    "wgcluster-firewall@{}.service",
    "nginx.service",
    "ufw.service",
    "firewalld.service",
)
_SECONDS = re.compile(r"[0-9]{1,12}\.\S*")  # some know no nanoseconds, and print what stands for them
_TIME = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
_TOOL = re.compile(r"[a-z0-9-]+")
_RULES = (("4", "primary"), ("4", "other"), ("6", "primary"), ("6", "other"))  # each of them, or "none"


def parse(output: Sequence[str], look: Look | None = None) -> Observed:
    """Read what ``observe.sh`` prints.

    Args:
        look: what it was asked for; None: only what every answer has must be there.

    Raises:
        ValueError: it is not what the script prints: what is odd, in words that may be shown.
    """
    values: dict[str, object] = {}
    files: dict[str, File] = {}
    sizes: dict[str, int] = {}  # of the files whose texts follow each other, in bytes
    units: dict[str, Unit] = {}
    rules: list[Rules] = []
    routes: list[Route] = []
    routed: list[str] = []
    backends: list[tuple[str, str]] = []
    link: dict[str, object] = {}
    peers: dict[str, LivePeer] = {}
    interface = config = ""
    seen: set[str] = set()
    for (name, *words), lines in answer.sections(output):
        seen.add(name)
        match name:
            case "user":
                values["user"] = answer.number(words[0], "user")
            case "tools":
                values["tools"] = frozenset(answer.matching(_TOOL, line, "tool") for line in lines)
            case "module":
                states = ("loaded", "available", "missing")
                values["module"] = answer.one_of(states, lines[0] if lines else "", "state of the module")
                values["container"] = lines[1:] == ["container"]
                if lines[1:] and lines != ["missing", "container"]:
                    raise ValueError(f"module has {answer.shown(lines[1])}")
            case "directory":
                values["directory"] = _owned(words) if words else ("", "")
            case "file":
                path = answer.matching(answer.PATH, words[0], "path")
                if path in files:
                    raise ValueError(f"{answer.shown(path)} is there twice")
                files[path] = _file(words[1:])
                if files[path].kind == "file":
                    sizes[path] = answer.number(words[4], "size", high=2**40)
            case "texts":
                config = words[0]
                files |= dict(_with_texts(files, sizes, answer.data(lines), config))
            case "unit":
                if words[0] in units:
                    raise ValueError(f"the unit {answer.shown(words[0])} is there twice")
                units[words[0]] = _unit(words)
            case "ufw":
                values["ufw"] = any(line.lower() == "enabled=yes" for line in lines)
            case "link":
                interface = answer.interface(words[0])
                if look is not None and interface != look.interface:
                    raise ValueError(f"it is about {answer.shown(interface)}")
                if words[1:] != ["absent"]:
                    flags = answer.matching(
                        answer.HEX, words[2] if words[2:] else "", "flags of an interface"
                    )
                    mtu = answer.number(words[1], "MTU", 1)
                    link |= {"mtu": mtu, "up": bool(int(flags, 16) & 1)}
            case "config-key" if lines:
                values["config_key"] = answer.matching(answer.KEY, lines[0], "key")
            case "routes":
                routed.append(words[0])
                routes += _routes(lines, words[0])
            case "dump" if lines:  # of wireguard-go in another network namespace, too
                own_key, own_port, peers = _dump(lines)
                if link:
                    link |= {"public_key": own_key, "port": own_port, "peers": peers}
            case "preshared":
                digest = answer.matching(answer.DIGEST, "".join(lines), "digest")
                if link:
                    link["preshared_digest"] = digest
            case "interfaces":
                values["interfaces"] = tuple(_interface(line) for line in lines)
            case "addresses":
                found = list(_addresses(lines))
                values["addresses"] = tuple(
                    text.partition("/")[0] for _, text, scope in found if scope == "global"
                )
                values["held"] = tuple((by, ip_interface(text)) for by, text, _ in found)
                if link:
                    link["addresses"] = frozenset(text for by, text, _ in found if by == interface)
            case "clock":
                values["clock"] = answer.number(words[0], "time", 1, 2**40)
            case "forwarding":
                four, six = (answer.matching(answer.VALUE, word, "value") for word in words)
                values["forwarding"] = {4: four, 6: six}
            case "sysctls":
                values["sysctls"] = dict(_sysctl(line) for line in lines)
            case "rules":
                backends.append((words[0], words[2]))
                if words[2] != "none":
                    rules.append(_rules(words, lines))
                elif lines:
                    raise ValueError(f"rules has {answer.shown(lines[0])} where there are none")
            case "nft" if words != ["absent"]:
                # beside it there may be warnings
                shown = next((line for line in lines if line.startswith("{")), None)
                if shown is None:
                    values["nft_error"] = " ".join(lines) or "it prints nothing"
                else:
                    values["nft"] = parse_ruleset(shown)
            case "ssh":
                values["ssh"] = _ssh(words, lines)
            case "guarded" | "folders" | "lists":
                values[name] = tuple(answer.matching(answer.PATH, line, "path") for line in lines)
            case "replacement":
                values["nginx_cut_off"] = bool(lines)
            case "workers":
                values["nginx_started"] = _oldest(answer.matching(_SECONDS, words[0], "time"), lines)
            case "changed":
                values["nginx_changed"] = dict(_changed(line) for line in lines)
            case "nginx":
                values["nginx_error"], values["nginx_dump"] = _nginx(answer.data(lines))
            case "nginx-links":
                # what has a blank in its path is no file of ours (schema.py)
                values["nginx_links"] = dict(pair for line in lines if len(pair := line.split(" ")) == 2)
    if link:
        link["routes"] = tuple(one.without_device() for one in routes if one.devices == {interface})
    if routed != ["4", "6"]:
        raise ValueError("it has not the routes of each family once")
    observed = Observed(
        files=files,
        units=units,
        rules=tuple(rules),
        routes=tuple(routes),
        link=Link(**link) if link else None,  # type: ignore[arg-type]
        **values,  # type: ignore[arg-type]
    )
    _hold_together(observed, config, seen, backends, any(peer.preshared_key for peer in peers.values()))
    if look is not None:
        _hold_all_asked(observed, seen, look)
    return observed


def _hold_together(
    observed: Observed,
    config: str,
    seen: set[str],
    backends: Sequence[tuple[str, str]],
    shared: bool,
) -> None:
    """Sections that are there because of others, and only then."""
    lone = observed.link is None and observed.file(config).kind == "file"
    for name, due in (
        ("texts", any(file.kind == "file" for file in observed.files.values())),
        ("config-key", lone and "wg" in observed.tools),
        ("dump", "wg" in observed.tools),
        ("interfaces", "wg" in observed.tools),
        ("preshared", shared),
        ("nginx-links", "nginx" in seen),
        ("workers", "nginx" in seen),
        ("changed", "nginx" in seen),
    ):
        if due != (name in seen):
            raise ValueError(f"it {'lacks the' if due else 'has a'} section {name}")
    if len(backends) != len(_RULES) or any(
        one[0] != wanted[0] or one[1] not in (wanted[1], "none")
        for one, wanted in zip(backends, _RULES, strict=True)
    ):
        raise ValueError("it has not the rules of each family once")


def _hold_all_asked(observed: Observed, seen: set[str], look: Look) -> None:
    wanted = (f"/etc/wireguard/{look.interface}.conf", *look.files, *look.sites)
    for path in (*wanted, *observed.guarded, *observed.lists):
        if path not in observed.files:
            raise ValueError(f"it lacks the file {answer.shown(path)}")
    for name in (unit.format(look.interface) for unit in _UNITS):
        if name not in observed.units:
            raise ValueError(f"it lacks the unit {name}")
    if (look.dump and "nginx" in observed.tools) != ("nginx" in seen):
        raise ValueError("it lacks what nginx says, or has it unasked")


def _owned(words: Sequence[str]) -> tuple[str, str]:
    """Mode and owner."""
    mode = answer.matching(answer.MODE, words[0], "mode")
    return mode, answer.matching(answer.OWNER, words[1] if words[1:] else "", "owner")


def _file(words: Sequence[str]) -> File:
    match words:
        case ["file", mode, owner, _, digest, *target] if target:
            path = answer.matching(answer.PATH, " ".join(target), "path")
            return File(
                "file", *_owned((mode, owner)), answer.matching(answer.DIGEST, digest, "digest"), path
            )
        case ["absent" | "dangling" | "other" as kind]:
            return File(kind)
        case _:
            raise ValueError(f"a file is {answer.shown(' '.join(words))}")


def _unit(words: Sequence[str]) -> Unit:
    enabled, slash, active = " ".join(words[1:]).partition("/")
    if not slash:
        raise ValueError(f"the unit {answer.shown(words[0])} has no states")
    for state in (enabled, active):
        answer.matching(answer.STATE, state.strip(), "state of a unit")
    return Unit(enabled.strip() == "enabled", active.strip() == "active")


def _routes(lines: Sequence[str], family: str) -> Iterator[Route]:
    for line in lines:
        try:
            yield from parse_routes([line], 4 if family == "4" else 6)
        except (ValueError, IndexError):
            raise ValueError(f"{answer.shown(line)} is no route") from None


def _interface(line: str) -> Interface:
    name, key, port = _fields(line, " ", 3)
    answer.matching(answer.KEY, key, "key")
    return Interface(answer.interface(name), key, answer.port(port))


def _sysctl(line: str) -> tuple[str, str]:
    key, value = _fields(line, " ", 2)
    return answer.matching(answer.SYSCTL, key, "sysctl"), answer.matching(answer.VALUE, value, "value")


def _fields(line: str, separator: str, count: int) -> list[str]:
    fields = line.split(separator)
    if len(fields) != count:
        raise ValueError(f"{answer.shown(line)} has not {count} fields")
    return fields


def _rules(words: Sequence[str], lines: Sequence[str]) -> Rules:
    family: Literal[4, 6] = 4 if words[0] == "4" else 6
    return Rules(
        family,
        answer.matching(_TOOL, words[1], "tool"),
        words[2] == "primary",
        parse_save("\n".join(lines)),
        frozenset(_closed(lines)),
    )


def _ssh(words: Sequence[str], lines: Sequence[str]) -> Ssh | None:
    names = [answer.interface(line) for line in lines]
    if not words and not names:
        return None
    source, source_port, own, port = _fields(" ".join(words), " ", 4)
    answer.port(source_port)
    answer.address(own)
    return Ssh(answer.address(source), answer.port(port), names[0] if names else None)


def _with_texts(
    files: Mapping[str, File], sizes: Mapping[str, int], texts: bytes, masked: str
) -> Iterator[tuple[str, File]]:
    """Each file with its part of ``texts``, in which they stand one after the other, that of ``masked`` last.

    Raises:
        ValueError: one was changed while it was read.
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


def _addresses(lines: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Interface, address with its prefix, and scope of each line of ``ip -o addr show``, ip-address(8)."""
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


def _closed(lines: Sequence[str]) -> Iterator[str]:
    """The tables of which ``iptables-save`` says that it cannot show them (iptables/xtables-save.c)."""
    for line in lines:
        if line.startswith("# Table `") and line.endswith("' is incompatible, use 'nft' tool."):
            yield line.removeprefix("# Table `").partition("'")[0]


def _nginx(output: bytes) -> tuple[str | None, str]:
    """What ``nginx -T`` complains of and what it dumps, from both of its outputs and its status at the end.

    It says what it has to say, and then dumps if nothing is wrong (src/core/nginx.c, main).
    """
    text, _, status = output.decode("utf-8", "surrogateescape").removesuffix("\n").rpartition("\n")
    if answer.number(status, "exit status", high=255):
        return text.strip(), ""
    _, mark, dump = text.partition("# configuration file ")
    return None, mark + dump


def _oldest(now: str, stats: Sequence[str]) -> float | None:
    """When the first of some processes began, in seconds since the epoch; None: there is none.

    Args:
        now: ``date +%s.%N``, of which some systems know whole seconds alone.
        stats: lines of proc_pid_stat(5), the first one of a process that has just begun.
    """
    # field 22, in ticks since the boot; the second, a name, may hold blanks; USER_HZ is 100, time(7)
    own, *others = (_ticks(line) for line in stats) if stats else (0,)
    seconds = float(now) if now.replace(".", "").isdigit() else float(now.partition(".")[0]) + 1
    return seconds - (own - min(others)) / 100 if others else None


def _ticks(line: str) -> int:
    words = line.rpartition(")")[2].split()
    if len(words) < 20:
        raise ValueError(f"{answer.shown(line)} is no line of a process")
    return answer.number(words[19], "time in ticks", high=10**14)


def _changed(line: str) -> tuple[str, float]:
    when, _, path = line.partition(" ")
    return answer.matching(answer.PATH, path, "path"), float(answer.matching(_TIME, when, "time"))


def _dump(lines: Sequence[str]) -> tuple[str, int, dict[str, LivePeer]]:
    """The interface's public key and port, and its peers."""
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
