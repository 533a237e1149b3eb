"""Runs on a part of the cluster, hosts that join and leave, one that cannot be reached, and the way back."""

from __future__ import annotations

import re
import subprocess
import time

import pytest

from lab.host import Host
from lab.lab import Lab
from lab.reach import pings
from lab.workspace import Workspace
from tests.support.lab.cluster import OVERLAY, SERVERS, Cluster

STATE = (
    "cat /etc/wireguard/wg.conf /etc/wgcluster/wg.rules; iptables -S; ip6tables -S;"
    " iptables -t nat -S POSTROUTING; wg show wg allowed-ips | sort;"
    " cat /etc/sysctl.d/zz-wgcluster.conf /etc/modules-load.d/wgcluster.conf 2>&1;"
    " cat /etc/nginx/sites-available/gitlab /etc/nginx/wgcluster/* 2>&1; sysctl net.ipv4.ip_forward"
)
# Rules with their tables, a user's own chains, policies: an empty built-in chain is as good as none.
RULES = (
    r"""awk '/^[*]/ { table = $1 } /^-A/ || /^:/ && $2 != "ACCEPT" { sub(/ [[].*/, ""); print table, $0 }'"""
)
# All that is not of a package's making and may be ours; counters and dates are nobody's.
LOOK = (
    f"iptables-save | {RULES}; ip6tables-save | {RULES};"
    " find /etc /usr/local /var/www -xdev -type f | sort | xargs sha256sum;"
    " find /etc /usr/local /var/www -xdev | sort | xargs stat -c '%n %a %U:%G %N'"
)
BACKUP = re.compile(r'    # behind NAT.*?\n    \("@docker/backup".*?\}\),\n', re.DOTALL)


@pytest.fixture(scope="module")
def bare(lab: Lab, workspace: Workspace) -> Cluster:
    """Bare hosts but for wireguard-tools, which the way back leaves where they are."""
    cluster = Cluster(lab, workspace)
    cluster.clean_up()
    for name in SERVERS:
        lab[name].run("apt-get install --yes wireguard-tools", check=True)
    return cluster


@pytest.fixture(scope="module")
def before(bare: Cluster) -> dict[str, str]:
    return {name: bare.lab[name].run(LOOK, check=True).stdout for name in SERVERS}


@pytest.fixture(scope="module")
def cluster(bare: Cluster, before: dict[str, str]) -> Cluster:
    bare.deploy()
    bare.join()
    return bare


def states(cluster: Cluster) -> dict[str, str]:
    return {name: cluster.lab[name].run(STATE).stdout for name in SERVERS}


def test_a_limited_run_gives_what_a_full_run_gives_and_connects_to_nobody_else(cluster: Cluster) -> None:
    whole = states(cluster)["cloud"]
    cloud = cluster.lab["cloud"]
    cloud.run(
        "systemctl disable -q --now wg-quick@wg; rm -f /etc/wireguard/wg.conf /etc/wgcluster/wg.rules"
        " /etc/modules-load.d/wgcluster.conf; iptables -F; ip6tables -F",
        check=True,
    )
    others = [cluster.lab[name] for name in ("root", "backup")]
    for other in others:
        other.pause()  # whoever connects to it waits in vain
    try:
        done = cluster.deploy("--limit", "@docker/cloud")
    finally:
        for other in others:
            other.unpause()
    assert "[@docker/cloud]" in done.stderr + done.stdout
    assert not re.search(r"\[@docker/(root|backup)\]", done.stderr + done.stdout)
    assert states(cluster)["cloud"] == whole
    assert cluster.changes() == {}


