"""A host as it is: the values that ``files/observe.sh`` prints."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import Literal

from wgcluster.iptables import Tables, parse_save
from wgcluster.kernel_routes import Route, parse_routes
from wgcluster.nft import Table, parse_ruleset

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


def _sections(output: Sequence[str]) -> Iterator[tuple[list[str], list[str]]]:
    """Each section's words after "@" and its lines."""
    words: list[str] = []
    lines: list[str] = []
    for line in output:
        if line.startswith("@ "):
            if words:
                yield words, lines
            words, lines = line[2:].split(), []
        else:
            lines.append(line)
    if words:
        yield words, lines


def _decoded(lines: Sequence[str]) -> bytes:
    return base64.b64decode("".join(lines))


def parse(output: Sequence[str]) -> Observed:
    """Read what ``observe.sh`` prints; ValueError or IndexError for what it never does."""
    values: dict[str, object] = {}
    files: dict[str, File] = {}
    sizes: dict[str, int] = {}  # of the files whose texts follow each other, in bytes
    units: dict[str, Unit] = {}
    rules: list[Rules] = []
    routes: list[Route] = []
    link: dict[str, object] = {}
    interface = ""
    complete = False
    for (name, *words), lines in _sections(output):
        match name:
            case "user":
                values["user"] = int(words[0])
            case "tools":
                values["tools"] = frozenset(lines)
            case "module":
                values["module"] = lines[0]
                values["container"] = "container" in lines
            case "directory":
                values["directory"] = (words[0], words[1]) if words else ("", "")
            case "file":
                files[words[0]] = _file(words[1:])
                if files[words[0]].kind == "file":
                    sizes[words[0]] = int(words[4])
            case "texts":
                files |= dict(_with_texts(files, sizes, _decoded(lines), words[0]))
            case "unit":
                enabled, _, active = " ".join(words[1:]).partition("/")
                units[words[0]] = Unit(enabled.strip() == "enabled", active.strip() == "active")
            case "ufw":
                values["ufw"] = any(line.lower() == "enabled=yes" for line in lines)
            case "link":
                interface = words[0]
                link |= {"mtu": int(words[1]), "up": bool(int(words[2], 16) & 1)}
            case "routes":
                routes += parse_routes(lines, 4 if words[0] == "4" else 6)
            case "config-key":
                values["config_key"] = "".join(lines)
            case "dump" if link:
                link |= _dump(lines)
            case "preshared" if link:
                link["preshared_digest"] = lines[0]
            case "interfaces":
                rows = (line.split() for line in lines)
                values["interfaces"] = tuple(Interface(name, key, int(port)) for name, key, port in rows)
            case "addresses":
                found = list(_addresses(lines))
                values["addresses"] = tuple(
                    text.partition("/")[0] for _, text, scope in found if scope == "global"
                )
                values["held"] = tuple((by, ip_interface(text)) for by, text, _ in found)
                if link:
                    link["addresses"] = frozenset(text for by, text, _ in found if by == interface)
            case "clock":
                values["clock"] = int(words[0])
            case "forwarding":
                values["forwarding"] = {4: words[0], 6: words[1]}
            case "sysctls":
                values["sysctls"] = dict(line.split() for line in lines)
            case "rules":
                family: Literal[4, 6] = 4 if words[0] == "4" else 6
                tables, closed = parse_save("\n".join(lines)), frozenset(_closed(lines))
                rules.append(Rules(family, words[1], words[2] == "primary", tables, closed))
            case "nft":
                # beside it there may be warnings
                shown = next((line for line in lines if line.startswith("{")), None)
                if shown is None:
                    values["nft_error"] = " ".join(lines) or "it prints nothing"
                else:
                    values["nft"] = parse_ruleset(shown)
            case "ssh":
                if len(words) == 4:
                    by = lines[0].split("@")[0] if lines else None
                    values["ssh"] = Ssh(words[0], int(words[3]), by)
            case "guarded":
                values["guarded"] = tuple(lines)
            case "folders":
                values["folders"] = tuple(lines)
            case "lists":
                values["lists"] = tuple(lines)
            case "replacement":
                values["nginx_cut_off"] = bool(lines)
            case "workers":
                values["nginx_started"] = _oldest(words[0], lines)
            case "changed":
                values["nginx_changed"] = {
                    path: float(when) for when, _, path in (line.partition(" ") for line in lines) if path
                }
            case "nginx":
                values["nginx_error"], values["nginx_dump"] = _nginx(_decoded(lines))
            case "nginx-links":
                # what has a blank in its path is no file of ours (schema.py)
                values["nginx_links"] = dict(pair for line in lines if len(pair := line.split(" ")) == 2)
            case "end":
                complete = True
    if not complete:
        raise ValueError("it is cut off")
    if link:
        link["routes"] = tuple(one.without_device() for one in routes if one.devices == {interface})
    return Observed(
        files=files,
        units=units,
        rules=tuple(rules),
        routes=tuple(routes),
        link=Link(**link) if link else None,  # type: ignore[arg-type]
        **values,  # type: ignore[arg-type]
    )


def _file(words: Sequence[str]) -> File:
    match words[0]:
        case "file":
            return File("file", words[1], words[2], words[4], " ".join(words[5:]))
        case "dangling":
            return File("dangling")
        case "other":
            return File("other")
        case _:
            return File()


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
                raise ValueError(f"{path} was changed meanwhile; run this again")
            yield path, replace(files[path], data=data)
    if masked in sizes:
        yield masked, replace(files[masked], data=texts[begin:])


def _addresses(lines: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Interface, address with its prefix, and scope of each line of ``ip -o addr show``, ip-address(8)."""
    for line in lines:
        words = line.split()
        if len(words) > 3 and words[2] in ("inet", "inet6"):
            scope = words[words.index("scope") + 1] if "scope" in words else ""
            yield words[1], words[3], scope


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
    if status != "0":
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
    own, *others = (int(line.rpartition(")")[2].split()[19]) for line in stats) if stats else (0,)
    seconds = float(now) if now.replace(".", "").isdigit() else float(now.partition(".")[0]) + 1
    return seconds - (own - min(others)) / 100 if others else None


def _dump(lines: Sequence[str]) -> dict[str, object]:
    public_key, port = lines[0].split("\t")
    peers: dict[str, LivePeer] = {}
    for line in lines[1:]:
        key, preshared, endpoint, allowed, handshake, keepalive = line.split("\t")
        peers[key] = LivePeer(
            preshared_key=preshared == "psk",
            endpoint=None if endpoint == "(none)" else endpoint,
            allowed_ips=frozenset() if allowed == "(none)" else frozenset(allowed.split(",")),
            handshake=int(handshake),
            keepalive=None if keepalive == "off" else int(keepalive),
        )
    return {"public_key": public_key, "port": int(port), "peers": peers}
