"""Why a cluster cannot be planned, beyond its links: clients, degree, families, expectations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from wgcluster.inventory.cluster import Cluster, Host
from wgcluster.inventory.consistency import strange_expectations
from wgcluster.inventory.faults import Fault


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
    yield from strange_expectations(cluster.expect, cluster.hosts, cluster.clients)


def _check_clients(cluster: Cluster, gateways: Mapping[str, Host]) -> Iterator[Fault]:
    hosts = {host.name for host in cluster.hosts}
    for client in cluster.clients:
        if client.name in hosts:
            yield Fault(client.name, "client", None, "a host has this name; each needs its own")
        if client.name not in gateways:
            why = "needs a gateway; set wg_gateway on one with a wg_endpoint"
            yield Fault(client.name, "gateway", client.gateway, why)
    for name, count in Counter(client.name for client in cluster.clients).items():
        if count > 1:
            yield Fault(name, "client", None, f"{count} clients have this name; each needs its own")


def _check_degree(cluster: Cluster) -> Iterator[Fault]:
    if cluster.degree is not None:
        if cluster.degree < 2:
            yield Fault("", "wg_degree", cluster.degree, "must be at least 2")
        for host in cluster.hosts:
            if host.links:
                yield Fault(
                    host.name, "wg_links", list(host.links), "wg_degree chooses the links; keep one of both"
                )


def _check_families(cluster: Cluster) -> Iterator[Fault]:
    families = {network.version for network in cluster.networks}
    for host in cluster.hosts:
        for subnet in host.subnets:
            if subnet.version not in families:
                yield Fault(
                    host.name,
                    "wg_subnets",
                    str(subnet),
                    f"no host has an IPv{subnet.version} address in the overlay to reach it from;"
                    f" give wg_networks an IPv{subnet.version} prefix",
                )
