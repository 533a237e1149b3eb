"""Addresses and routes of others on our interface: told and left, or kept without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fake.cluster import FakeCluster, article

VIP, VIP6 = "10.0.0.50/32", "fd00::50/128"
ROUTES = ("192.168.9.0/24 dev wg proto bird metric 32", "fd88::/64 dev wg proto 12 metric 1024 pref medium")
TOLD = "on wg, not ours, left alone (wg_keep): 10.0.0.50/32, fd00::50/128, 192.168.9.0/24 proto bird"


@pytest.fixture
def world(tmp_path: Path) -> FakeCluster:
    """Deployed; then keepalived and bird have come to cloud."""
    made = article(tmp_path)
    made.deploy()
    cloud = made.hosts["cloud"]
    cloud.links["wg"].addresses += [VIP, VIP6]
    cloud.routes += ROUTES
    made.forget()
    return made


def test_it_is_told_and_left(world: FakeCluster) -> None:
    before = world.before()["cloud"].there()
    said = world.deploy().err
    assert TOLD in said
    assert "fd88::/64 proto 12" in said
    assert world.changes() == []
    assert world.hosts["cloud"].there() == before
    verified = world.run("verify.py", "-y", "--limit", "@fake/cloud")
    assert f"cloud: route: {TOLD}" in verified.out + verified.err


def test_what_is_kept_is_not_spoken_of(world: FakeCluster) -> None:
    world.rows["cloud"]["wg_keep"] = ["10.0.0.50", "fd00::50", "proto bird"]
    before = world.before()["cloud"].there()
    done = world.deploy()
    verified = world.run("verify.py", "-y", "--limit", "@fake/cloud")
    assert world.hosts["cloud"].there() == before
    for text in (done.out, done.err, verified.out, verified.err):
        assert "wg_keep" not in text
        assert "10.0.0.50" not in text


@pytest.mark.parametrize("keep", [[], ["10.0.0.0/24", "fd00::/8", "proto bird"]])
def test_a_restart_says_what_it_takes_off(world: FakeCluster, keep: list[str]) -> None:
    world.rows["cloud"] |= {"wg_mtu": 1380, "wg_keep": keep}
    said = world.deploy().err
    assert "restart: its MTU is 1420, planned is 1380" in said
    assert "the restart takes off what others put on it: " in said
    assert "10.0.0.50/32" in said
    assert "192.168.9.0/24 proto bird" in said


def test_what_an_earlier_deploy_put_there_goes(tmp_path: Path) -> None:
    """An overlay that loses a family."""
    made = article(tmp_path)
    for number, row in enumerate(made.rows.values(), 2):
        row["wg_address"] = [row["wg_address"], f"fd00::{number}"]
    made.shared["wg_networks"] = ["10.0.0.0/24", "fd00::/64"]
    made.deploy()
    assert "fd00::3/64" in made.hosts["cloud"].links["wg"].addresses
    for row in made.rows.values():
        row["wg_address"] = row["wg_address"][0]
    made.shared["wg_networks"] = ["10.0.0.0/24"]
    said = made.deploy().err
    assert "restart: fd00::3/64 is no longer planned" in said
    assert made.hosts["cloud"].links["wg"].addresses == ["10.0.0.3/24"]
    # by one command, for the connection may come by the tunnel
    (command,) = (one for one in made.hosts["cloud"].commands if "systemctl stop wg-quick@wg" in one)
    assert (
        command.index("systemctl stop")
        < command.index("mv -f")
        < command.index("systemctl start wg-quick@wg")
    )
    made.forget()
    assert "wg_keep" not in made.deploy().err
    assert made.changes() == []
