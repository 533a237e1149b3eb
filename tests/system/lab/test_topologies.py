"""A live cluster changes its topology by one word and a run; each time everyone reaches everyone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab.reach import pings
from lab.spec import HostSpec, plain
from tests.support.lab.cluster import Cluster
from tests.support.lab.servers import cluster_of, describe, docker

# h7 stands behind NAT; each site has one gateway
SITES = {"h1": "ams", "h2": "ams", "h3": "ams", "h4": "fra", "h5": "fra", "h6": "home", "h7": "home"}
GATEWAYS = ("h1", "h4", "h6")
OVERLAY = {name: [f"10.0.0.{name[1:]}", f"fd00::{name[1:]}"] for name in SITES}
OVERLAY["laptop"] = ["10.0.0.100", "fd00::64"]

# how many hosts each has as peers, the road warrior left out; "partial" is at least of degree 3
LINKS = {
    "mesh": dict.fromkeys(SITES, 6),
    "sites": {"h1": 4, "h2": 2, "h3": 2, "h4": 3, "h5": 1, "h6": 3, "h7": 1},
}


@pytest.fixture(scope="module")
def cluster(prefix: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    specs = [*plain(7, behind=1, has_tools=True), HostSpec("laptop", 0x0802, has_tools=True)]
    with cluster_of(specs, f"{prefix}topologies-", tmp_path_factory.mktemp("topologies")) as cluster:
        rows = []
        for name, site in SITES.items():
            key, data = docker(cluster.lab[name])
            data |= {"wg_address": OVERLAY[name], "wg_site": site}
            if name != "h7":
                data["wg_endpoint"] = cluster.lab[name].address
            if name in GATEWAYS:
                data["wg_gateway"] = True
            rows.append((key, data))
        describe(
            cluster,
            rows,
            wg_networks=["10.0.0.0/24", "fd00::/64"],
            wg_topology="mesh",
            wg_degree=3,
            wg_keystore="lab/.state/keys.yml",
        )
        cluster.join()
        yield cluster


def links(cluster: Cluster, name: str) -> int:
    """Peers that are no road warrior, as the interface has them."""
    shown = cluster.lab[name].run("wg show wg allowed-ips", check=True).stdout
    return len([line for line in shown.splitlines() if "10.0.0.100/32" not in line.split()[1:2]])


def unreached(cluster: Cluster) -> dict[str, set[str]]:
    """Overlay addresses that do not answer within seconds, by the host that asked."""
    everyone = {address for addresses in OVERLAY.values() for address in addresses}
    with ThreadPoolExecutor(2) as pool:
        answers = pool.map(lambda name: pings(cluster.lab[name], sorted(everyone)), OVERLAY)
        return {
            name: silent for name, got in zip(OVERLAY, answers, strict=True) if (silent := everyone - got)
        }


@pytest.mark.parametrize(
    ("before", "topology"), [("mesh", "sites"), ("sites", "partial"), ("partial", "mesh")]
)
def test_one_word_and_a_run(cluster: Cluster, before: str, topology: str) -> None:
    assert unreached(cluster) == {}
    cluster.set("group_data/all.py", f"wg_topology = {before!r}", f"wg_topology = {topology!r}")
    cluster.deploy()
    assert unreached(cluster) == {}
    found = {name: links(cluster, name) for name in SITES}
    if topology == "partial":
        assert min(found.values()) >= 3
        assert sum(found.values()) < sum(LINKS["mesh"].values())
    else:
        assert found == LINKS[topology]
    assert cluster.changes() == {}
