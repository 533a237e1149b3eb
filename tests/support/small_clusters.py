"""The clusters of the unit tests: few hosts, each there for a reason."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from wgcluster.inventory.cluster import Client, Cluster, Endpoint, Host
from wgcluster.plan.plan import Plan
from wgcluster.plan.planner import make_plan

OVERLAY = ip_network("10.0.0.0/24")


def host(name: str, number: int, dialled: bool = True, **more: Any) -> Host:
    """A host at 10.0.0.``number``, dialled at 198.18.0.``number``."""
    endpoint = Endpoint(ip_address(f"198.18.0.{number}"), 51820) if dialled else None
    return Host(name, (ip_address(f"10.0.0.{number}"),), endpoint=endpoint, **more)


def client(name: str, number: int, gateway: str | None = None) -> Client:
    return Client(name, (ip_address(f"10.0.0.{number}"),), gateway)


def cluster(*hosts: Host, clients: tuple[Client, ...] = (), **more: Any) -> Cluster:
    ordered = tuple(sorted(hosts, key=lambda one: one.name))
    return Cluster((OVERLAY,), ordered, clients, **more)


def article(masquerade: bool = False, **more: Any) -> Cluster:
    """root, the gateway; cloud; backup behind NAT; and the laptop."""
    return cluster(
        host("root", 2, gateway=True, masquerade=masquerade),
        host("cloud", 3, port=51821),
        host("backup", 4, dialled=False),
        clients=(client("laptop", 100),),
        **more,
    )


def two_sites(**more: Any) -> Cluster:
    """a1 and b1 are gateways; a2 and b2 know their own site alone."""
    return cluster(
        host("a1", 1, site="ams", gateway=True),
        host("a2", 2, site="ams"),
        host("b1", 11, site="fra", gateway=True),
        host("b2", 12, site="fra"),
        topology="sites",
        **more,
    )


def line(count: int) -> Cluster:
    """h00 - h01 - h02 - …: all but the ends carry for others."""
    names = [f"h{i:0{max(2, len(str(count - 1)))}}" for i in range(count)]
    links = [*((name,) for name in names[1:]), ()]
    return cluster(
        *(host(name, i + 1, links=links[i]) for i, name in enumerate(names)),
        topology="partial",
    )


def planned(of: Cluster) -> Plan:
    return make_plan(
        of,
        {one.name: f"key-{one.name}" for one in of.hosts},
        {one.name: f"key-{one.name}" for one in of.clients},
    )
