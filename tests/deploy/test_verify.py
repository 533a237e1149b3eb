"""verify.py: a table, each fault once, and exit status 1 for those hosts that have one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.fake.cluster import CHECKOUT, LAPTOP, FakeCluster, article, json_of


@pytest.fixture
def world(tmp_path: Path) -> FakeCluster:
    """Deployed, and each peer has been heard of."""
    world = article(tmp_path)
    del world.rows["root"]["nginx_vpn_only"]  # the model has no nginx to ask
    world.deploy()
    for host in world.hosts.values():
        for peer in host.links["wg"].peers.values():
            peer.handshake = host.clock - 10
    world.forget()
    return world


def test_all_is_as_planned(world: FakeCluster) -> None:
    done = world.run("verify.py", "-y")
    assert done.code == 0, done.err
    assert re.search(
        r"^ *host +unit +handshake +ping +forward +port +route +firewall +stranger +boot +names +apart +mtu"
        r" +lan +service +nginx$",
        done.err,
        re.M,
    )
    document = (CHECKOUT / "docs" / "monitoring.md").read_text()
    assert re.search(
        rf"^ *host +{' +'.join(re.findall(r'^[|] `(.*?)` [|]', document, re.M))}$", done.err, re.M
    )
    assert len(re.findall(r"^ *(?:root|cloud|backup) +ok +ok +ok", done.err, re.MULTILINE)) == 3
    assert world.changes() == []


def test_each_fault_is_told_once(world: FakeCluster) -> None:
    world.hosts["cloud"].enabled.discard("wg-quick@wg.service")
    world.hosts["cloud"].deaf_to.add("10.0.0.4")
    world.hosts["backup"].deaf_to.add("10.0.0.3")
    done = world.run("verify.py", "-y")
    assert done.code == 1
    for fault in (
        "cloud: unit: wg-quick@wg.service is not enabled: it will be gone after a boot",
        "cloud: ping: backup (10.0.0.4) does not answer",
        "backup: ping: cloud (10.0.0.3) does not answer",
    ):
        assert done.err.count(fault) == 1
        assert done.err.count(fault.split(": ", 2)[2]) == 1
    assert "[@fake/cloud]  2 faults, told below the table\n" in done.err
    assert "[@fake/backup] 1 fault, told below the table\n" in done.err
    assert "[@fake/root]   No changes" in done.err


def test_a_link_that_takes_smaller_packets_is_told_with_what_to_set(world: FakeCluster) -> None:
    world.hosts["cloud"].path_mtu = 1300
    done = world.run("verify.py", "-y")
    assert done.code == 1
    for name, address in (("root", "10.0.0.2"), ("backup", "10.0.0.4")):
        assert (
            f"cloud: mtu: packets of 1420 bytes do not get through to {name} ({address}), those of 1300 do:"
            " set wg_mtu = 1300 for both hosts" in done.err
        )


def test_who_answers_against_the_plan_is_told(world: FakeCluster) -> None:
    """root masquerades: the others have no way to the laptop."""
    world.add_clients(LAPTOP)
    world.deploy()
    for host in world.hosts.values():
        for peer in host.links["wg"].peers.values():
            peer.handshake = host.clock - 10
    first = world.run("verify.py", "-y")
    assert first.code == 0, first.err
    world.hosts["cloud"].hears.add("10.0.0.100")
    done = world.run("verify.py", "-y")
    assert done.code == 1
    assert done.err.count("laptop (10.0.0.100) answers, although the plan has no way there from here") == 1


def test_the_results_as_json_are_all_that_standard_output_has(world: FakeCluster) -> None:
    done = world.run("verify.py", "-y", "--data", "json=True")
    result = json_of(done)
    assert (done.code, result["ok"]) == (0, True)
    assert sorted(result["hosts"]) == ["backup", "cloud", "root"]
    checks = {check["name"]: check for check in result["hosts"]["cloud"]["checks"]}
    assert checks["ping"] == {"name": "ping", "count": 2, "faults": [], "notes": []}
    assert list(checks)[:3] == ["unit", "handshake", "ping"]
    assert world.run("verify.py", "-y").out == ""


def test_a_fault_and_a_host_that_cannot_be_reached_in_json(world: FakeCluster) -> None:
    world.hosts["cloud"].deaf_to.add("10.0.0.2")
    done = world.run("verify.py", "-y", "--data", "json=True", unreachable=("backup",))
    result = json_of(done)
    assert (done.code, result["ok"]) == (1, False)
    assert {name: (one["answered"], one["ok"]) for name, one in result["hosts"].items()} == {
        "backup": (False, False),
        "cloud": (True, False),
        "root": (True, True),
    }
    (ping,) = (check for check in result["hosts"]["cloud"]["checks"] if check["name"] == "ping")
    assert ping["faults"] == ["root (10.0.0.2) does not answer"]
    world.hosts["cloud"].deaf_to.clear()
    limited = world.run("verify.py", "-y", "--data", "json=True", "--limit", "@fake/cloud")
    assert (limited.code, list(json_of(limited)["hosts"])) == (0, ["cloud"])


def test_where_nothing_can_be_looked_at_there_is_no_json_and_a_status(world: FakeCluster) -> None:
    world.shared["wg_mtu"] = 9
    done = world.run("verify.py", "-y", "--data", "json=True")
    assert (done.code, done.out) == (1, "")
    world.shared["wg_mtu"] = 1420
    done = world.run("verify.py", "-y", "--data", "json=True", unreachable=tuple(world.hosts))
    assert (done.code, done.out) == (1, "")
