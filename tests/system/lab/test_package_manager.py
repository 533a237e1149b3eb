"""Servers whose package manager waits, hears nothing, or is wrong about what is there."""

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
from tests.support.lab.servers import cluster_of, describe, docker, each, rules

NAMES = ("first", "second", "third")
ADDRESSES = {name: f"10.0.0.{number}" for number, name in enumerate(NAMES, 2)}
ARCHIVE = "/var/cache/apt/archives/wireguard-tools_*.deb"
# a repository of one package, and lists that are yet to be fetched
REPOSITORY = f"""
set -e
mkdir -p /srv/repository && cd /srv/repository
[ -e tools.deb ] || cp {ARCHIVE} tools.deb
{{ dpkg-deb -f tools.deb; echo "Filename: ./tools.deb"; echo "Size: $(stat -c %s tools.deb)"
  echo "SHA256: $(sha256sum tools.deb | cut -d' ' -f1)"; }} >Packages
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /var/lib/apt/lists/* /var/cache/apt/archives/*.deb
echo "deb [trusted=yes] $1 ./" >/etc/apt/sources.list
"""
LOCK = """
import fcntl, time
with open("/var/lib/apt/lists/lock", "w") as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    open("/run/is-held", "w").close()
    time.sleep(15)
"""


@dataclass
class Story:
    cluster: Cluster
    hosts: dict[str, Host]

    def run(self, *arguments: str) -> tuple[int, str]:
        done = self.cluster.workspace.pyinfra("inventory.py", *arguments, timeout=200)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr


@pytest.fixture(scope="module")
def story(prefix: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    specs = [HostSpec(name, 0x0A00 + at, has_tools=name == "third") for at, name in enumerate(NAMES, 1)]
    with cluster_of(specs, f"{prefix}pkg-", tmp_path_factory.mktemp("packages")) as cluster:
        hosts = {name: cluster.lab[name] for name in NAMES}
        rows = []
        for name, host in hosts.items():
            key, how = docker(host)
            rows.append((key, {**how, "wg_address": ADDRESSES[name], "wg_endpoint": host.address}))
        describe(cluster, rows, wg_networks=["10.0.0.0/24"], wg_keystore="lab/.state/keys.yml")
        yield Story(cluster, hosts)


def source(host: Host, where: str) -> None:
    host.run(REPOSITORY.replace("$1", where), check=True)


def test_the_lock_of_the_lists_and_a_mirror_that_does_not_answer(story: Story) -> None:
    """The first waits until it has the lock, the second is told of in a line, the third does not care."""
    first, second, third = story.hosts.values()
    source(first, "file:/srv/repository")
    source(second, f"http://{third.address}/debian")
    third.run("iptables -I INPUT -p tcp --dport 80 -j DROP", check=True)
    first.write("/run/holder.py", LOCK)
    first.run("systemd-run -q --unit=holds python3 /run/holder.py", check=True)
    first.run("until [ -e /run/is-held ]; do sleep 0.1; done", check=True)
    assert first.run("apt-get update").returncode != 0  # the lock is held, and apt does not wait
    began = time.monotonic()
    code, said = story.run("deploy.py", "-y")
    assert time.monotonic() - began < 90
    assert code == 1
    told = [line.split("] ", 1)[1].strip() for line in said.splitlines() if "[@docker/second]" in line]
    at = told.index("Packages | Install wireguard-tools: failed")
    assert f"Failed to fetch http://{third.address}/debian" in told[at + 1]
    assert "onnect" in told[at + 1]
    assert len(told[at + 1 : told.index("Error: executed 0 commands")]) <= 3
    assert second.run("command -v wg").returncode != 0
    assert second.run("ls /etc/wireguard/wg.conf").returncode != 0
    assert pings(first, [ADDRESSES["third"]]) == {ADDRESSES["third"]}
    assert first.run("cat /etc/wgcluster/packages", check=True).stdout == "wireguard-tools\n"
    assert third.run("ls /etc/wgcluster/packages").returncode != 0


def test_a_mirror_that_answers_again(story: Story) -> None:
    source(story.hosts["second"], "file:/srv/repository")
    code, said = story.run("deploy.py", "-y")
    assert code == 0, said
    for host in story.hosts.values():
        assert pings(host, list(ADDRESSES.values())) == set(ADDRESSES.values())
    assert story.cluster.changes() == {}


def test_programs_that_are_gone_are_installed_again(story: Story) -> None:
    """dpkg says that the package is installed."""
    first = story.hosts["first"]
    first.run("rm /usr/bin/wg", check=True)
    code, said = story.run("deploy.py", "-y")
    assert code == 0, said
    assert first.run("wg show wg").returncode == 0
    assert first.run("cat /etc/wgcluster/packages", check=True).stdout == "wireguard-tools\n"


def test_programs_that_cannot_be_had_again_are_no_success(story: Story) -> None:
    second = story.hosts["second"]
    second.run("mv /usr/sbin/xtables-nft-multi /usr/sbin/xtables-legacy-multi /root/", check=True)
    assert "installed" in second.run("dpkg-query -W -f '${db:Status-Status}' iptables").stdout
    try:
        for _ in range(2):
            code, said = story.run("deploy.py", "-y")
            assert code == 1
            assert (
                "Packages | Install wireguard-tools: failed" in said
                or "is installed, but the host lacks" in said
            )
            assert "@docker/second" in said
    finally:
        second.run("mv /root/xtables-*-multi /usr/sbin/", check=True)
    code, said = story.run("deploy.py", "-y")
    assert code == 0, said
    assert any("wgcluster" in line for line in rules(second)["iptables-nft"])


def test_teardown_removes_what_the_deploy_installed_and_nothing_else(story: Story) -> None:
    """Not what was there before, nor what others have come to need."""
    second = story.hosts["second"]
    control = "Package: needy\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: needs it\n"
    second.write("/root/needy/DEBIAN/control", control + "Depends: wireguard-tools\n")
    second.run("dpkg-deb -b /root/needy /root/needy.deb && dpkg -i /root/needy.deb", check=True)
    look = "dpkg-query -W -f '${Package} ${db:Status-Status}\\n' | grep ' installed$'"
    before = {name: set(host.run(look, check=True).stdout.splitlines()) for name, host in story.hosts.items()}
    code, said = story.run("teardown.py", "-y", "--data", "remove_packages=True")
    assert code == 0, said
    assert re.search(r"\[@docker/second\] +wireguard-tools: stays, others have come to need it", said)
    after = {name: set(host.run(look, check=True).stdout.splitlines()) for name, host in story.hosts.items()}
    assert before["first"] - after["first"] == {"wireguard-tools installed"}
    assert before["second"] == after["second"]
    assert before["third"] == after["third"]
    each(list(story.hosts.values()), "[ ! -e /etc/wgcluster ] && [ ! -e /etc/wireguard/wg.conf ]")
