"""Servers that are dialled by name: a name that does not resolve costs one peer only, and only for a time."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from lab.host import Host
from lab.reach import pings
from lab.spec import HostSpec
from tests.support.lab.cluster import Cluster
from tests.support.lab.servers import cluster_of, describe, docker

NAME = "named.example.net"
DIALLER, NAMED, PLAIN = "10.0.0.2", "10.0.0.3", "10.0.0.4"
SCRIPT = "/usr/local/sbin/wgcluster-endpoints"
TIMER = "wgcluster-endpoints@wg.timer"
# in front of the real programs: it is 140 s later, and whoever looks up a name is noticed
STUBS = {
    "/root/later/date": "#!/bin/sh\necho $(($(/bin/date +%s) + 140))\n",
    "/root/noticed/getent": '#!/bin/sh\necho "$@" >>/run/asked\nexec /usr/bin/getent "$@"\n',
}


@dataclass
class Story:
    cluster: Cluster
    dialler: Host
    named: Host
    plain: Host

    def run(self, *arguments: str) -> tuple[int, str]:
        done = self.cluster.workspace.pyinfra("inventory.py", *arguments)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    def resolve(self, *addresses: str) -> None:
        """The name has these addresses for the dialler from now on."""
        lines = self.dialler.read("/etc/hosts").splitlines()
        lines = [line for line in lines if NAME not in line] + [f"{one} {NAME}" for one in addresses]
        self.dialler.run("cat >/etc/hosts", stdin="\n".join([*lines, ""]), check=True)

    def endpoint(self) -> str:
        """Where the dialler's peer with the name is dialled, as the kernel or wireguard-go has it."""
        key = self.named.run("wg show wg public-key", check=True).stdout.strip()
        found = self.dialler.run("wg show wg endpoints", check=True).stdout
        return dict(line.split("\t") for line in found.splitlines())[key]


