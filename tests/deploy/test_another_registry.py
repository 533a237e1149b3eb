"""A registry that is not the one of the hosts: refused before anything is written, here or there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake.cluster import LAPTOP, FakeCluster, article, contents

CONFIG = "/etc/wireguard/wg.conf"
RESTORE = (
    "keys.yml is not the one that they were deployed with, or an older copy of it: restore it, from git or a"
    " backup. If it is lost for good: --data new_keys=True"
)


@pytest.fixture
def world(tmp_path: Path) -> FakeCluster:
    """The article's hosts and the laptop, deployed with a preshared key a link."""
    world = article(tmp_path)
    world.deploy()
    world.add_clients(LAPTOP)
    world.shared["wg_preshared_keys"] = True
    world.deploy()
    return world


def gone(world: FakeCluster) -> None:
    world.keystore.unlink()


def of_a_second_clone(world: FakeCluster) -> None:
    folder = world.folder / "clone"
    folder.mkdir()
    clone = article(folder)
    clone.deploy()
    world.keystore.write_bytes(clone.keystore.read_bytes())


def older(*parts: str) -> Callable[[FakeCluster], None]:
    """A copy from before these entries came."""

    def change(world: FakeCluster) -> None:
        registry = world.registry()
        for kind, name in (part.split() for part in parts):
            del getattr(registry, f"_{kind}")[name]
        registry.dirty = True
        registry.save()

    return change


def down(world: FakeCluster) -> None:
    """Deleted, while only the config file can tell whose a host is."""
    gone(world)
    for host in world.hosts.values():
        host.links.clear()


def without_tools(world: FakeCluster) -> None:
    """There is no wg that could tell the file's public key."""
    down(world)
    for host in world.hosts.values():
        host.tools -= {"wg", "wg-quick"}


ALL = [
    "backup: has keys that keys.yml does not know: its own, that of cloud, that of root",
    "cloud: has keys that keys.yml does not know: its own, that of backup, that of root",
    "root: has keys that keys.yml does not know: its own, that of backup, that of cloud, that of laptop",
]
CASES: dict[str, tuple[Callable[[FakeCluster], None], list[str]]] = {
    "deleted": (gone, ALL),
    "a second clone's": (of_a_second_clone, ALL),
    "deleted, interfaces down": (down, ALL),
    "deleted, no wg": (without_tools, ALL),
    "older than a laptop": (
        older("clients laptop", "links laptop|root"),
        ["root: has keys that keys.yml does not know: that of laptop"],
    ),
    "older than a host": (
        older("hosts backup"),
        [
            "backup: has keys that keys.yml does not know: its own",
            "cloud: has keys that keys.yml does not know: that of backup",
        ],
    ),
    "older than a preshared key": (
        older("links laptop|root"),
        ["root: has keys that keys.yml does not know: the preshared one with laptop"],
    ),
}


@pytest.mark.parametrize("options", [("-y",), ("--dry",), ("-y", "--exclude", "@fake/backup")])
@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_before_anything_is_written(
    world: FakeCluster, case: str, options: tuple[str, ...]
) -> None:
    change, said = CASES[case]
    change(world)
    here, there = contents(world.folder), {name: host.there() for name, host in world.before().items()}
    world.forget()
    done = world.run("deploy.py", *options)
    assert done.code == 1
    for line in said:
        refused = "--exclude" not in options or not line.startswith("backup")
        assert (f"  {line}  [keystore.unknown-keys]" in done.err) == refused
    assert RESTORE in done.err
    assert "New keys" not in done.err
    assert "Traceback" not in done.err
    assert world.changes() == []
    assert {name: {**host.there(), "changes": []} for name, host in world.hosts.items()} == {
        name: {**host, "changes": []} for name, host in there.items()
    }
    assert contents(world.folder) == here


def test_new_keys_goes_on_and_says_what_is_lost(world: FakeCluster) -> None:
    gone(world)
    done = world.deploy("--data", "new_keys=True")
    assert f"root: {ALL[2].removeprefix('root: ')}: replaced or let go, as new_keys says" in done.err
    assert "New keys for backup, cloud, root" in done.err
    keys = world.registry().public_keys()
    assert set(world.hosts["cloud"].links["wg"].peers) == {keys["root"], keys["backup"]}
    world.forget()
    world.deploy()
    assert world.changes() == []


def test_a_link_to_nowhere_is_refused_and_not_written_through(world: FakeCluster) -> None:
    world.keystore.rename(world.folder / "kept.yml")
    world.keystore.symlink_to("gone.yml")
    world.forget()
    for run in (("deploy.py", "-y"), ("deploy.py", "-y", "--data", "new_keys=True"), ("teardown.py", "-y")):
        done = world.run(*run)
        assert done.code == 1
        assert f"{world.keystore}: keys.yml is a link to gone.yml, which is not there" in done.err
        assert "Traceback" not in done.err
    assert world.changes() == []
    assert world.keystore.is_symlink()
    assert not world.keystore.exists()


def test_verify_says_why_nothing_is_as_planned(world: FakeCluster) -> None:
    del world.rows["root"]["nginx_vpn_only"]  # the model has no nginx to ask
    gone(world)
    done = world.run("verify.py", "-y")
    assert done.code == 1
    assert f"--> {ALL[0]}" in done.err
    assert RESTORE in done.err
    assert not world.keystore.exists()


def test_teardown_needs_no_registry(world: FakeCluster) -> None:
    gone(world)
    done = world.run("teardown.py", "-y")
    assert done.code == 0, done.err
    assert all("wg" not in host.links and CONFIG not in host.files for host in world.hosts.values())


# What the registry has had itself is nobody else's.


def prune(world: FakeCluster) -> None:
    registry = world.registry()
    registry.prune(world.rows, [link for link in registry.links() if "backup" not in link])
    registry.save()


def test_a_host_that_was_forgotten_and_comes_back(world: FakeCluster) -> None:
    backup: Any = world.rows.pop("backup")
    prune(world)
    world.rows["backup"] = backup
    done = world.deploy()
    assert "New keys for backup" in done.err
    assert set(world.hosts["cloud"].links["wg"].peers) == {
        world.registry().public_keys()[name] for name in ("root", "backup")
    }


def test_a_host_that_takes_another_name(world: FakeCluster) -> None:
    world.rows["backup"]["wg_name"] = "store"
    world.deploy()
    assert world.registry().public_keys()["store"] in world.hosts["cloud"].text(CONFIG)


def test_a_laptop_that_was_removed_is_let_go(world: FakeCluster) -> None:
    key = world.registry().client_keys()["laptop"]
    registry = world.registry()
    registry.remove_client("laptop")
    registry.save()
    world.deploy()
    assert key not in world.hosts["root"].links["wg"].peers


def test_a_peer_that_someone_added_by_hand_is_drift(world: FakeCluster) -> None:
    key = "QO/IzTUFvY5Pn5xqLZ5YXbAmHmsAcGqgoSuTxjFDzlA="
    section = f"\n[Peer]\n# mine\nPublicKey = {key}\nAllowedIPs = 10.0.0.9/32\n"
    cloud = world.hosts["cloud"]
    cloud.write(CONFIG, cloud.text(CONFIG) + section, "600")
    cloud.links["wg"].add(cloud.text(CONFIG), [key])
    world.deploy()
    cloud = world.hosts["cloud"]
    assert key not in cloud.text(CONFIG) + str(cloud.links["wg"].peers)