def test_an_unreachable_host_is_named_and_the_next_run_completes_it(cluster: Cluster) -> None:
    cluster.set("group_data/all.py", "wg_port = 51820", "wg_port = 51830")
    backup, port = cluster.lab["backup"], "wg show wg listen-port"
    backup.pause()
    try:
        done = cluster.workspace.pyinfra("inventory.py", "deploy.py", "-y", timeout=120)
    finally:
        backup.unpause()
    try:
        assert done.returncode == 1
        assert re.search(
            r"\[@docker/backup\].*(Error|could not|Could not|timed out)", done.stdout + done.stderr
        )
        assert cluster.lab["root"].run(port).stdout == "51830\n"
        assert cluster.lab["cloud"].run("wg show wg endpoints").stdout.count(":51830\n") == 1
        assert backup.run(port).stdout == "51820\n"
        assert set().union(*cluster.changes().values()) == {"@docker/backup"}
        assert backup.run(port).stdout == "51830\n"
        assert cluster.changes() == {}
    finally:
        cluster.set("group_data/all.py", "wg_port = 51830", "wg_port = 51820")
        cluster.deploy()


class Pings:
    """A ping every 50 ms, from one host to another's overlay address."""

    def __init__(self, host: Host, target: str, seconds: float) -> None:
        self.wanted = int(seconds / 0.05)
        ping = ["ping", "-n", "-i", "0.05", "-c", str(self.wanted), "-W", "5", target]
        command = ["docker", "exec", host.identifier, *ping]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def lost(self) -> list[int]:
        """The numbers of those that nobody answered, from 1."""
        said, _ = self.process.communicate(timeout=90)
        answered = {int(number) for number in re.findall(r"bytes from .* icmp_seq=(\d+) ", said)}
        return [number for number in range(1, self.wanted + 1) if number not in answered]


def test_a_host_that_leaves_is_gone_and_one_that_joins_disturbs_nobody(cluster: Cluster) -> None:
    inventory = cluster.workspace.folder / "inventory.py"
    whole = inventory.read_text()
    backup = cluster.lab["backup"]
    key = backup.run("wg show wg public-key", check=True).stdout.strip()
    inventory.write_text(BACKUP.sub("", whole))
    try:
        cluster.deploy()
        for name in ("root", "cloud"):
            host = cluster.lab[name]
            assert key not in host.read("/etc/wireguard/wg.conf"), name
            assert key not in host.run("wg show wg", check=True).stdout, name
            assert (
                "10.0.0.4" not in host.run("iptables-save; ip route; cat /etc/wgcluster/wg.rules").stdout
            ), name
    finally:
        inventory.write_text(whole)
    # It comes back as a bare host, not as one that takes up sessions the others have forgotten.
    backup.run("systemctl disable -q --now wg-quick@wg && rm /etc/wireguard/wg.conf", check=True)
    flows = [("root", "cloud"), ("cloud", "root"), ("laptop", "cloud")]
    for source, target in flows:  # whoever has a session has not to make one first
        assert pings(cluster.lab[source], [OVERLAY[target]]), f"{source} -> {target}"
    running = [Pings(cluster.lab[source], OVERLAY[target], 25) for source, target in flows]
    time.sleep(0.5)
    cluster.deploy()
    assert running[0].process.poll() is None, "the pings must outlast the run"
    assert [one.lost() for one in running] == [[], [], []]
    assert pings(backup, [OVERLAY["root"], OVERLAY["cloud"]]) == {OVERLAY["root"], OVERLAY["cloud"]}


def test_teardown_leaves_every_host_as_it_was(cluster: Cluster, before: dict[str, str]) -> None:
    done = cluster.workspace.pyinfra("inventory.py", "teardown.py", "-y")
    assert done.returncode == 0, done.stdout + done.stderr
    for name in SERVERS:
        after = cluster.lab[name].run(LOOK, check=True).stdout
        assert after.splitlines() == before[name].splitlines(), name
        assert cluster.lab[name].run("command -v wg").returncode == 0  # packages stay
        assert cluster.lab[name].run("ip link show wg").returncode != 0
    again = cluster.workspace.pyinfra("inventory.py", "teardown.py", "-y", "--json")
    assert '"success": 0' in again.stdout[again.stdout.index('"totals"') :]


def test_packages_that_were_there_before_stay_even_if_asked(cluster: Cluster) -> None:
    done = cluster.workspace.pyinfra("inventory.py", "teardown.py", "-y", "--data", "remove_packages=True")
    assert done.returncode == 0, done.stdout + done.stderr
    assert cluster.lab["cloud"].run("command -v wg").returncode == 0