@pytest.fixture(scope="module")
def story(prefix: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    specs = [
        HostSpec(name, 0x0A01 + at, has_tools=True) for at, name in enumerate(("dialler", "named", "plain"))
    ]
    with cluster_of(specs, f"{prefix}names-", tmp_path_factory.mktemp("names")) as cluster:
        story = Story(cluster, *(cluster.lab[name] for name in ("dialler", "named", "plain")))
        rows = []
        for host, address, endpoint in (
            (story.dialler, DIALLER, None),  # nobody dials it, so it alone begins
            (story.named, NAMED, NAME),
            (story.plain, PLAIN, story.plain.address),
        ):
            key, how = docker(host)
            rows.append(
                (key, {**how, "wg_address": address, **({"wg_endpoint": endpoint} if endpoint else {})})
            )
        describe(cluster, rows, wg_networks=["10.0.0.0/24"], wg_keystore="lab/.state/keys.yml")
        story.plain.run(f"echo {story.named.address} {NAME} >>/etc/hosts", check=True)
        for path, text in STUBS.items():
            story.dialler.write(path, text, 0o755)
        yield story


def test_a_first_deploy_costs_the_one_peer_and_says_so(story: Story) -> None:
    code, said = story.run("deploy.py", "-y")
    assert code == 0, said
    told = [line for line in said.splitlines() if NAME in line and "-->" in line]
    assert told == [f"--> dialler: {NAME} does not resolve; named cannot be dialled until it does"]
    assert pings(story.dialler, [PLAIN]) == {PLAIN}
    assert story.endpoint() == "(none)"
    assert not re.search(rf"^Endpoint *= *{NAME}", story.dialler.read("/etc/wireguard/wg.conf"), re.MULTILINE)
    assert f"Endpoint = {story.plain.address}:51820" in story.dialler.read("/etc/wireguard/wg.conf")
    assert story.cluster.changes() == {}


def test_verify_says_so(story: Story) -> None:
    code, said = story.run("verify.py", "-y")
    assert code == 1
    assert f"dialler: handshake: {NAME} does not resolve; named cannot be dialled until it does" in said


def test_a_boot_is_not_kept_by_it_for_more_than_some_seconds(story: Story) -> None:
    began = time.monotonic()
    story.dialler.run("systemctl restart wg-quick@wg", check=True)
    assert time.monotonic() - began < 6
    story.dialler.restart()
    assert story.dialler.run("systemctl is-active wg-quick@wg").stdout == "active\n"
    assert pings(story.dialler, [PLAIN]) == {PLAIN}
    assert story.endpoint() == "(none)"


def test_the_timer_finds_it_when_it_resolves(story: Story) -> None:
    story.resolve(story.named.address)
    deadline = time.monotonic() + 45
    while story.endpoint() == "(none)":
        assert time.monotonic() < deadline
        time.sleep(1)
    assert story.endpoint() == f"{story.named.address}:51820"
    # a handshake that both begin at the same moment is begun again after 5 s
    assert any(pings(story.dialler, [NAMED]) for _ in range(4))
    code, said = story.run("verify.py", "-y")
    assert code == 0, said
    # it leaves no line each time that it runs
    said = story.dialler.run(f"journalctl -q -o cat -u {TIMER.replace('timer', 'service')}").stdout
    assert len(said.splitlines()) <= 6, said


def test_nobody_is_asked_while_all_is_well(story: Story) -> None:
    with_notice = f"rm -f /run/asked; PATH=/root/noticed:$PATH {SCRIPT} wg; cat /run/asked"
    assert story.dialler.run(with_notice).stdout == ""
    asked = story.dialler.run(with_notice.replace("noticed:", "noticed:/root/later:")).stdout
    assert asked == f"ahosts {NAME}\n"


def test_a_silent_peer_is_looked_up_again_in_both_families(story: Story) -> None:
    later = f"PATH=/root/later:$PATH {SCRIPT} wg"
    story.resolve(story.named.address6)
    story.dialler.run(SCRIPT + " wg", check=True)
    assert story.endpoint() == f"{story.named.address}:51820"
    story.dialler.run(later, check=True)
    assert story.endpoint() == f"[{story.named.address6}]:51820"
    assert any(pings(story.dialler, [NAMED]) for _ in range(4))
    # of what cannot be routed, the next; of what does not resolve, what there was
    story.resolve("2001:db8::1", story.named.address)
    story.dialler.run("ip -6 route add unreachable 2001:db8::/32", check=True)
    story.dialler.run(later, check=True)
    assert story.endpoint() == f"{story.named.address}:51820"
    story.resolve()
    began = time.monotonic()
    assert f"{NAME} does not resolve" in story.dialler.run(later).stderr
    assert time.monotonic() - began < 5
    assert story.endpoint() == f"{story.named.address}:51820"
    story.resolve(story.named.address)
    assert story.cluster.changes() == {}


def test_a_config_of_the_version_before_becomes_ours_without_a_session_lost(story: Story) -> None:
    path = "/etc/wireguard/wg.conf"
    old = story.dialler.read(path).replace("# Endpoint =", "Endpoint =")
    old = "".join(line for line in old.splitlines(keepends=True) if SCRIPT not in line)
    story.dialler.run(
        f"systemctl disable -q --now {TIMER}; rm {SCRIPT} /etc/systemd/system/wgcluster-endpoints@*"
    )
    story.dialler.write(path, old, 0o600)
    story.dialler.run("systemctl restart wg-quick@wg", check=True)
    assert pings(story.dialler, [NAMED, PLAIN]) == {NAMED, PLAIN}
    look = "systemctl show -P ActiveEnterTimestampMonotonic wg-quick@wg; wg show wg endpoints | sort"
    before = story.dialler.run(look, check=True).stdout
    story.dialler.run(f"systemd-run -q --unit=flow sh -c 'ping -i 0.05 -w 60 {NAMED} >/run/flow'", check=True)
    code, said = story.run("deploy.py", "-y")
    assert code == 0, said
    story.dialler.run("pkill -INT -x ping; sleep 1", check=True)
    assert " 0% packet loss" in story.dialler.read("/run/flow")
    assert story.dialler.run(look, check=True).stdout == before
    assert f"# Endpoint = {NAME}:51820\n" in story.dialler.read(path)
    assert f"\nEndpoint = {NAME}" not in story.dialler.read(path)
    assert story.dialler.run(f"systemctl is-active {TIMER}").stdout == "active\n"
    assert story.cluster.changes() == {}


def test_teardown(story: Story) -> None:
    code, said = story.run("teardown.py", "-y")
    assert code == 0, said
    for host in (story.dialler, story.named, story.plain):
        assert host.run("find /etc /usr/local -name '*wgcluster*'").stdout == ""
        assert host.run("systemctl list-timers --all | grep wgcluster").stdout == ""
