"""Servers whose users have other shells than POSIX ones, and shells that print, over real SSH."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from lab.host import Host
from lab.reach import pings
from lab.spec import HostSpec
from tests.support.lab.cluster import Cluster
from tests.support.lab.servers import cluster_of, describe, each

NAMES = ("fish", "tcsh", "noisy", "asked")
ADDRESSES = {name: f"10.0.0.{number}" for number, name in enumerate(NAMES, 2)}
PASSWORD = "a pass'word"
FOLDER = "/var/tmp"  # the lab's /tmp is mounted noexec
NOISE = """\
echo "Welcome back: @ user 0"
echo "@ end"
printf '\\033]0;owned\\007 an unfinished line'
echo "a complaint" >&2
"""
CSH_NOISE = """\
echo "Welcome back: @ user 0"
echo "@ end"
"""


def prepare(host: Host) -> dict[str, object]:
    """Give its users a shell, or noise; what pyinfra has to know of it."""
    shell = {"fish": "/usr/bin/fish", "tcsh": "/bin/tcsh"}.get(host.name, "/bin/bash")
    host.run(f"chsh -s {shell} operator && chsh -s {shell} root", check=True)
    host.run("chpasswd", stdin=f"operator:{PASSWORD}\nroot:{PASSWORD}\n", check=True)
    homes = ("/root", "/home/operator")
    match host.name:
        case "fish":
            for home in homes:
                host.write(f"{home}/.config/fish/config.fish", NOISE)
            return {}
        case "tcsh":
            for home in homes:
                host.write(f"{home}/.cshrc", CSH_NOISE)
            return {"_sudo": False, "_su_user": "root", "_su_password": PASSWORD, "_temp_dir": FOLDER}
        case "noisy":
            host.write("/root/.bashrc", NOISE)
            host.run("cp -r /home/operator/.ssh /root/ && chown -R root:root /root/.ssh", check=True)
            return {"_sudo": False, "ssh_user": "root"}
        case _:
            for home in homes:
                host.write(f"{home}/.bashrc", NOISE)
            host.run("sed -i 's/NOPASSWD://' /etc/sudoers.d/*", check=True)
            return {"_sudo_password": PASSWORD, "_temp_dir": FOLDER}


@dataclass
class Story:
    cluster: Cluster
    hosts: dict[str, Host]

    def run(self, *arguments: str) -> str:
        done = self.cluster.workspace.pyinfra("inventory.py", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return str(done.stdout + done.stderr)


@pytest.fixture(scope="module")
def story(prefix: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    specs = [HostSpec(name, 0x0A00 + at, ssh=True, has_tools=True) for at, name in enumerate(NAMES, 1)]
    with cluster_of(specs, f"{prefix}shell-", tmp_path_factory.mktemp("shells")) as cluster:
        hosts = {name: cluster.lab[name] for name in NAMES}
        rows = [
            (
                name,
                {
                    **host.ssh_data(),
                    "wg_address": ADDRESSES[name],
                    "wg_endpoint": host.address,
                    **prepare(host),
                },
            )
            for name, host in hosts.items()
        ]
        describe(cluster, rows, wg_networks=["10.0.0.0/24"], wg_keystore="lab/.state/keys.yml")
        yield Story(cluster, hosts)


def test_the_shells_are_what_they_are_said_to_be(story: Story) -> None:
    for name in ("fish", "tcsh"):
        shell = story.hosts[name].run("getent passwd operator root").stdout
        assert shell.count(f"/{name}\n") == 2
    assert story.hosts["asked"].run("su operator -c 'sudo -n true'").returncode != 0


def test_a_first_deploy(story: Story) -> None:
    said = story.run("deploy.py", "-y")
    assert "Welcome back" not in said
    assert "unfinished" not in said
    for name, host in story.hosts.items():
        assert pings(host, list(ADDRESSES.values())) == set(ADDRESSES.values()), name


def test_nothing_is_left_to_do_then(story: Story) -> None:
    assert story.cluster.changes() == {}
    assert story.cluster.plan() == {}


def test_verify(story: Story) -> None:
    story.run("verify.py", "-y")


def test_a_failure_is_told_in_words_of_programs(story: Story) -> None:
    """No shell script of ours, nor what the shells print: not even where much is asked for."""
    each(
        list(story.hosts.values()), "systemctl stop wg-quick@wg; ln -s /usr/bin/false /usr/local/bin/wg-quick"
    )
    each(
        list(story.hosts.values()),
        "mv /usr/bin/wg-quick /usr/bin/wg-quick.real; ln -s ../bin/false /usr/bin/wg-quick",
    )
    done = story.cluster.workspace.pyinfra("inventory.py", "deploy.py", "-y")
    each(
        list(story.hosts.values()),
        "rm /usr/local/bin/wg-quick; mv -f /usr/bin/wg-quick.real /usr/bin/wg-quick",
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1
    for name in NAMES:
        lines = [
            line.split("] ", 1)[1].strip() for line in said.splitlines() if line.startswith(f"    [{name}]")
        ]
        at = lines.index("WireGuard | Enable and start wg-quick@wg.service: failed")
        assert 1 < len(lines[at:]) <= 7
        assert any("wg-quick@wg.service" in line for line in lines[at + 1 :])
    assert not [
        line
        for line in said.splitlines()
        if re.search("journalctl -q|base64|Traceback|Welcome|complaint", line)
    ]
    story.run("deploy.py", "-y")


def test_teardown(story: Story) -> None:
    story.run("teardown.py", "-y")
    for host in story.hosts.values():
        assert host.run("find /etc /usr/local -name '*wgcluster*' -o -path '/etc/wireguard/*'").stdout == ""
        assert host.run("ip link show wg").returncode != 0
        assert host.run(f"ls -d {FOLDER}/pyinfra-*").stdout == ""
