"""A host that stands in a network which another host announces reaches it without the tunnel."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from tests.support.small_clusters import client, cluster, host, planned
from wgcluster.inventory.cluster import Cluster, Endpoint
from wgcluster.inventory.cluster import Host as Declared
from wgcluster.prefixes import Network
from wgcluster.prove.proof import prove

LANS = {4: ip_network("192.168.1.0/24"), 6: ip_network("fd77::/64")}


def standing(name: str, number: int, **more: Any) -> Declared:
    place = Endpoint(ip_address(f"192.168.1.{number}"), 51820)
    return host(name, number, site="office", site_endpoint=place, **more)


def office(**more: Any) -> Cluster:
    """office announces its LAN, in which nas stands; root is elsewhere, with a laptop."""
    announcing = standing("office", 4, subnets=(LANS[4],))
    return cluster(announcing, standing("nas", 5, dialled=False), host("root", 2, gateway=True), **more)


def allowed(of: Cluster, name: str, peer: str) -> tuple[Network, ...]:
    peers = planned(of).host(name).peers
    return next(one.allowed_ips for one in peers if one.name == peer)


def test_it_is_left_out_there_and_nowhere_else() -> None:
    made = office(clients=(client("laptop", 100),))
    assert LANS[4] not in allowed(made, "nas", "office")
    assert ip_network("10.0.0.4/32") in allowed(made, "nas", "office")
    assert LANS[4] in allowed(made, "root", "office")
    assert planned(made).host("nas").beside == (LANS[4],)
    assert planned(made).host("root").beside == planned(made).host("office").beside == ()
    proof = prove(planned(made))
    assert proof.ok, proof.faults
    lan = str(LANS[4])
    assert proof.verdict("nas", lan) == proof.verdict(lan, "nas") == "hidden"
    for name in ("root", "laptop", "office"):
        assert proof.verdict(name, lan) == proof.verdict(lan, name) == "reached"
    assert proof.verdict("nas", "root") == proof.verdict("office", "nas") == "reached"


@pytest.mark.parametrize("site", [None, "elsewhere"])
def test_only_within_one_site(site: str | None) -> None:
    nas = Declared(
        "nas", (ip_address("10.0.0.5"),), site=site, site_endpoint=Endpoint(ip_address("192.168.1.5"), 1)
    )
    made = cluster(standing("office", 4, subnets=(LANS[4],)), nas, host("root", 2))
    assert LANS[4] in allowed(made, "nas", "office")
    assert planned(made).host("nas").beside == ()


def test_where_it_carries_what_others_send_there_it_is_refused() -> None:
    """root reaches the LAN over nas alone."""
    nas = standing("nas", 5, gateway=True, links=("office", "root"))
    made = cluster(standing("office", 4, subnets=(LANS[4],)), nas, host("root", 2), topology="partial")
    proof = prove(planned(made))
    assert not proof.ok
    assert any(str(LANS[4]) in fault.message and "nas" in fault.message for fault in proof.faults)


def test_of_both_families() -> None:
    """Each by its own; the site endpoint says which."""
    lans = (LANS[4], LANS[6])
    addresses = (ip_address("10.0.0.4"), ip_address("fd00::4"))
    announcing = Declared(
        "office", addresses, site="office", subnets=lans, site_endpoint=Endpoint(ip_address("fd77::4"), 1)
    )
    nas = Declared(
        "nas",
        (ip_address("10.0.0.5"), ip_address("fd00::5")),
        site="office",
        site_endpoint=Endpoint(ip_address("fd77::5"), 1),
    )
    made = Cluster((ip_network("10.0.0.0/24"), ip_network("fd00::/64")), (nas, announcing))
    assert planned(made).host("nas").beside == (LANS[6],)
    assert LANS[6] not in allowed(made, "nas", "office")
    assert LANS[4] in allowed(made, "nas", "office")
    assert prove(planned(made)).ok
