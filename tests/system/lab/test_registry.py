"""The registry is the cluster: without it, or beside an older one, nothing is written anywhere."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.lab import Lab
from lab.reach import pings
from lab.workspace import Workspace
from tests.support.lab.cluster import KEYSTORE, OVERLAY, SERVERS, Cluster, NewWorkspace

# What a run could write, read by the host's own programs.
STATE = (
    "find /etc /usr/local /var/lib/dpkg -xdev -type f | sort | xargs sha256sum;"
    " find /etc /usr/local -xdev | sort | xargs stat -c '%n %a %U:%G %N %Y';"
    " iptables -S; ip6tables -S; iptables -t nat -S; wg show wg public-key; wg show wg preshared-keys | sort;"
    " wg show wg allowed-ips | sort; ip address show; ip route; sysctl -a 2>/dev/null | grep forward;"
    " systemctl list-unit-files --no-pager; systemctl show -p ActiveEnterTimestamp wg-quick@wg"
)


@pytest.fixture(scope="module")
def cluster(lab: Lab, workspace: Workspace) -> Cluster:
    cluster = Cluster(lab, workspace)
    cluster.clean_up()
    cluster.deploy()
    shutil.copy2(workspace.folder / KEYSTORE, workspace.folder / "early.yml")
    cluster.join()
    return cluster


@pytest.fixture
def registry(cluster: Cluster) -> Iterator[Path]:
    """keys.yml, put back as it was at the end."""
    path = cluster.workspace.folder / KEYSTORE
    whole = path.read_bytes()
    yield path
    path.unlink(missing_ok=True)
    path.write_bytes(whole)


def hosts_as_they_are(cluster: Cluster) -> dict[str, str]:
    return {name: cluster.lab[name].run(STATE).stdout for name in SERVERS}


def folder_as_it_is(workspace: Workspace) -> dict[str, str]:
    """All of the operator's files; links as links."""
    return {
        str(path.relative_to(workspace.folder)): str(path.readlink())
        if path.is_symlink()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in workspace.folder.rglob("*")
        if (path.is_symlink() or path.is_file()) and "__pycache__" not in path.parts and path.suffix != ".log"
    }


def gone(path: Path) -> None:
    path.unlink()


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("/media/stick/keys.yml")


def older(path: Path) -> None:
    """From before the laptop came."""
    shutil.copy2(path.parents[2] / "early.yml", path)


