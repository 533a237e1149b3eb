"""check tells all faults at once, and in JSON too."""

from __future__ import annotations

import pytest

from tests.support.operator_folder import HOSTS, Cluster


def test_an_expectation_that_names_nobody_is_told_with_all_other_faults(
    cluster: Cluster,
) -> None:
    """A client, which only the registry knows, is somebody."""
    cluster.deployed()
    assert cluster.run("client", "add", "laptop").status == 0
    cluster.write(wg_topology="star", wg_expect=["laptop -> root", "laptop -> clod", "root -> 10.9.0.0/24"])
    result = cluster.run("check")
    assert result.status == 1
    assert "3 faults in the inventory" in result.err
    assert "wg_topology = 'star'" in result.err
    assert "wg_expect = 'laptop -> clod': clod is not a host, client or wg_subnets network" in result.err
    assert "10.9.0.0/24 is not a host" in result.err
    cluster.keys.write_text("hosts: [")  # who the clients are is not known any more
    assert "1 fault in the inventory" in cluster.run("check").err


def test_what_an_expectation_names_may_have_a_fault_of_its_own(cluster: Cluster) -> None:
    cluster.write(
        {**HOSTS, "root": {**HOSTS["root"], "wg_subnets": "10.9.0.1/24"}}, wg_expect=["cloud -> 10.9.0.0/24"]
    )
    result = cluster.run("check")
    assert "1 fault in the inventory" in result.err
    assert "host bits are set" in result.err


def test_check_json_of_an_inventory_with_faults_names_each(cluster: Cluster) -> None:
    cluster.write(wg_topology="star", wg_intreface="wg0")
    result = cluster.run("check", "--json")
    assert (result.status, result.err) == (1, "")
    said = {fault["code"]: fault["message"] for fault in result.json["faults"]}
    assert said.keys() == {"setting.not-one-of", "setting.unknown"}
    assert said["setting.not-one-of"] == "wg_topology = 'star': must be 'mesh', 'sites' or 'partial'"
    assert said["setting.unknown"].endswith("did you mean wg_interface?")


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("servers = [\n", "inventory.py: SyntaxError: '[' was never closed (inventory.py, line 1)"),
        ("\nservers = [1 / 0]\n", "inventory.py:2: ZeroDivisionError: division by zero"),
        ("from nowhere import servers\n", "inventory.py:1: ModuleNotFoundError: No module named 'nowhere'"),
        ("import sys\nsys.exit('no token')\n", "inventory.py:2: SystemExit: no token"),
    ],
)
def test_check_json_of_an_inventory_that_does_not_run(cluster: Cluster, program: str, said: str) -> None:
    (cluster.folder / "inventory.py").write_text(program)
    result = cluster.run("check", "--json")
    assert (result.status, result.err) == (1, "")
    assert result.json["ok"] is False
    (fault,) = result.json["faults"]
    assert said in fault["message"]
    assert said in cluster.run("check").err


def test_check_json_of_a_missing_inventory_and_of_a_registry_that_cannot_be_read(cluster: Cluster) -> None:
    cluster.keys.write_text("hosts: [")
    result = cluster.run("check", "--json")
    assert (result.status, result.err) == (1, "")
    assert "keys.yml" in result.json["faults"][0]["message"]
    (cluster.folder / "inventory.py").unlink()
    result = cluster.run("check", "--json")
    assert (result.status, result.err) == (1, "")
    assert "no such inventory" in result.json["faults"][0]["message"]


def test_what_an_inventory_prints_does_not_spoil_the_json(cluster: Cluster) -> None:
    path = cluster.folder / "inventory.py"
    path.write_text(path.read_text() + "print('loaded')\n")
    result = cluster.run("check", "--json")
    assert (result.status, result.err) == (0, "loaded\n")
    assert result.json["ok"] is True
