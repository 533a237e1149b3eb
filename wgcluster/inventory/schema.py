"""The settings that an operator may write, and their types, for pydantic."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import ErrorDetails, PydanticCustomError

from wgcluster.inventory.faults import Fault, fault, near
from wgcluster.inventory.keep import protocol
from wgcluster.inventory.messages import MESSAGES
from wgcluster.prefixes import Address, Network

Topology = Literal["mesh", "sites", "partial"]
FirewallMode = Literal["peers", "baseline", "off"]

DEFAULT_PORT = 51820
DEFAULT_MTU = 1420
KEYSTORE = "keys.yml"  # the default registry
DEFAULT_KEEPALIVE = 25  # seconds; wireguard.com/quickstart, "NAT and Firewall Traversal Persistence"

# wg-quick(8) takes the interface's name from the file's (linux.bash, parse_options). It accepts "=" and "+",
# too, which the name of its unit cannot hold (systemd.unit(5)).
_INTERFACE = re.compile(r"[a-zA-Z0-9_.-]{1,15}")
# Under /proc/sys/net/ipv4/conf/, beside the interfaces (kernel.org, networking/ip-sysctl).
_TAKEN = {
    "all": "to the kernel it means every interface",
    "default": "to the kernel it means every new interface",
    "lo": "the loopback interface has this name",
}
# This very host (RFC 1122, 3.2.1.3), twice; multicast, what is kept back, broadcast (RFC 1112, 4; RFC 919, 7)
_NOBODYS = (IPv4Network("0.0.0.0/8"), IPv4Network("127.0.0.0/8"), IPv4Network("224.0.0.0/3"))
# Global (RFC 4291, 2.4), private (RFC 4193), NAT64 (RFC 6052, 2.1; RFC 8215). Not link-local: that needs the
# name of an interface, and each peer has names of its own.
_UNICAST = (IPv6Network("2000::/3"), IPv6Network("fc00::/7"), IPv6Network("64:ff9b::/32"))
# RFC 1123, 2.1: labels of letters, digits and hyphens; and RFC 1034, 3.1: a dot ends a name that is complete
_LABEL = r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_DNS_NAME = re.compile(rf"(?=.{{1,253}}\.?$){_LABEL}(\.{_LABEL})*\.?")
# What a host may be called: it stands in comments of a config, in keys.yml and in wg_links.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def wrong(code: str, **fields: str) -> PydanticCustomError:
    """The error that a validator raises for the fault ``code``."""
    return PydanticCustomError(code, MESSAGES[code], fields)


def _address(value: object) -> Address:
    try:
        return ip_address(str(value))
    except ValueError:
        raise wrong("address.invalid") from None


def _network(value: object) -> Network:
    try:
        return ip_network(str(value))
    except ValueError as error:
        if "host bits" in str(error):
            right = ip_network(str(value), strict=False)
            raise wrong("network.host-bits", network=str(right)) from None
        raise wrong("network.invalid") from None


def _kept(value: object) -> Network | str:
    """A network, or the protocol of routes: ``proto bird``."""
    text = str(value)
    if not text.startswith("proto"):
        try:
            return ip_network(text)
        except ValueError as error:
            if "host bits" in str(error):
                return _network(value)  # which says so
            raise wrong("wg_keep.invalid") from None
    try:
        return protocol(text)
    except ValueError:
        raise wrong("wg_keep.invalid") from None


def _list(value: object) -> object:
    """Accept one value for a list of one; its own validator checks it."""
    return value if isinstance(value, list | tuple | set | frozenset) else [value]


def _endpoint(value: object) -> tuple[Address | str, int | None]:
    if not isinstance(value, str):
        raise wrong("endpoint.invalid")
    match = re.fullmatch(r"(?:\[([^\]]+)\]|([^:\[\]]+))(?::(\d{1,5}))?", value)
    if match is None:
        try:  # a bare IPv6 address leaves open where the port would begin
            bare = IPv6Address(value)
        except AddressValueError:
            raise wrong("endpoint.invalid") from None
        raise wrong("endpoint.needs-brackets", address=str(bare))
    six, other, port = match.groups()
    if port is not None and not 1 <= int(port) <= 65535:
        raise wrong("endpoint.port")
    if six is not None:
        try:
            return _dialable(IPv6Address(six)), int(port) if port else None
        except AddressValueError:
            raise wrong("endpoint.not-ipv6") from None
    try:
        return _dialable(IPv4Address(other)), int(port) if port else None
    except AddressValueError:
        pass
    if re.fullmatch(r"[\d.]+", other) or not _DNS_NAME.fullmatch(other):
        raise wrong("endpoint.invalid")
    return other, int(port) if port else None


def _dialable(address: Address) -> Address:
    inside = any(address in network for network in (_NOBODYS if address.version == 4 else _UNICAST))
    if inside == (address.version == 4):
        raise wrong("endpoint.not-dialable")
    return address


def _interface(value: object) -> str:
    if not isinstance(value, str) or not _INTERFACE.fullmatch(value) or value in {".", ".."}:
        raise wrong("wg_interface.invalid")
    if value in _TAKEN:
        raise wrong("wg_interface.reserved", why=_TAKEN[value])
    return value


def _ports(value: object) -> int | str:
    """One port, or a range "first-last" as text."""
    if isinstance(value, str) and (found := re.fullmatch(r"(\d{1,5})-(\d{1,5})", value)):
        first, last = _port(int(found[1])), _port(int(found[2]))
        if first > last:
            raise wrong("port.backwards", right=f"{last}-{first}")
        return first if first == last else f"{first}-{last}"
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong("port.invalid")
    return _port(value)


def _port(value: int) -> int:
    if value < 1:
        raise wrong("setting.too-small", ge="1")
    if value > 65535:
        raise wrong("setting.too-large", le="65535")
    return value


def _other_interface(value: object) -> str:
    if not isinstance(value, str) or not _INTERFACE.fullmatch(value) or value in {".", "..", *_TAKEN}:
        raise wrong("interface.invalid")
    return value


def _name(value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise wrong("name.invalid")
    return value


def _absolute(value: object) -> str:
    if not isinstance(value, str) or not value.startswith("/") or re.search(r"[\s'\"\\;{}]", value):
        raise wrong("path.invalid")
    return value


def _word(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or "\n" in value:
        raise wrong("text.invalid")
    return value.strip()


def _keystore(value: object) -> str:
    text = _word(value)
    if text.startswith("~"):
        raise wrong("wg_keystore.tilde")
    if text.endswith("/") or PurePosixPath(text).name in {"", ".."}:
        raise wrong("wg_keystore.folder")
    return text


def _unknown(value: object) -> object:
    raise wrong("setting.unknown-field")


AddressField = Annotated[Address, BeforeValidator(_address)]
NetworkField = Annotated[Network, BeforeValidator(_network)]
EndpointField = Annotated[tuple[Address | str, int | None], BeforeValidator(_endpoint)]
KeptField = Annotated[Network | str, BeforeValidator(_kept)]
NameField = Annotated[str, BeforeValidator(_name)]
PathField = Annotated[str, BeforeValidator(_absolute)]
WordField = Annotated[str, BeforeValidator(_word)]
PortField = Annotated[int, Field(ge=1, le=65535, strict=True)]


_STRICT = ConfigDict(extra="forbid")


class _Strict(BaseModel):
    model_config = _STRICT


@dataclass(frozen=True, slots=True)
class OpenPort:
    """One entry of ``firewall_allow``: ports that are open, by one interface or by those of the mode."""

    __pydantic_config__ = _STRICT

    port: Annotated[int | str, BeforeValidator(_ports)]  # 443, or a range "8000-8100"
    protocol: Literal["tcp", "udp"] = "tcp"
    # empty: from anywhere, both families
    sources: Annotated[tuple[NetworkField, ...], BeforeValidator(_list), Field(alias="from")] = ()
    # None: with "peers" the tunnel, with "baseline" all
    interface: Annotated[str, BeforeValidator(_other_interface)] | None = None

    @property
    def ports(self) -> range:
        """All ports of the entry."""
        first, _, last = str(self.port).partition("-")
        return range(int(first), int(last or first) + 1)


@dataclass(frozen=True, slots=True)
class GuardedSite:
    """One entry of ``nginx_vpn_only``."""

    __pydantic_config__ = _STRICT

    file: PathField
    server_name: WordField
    # as written in the file: "/", "= /admin", "~ \\.php$"
    locations: Annotated[tuple[WordField, ...], BeforeValidator(_list)] = ("/",)
    public: Annotated[tuple[WordField, ...], BeforeValidator(_list)] = ()
    # in a Cluster what the operator adds; in a Plan all that may pass: the overlay first
    allow: Annotated[tuple[NetworkField, ...], BeforeValidator(_list)] = ()
    scope: Literal["location", "server"] = "location"
    acme_root: PathField | None = None  # webroot of a challenge location that has to be added
    # in a Plan those of its host; no operator writes them
    addresses: Annotated[tuple[Address, ...], BeforeValidator(_unknown)] = ()


class ClusterSettings(_Strict):
    """Settings of the whole cluster."""

    wg_interface: Annotated[str, BeforeValidator(_interface)] = "wg"
    wg_networks: Annotated[tuple[NetworkField, ...], BeforeValidator(_list)] = Field((), min_length=1)
    wg_topology: Topology = "mesh"
    wg_degree: Annotated[int, Field(ge=2, strict=True)] | None = None
    wg_preshared_keys: Annotated[bool, Field(strict=True)] = False
    wg_expect: Annotated[tuple[WordField, ...], BeforeValidator(_list)] = ()
    wg_keystore: Annotated[str, BeforeValidator(_keystore)] = KEYSTORE


class HostSettings(_Strict):
    """Settings of a host."""

    wg_name: NameField
    wg_address: Annotated[tuple[AddressField, ...], BeforeValidator(_list), Field(min_length=1, max_length=2)]
    wg_endpoint: EndpointField | None = None
    wg_port: PortField = DEFAULT_PORT
    # 1280 is the least that IPv6 runs over (RFC 8200, 5); 576 what every IPv4 host takes (RFC 791, 3.1)
    wg_mtu: Annotated[int, Field(ge=576, le=65535, strict=True)] = DEFAULT_MTU
    wg_site: NameField | None = None
    wg_site_endpoint: EndpointField | None = None
    wg_gateway: Annotated[bool, Field(strict=True)] = False
    wg_masquerade: Annotated[bool, Field(strict=True)] = False
    wg_subnets: Annotated[tuple[NetworkField, ...], BeforeValidator(_list)] = ()
    wg_masquerade_lan: Annotated[bool, Field(strict=True)] = False
    wg_links: Annotated[tuple[NameField, ...], BeforeValidator(_list)] = ()
    wg_keepalive: Annotated[int, Field(ge=1, le=65535, strict=True)] | None = None
    wg_source: Annotated[tuple[NetworkField, ...], BeforeValidator(_list)] = ()
    wg_clients_from: Annotated[tuple[NetworkField, ...], BeforeValidator(_list)] = ()
    wg_dns: Annotated[tuple[AddressField, ...], BeforeValidator(_list)] = ()
    wg_hosts_file: Annotated[bool, Field(strict=True)] = False
    wg_keep: Annotated[tuple[KeptField, ...], BeforeValidator(_list)] = ()
    firewall: FirewallMode = "peers"
    firewall_allow: tuple[OpenPort, ...] = ()
    nginx_vpn_only: tuple[GuardedSite, ...] = ()


SETTING_NAMES = frozenset(ClusterSettings.model_fields) | frozenset(HostSettings.model_fields)


# pydantic's errors (docs.pydantic.dev, errors/validation_errors). Each has the fields of our message, too.
_CODES: Mapping[str, str] = {
    "bool_type": "setting.not-boolean",
    "dataclass_type": "setting.not-mapping",
    "dict_type": "setting.not-mapping",
    "extra_forbidden": "setting.unknown-field",
    "greater_than_equal": "setting.too-small",
    "int_type": "setting.not-integer",
    "less_than_equal": "setting.too-large",
    "literal_error": "setting.not-one-of",
    "missing": "setting.missing",
    "model_type": "setting.not-mapping",
    "too_long": "setting.too-many",
    "too_short": "setting.empty",
    "tuple_type": "setting.not-list",
    "unexpected_keyword_argument": "setting.unknown-field",
}


def fault_of(error: ErrorDetails, host: str = "") -> Fault:
    """The fault for one of pydantic's errors, in the operator's terms."""
    location, value = error["loc"], None if error["type"] == "missing" else error["input"]
    code = _CODES.get(error["type"], error["type"])
    if code not in MESSAGES:
        return fault("setting.invalid", host, value, key=path(location), msg=error["msg"])
    context = {**error.get("ctx", {}), "hint": _near(location), "example": _example(location)}
    return fault(code, host, value, key=path(location), **context)


_ENTRIES: Mapping[int | str, type[OpenPort | GuardedSite]] = {
    "firewall_allow": OpenPort,
    "nginx_vpn_only": GuardedSite,
}
_EXAMPLES: Mapping[int | str, str] = {
    "firewall_allow": '{"port": 22, "protocol": "tcp"}',
    "nginx_vpn_only": '{"file": "/etc/nginx/sites-available/NAME", "server_name": "NAME"}',
}


def _near(location: Sequence[int | str]) -> str:
    """A hint at the nearest key that the entry at ``location`` may have, or at all of them."""
    if not location or location[0] not in _ENTRIES:
        return ""
    names = [field.name for field in fields(_ENTRIES[location[0]]) if field.name != "addresses"]
    return near(str(location[-1]), ["from" if name == "sources" else name for name in names])


def _example(location: Sequence[int | str]) -> str:
    return f": {_EXAMPLES[location[0]]}" if location and location[0] in _EXAMPLES else ""


def path(location: Iterable[int | str]) -> str:
    """A location in an error of pydantic as text: ``firewall_allow[1].from[0]``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