RESTORE = "restore it, from git or a backup. If it is lost for good: --data new_keys=True"
UNKNOWN = "has keys that keys.yml does not know: "
EVERY = {name: f"{name}: {UNKNOWN}its own" for name in SERVERS}
CASES: dict[str, tuple[Callable[[Path], None], tuple[str, ...], list[str]]] = {
    "deleted": (gone, (), [*EVERY.values(), RESTORE]),
    "deleted, one host": (gone, ("--limit", "@docker/cloud"), [EVERY["cloud"], RESTORE]),
    "a link to nowhere": (dangling, (), ["keys.yml is a link to /media/stick/keys.yml, which is not there"]),
    "an older copy": (older, (), [f"root: {UNKNOWN}that of laptop", RESTORE]),
    "an older copy, one host": (older, ("--limit", "@docker/root"), [f"root: {UNKNOWN}that of laptop"]),
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_written_anywhere(cluster: Cluster, registry: Path, case: str) -> None:
    change, options, said = CASES[case]
    change(registry)
    hosts, folder = hosts_as_they_are(cluster), folder_as_it_is(cluster.workspace)
    assert all("10.0.0.2" in text for text in hosts.values())
    for how in ("-y", "--dry"):
        done = cluster.workspace.pyinfra("inventory.py", "deploy.py", how, *options)
        assert done.returncode == 1
        for words in said:
            assert words in done.stderr + done.stdout
        assert "Traceback" not in done.stderr
        assert hosts_as_they_are(cluster) == hosts
        assert folder_as_it_is(cluster.workspace) == folder
    assert pings(cluster.lab["laptop"], [OVERLAY["cloud"]])


def test_its_file_alone_tells_whose_a_host_is(cluster: Cluster, registry: Path) -> None:
    gone(registry)
    backup = cluster.lab["backup"]
    backup.run("systemctl stop wg-quick@wg", check=True)
    try:
        hosts, folder = hosts_as_they_are(cluster), folder_as_it_is(cluster.workspace)
        done = cluster.workspace.pyinfra(
            "inventory.py", "deploy.py", "-y", "--limit", "@docker/backup", "--debug"
        )
        assert done.returncode == 1
        assert EVERY["backup"] in done.stderr + done.stdout
        private = backup.run("sed -n 's/^PrivateKey = //p' /etc/wireguard/wg.conf", check=True).stdout.strip()
        assert len(private) == 44
        assert private not in done.stderr + done.stdout
        assert hosts_as_they_are(cluster) == hosts
        assert folder_as_it_is(cluster.workspace) == folder
    finally:
        backup.run("systemctl start wg-quick@wg", check=True)


def test_a_second_clone_is_refused(cluster: Cluster, new_workspace: NewWorkspace) -> None:
    clone = new_workspace(cluster.lab)
    added = clone.wgcluster("client", "add", "phone")
    assert added.returncode == 0, added.stderr
    hosts, folder = hosts_as_they_are(cluster), folder_as_it_is(clone)
    done = clone.pyinfra("inventory.py", "deploy.py", "-y")
    assert done.returncode == 1
    assert all(words in done.stderr for words in EVERY.values())
    assert hosts_as_they_are(cluster) == hosts
    assert folder_as_it_is(clone) == folder
    verified = clone.pyinfra("inventory.py", "verify.py", "-y")
    assert verified.returncode == 1
    assert all(words in verified.stderr for words in EVERY.values())


def test_a_second_gateway_with_a_smaller_name_moves_nobody(cluster: Cluster) -> None:
    """The laptop goes on with the file it has; and nobody is moved by who is told so."""
    laptop, folder = cluster.lab["laptop"], cluster.workspace.folder
    file = laptop.read("/etc/wireguard/wg.conf")
    inventory = (folder / "inventory.py").read_text()
    gateways = inventory.replace(
        'gateways = ["@docker/root"]', 'gateways = ["@docker/cloud", "@docker/root"]'
    )
    assert gateways != inventory
    (folder / "inventory.py").write_text(gateways)
    try:
        done = cluster.deploy()
        assert "no longer through" not in done.stderr
        laptop.run("wg-quick down wg && wg-quick up wg", check=True)
        targets = [OVERLAY[name] for name in SERVERS]
        assert pings(laptop, targets) == set(targets)
        assert laptop.read("/etc/wireguard/wg.conf") == file
        key = laptop.run("wg show wg public-key", check=True).stdout.strip()
        assert key in cluster.lab["root"].run("wg show wg peers", check=True).stdout
        assert key not in cluster.lab["cloud"].run("wg show wg peers", check=True).stdout

        only = gateways.replace('["@docker/cloud", "@docker/root"]', '["@docker/cloud"]')
        (folder / "inventory.py").write_text(only)
        dry = cluster.workspace.pyinfra("inventory.py", "deploy.py", "--dry")
        assert dry.returncode == 0
        assert "laptop comes in through cloud, no longer through root: it is cut off until" in dry.stderr
        asked = cluster.workspace.pyinfra("inventory.py", "deploy.py")  # nobody there to say yes
        assert asked.returncode != 0
        assert pings(laptop, [OVERLAY["cloud"]])
    finally:
        (folder / "inventory.py").write_text(inventory)
        cluster.deploy()


def test_new_keys_makes_the_cluster_anew(cluster: Cluster) -> None:
    registry = cluster.workspace.folder / KEYSTORE
    before = hosts_as_they_are(cluster)
    gone(registry)
    done = cluster.deploy("--data", "new_keys=True")
    assert (
        f"--> root: {UNKNOWN}its own, that of backup, that of cloud, that of laptop: replaced" in done.stderr
    )
    for name in SERVERS:
        host = cluster.lab[name]
        key = host.run("wg show wg public-key", check=True).stdout
        assert key not in before[name]
        assert key.strip() in registry.read_text()
    assert pings(cluster.lab["backup"], [OVERLAY["root"], OVERLAY["cloud"]]) == {
        OVERLAY["root"],
        OVERLAY["cloud"],
    }
    assert not pings(cluster.lab["laptop"], [OVERLAY["root"]])
    assert cluster.changes() == {}
