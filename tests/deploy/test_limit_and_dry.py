"""A part of the hosts gets what a full run gives it; a dry run writes nothing anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fake.cluster import SITE_PATH, FakeCluster, article, json_of


@pytest.fixture
def world(tmp_path: Path) -> FakeCluster:
    return article(tmp_path)


def test_limit_gives_a_host_what_a_full_run_gives_it(world: FakeCluster, tmp_path: Path) -> None:
    done = world.deploy("--limit", "@fake/cloud")
    assert done.connected == ["cloud"]
    assert world.hosts["root"].commands == world.hosts["backup"].commands == []
    assert set(world.registry().public_keys()) == {"root", "cloud", "backup"}
    alone = world.hosts["cloud"]

    (tmp_path / "full").mkdir()
    full = article(tmp_path / "full")
    full.keystore.write_bytes(world.keystore.read_bytes())
    full.deploy()
    assert alone.files == full.hosts["cloud"].files
    assert alone.there() == {**full.hosts["cloud"].there(), "changes": alone.changes}

    # The others later; who was done is done.
    world.forget()
    world.deploy()
    assert world.hosts["cloud"].changes == []
    assert {name: host.files for name, host in world.hosts.items()} == {
        n: h.files for n, h in full.hosts.items()
    }


def test_runs_on_parts_add_up_to_one_run(world: FakeCluster) -> None:
    for name in world.hosts:
        world.deploy("--limit", f"@fake/{name}")
    keys = world.keystore.read_bytes()
    world.forget()
    world.deploy()
    assert world.changes() == []
    assert world.keystore.read_bytes() == keys


def test_a_limit_to_a_group_and_an_exclusion(world: FakeCluster) -> None:
    assert set(world.deploy("--exclude", "@fake/root").connected) == {"cloud", "backup"}
    assert world.hosts["root"].commands == []


def test_a_dry_run_writes_nothing_on_the_controller_nor_on_a_host(world: FakeCluster) -> None:
    world.write()
    before = world.before()
    there = sorted(path.name for path in world.folder.iterdir())
    done = world.run("deploy.py", "--dry", "--diff")
    assert done.code == 0, done.err
    assert world.changes() == []
    assert {name: host.there() for name, host in world.hosts.items()} == {
        n: h.there() for n, h in before.items()
    }
    assert sorted(path.name for path in world.folder.iterdir()) == there
    assert "New keys for backup, cloud, root" in done.err


def test_a_dry_run_shows_what_would_change(world: FakeCluster) -> None:
    done = world.run("deploy.py", "--dry", "--diff")
    assert "+    include /etc/nginx/wgcluster/" in done.err.replace("        ", "    ")
    assert "+PrivateKey = (hidden)" in done.err
    assert "+AllowedIPs = 10.0.0.4/32" in done.err
    assert "iptables: + -t filter -A INPUT -p udp -m udp --dport 51821" in done.err
    world.deploy()
    world.rows["cloud"]["wg_port"] = 51999
    plan = json_of(world.run("deploy.py", "--dry", "--json"))["plan"]
    changed = {one["name"]: set(one["hosts_with_change"]) for one in plan if one["hosts_with_change"]}
    assert changed["WireGuard | Write /etc/wireguard/wg.conf"] == {
        "@fake/root",
        "@fake/cloud",
        "@fake/backup",
    }
    assert changed["Firewall | Set the rules"] == {"@fake/cloud"}
    assert not any(SITE_PATH in name or name.startswith("nginx") for name in changed)


def test_a_host_that_leaves_is_forgotten_by_the_others(world: FakeCluster) -> None:
    world.deploy()
    gone = world.registry().public_keys()["backup"]
    del world.rows["backup"]
    world.forget()
    world.deploy()
    for name in ("root", "cloud"):
        assert gone not in world.hosts[name].links["wg"].peers
        assert gone not in world.hosts[name].text("/etc/wireguard/wg.conf")
        assert not any("systemctl restart" in command for command in world.hosts[name].changes)
    assert world.hosts["backup"].commands == []
