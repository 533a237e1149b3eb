"""verify.py: a table, each fault once, and exit status 1 for those hosts that have one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.fake.cluster import FakeCluster, article


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
        r"^ *host +unit +handshake +ping +forward +port +route +firewall +stranger +boot +nginx$",
        done.err,
        re.M,
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
