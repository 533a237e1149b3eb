"""Random clusters that can be linked: all three topologies, both families, NAT, sites, networks, clients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import strategies as st

from wgcluster.inventory.cluster import Client, Cluster, Endpoint, Host
from wgcluster.inventory.row import Row
from wgcluster.inventory.schema import Topology
from wgcluster.prefixes import Address, Network

FOUR, SIX = ip_network("10.0.0.0/24"), ip_network("fd00::/64")
SUBNETS = [ip_network(f"172.16.{i}.0/{24 + i % 3}") for i in range(12)]
SUBNETS_6 = [ip_network(f"fd01:0:0:{i:x}::/64") for i in range(12)]

topologies: st.SearchStrategy[Topology] = st.sampled_from(["mesh", "sites", "partial"])
families = st.sampled_from([(FOUR,), (SIX,), (FOUR, SIX)])


@st.composite
def clusters(
    draw: st.DrawFn,
    topology: st.SearchStrategy[Topology] = topologies,
    max_hosts: int = 9,
    masquerade: bool = True,
) -> Cluster:
    """A cluster without a fault: h00 is always a gateway that anyone can dial."""
    kind = draw(topology)
    networks = draw(families)
    count = draw(st.integers(1, max_hosts))
    numbers = draw(st.lists(st.integers(1, 40), min_size=count + 3, max_size=count + 3, unique=True))
    subnets = draw(st.permutations([*SUBNETS, *SUBNETS_6]))
    hosts: list[Host] = []
    for i in range(count):
        site = (
            draw(st.sampled_from(["ams", "fra", "sin"])) if kind == "sites" or draw(st.booleans()) else None
        )
        first_of_site = all(host.site != site for host in hosts)
        dialled = i == 0 or (kind == "sites" and first_of_site) or draw(st.integers(0, 2)) > 0
        gateway = i == 0 or (kind == "sites" and first_of_site) or (dialled and draw(st.integers(0, 3)) == 0)
        hosts.append(
            Host(
                name=f"h{i:02}",
                addresses=_addresses(networks, numbers[i]),
                port=51820 + i,
                endpoint=draw(_endpoint(i)) if dialled else None,
                site=site,
                site_endpoint=(
                    Endpoint(ip_address(f"10.9.0.{i + 1}"), 51820) if site and draw(st.booleans()) else None
                ),
                gateway=gateway,
                masquerade=masquerade and gateway and draw(st.integers(0, 2)) == 0,
                subnets=_subnets(networks, subnets[2 * i : 2 * i + draw(st.integers(0, 2))]),
                keepalive=draw(st.sampled_from([None, None, 15])),
                sources=draw(st.sampled_from([(), (), (ip_network("198.51.100.8/29"),)])),
                clients_from=draw(st.sampled_from([(), (ip_network("198.51.100.0/24"),)])),
            )
        )
    degree = None
    if kind == "partial":
        if draw(st.booleans()):
            degree = draw(st.integers(2, 5))
        else:
            hosts = _linked(draw, hosts)
    gateways = [host.name for host in hosts if host.gateway and host.endpoint]
    clients = tuple(
        Client(
            f"c{i}", _addresses(networks, 100 + numbers[count + i]), draw(st.sampled_from([None, *gateways]))
        )
        for i in range(draw(st.integers(0, 3)))
    )
    return Cluster(
        networks=networks,
        hosts=tuple(hosts),
        clients=clients,
        topology=kind,
        degree=degree,
        preshared_keys=draw(st.booleans()),
    )


def _addresses(networks: Sequence[Network], number: int) -> tuple[Address, ...]:
    return tuple(network[number] for network in networks)


def _subnets(networks: Sequence[Network], subnets: Sequence[Network]) -> tuple[Network, ...]:
    return tuple(one for one in subnets if any(one.version == network.version for network in networks))


def _endpoint(i: int) -> st.SearchStrategy[Endpoint]:
    hosts: list[Address | str] = [
        ip_address(f"198.18.0.{i + 1}"),
        ip_address(f"2001:db8::{i + 1}"),
        f"h{i}.example",
    ]
    return st.sampled_from(hosts).map(lambda host: Endpoint(host, 51820 + i))


def _linked(draw: st.DrawFn, hosts: list[Host]) -> list[Host]:
    """Links that hold all together: each host to one before it, of which one can be dialled; then more."""
    links: list[set[str]] = [set() for _ in hosts]
    for i, host in enumerate(hosts):
        could = [j for j in range(i) if host.endpoint or hosts[j].endpoint]
        if could:
            chosen = {draw(st.sampled_from(could))} | draw(st.sets(st.sampled_from(could), max_size=2))
            links[i] = {hosts[j].name for j in chosen}
    return [replace(host, links=tuple(sorted(names))) for host, names in zip(hosts, links, strict=True)]


def many(count: int, degree: int, behind_nat: int, salt: int) -> Cluster:
    """Hosts whose names, and so whose rings, depend on ``salt``; the first ``behind_nat`` nobody can dial."""
    return Cluster(
        networks=(ip_network("10.0.0.0/16"),),
        topology="partial",
        degree=degree,
        hosts=tuple(
            Host(
                name=f"h{i:03}-{salt}",
                addresses=(ip_address("10.0.0.1") + i,),
                endpoint=None if i < behind_nat else Endpoint(ip_address("198.18.0.1") + i, 51820),
            )
            for i in range(count)
        ),
    )


def rows_of(cluster: Cluster) -> list[Row]:
    """The inventory that declares the cluster, but for its clients."""
    shared: dict[str, Any] = {
        "wg_networks": [str(network) for network in cluster.networks],
        "wg_topology": cluster.topology,
        "wg_preshared_keys": cluster.preshared_keys,
    }
    if cluster.degree is not None:
        shared["wg_degree"] = cluster.degree
    return [Row(f"@docker/{host.name}", {**shared, **_data(host)}) for host in cluster.hosts]


def _data(host: Host) -> dict[str, Any]:
    data: dict[str, Any] = {
        "wg_address": [str(address) for address in host.addresses],
        "wg_port": host.port,
        "wg_gateway": host.gateway,
        "wg_masquerade": host.masquerade,
        "wg_subnets": [str(subnet) for subnet in host.subnets],
        "wg_links": list(host.links),
        "wg_source": [str(network) for network in host.sources],
        "wg_clients_from": [str(network) for network in host.clients_from],
    }
    for key, value in (
        ("wg_endpoint", host.endpoint),
        ("wg_site_endpoint", host.site_endpoint),
        ("wg_site", host.site),
    ):
        if value is not None:
            data[key] = str(value)
    if host.keepalive is not None:
        data["wg_keepalive"] = host.keepalive
    return data


def keys_of(cluster: Cluster) -> tuple[dict[str, str], dict[str, str]]:
    """Public keys that differ, for hosts and for clients."""
    return (
        {host.name: f"{host.name}=key" for host in cluster.hosts},
        {client.name: f"{client.name}=key" for client in cluster.clients},
    )
