"""Inventory rows -> Cluster, or every fault of the operator's data at once."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from wgcluster.inventory import schema
from wgcluster.inventory.cluster import Client, Cluster, Endpoint, Host
from wgcluster.inventory.consistency import expectation_faults, inconsistencies
from wgcluster.inventory.faults import Fault, ModelError, deduplicated, fault
from wgcluster.inventory.row import OURS, Row
from wgcluster.prefixes import Address
from wgcluster.text import abbreviated

# Settings whose faults may come from a host that was not read.
_OF_STRAYS = ("wg_links", "wg_topology")
_Keys = TypeVar("_Keys", bound=BaseModel)
# Temporary values for required settings that are invalid.
_STAND_INS: Mapping[str, str] = {
    "wg_name": "x",
    "wg_address": "192.0.2.1",
    "wg_networks": "192.0.2.0/24",
}
# The other settings that a fault depends on: if one of them is invalid, the fault may be none.
_RESTS_ON: Mapping[str, frozenset[str]] = {
    "wg_hosts_file": frozenset({"nginx_vpn_only", "wg_endpoint", "wg_site_endpoint"}),
    "firewall_allow": frozenset({"firewall"}),
    "wg_masquerade": frozenset({"wg_gateway", "firewall"}),
    "wg_masquerade_lan": frozenset({"wg_subnets", "firewall"}),
    "wg_topology": frozenset({"wg_links", "wg_degree"}),
    "wg_expect": frozenset({"wg_name", "wg_subnets"}),
}


def read_cluster(rows: Sequence[Row], clients: Sequence[Client] | None = None) -> Cluster:
    """The cluster that an inventory declares.

    Args:
        rows: every host of the inventory, whatever a run leaves out.
        clients: the road warriors of the key registry; None: unknown, the cluster has none.

    Raises:
        ModelError: with every fault.
    """
    faults: list[Fault] = []
    if not rows:
        raise ModelError([fault("inventory.empty")])
    shared = _read_shared(rows, faults)
    strays = [row for row in rows if not row.declared and "wg_address" not in row.data]
    known = [row for row in rows if row not in strays]
    hosts = [_read_host(row, faults) for row in known]
    wrong = {(fault.host, fault.key.partition("[")[0]) for fault in faults}
    wrong |= {("", key) for key in _OF_STRAYS if strays}
    faults += [f for f in inconsistencies(shared, hosts, clients or ()) if not _follows(f, wrong)]
    faults += [_stray(row, known) for row in strays]
    if faults and clients is not None:  # otherwise plan/checks.py reports them
        faults += [f for f in expectation_faults(shared.wg_expect, hosts, clients) if not _follows(f, wrong)]
    if faults:
        raise ModelError(deduplicated(faults, {row.cluster_name for row in known}))
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
    """The settings without the invalid ones, whose faults are added, so that others are checked, too."""
    try:
        return kind.model_validate(dict(data))
    except ValidationError as error:
        wrong = {str(one["loc"][0]) for one in error.errors()}
        for one in error.errors():
            if one["type"] == "too_short" and one["input"]:
                continue  # each of its entries is invalid, which is reported
            faults.append(schema.fault_of(one, host))
    stand_ins = {key: _STAND_INS[key] for key in _STAND_INS.keys() & wrong}
    sound = kind.model_validate({**{k: v for k, v in data.items() if k not in wrong}, **stand_ins})
    return sound.model_copy(update=dict.fromkeys(stand_ins, ()))


def _follows(fault: Fault, wrong: Collection[tuple[str, str]]) -> bool:
    """Can a fault be the consequence of one that is reported already?"""
    keys = {fault.key} | _RESTS_ON.get(fault.key, frozenset())
    return any(key in keys and (not fault.host or host in (fault.host, "")) for host, key in wrong)


def _read_shared(rows: Sequence[Row], faults: list[Fault]) -> schema.ClusterSettings:
    """The settings of the whole cluster, which must be the same for every host (group_data/all.py)."""
    data: dict[str, Any] = {}
    for key in schema.ClusterSettings.model_fields:
        seen = [(row, row.data[key]) for row in rows if key in row.data]
        if not seen:
            continue
        data[key] = seen[0][1]
        for row, value in seen:
            if value != data[key]:
                theirs = {"other": seen[0][0].cluster_name, "theirs": data[key]}
                faults.append(fault("setting.differs", row.cluster_name, value, key=key, **theirs))
    return _validate(schema.ClusterSettings, "", {"wg_networks": (), **data}, faults)


def _stray(row: Row, known: Sequence[Row]) -> Fault:
    """The fault for a host that pyinfra created for an unknown name in a group."""
    names = [other.name for other in known]
    same = [other.name for other in known if row.default_name in (other.default_name, other.cluster_name)]
    shorter = {other.default_name: other.name for other in known}
    close = same or difflib.get_close_matches(row.name, names, 1)
    close = close or [shorter[one] for one in difflib.get_close_matches(row.default_name, shorter, 1)]
    meant = f"names as in the inventory: {close[0]}?" if close else f"there are {abbreviated(names)}"
    return fault("wg_address.only-in-group", row.name, name=row.name, hint=meant)


def _read_host(row: Row, faults: list[Fault]) -> Host:
    name = row.cluster_name
    for key in row.data:
        if key.startswith(OURS) and key not in schema.SETTING_NAMES:
            near = difflib.get_close_matches(key, schema.SETTING_NAMES, 1)
            hint = f"; did you mean {near[0]}?" if near else "; the README lists all settings"
            faults.append(fault("setting.unknown", name, key=key, hint=hint))
    data = {key: row.data[key] for key in schema.HostSettings.model_fields if key in row.data}
    keys = _validate(schema.HostSettings, name, {"wg_name": row.default_name, **data}, faults)

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
        masquerade_lan=keys.wg_masquerade_lan,
        links=keys.wg_links,
        keepalive=keys.wg_keepalive,
        sources=keys.wg_source,
        clients_from=keys.wg_clients_from,
        dns=keys.wg_dns,
        hosts_file=keys.wg_hosts_file,
        keep=keys.wg_keep,
        firewall=keys.firewall,
        firewall_allow=keys.firewall_allow,
        nginx=keys.nginx_vpn_only,
    )


def keystore_of(rows: Sequence[Row]) -> str:
    """The path of the key registry that an inventory names, even if it has faults."""
    return _read_shared(rows, []).wg_keystore
