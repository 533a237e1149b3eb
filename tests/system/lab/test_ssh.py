"""A server managed over real SSH by an ordinary user with sudo, as most servers are."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from lab.host import Host
from lab.reach import pings
from lab.spec import HostSpec
from tests.support.lab.cluster import Cluster
from tests.support.lab.noise import NOISE, assert_heard
from tests.support.lab.servers import chain, cluster_of, describe, docker, rules

FAR, NEAR = "10.0.0.2", "10.0.0.3"
PRIVATE = ("/tmp/", "/var/tmp/", "/dev/shm/", "/home/")
RULES = "Firewall | Set the rules"
CONFIG = "WireGuard | Write /etc/wireguard/wg.conf"
UNIT = "WireGuard | Enable and start wg-quick@wg.service"
# All that a run may put on a host, but for a package's files.
LOOK = (
    "find /etc /usr/local /tmp /var/tmp /home -xdev -type f | sort | xargs sha256sum;"
    " find /etc /usr/local /tmp /var/tmp /home -xdev | sort | xargs stat -c '%n %a %U:%G'"
)
WATCH = """\
inotifywait -m -r -q -e create,moved_to,attrib --format '%w%f' /tmp /var/tmp /dev/shm /home /etc /usr/local |
python3 -c '
import os, stat, sys
with open("/run/seen", "w", 1) as seen:
    for line in iter(sys.stdin.readline, ""):
        path = line.rstrip("\\n")
        try:
            found = os.lstat(path)
            print(oct(stat.S_IMODE(found.st_mode)), stat.filemode(found.st_mode)[0], path, file=seen)
        except OSError:
            print("gone", "?", path, file=seen)
'
"""


class Watch:
    """Looks at every file the moment it appears, or changes its mode, where a run could put one.

    ``found`` holds (mode, kind, path): "0o600", "-" for a regular file; "gone" if it did not live to be seen.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self.found: list[tuple[str, str, str]] = []

    def __enter__(self) -> Watch:
        self.host.write("/run/watch", WATCH)
        self.host.run("systemd-run -q --unit=watch sh /run/watch", check=True)
        self._wait("/tmp/begin")
        return self

    def __exit__(self, *_: object) -> None:
        self._wait("/tmp/end")
        self.host.run("systemctl stop watch", check=True)
        lines = [line.split(" ", 2) for line in self.host.read("/run/seen").splitlines()]
        self.found = [(mode, kind, path) for mode, kind, path in lines]

    def _wait(self, mark: str) -> None:
        """Until the watcher has seen a file that everyone may read: so it does see such."""
        seen = f"0o644 - {mark}"
        deadline = time.monotonic() + 30
        while seen not in self.host.run("cat /run/seen").stdout.splitlines():
            assert time.monotonic() < deadline, "the watcher sees nothing"
            self.host.run(f"umask 022; rm -f {mark}; echo hello >{mark}; sleep 0.2; rm -f {mark}")

    def files(self, *folders: str) -> list[tuple[str, str]]:
        """Mode and path of what is no folder, below ``folders``."""
        marks = ("/tmp/begin", "/tmp/end")
        return [
            (mode, path)
            for mode, kind, path in self.found
            if kind != "d" and path.startswith(folders) and path not in marks
        ]


@dataclass
class Story:
    cluster: Cluster
    watch: Watch
    far: Host
    near: Host
    first: dict[str, set[str]] = field(default_factory=dict)

    def tell(self, **keys: object) -> None:
        """The operator's files, with ``keys`` for the server over SSH."""
        ours = {"wg_address": FAR, "wg_endpoint": self.far.address, "wg_gateway": True}
        key, how = docker(self.near)
        near = {**how, "wg_address": NEAR, "wg_endpoint": self.near.address}
        hosts: Sequence[tuple[str, dict[str, object]]] = [
            ("far", {**self.far.ssh_data(), **ours, **keys}),
            (key, near),
        ]
        describe(self.cluster, hosts, wg_networks=["10.0.0.0/24"], wg_keystore="lab/.state/keys.yml")


