"""What cannot be done is never called done: packages without their programs, units without an interface."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fake.cluster import FakeCluster, article
from tests.support.fake.host import PROGRAMS


@pytest.fixture
def world(tmp_path: Path) -> FakeCluster:
    return article(tmp_path)


@pytest.mark.parametrize("package", ["wireguard-tools", "iptables"])
def test_a_package_without_its_programs_is_no_success(world: FakeCluster, package: str) -> None:
    cloud = world.hosts["cloud"]
    cloud.tools -= PROGRAMS[package]
    cloud.ghosts.add(package)
    for _ in range(2):
        done = world.run("deploy.py", "-y")
        assert done.code == 1
        assert f"apt-get says that {package} is installed, but the host lacks " in done.err
        assert ": find out what removes it, and install the package anew" in done.err
        assert not world.hosts["cloud"].links
        assert world.hosts["root"].links


def test_what_the_deploy_installed_is_removed_and_nothing_else(world: FakeCluster) -> None:
    world.hosts["cloud"].tools |= PROGRAMS["wireguard-tools"]
    before = {name: set(host.tools) for name, host in world.hosts.items()}
    world.deploy()
    assert "iptables" in world.hosts["backup"].tools - before["backup"]
    done = world.run("teardown.py", "-y", "--data", "remove_packages=True")
    assert done.code == 0, done.err
    assert {name: host.tools for name, host in world.hosts.items()} == before
    assert not [path for host in world.hosts.values() for path in host.files if "wgcluster" in path]
    world.deploy()
    said = world.run("teardown.py", "-y").err
    assert "iptables and wireguard-tools: installed by the deploy, stays" in said
    assert "iptables" in world.hosts["backup"].tools
    assert not [path for host in world.hosts.values() for path in host.files if "wgcluster" in path]


def test_a_unit_that_starts_no_interface_is_no_success(world: FakeCluster) -> None:
    world.hosts["cloud"].idle = True
    for _ in range(2):
        done = world.run("deploy.py", "-y")
        assert done.code == 1
        assert "wg-quick@wg.service was started, and wg is not as planned: it is not there" in done.err
        assert world.hosts["root"].links


def test_an_interface_that_was_brought_up_by_hand_is_taken_down(world: FakeCluster) -> None:
    world.deploy()
    world.hosts["cloud"].active.discard("wg-quick@wg.service")
    world.hosts["cloud"].enabled.discard("wg-quick@wg.service")
    assert world.run("teardown.py", "-y").code == 0
    assert not world.hosts["cloud"].links
