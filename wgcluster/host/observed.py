"""What ``files/observe.sh`` is asked for, and a host as it was observed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from wgcluster.firewall.nft import Table
from wgcluster.firewall.tables import Tables
from wgcluster.host.kernel_routes import PolicyRule, Route
from wgcluster.prefixes import Family, Interface


@dataclass(frozen=True, slots=True)
class File:
    """One path. "dangling": a link to nowhere; "other": not a regular file."""

    kind: Literal["file", "absent", "dangling", "other"] = "absent"
    mode: str = ""  # octal, "600"
    owner: str = ""  # "root:root"
    digest: str = ""  # SHA-256 of the bytes, in hex
    target: str = ""  # the path behind all symbolic links
    data: bytes = b""  # secrets cut out

    @property
    def text(self) -> str:
        """``data`` decoded so that it can be encoded again without loss."""
        return self.data.decode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Unit:
    """The state of a systemd unit."""

    enabled: bool = False
    active: bool = False


@dataclass(frozen=True, slots=True)
class LivePeer:
    """One peer of ``wg show dump``."""

    preshared_key: bool
    endpoint: str | None
    allowed_ips: frozenset[str]
    handshake: int  # seconds since the epoch, 0: never
    keepalive: int | None  # seconds


@dataclass(frozen=True, slots=True)
class Link:
    """The live interface."""

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
    """Another WireGuard interface of the host."""

    name: str
    public_key: str
    port: int


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one backend and family; ``tool`` is "iptables", "ip6tables-legacy" …"""

    family: Family
    tool: str
    primary: bool
    tables: Tables
    closed: frozenset[str] = frozenset()  # tables that it cannot show, because of rules by nft


@dataclass(frozen=True, slots=True)
class Ssh:
    """The SSH connection of this run, as the host sees it."""

    source: str
    port: int
    interface: str | None


@dataclass(frozen=True, slots=True)
class Observed:
    """A host as observed."""

    user: int = 0  # user ID of the observer
    tools: frozenset[str] = frozenset()
    module: Literal["loaded", "available", "missing"] = "missing"
    container: bool = False  # known only if the module is missing
    directory: tuple[str, str] = ("", "")  # mode and owner of /etc/wireguard
    files: dict[str, File] = field(default_factory=dict)
    units: dict[str, Unit] = field(default_factory=dict)
    ufw: bool = False
    link: Link | None = None
    config_key: str = ""  # public key of the config file, known only while the interface is down
    interfaces: tuple[WireguardInterface, ...] = ()  # other ones of WireGuard
    addresses: tuple[str, ...] = ()  # those of global scope
    interface_addresses: tuple[tuple[str, Interface], ...] = ()  # every address, by interface
    routes: tuple[Route, ...] = ()  # of all tables, both families
    policy: tuple[PolicyRule, ...] = ()  # both families; each in the order in which it is asked
    port_bound: bool = False  # a socket has the UDP port of the plan, perhaps that of our own interface
    port_users: tuple[str, ...] = ()  # programs that have it, where it is not our interface
    sysctl_files: dict[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # files of sysctl.d(5) by path: their lines about forwarding and IPv6
    sources: dict[str, str] = field(default_factory=dict)  # the address it sends from, by destination
    clock: int = 0  # seconds since the epoch
    forwarding: dict[int, str] = field(default_factory=dict)  # by family: "0", "1"; "-": no such family
    sysctls: dict[str, str] = field(default_factory=dict)  # "net/ipv4/conf/all/send_redirects" -> "1"
    sysctls_writable: bool = True  # /proc/sys is not mounted read-only
    rules: tuple[Rules, ...] = ()
    rules_errors: dict[int, str] = field(default_factory=dict)  # by family: why they cannot be read
    nft: tuple[Table, ...] = ()  # all tables that see IP packets, including those of iptables-nft
    nft_error: str = ""  # why the tables are unknown, although nft is installed
    ssh: Ssh | None = None
    names: dict[str, bool] = field(default_factory=dict)  # does it resolve, by DNS name
    guarded: tuple[str, ...] = ()  # site files with lines of ours
    lists: tuple[str, ...] = ()  # access list files of ours
    folders: tuple[str, ...] = ()  # empty folders of ours
    nginx_cut_off: bool = False  # a replacement of its files is running, or was interrupted
    nginx_started: float | None = None  # start of its oldest worker, seconds since the epoch
    nginx_changed: dict[str, float] = field(
        default_factory=dict
    )  # the same for changes of its files and folders, by path
    nginx_error: str | None = None  # of ``nginx -t``; None: it succeeds
    nginx_dump: str = ""
    nginx_links: dict[str, str] = field(
        default_factory=dict
    )  # file by the path nginx reads it at, if another

    def file(self, path: str) -> File:
        """The file at ``path``; absent if it was not asked for."""
        return self.files.get(path, File())

    def unit(self, name: str) -> Unit:
        """A unit by name; neither enabled nor active if it was not asked for."""
        return self.units.get(name, Unit())


@dataclass(frozen=True, slots=True)
class Query:
    """What ``observe.sh`` is asked for, which its answer must have."""

    interface: str
    files: tuple[str, ...] = ()  # managed files, read completely
    sites: tuple[str, ...] = ()  # site files, read completely, links followed
    dump: bool = False  # also the effective nginx configuration
    port: int = 0  # UDP, that the interface is to listen on
    towards: tuple[str, ...] = ()  # addresses that it dials
    names: tuple[str, ...] = ()  # DNS names that it would dial
