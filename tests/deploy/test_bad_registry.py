"""A registry or a passphrase that is not right: said before a host is asked, and the file left as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.support.fake.cluster import FakeCluster, article, contents

PASSPHRASES: list[tuple[dict[str, str | None], str]] = [
    ({"WGCLUSTER_PASSPHRASE": "wrong"}, "taken from WGCLUSTER_PASSPHRASE  [keystore.wrong-passphrase]"),
    (
        {"WGCLUSTER_PASSPHRASE": ""},
        "WGCLUSTER_PASSPHRASE: the passphrase is empty; put one there  [passphrase.empty]",
    ),
    ({"WGCLUSTER_PASSPHRASE": None}, "[passphrase.missing]"),
    (
        {"WGCLUSTER_PASSPHRASE": None, "WGCLUSTER_PASSPHRASE_FILE": "/nonexistent/word"},
        "/nonexistent/word (WGCLUSTER_PASSPHRASE_FILE): cannot be read: No such file or directory"
        "  [passphrase.unreadable]",
    ),
]


def test_the_passphrase_is_not_the_right_one_or_missing(tmp_path: Path) -> None:
    world = deployed(tmp_path)
    for env, message in PASSPHRASES:
        world.env = env
        assert_refused(world, message)


def test_no_passphrase_for_the_first_run(tmp_path: Path) -> None:
    world = article(tmp_path)
    world.env = {"WGCLUSTER_PASSPHRASE": None}
    assert_refused(
        world, f"or write it to {world.keystore}.pass (chmod 600), or use a terminal  [passphrase.missing]"
    )
    assert not world.keystore.exists()


def test_a_passphrase_file_that_others_can_read(tmp_path: Path) -> None:
    world = article(tmp_path)
    world.env = {"WGCLUSTER_PASSPHRASE": None}
    beside = Path(f"{world.keystore}.pass")
    beside.write_text("correct horse\n")
    beside.chmod(0o644)
    assert_refused(world, f"{beside}: others can read it; run: chmod 600 {beside}  [passphrase.exposed]")


def swapped(text: str) -> str:
    data = yaml.safe_load(text)
    hosts = data["hosts"]
    hosts["root"], hosts["cloud"] = hosts["cloud"], hosts["root"]
    return str(yaml.safe_dump(data, sort_keys=False, explicit_end=True))


DAMAGES: list[tuple[Callable[[str], str], list[str]]] = [
    (lambda text: text[: len(text) // 2], ["[keystore.incomplete]"]),
    (lambda text: "", ["[keystore.incomplete]"]),
    (lambda text: text.replace("version: 1", "version: 2"), ["is of version 2,", "[keystore.version]"]),
    (lambda text: text.replace("version: 1", "origin: 1"), ["[keystore.not-a-registry]"]),
    (lambda text: text.replace("hosts:", "hosts: ["), ["[keystore.invalid-yaml]"]),
    (lambda text: text.replace("hosts:", "guests:"), [": guests: unknown field", "[keystore.invalid-entry]"]),
    (
        swapped,
        [*(f": host {name}: does not open: " for name in ("cloud", "root")), "[keystore.does-not-open]"],
    ),
    (
        lambda text: text.replace("    public_key: ", "    public_key: A", 1),
        [": hosts.backup.public_key: must be 32 bytes in base64", "[keystore.invalid-entry]"],
    ),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> FakeCluster:
    return deployed(tmp_path_factory.mktemp("deployed"))


@pytest.mark.parametrize(("damage", "messages"), DAMAGES)
def test_a_damaged_registry(cluster: FakeCluster, damage: Callable[[str], str], messages: list[str]) -> None:
    whole = cluster.keystore.read_text()
    damaged = damage(whole)
    assert damaged != whole
    cluster.keystore.write_text(damaged)
    try:
        for message in messages:
            assert_refused(cluster, message)
    finally:
        cluster.keystore.write_text(whole)


def test_a_registry_that_cannot_be_written_keeps_every_host_as_it_is(tmp_path: Path) -> None:
    world = article(tmp_path)
    world.shared["wg_keystore"] = "/proc/keys.yml"  # nobody can write there, root neither
    done = world.run("deploy.py", "-y")
    assert done.code == 1
    assert "no host was changed: /proc/keys.yml: cannot be written: No such file or directory" in done.err
    assert "Traceback" not in done.err
    assert world.changes() == []


def test_the_command_itself_says_so(cluster: FakeCluster) -> None:
    cluster.env = {"WGCLUSTER_PASSPHRASE": "wrong"}
    done = cluster.pyinfra("deploy.py", "-y")
    cluster.env = {}
    assert done.returncode == 1
    assert "wrong passphrase for keys.yml" in done.stderr
    assert "Traceback" not in done.stderr


def deployed(folder: Path) -> FakeCluster:
    world = article(folder)
    world.deploy()
    return world


def assert_refused(world: FakeCluster, message: str) -> None:
    world.forget()
    world.write()
    before = contents(world.folder)
    done = world.run("deploy.py", "-y")
    assert done.code == 1
    assert message in done.err
    assert "Traceback" not in done.err
    # a key may be derived beside the look at the hosts; none is changed before it has opened every entry
    assert all(host.changes == [] for host in world.hosts.values())
    assert contents(world.folder) == before
