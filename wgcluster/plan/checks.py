"""Why a cluster cannot be planned, beyond its links: clients, degree, families, expectations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from wgcluster.inventory.cluster import Cluster, Host
from wgcluster.inventory.consistency import expectation_faults
from wgcluster.inventory.faults import Fault, fault
from wgcluster.plan.topology import Topology


def gateways_to_dial(cluster: Cluster) -> dict[str, Host]:
    """The gateways that anyone can dial, by name and in that order."""
    return {host.name: host for host in cluster.hosts if host.gateway and host.endpoint is not None}


def gateways_of(cluster: Cluster) -> dict[str, Host]:
    """The gateway of each road warrior: its own, or the first by name where that is none (any more)."""
    gateways = gateways_to_dial(cluster)
    if not gateways:
        return {}
    first = next(iter(gateways.values()))
    return {client.name: gateways.get(client.gateway or "", first) for client in cluster.clients}


def plan_faults(cluster: Cluster, gateways: Mapping[str, Host]) -> Iterator[Fault]:
    """Every fault; ``gateways`` are those of the road warriors that have one."""
    yield from _check_clients(cluster, gateways)
    yield from _check_degree(cluster)
    yield from _check_families(cluster)
    yield from expectation_faults(cluster.expect, cluster.hosts, cluster.clients)


def carrier_faults(cluster: Cluster, topology: Topology) -> Iterator[Fault]:
    """Hosts that others are reached through, and that lack a family of the overlay."""
    carries = topology.carriers()
    for host, through in zip(cluster.hosts, carries.tolist(), strict=True):
        for network in cluster.networks:
            if through and not any(address.version == network.version for address in host.addresses):
                found = [str(address) for address in host.addresses]
                yield fault("wg_address.missing-family", host.name, found, network=network, hint="")


def _check_clients(cluster: Cluster, gateways: Mapping[str, Host]) -> Iterator[Fault]:
    hosts = {host.name for host in cluster.hosts}
    for client in cluster.clients:
        if client.name in hosts:
            yield fault("client.host-has-name", client.name)
        if client.name not in gateways:
            yield fault("gateway.none", client.name, client.gateway)
    for name, count in Counter(client.name for client in cluster.clients).items():
        if count > 1:
            yield fault("client.duplicate", name, count=count)


def _check_degree(cluster: Cluster) -> Iterator[Fault]:
    if cluster.degree is not None:
        if cluster.degree < 2:
            yield fault("setting.too-small", value=cluster.degree, key="wg_degree", ge=2)
        for host in cluster.hosts:
            if host.links:
                yield fault("wg_links.with-degree", host.name, list(host.links))


def _check_families(cluster: Cluster) -> Iterator[Fault]:
    families = {network.version for network in cluster.networks}
    for host in cluster.hosts:
        for subnet in host.subnets:
            if subnet.version not in families:
                yield fault("wg_subnets.no-such-family", host.name, str(subnet), family=subnet.version)
