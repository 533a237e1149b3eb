"""A host that dials names gets what resolves them, and no other host does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fake.cluster import FakeCluster, article, json_of

SCRIPT = "/usr/local/sbin/wgcluster-endpoints"
TIMER = "wgcluster-endpoints@wg.timer"
CONFIG = "/etc/wireguard/wg.conf"
NAME = "root.example.net"
TOLD = f"{NAME} does not resolve; root cannot be dialled until it does"


@pytest.fixture
def world(tmp_path: Path) -> FakeCluster:
    """root is dialled by name, by cloud and backup."""
    world = article(tmp_path)
    world.rows["root"]["wg_endpoint"] = NAME
    return world


def test_only_where_a_name_is_dialled(world: FakeCluster) -> None:
    world.deploy()
    for name, dials in (("root", False), ("cloud", True), ("backup", True)):
        host = world.hosts[name]
        assert (SCRIPT in host.files, TIMER in host.enabled, TIMER in host.active) == (dials, dials, dials)
        assert (f"# Endpoint = {NAME}:51820\n" in host.text(CONFIG)) == dials
        assert f"\nEndpoint = {NAME}" not in host.text(CONFIG)
    world.forget()
    totals = json_of(world.deploy("--json"))["results"]["totals"]
    assert totals["success"] == 0
    assert {len(host.commands) for host in world.hosts.values()} == {1}


def test_it_is_told_which_name_does_not_resolve_and_where(world: FakeCluster) -> None:
    world.hosts["cloud"].unknown_names.add(NAME)
    for _ in range(2):  # the second changes nothing
        said = world.deploy().err
        assert said.count(TOLD) == 1
        assert f"--> cloud: {TOLD}\n" in said
    del world.rows["root"]["nginx_vpn_only"]  # the model has no nginx to ask
    done = world.run("verify.py", "-y")
    assert done.code == 1
    assert f"cloud: handshake: {TOLD}" in done.err
    assert f"backup: handshake: {TOLD}" not in done.err


def test_the_timer_is_put_right_and_verify_misses_it(world: FakeCluster) -> None:
    world.deploy()
    del world.rows["root"]["nginx_vpn_only"]
    world.hosts["cloud"].active.discard(TIMER)
    done = world.run("verify.py", "-y")
    assert f"cloud: unit: {TIMER} does not run: names are resolved once only" in done.err
    said = world.deploy().err
    assert f"{TIMER} is not active" in said
    assert TIMER in world.hosts["cloud"].active


def test_a_host_that_dials_no_name_any_more_loses_it(world: FakeCluster) -> None:
    world.deploy()
    world.rows["root"]["wg_endpoint"] = "198.18.1.2"
    world.deploy()
    for host in world.hosts.values():
        assert SCRIPT not in host.files
        assert not [path for path in host.files if "wgcluster-endpoints" in path]
        assert TIMER not in host.enabled | host.active
        assert "wgcluster-endpoints" not in host.text(CONFIG)


def test_teardown(world: FakeCluster) -> None:
    world.deploy()
    assert world.run("teardown.py", "-y").code == 0
    for host in world.hosts.values():
        assert not [path for path in host.files if "wgcluster" in path]
        assert TIMER not in host.enabled | host.active