@pytest.fixture(scope="module")
def bare(prefix: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    specs = [HostSpec("far", 0x0A01, ssh=True), HostSpec("near", 0x0A02, has_tools=True)]
    with cluster_of(specs, f"{prefix}ssh-", tmp_path_factory.mktemp("ssh")) as cluster:
        far = cluster.lab["far"]
        story = Story(cluster, Watch(far), far, cluster.lab["near"])
        story.tell()
        added = cluster.workspace.wgcluster("client", "add", "laptop")  # so that far forwards
        assert added.returncode == 0, added.stderr
        yield story


@pytest.fixture(scope="module")
def story(bare: Story) -> Story:
    """After the first run, which was watched."""
    with bare.watch:
        bare.first = bare.cluster.changes()
    return bare


def test_the_first_run_does_all_of_it(story: Story) -> None:
    assert {"far", "@docker/near"} <= set().union(*story.first.values())
    assert "far" in story.first["Packages | Install wireguard-tools"]
    assert pings(story.far, [NEAR]) == {NEAR}
    assert pings(story.near, [FAR]) == {FAR}
    assert (
        len([rule for rule in chain(rules(story.far)["iptables-nft"], "FORWARD") if "wgcluster" in rule]) == 2
    )
    done = story.cluster.workspace.pyinfra("inventory.py", "verify.py", "-y")
    assert done.returncode == 0, done.stdout + done.stderr
    assert story.cluster.changes() == {}


def secret_files(watch: Watch) -> None:
    """Asserts that nobody but root could read a temporary file, nor the config, at any moment."""
    assert watch.files(*PRIVATE) == []
    config = watch.files("/etc/wireguard/")
    assert {mode for mode, _ in config} <= {"0o600", "gone"}
    assert {re.sub(r"-\d+$", "-", path) for _, path in config} == {
        "/etc/wireguard/wg.conf",
        "/etc/wireguard/wg.conf.wgcluster-",
    }


def test_the_first_run_left_no_file_open_at_any_moment(story: Story) -> None:
    secret_files(story.watch)


def test_drift_is_put_right(story: Story) -> None:
    far = story.far
    far.run(
        "chmod 644 /etc/wireguard/wg.conf && systemctl stop wg-quick@wg && iptables -F FORWARD", check=True
    )
    with story.watch:
        assert story.cluster.changes() == {op: {"far"} for op in (RULES, CONFIG, UNIT)}
    secret_files(story.watch)
    assert far.run("stat -c %a /etc/wireguard/wg.conf").stdout == "600\n"
    assert pings(far, [NEAR]) == {NEAR}
    assert story.cluster.changes() == {}


def test_a_baseline_that_would_close_the_very_port_is_refused(story: Story) -> None:
    story.tell(firewall="baseline")
    # of the peers, in no order, what only a run changes: a handshake may teach an endpoint at any moment
    peers = "wg show wg dump | tail -n +2 | cut -f 1,4,8 | sort"
    looks = (LOOK, "iptables-save | grep ^-A; ip6tables-save | grep ^-A", peers)
    before = [story.far.run(look).stdout for look in looks]
    done = story.cluster.workspace.pyinfra("inventory.py", "deploy.py", "-y")
    assert done.returncode == 1
    controller = str(story.cluster.lab.underlay.internet[1])  # as the server sees it: the bridge
    assert f"far: this run comes from {controller} to TCP port 22" in done.stderr + done.stdout
    assert f'add {{"port": 22, "from": ["{controller}/32"]}} to firewall_allow' in done.stderr + done.stdout
    assert [story.far.run(look).stdout for look in looks] == before


def test_with_the_port_allowed_it_deploys_and_ssh_still_works(story: Story) -> None:
    controller = str(story.cluster.lab.underlay.internet[1])
    story.tell(firewall="baseline", firewall_allow=[{"port": 22, "from": [f"{controller}/32"]}])
    assert story.cluster.changes()[RULES] == {"far"}
    first, *_, last = chain(rules(story.far)["iptables-nft"], "INPUT")
    assert "RELATED,ESTABLISHED" in first
    assert "-j REJECT" in last
    assert story.cluster.changes() == {}  # over a connection of its own
    probe = "timeout 3 bash -c 'exec 3<>/dev/tcp/{}/22'"
    assert story.near.run(probe.format(story.far.address)).returncode != 0  # nobody else may
    story.tell()
    story.cluster.deploy()
    assert story.near.run(probe.format(story.far.address)).returncode == 0


def test_teardown_takes_all_of_ours_away(story: Story) -> None:
    with story.watch:
        done = story.cluster.workspace.pyinfra("inventory.py", "teardown.py", "-y")
    assert done.returncode == 0, done.stdout + done.stderr
    assert story.watch.files(*PRIVATE, "/etc/wireguard/") == []
    left = story.far.run("find /etc /usr/local -name '*wgcluster*' -o -path '/etc/wireguard/*'", check=True)
    assert left.stdout == ""
    assert not [line for lines in rules(story.far).values() for line in lines if "wgcluster" in line]
    assert story.far.run("ip link show wg").returncode != 0
    again = story.cluster.workspace.pyinfra("inventory.py", "teardown.py", "-y", "--json")
    assert '"success": 0' in again.stdout[again.stdout.index('"totals"') :]


def test_any_byte_comes_through(story: Story) -> None:
    """paramiko decodes by itself, as strictly as pyinfra."""
    folder = story.cluster.workspace.folder
    (folder / "noise.py").write_text(NOISE)
    (folder / "noisy.py").write_text(f"hosts = [('far', {story.far.ssh_data()!r})]\n")
    assert_heard(story.cluster.workspace, "noisy.py")
