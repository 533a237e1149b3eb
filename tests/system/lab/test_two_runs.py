"""Two runs that meet on the same hosts: one at a time changes a host, and no dead run stands in the way."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.host import Host
from lab.spec import plain
from lab.workspace import Workspace
from tests.support.lab.cluster import Cluster
from tests.support.lab.servers import cluster_of, describe, docker, rules

LOCK = "/run/wgcluster.lock"
KEYS = "lab/.state/keys.yml"
# both families, both backends, every peer, and what a boot would read
DAMAGE = (
    "for tool in iptables ip6tables; do $tool -F INPUT; done; rm /etc/wgcluster/wg.rules;"
    " for peer in $(wg show wg peers); do wg set wg peer $peer remove; done;"
    " sed -i '/^Endpoint/d' /etc/wireguard/wg.conf"
)
CHANGING = re.compile(
    r"\S+@\S+ \(process \d+\) since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC is changing this host"
)


@pytest.fixture(scope="module")
def cluster(prefix: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster_of(plain(2), f"{prefix}two-", tmp_path_factory.mktemp("workspace")) as cluster:
        want(cluster)
        cluster.deploy()
        yield cluster


def want(cluster: Cluster, **shared: object) -> None:
    hosts = []
    for number, host in enumerate(servers(cluster), 2):
        key, data = docker(host)
        hosts.append((key, {**data, "wg_address": f"10.0.0.{number}", "wg_endpoint": host.address}))
    shared |= {"firewall": "baseline", "firewall_allow": [{"port": 22, "protocol": "tcp"}]}
    describe(cluster, hosts, wg_networks=["10.0.0.0/24"], wg_keystore=KEYS, **shared)


def servers(cluster: Cluster) -> list[Host]:
    return [cluster.lab["h1"], cluster.lab["h2"]]


def begin(workspace: Workspace, script: str = "deploy.py") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pyinfra", "inventory.py", script, "-y"],
        cwd=workspace.folder,
        env={**os.environ, **workspace.env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def whole(cluster: Cluster) -> None:
    """Asserts that nothing is there twice, nothing is left to do and nobody holds a host."""
    assert cluster.changes() == {}
    for host in servers(cluster):
        found = rules(host)
        assert sum("wgcluster-wg" in line for lines in found.values() for line in lines) > 9
        for tool, lines in found.items():
            ours = Counter(line for line in lines if "wgcluster-wg" in line)
            assert set(ours.values()) <= {1}, (host.name, tool, ours)
        assert len(host.run("wg show wg peers", check=True).stdout.split()) == 1
        assert host.run(f"cat {LOCK}").stdout == ""
        assert host.run("ls /etc/wireguard /run | grep 'wgcluster.*[0-9]'").stdout == ""


@pytest.mark.parametrize("attempt", range(3))
def test_at_the_same_moment(cluster: Cluster, attempt: int) -> None:
    for host in servers(cluster):
        host.run(DAMAGE, check=True)
    runs = [begin(cluster.workspace) for _ in range(2)]
    outputs = [run.communicate(timeout=200)[0] for run in runs]
    assert "Traceback" not in "".join(outputs)
    for run, output in zip(runs, outputs, strict=True):
        assert run.returncode == 0 or CHANGING.search(output), output
    assert 0 in [run.returncode for run in runs]
    assert "waits up to 30 s: " in "".join(outputs), outputs
    whole(cluster)


def test_with_two_plans_at_the_same_moment(cluster: Cluster, tmp_path: Path) -> None:
    """Two operators, each with a clone: one wants another port, and rules for it."""
    folder = tmp_path / "clone"
    shutil.copytree(cluster.workspace.folder, folder)
    clone = Cluster(cluster.lab, Workspace(folder, cluster.workspace.env))
    want(clone, wg_port=51900, wg_mtu=1400)
    try:
        runs = [begin(one.workspace) for one in (cluster, clone)]
        outputs = [run.communicate(timeout=200)[0] for run in runs]
        assert "Traceback" not in "".join(outputs)
        clone.deploy()
        whole(clone)
    finally:
        cluster.deploy()
    whole(cluster)


def holder(host: Host, process: str, start: str) -> None:
    owner = "alice@laptop (process 77) since 2026-01-02 03:04:05 UTC"
    host.run(f'echo "0123456789abcdef {process} {start} {owner}" >{LOCK}', check=True)


STARTED = "cut -d' ' -f22 /proc/{}/stat"


@pytest.mark.parametrize(
    "process",
    ["4194000 1", "1 99999999999", ""],
    ids=["its process has ended", "its number is another's by now", "cut off between two commands"],
)
def test_a_dead_run_does_not_stand_in_the_way(cluster: Cluster, process: str) -> None:
    (host, _) = servers(cluster)
    host.run(DAMAGE, check=True)
    left = "/etc/wireguard/wg.conf.wgcluster-4194000 /run/wgcluster-wg.4194000"
    host.run(f"touch {left}", check=True)
    holder(host, *(process.split() or ("-", "-")))
    begun = time.monotonic()
    output = cluster.deploy().stderr
    assert time.monotonic() - begun < 30
    said = "alice@laptop (process 77) since 2026-01-02 03:04:05 UTC"
    assert f"waits up to 30 s: {said} is changing this host" in output
    assert f"taken over from {said}, whose run is dead" in output
    whole(cluster)


def test_a_run_that_was_killed(cluster: Cluster) -> None:
    """The controller goes while a command of its is at work: the host is free when that has ended."""
    (host, _) = servers(cluster)
    host.run(DAMAGE, check=True)
    host.run("mv /usr/bin/wg /usr/bin/wg.real && rm -f /run/slow", check=True)
    slow = '#!/bin/sh\n[ "$1" != addconf ] || { echo $$ >/run/slow; sleep 300; }\nexec wg.real "$@"\n'
    host.write("/usr/bin/wg", slow, 0o755)
    try:
        run = begin(cluster.workspace)
        deadline = time.monotonic() + 120
        while host.run("test -s /run/slow").returncode != 0:
            assert time.monotonic() < deadline
        run.kill()
        run.communicate(timeout=10)
        host.run("mv -f /usr/bin/wg.real /usr/bin/wg && iptables -F INPUT", check=True)
        done = cluster.workspace.pyinfra("inventory.py", "deploy.py", "-y")
        output = done.stdout + done.stderr
        assert done.returncode == 1, output
        assert f"(process {run.pid}) since " in output
        assert CHANGING.search(output), output
        assert "wgcluster" not in host.run("iptables -S INPUT", check=True).stdout
    finally:
        host.run("mv -f /usr/bin/wg.real /usr/bin/wg; pkill -P $(cat /run/slow)")
    assert "whose run is dead" in cluster.deploy().stderr
    whole(cluster)


def test_a_run_that_takes_long_is_not_disturbed(cluster: Cluster) -> None:
    host, other = servers(cluster)
    host.run(DAMAGE, check=True)
    look = "iptables -S; ip6tables -S; wg show wg peers; ls /etc/wgcluster"
    before = host.run(look, check=True).stdout
    sleeper = host.run("setsid sleep 120 >/dev/null 2>&1 & echo $!", check=True).stdout.strip()
    holder(host, sleeper, host.run(STARTED.format(sleeper), check=True).stdout.strip())
    other.run(DAMAGE, check=True)
    try:
        begun = time.monotonic()
        done = cluster.workspace.pyinfra("inventory.py", "deploy.py", "-y")
        assert 30 <= time.monotonic() - begun < 60
        output = done.stdout + done.stderr
        assert done.returncode == 1, output
        said = "alice@laptop (process 77) since 2026-01-02 03:04:05 UTC is changing this host"
        assert f"{said}; run again when it is done" in output
        assert host.run(look).stdout == before
        assert other.run("wg show wg peers").stdout  # one host's lock is one host's matter
        # Looking is free, and where nothing is to be done nobody is waited for.
        begun = time.monotonic()
        assert cluster.changes("--limit", docker(other)[0]) == {}
        dry = cluster.workspace.pyinfra("inventory.py", "deploy.py", "--dry", "--limit", docker(host)[0])
        assert (dry.returncode, time.monotonic() - begun < 25) == (0, True)
    finally:
        host.run(f"kill {sleeper}; : >{LOCK}")
    cluster.deploy()
    whole(cluster)


def test_a_run_that_was_taken_for_dead_changes_nothing_more(cluster: Cluster) -> None:
    (host, _) = servers(cluster)
    host.run(DAMAGE, check=True)
    owner = "alice@laptop (process 77) since 2026-01-02 03:04:05 UTC"
    steal = f'echo "0123456789abcdef - - {owner}" >{LOCK}'
    deploy = (cluster.workspace.folder / "deploy.py").read_text()
    deploy, times = re.subn(
        r"^wireguard\(", f"server.shell(commands=[{steal!r}])\nwireguard(", deploy, flags=re.M
    )
    assert times == 1
    script = cluster.workspace.folder / "stolen.py"
    script.write_text(f"from pyinfra.operations import server\n{deploy}")
    done = cluster.workspace.pyinfra("inventory.py", script.name, "-y", "--limit", docker(host)[0])
    output = done.stdout + done.stderr
    assert done.returncode == 1, output
    assert f"this run was taken for dead and {owner} has the host now; run again when it is done" in output
    assert host.run("wg show wg peers").stdout == ""
    assert "Endpoint" not in host.read("/etc/wireguard/wg.conf")
    assert owner in host.read(LOCK)  # and what is another's is not given back
    cluster.deploy()
    whole(cluster)


def test_a_run_that_changes_nothing_takes_no_lock(cluster: Cluster) -> None:
    for host in servers(cluster):
        host.run(f"rm -f {LOCK}", check=True)
    assert cluster.changes() == {}
    for host in servers(cluster):
        assert host.run(f"test -e {LOCK}").returncode == 1
