"""A host as it was observed: what ``files/observe.sh`` is asked for, and the values that it gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from wgcluster.firewall.nft import Table
from wgcluster.firewall.tables import Tables
from wgcluster.host.kernel_routes import Route
from wgcluster.prefixes import Family, Interface


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
class WireguardInterface:
    """A WireGuard interface beside the one that the plan is about."""

    name: str
    public_key: str
    port: int


@dataclass(frozen=True, slots=True)
class Rules:
    """What one tool's ``-save`` prints; ``tool`` is "iptables", "ip6tables-legacy" …"""

    family: Family
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
    interfaces: tuple[WireguardInterface, ...] = ()  # the other ones of WireGuard
    addresses: tuple[str, ...] = ()  # all of global scope, without their prefix
    interface_addresses: tuple[tuple[str, Interface], ...] = ()  # every address, by interface
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
class Query:
    """What ``observe.sh`` is asked for, and what its answer must therefore hold."""

    interface: str
    files: tuple[str, ...] = ()  # paths of ours, read whole
    sites: tuple[str, ...] = ()  # paths of nginx, read whole, links followed
    dump: bool = False  # the effective nginx configuration, too

    def __str__(self) -> str:  # pyinfra logs it
        return f"{self.interface} and what goes with it"
