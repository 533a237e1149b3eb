"""Inventory rows -> Cluster: every fault of the operator's data at once, each with its path."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from itertools import combinations
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from wgcluster import schema
from wgcluster.expect import misfits
from wgcluster.schema import DEFAULT_MTU, DEFAULT_PORT, Address, Network, Topology


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one value: where it stands, what it is, what would be right."""

    host: str  # "" when it concerns the whole cluster
    key: str
    value: object
    message: str

    def __str__(self) -> str:
        where = f"{self.host}: {self.key}" if self.host else self.key
        shown = "" if self.value is None else f" = {self.value!r}"
        return f"{where}{shown}: {self.message}"


class ModelError(ValueError):
    """The inventory does not describe a cluster. ``faults`` holds every reason."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''} in the inventory"
        super().__init__("\n".join([f"{count}, nothing was changed:", *(f"  {fault}" for fault in faults)]))


@dataclass(frozen=True, slots=True)
class Row:
    """One host of a pyinfra inventory, its data merged in pyinfra's order of precedence."""

    name: str  # pyinfra's host name, connector and all
    data: Mapping[str, Any]

    @property
    def default_name(self) -> str:
        """pyinfra's name without ``@connector/``."""
        return self.name.split("/", 1)[-1] if self.name.startswith("@") else self.name

    @property
    def cluster_name(self) -> str:
        """Its ``wg_name``, which others may use before it is checked."""
        return str(self.data.get("wg_name", self.default_name))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a host can be dialled: an address or a DNS name, and a UDP port."""

    host: Address | str
    port: int

    def __str__(self) -> str:
        return (
            f"[{self.host}]:{self.port}" if isinstance(self.host, IPv6Address) else f"{self.host}:{self.port}"
        )


@dataclass(frozen=True, slots=True)
class OpenPort:
    """One entry of ``firewall_allow``."""

    port: int
    protocol: Literal["tcp", "udp"]
    sources: tuple[Network, ...]


@dataclass(frozen=True, slots=True)
class VpnOnly:
    """One entry of ``nginx_vpn_only``."""

    file: str
    server_name: str
    locations: tuple[str, ...]
    public: tuple[str, ...]
    allow: tuple[Network, ...]
    scope: Literal["location", "server"]
    acme_root: str | None


@dataclass(frozen=True, slots=True)
class Host:
    """One server, as declared."""

    name: str
    addresses: tuple[Address, ...]  # at most one a family, IPv4 first
    port: int = DEFAULT_PORT
    mtu: int = DEFAULT_MTU
    endpoint: Endpoint | None = None
    site: str | None = None
    site_endpoint: Endpoint | None = None
    gateway: bool = False
    masquerade: bool = False
    subnets: tuple[Network, ...] = ()
    links: tuple[str, ...] = ()
    keepalive: int | None = None  # seconds, None: as the topology needs it
    clients_from: tuple[Network, ...] = ()  # empty: anywhere
    firewall: Literal["peers", "baseline", "off"] = "peers"
    firewall_allow: tuple[OpenPort, ...] = ()
    nginx: tuple[VpnOnly, ...] = ()


@dataclass(frozen=True, slots=True)
class Client:
    """A road warrior, as the key registry lists it."""

    name: str
    addresses: tuple[Address, ...]
    gateway: str | None = None  # None: the first gateway that can be dialled


@dataclass(frozen=True, slots=True)
class Cluster:
    """All hosts and what is wanted of them. ``hosts`` and ``clients`` are sorted by name."""

    networks: tuple[Network, ...]
    hosts: tuple[Host, ...]
    clients: tuple[Client, ...] = ()
    interface: str = "wg"
    topology: Topology = "mesh"
    degree: int | None = None
    preshared_keys: bool = False
    expect: tuple[str, ...] = ()
    keystore: str = "keys.yml"


MIN_IPV6_MTU = 1280  # bytes
_OURS = ("wg_", "firewall", "nginx_")
_Keys = TypeVar("_Keys", bound=BaseModel)
# In the place of what must be there and has a fault, until it is taken out again.
_STAND_INS: Mapping[str, str] = {
    "wg_name": "x",
    "wg_address": "192.0.2.1",
    "wg_networks": "192.0.2.0/24",
}
# What a fault of several keys is built on: if one of them has a fault of its own, the other may not be one.
_RESTS_ON: Mapping[str, frozenset[str]] = {
    "wg_masquerade": frozenset({"wg_gateway", "firewall"}),
    "wg_topology": frozenset({"wg_links", "wg_degree"}),
    "wg_expect": frozenset({"wg_name", "wg_subnets"}),
}


def read_cluster(rows: Sequence[Row], clients: Sequence[Client] | None = None) -> Cluster:
    """The cluster that an inventory declares.

    Args:
        rows: every host of the inventory, also those a run leaves out.
        clients: the road warriors of the key registry; None: not known, so the cluster is without them.

    Raises:
        ModelError: with every fault found, each naming host, key, value and what would be right.
    """
    faults: list[Fault] = []
    if not rows:
        raise ModelError([Fault("", "inventory", None, "names no host")])
    shared = _read_shared(rows, faults)
    hosts = [_read_host(row, faults) for row in rows]
    wrong = {(fault.host, fault.key.partition("[")[0]) for fault in faults}
    faults += [f for f in _cross_check(shared, hosts, clients or ()) if not _follows(f, wrong)]
    if faults and clients is not None:  # by itself it is told with what else keeps a cluster from its plan
        faults += [f for f in _check_expectations(shared, hosts, clients) if not _follows(f, wrong)]
    if faults:
        raise ModelError(faults)
    return Cluster(
        networks=tuple(sorted(shared.wg_networks, key=lambda network: network.version)),
        hosts=tuple(sorted(hosts, key=lambda host: host.name)),
        clients=tuple(sorted(clients or (), key=lambda client: client.name)),
        interface=shared.wg_interface,
        topology=shared.wg_topology,
        degree=shared.wg_degree,
        preshared_keys=shared.wg_preshared_keys,
        expect=shared.wg_expect,
        keystore=shared.wg_keystore,
    )


def _validate(kind: type[_Keys], host: str, data: Mapping[str, Any], faults: list[Fault]) -> _Keys:
    """The keys; those with a fault are as if not there, so that what is wrong with others comes out, too."""
    try:
        return kind.model_validate(dict(data))
    except ValidationError as error:
        wrong = {str(one["loc"][0]) for one in error.errors()}
        for one in error.errors():
            if one["type"] == "too_short" and one["input"]:
                continue  # it has entries, but each has a fault that is told of itself
            value = None if one["type"] == "missing" else one["input"]
            faults.append(Fault(host, schema.path(one["loc"]), value, schema.message(one)))
    stand_ins = {key: _STAND_INS[key] for key in _STAND_INS.keys() & wrong}
    sound = kind.model_validate({**{k: v for k, v in data.items() if k not in wrong}, **stand_ins})
    return sound.model_copy(update=dict.fromkeys(stand_ins, ()))


def _follows(fault: Fault, wrong: Collection[tuple[str, str]]) -> bool:
    """May a fault come from one that is told already?"""
    keys = {fault.key} | _RESTS_ON.get(fault.key, frozenset())
    return any(key in keys and (not fault.host or host in (fault.host, "")) for host, key in wrong)


def _read_shared(rows: Sequence[Row], faults: list[Fault]) -> schema.SharedKeys:
    """What concerns the whole cluster stands in group_data/all.py: every host must see the same."""
    data: dict[str, Any] = {}
    for key in schema.SharedKeys.model_fields:
        seen = [(row, row.data[key]) for row in rows if key in row.data]
        if not seen:
            continue
        data[key] = seen[0][1]
        for row, value in seen:
            if value != data[key]:
                name = row.cluster_name
                wrong = (
                    f"{seen[0][0].cluster_name} has {data[key]!r}; it is one for all, in group_data/all.py"
                )
                faults.append(Fault(name, key, value, wrong))
    return _validate(schema.SharedKeys, "", {"wg_networks": (), **data}, faults)


def _read_host(row: Row, faults: list[Fault]) -> Host:
    name = row.cluster_name
    for key in row.data:
        if key.startswith(_OURS) and key not in schema.KEYS:
            near = difflib.get_close_matches(key, schema.KEYS, 1)
            hint = f"; did you mean {near[0]}?" if near else "; the README lists the keys there are"
            faults.append(Fault(name, key, None, f"is no key of ours{hint}"))
    data = {key: row.data[key] for key in schema.HostKeys.model_fields if key in row.data}
    keys = _validate(schema.HostKeys, name, {"wg_name": row.default_name, **data}, faults)

    def endpoint(value: tuple[Address | str, int | None] | None) -> Endpoint | None:
        return None if value is None else Endpoint(value[0], value[1] or keys.wg_port)

    return Host(
        name=keys.wg_name or name,
        addresses=tuple(sorted(keys.wg_address, key=lambda address: address.version)),
        port=keys.wg_port,
        mtu=keys.wg_mtu,
        endpoint=endpoint(keys.wg_endpoint),
        site=keys.wg_site,
        site_endpoint=endpoint(keys.wg_site_endpoint),
        gateway=keys.wg_gateway,
        masquerade=keys.wg_masquerade,
        subnets=keys.wg_subnets,
        links=keys.wg_links,
        keepalive=keys.wg_keepalive,
        clients_from=keys.wg_clients_from,
        firewall=keys.firewall,
        firewall_allow=tuple(OpenPort(one.port, one.protocol, one.sources) for one in keys.firewall_allow),
        nginx=tuple(
            VpnOnly(one.file, one.server_name, one.locations, one.public, one.allow, one.scope, one.acme_root)
            for one in keys.nginx_vpn_only
        ),
    )


def _cross_check(
    shared: schema.SharedKeys, hosts: Sequence[Host], clients: Sequence[Client]
) -> Iterator[Fault]:
    """What no single value shows."""
    networks = shared.wg_networks
    for version, count in Counter(network.version for network in networks).items():
        if count > 1:
            yield Fault(
                "",
                "wg_networks",
                [str(n) for n in networks],
                f"holds {count} IPv{version} prefixes; one a family",
            )
    for name, count in Counter(host.name for host in hosts).items():
        if count > 1:
            yield Fault(name, "wg_name", name, f"{count} hosts have this name; each needs its own")
    yield from _check_addresses(networks, hosts, clients)
    yield from _check_subnets(networks, hosts)
    names = {host.name for host in hosts}
    for host in hosts:
        for link in host.links:
            if link == host.name:
                yield Fault(host.name, "wg_links", link, "is the host itself")
            elif link not in names:
                yield Fault(host.name, "wg_links", link, f"no host has this name{_near(link, names)}")
        for key, endpoint in (("wg_endpoint", host.endpoint), ("wg_site_endpoint", host.site_endpoint)):
            address = None if endpoint is None or isinstance(endpoint.host, str) else endpoint.host
            if address is not None and any(address in n for n in networks if n.version == address.version):
                wrong = "lies inside the overlay; write where the host is reached without the tunnel"
                yield Fault(host.name, key, str(address), wrong)
        if host.mtu < MIN_IPV6_MTU and any(network.version == 6 for network in networks):
            wrong = f"an overlay with IPv6 needs at least {MIN_IPV6_MTU} (RFC 8200, 5)"
            yield Fault(host.name, "wg_mtu", host.mtu, wrong)
        for site in host.nginx:
            if site.scope == "location" and not site.locations:
                wrong = 'guards nothing; name locations, or guard the whole server with "scope": "server"'
                yield Fault(host.name, "nginx_vpn_only", site.server_name, wrong)
        if host.masquerade and not host.gateway:
            yield Fault(
                host.name,
                "wg_masquerade",
                True,
                "only a gateway masquerades; set wg_gateway = True or leave it out",
            )
        if host.masquerade and host.firewall == "off":
            wrong = 'its rule goes with firewall = "peers" or "baseline"; with "off" set it to False: routed'
            yield Fault(host.name, "wg_masquerade", True, wrong)
        if shared.wg_topology == "sites" and host.site is None:
            wrong = 'is required with wg_topology = "sites"; name the provider or location it stands in'
            yield Fault(host.name, "wg_site", None, wrong)
    no_links = shared.wg_degree is None and not any(host.links for host in hosts)
    if shared.wg_topology == "partial" and no_links and len(hosts) > 1:
        yield Fault("", "wg_topology", "partial", "needs wg_links on hosts, or wg_degree")


def _check_addresses(
    networks: Sequence[Network], hosts: Sequence[Host], clients: Sequence[Client]
) -> Iterator[Fault]:
    owners: dict[Address, str] = {}
    hint = ', or "python -m wgcluster client renumber", which keeps the keys'
    for name, addresses, mend in [
        *((h.name, h.addresses, "") for h in hosts),
        *((c.name, c.addresses, hint) for c in clients),
    ]:
        if len({address.version for address in addresses}) < len(addresses):
            yield Fault(name, "wg_address", [str(a) for a in addresses], "one address a family")
        for network in networks:
            if addresses and not any(address.version == network.version for address in addresses):
                needs = f"needs an address in {network} as well{mend}"
                yield Fault(name, "wg_address", [str(a) for a in addresses], needs)
        for address in addresses:
            value = str(address)
            home = next((n for n in networks if n.version == address.version and address in n), None)
            if home is None and networks:
                wanted = " or ".join(str(network) for network in networks)
                yield Fault(
                    name, "wg_address", value, f"lies outside the overlay; take one in {wanted}{mend}"
                )
            elif home is not None and home.num_addresses > 2 and address == home.network_address:
                yield Fault(
                    name, "wg_address", value, f"is the address of the network {home} itself; take another"
                )
            elif (
                home is not None
                and home.version == 4
                and home.num_addresses > 2
                and address == home.broadcast_address
            ):
                yield Fault(name, "wg_address", value, f"is the broadcast address of {home}; take another")
            if address in owners:
                yield Fault(
                    name, "wg_address", value, f"{owners[address]} has this address; each needs its own"
                )
            owners.setdefault(address, name)


def _check_subnets(networks: Sequence[Network], hosts: Sequence[Host]) -> Iterator[Fault]:
    subnets = [(host.name, subnet) for host in hosts for subnet in host.subnets]
    for name, subnet in subnets:
        for network in networks:
            if subnet.version == network.version and subnet.overlaps(network):
                yield Fault(name, "wg_subnets", str(subnet), f"overlaps the overlay {network}")
        for host in hosts:
            for endpoint in (host.endpoint, host.site_endpoint):
                if endpoint is not None and not isinstance(endpoint.host, str) and endpoint.host in subnet:
                    yield Fault(
                        name,
                        "wg_subnets",
                        str(subnet),
                        f"holds {host.name}'s endpoint {endpoint.host}: the tunnel would swallow itself",
                    )
    for (name, one), (other_name, other) in combinations(subnets, 2):
        if one.version == other.version and one.overlaps(other):
            yield Fault(name, "wg_subnets", str(one), f"overlaps {other} of {other_name}")


def _check_expectations(
    shared: schema.SharedKeys, hosts: Sequence[Host], clients: Sequence[Client]
) -> Iterator[Fault]:
    names = {host.name for host in hosts} | {client.name for client in clients}
    names |= {str(subnet) for host in hosts for subnet in host.subnets}
    for text, wrong in misfits(shared.wg_expect, names):
        yield Fault("", "wg_expect", text, wrong)


def keystore_of(rows: Sequence[Row]) -> str:
    """Where an inventory, which may have faults, says that its key registry is."""
    return _read_shared(rows, []).wg_keystore


def _near(word: str, names: Collection[str]) -> str:
    near = difflib.get_close_matches(word, names, 1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(sorted(names)[:10])}"
