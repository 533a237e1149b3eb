"""A part of the hosts gets what a full run gives it; a dry run writes nothing anywhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.fake.cluster import LAPTOP, SITE_PATH, FakeCluster, article, json_of
from wgcluster.host import paths


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


COPIED = (paths.FIREWALL_SCRIPT, *paths.FIREWALL_UNITS)


def test_the_first_dry_run_is_one_that_an_operator_reads(world: FakeCluster) -> None:
    """A file that is copied as it is: one line with its purpose. Before there were 514 lines here."""
    lines = world.run("deploy.py", "--dry", "--diff").err.splitlines()
    assert len(lines) < 300
    for path in COPIED:
        told = [line for line in lines if f"{path}: " in line]
        assert len(told) == 3, path
        assert all(re.search(r"is not there yet; .*\b[Rr]ules\b", line) for line in told)
    assert not any("ExecStart=" in line for line in lines)


def test_what_someone_changed_in_a_copied_file_is_shown_and_an_update_is_one_line(world: FakeCluster) -> None:
    world.deploy()
    path = paths.FIREWALL_SCRIPT
    text = world.hosts["root"].text(path)
    world.hosts["root"].files[path].data = text.replace("#!/bin/sh\n", "#!/bin/sh\nexit 0\n").encode()
    world.hosts["cloud"].files[path].data = b"#!/bin/sh\n" + b"echo an earlier version\n" * 40
    told = world.run("deploy.py", "--dry", "--diff").err
    assert re.search(r"root\] +-exit 0$", told, re.MULTILINE)
    assert "an earlier version" not in told
    assert f"{path}: differs in its text; 41 lines become the {text.count(chr(10))} of files/" in told
    assert "differs in its text" in (without := world.run("deploy.py", "--dry").err)
    assert "exit 0" not in without
    world.forget()
    world.deploy()
    assert world.hosts["root"].text(path) == world.hosts["cloud"].text(path) == text


def test_a_host_that_leaves_is_forgotten_by_the_others(world: FakeCluster) -> None:
    world.deploy()
    gone = world.registry().public_keys()["backup"]
    del world.rows["backup"]
    world.forget()
    told = world.deploy().err
    assert len(re.findall(r"(?:root|cloud)\] +sync, without a restart: - peer backup$", told, re.M)) == 2
    for name in ("root", "cloud"):
        assert gone not in world.hosts[name].links["wg"].peers
        assert gone not in world.hosts[name].text("/etc/wireguard/wg.conf")
        assert not any("systemctl restart" in command for command in world.hosts[name].changes)
    assert world.hosts["backup"].commands == []


def test_who_was_forgotten_before_the_deploy_is_named_all_the_same(world: FakeCluster) -> None:
    world.add_clients(LAPTOP)
    world.deploy()
    registry = world.registry()
    registry.remove_client("laptop")
    registry.prune({"root", "cloud"}, ())
    registry.save()
    del world.rows["backup"]
    told = world.deploy().err
    assert re.search(r"root\] +sync, without a restart: (- peer (laptop|backup)(; |$)){2}", told, re.M)
    assert re.search(r"cloud\] +sync, without a restart: - peer backup$", told, re.M)
