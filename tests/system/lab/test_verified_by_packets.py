"""What verify.py says of a live cluster is what packets do: sizes, ports, who is kept apart, ways back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from lab.lab import Lab
from lab.spec import HostSpec, article
from tests.support.lab.cluster import Cluster
from tests.support.lab.servers import cluster_of, describe, docker

SITE = {
    "file": "/etc/nginx/sites-available/gitlab",
    "server_name": "git.example.org",
    "locations": ["/"],
    "public": ["/.well-known/acme-challenge"],
}
SHARED = {"wg_networks": ["10.0.0.0/24", "fd00::/64"], "wg_keystore": "lab/.state/keys.yml"}
NUMBERS = {"root": 2, "cloud": 3, "backup": 4}


def inventory(lab: Lab) -> list[tuple[str, dict[str, Any]]]:
    """root with a guarded site and masquerading, cloud dialled by IPv6, backup with a network behind it."""
    of_host: dict[str, dict[str, Any]] = {
        "root": {
            "wg_endpoint": lab["root"].address,
            "wg_gateway": True,
            "wg_masquerade": True,
            "nginx_vpn_only": [SITE],
        },
        "cloud": {"wg_endpoint": f"[{lab['cloud'].address6}]"},
        "backup": {"wg_subnets": [str(lab.underlay.lan(0)), str(lab.underlay.lan6(0))]},
    }
    rows = []
    for name, number in NUMBERS.items():
        row, how = docker(lab[name])
        rows.append((row, {**how, "wg_address": [f"10.0.0.{number}", f"fd00::{number}"], **of_host[name]}))
    return rows


@pytest.fixture(scope="module")
def story(prefix: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    specs: list[HostSpec] = [spec for spec in article() if spec.name in (*NUMBERS, "router")]
    with cluster_of(specs, f"{prefix}packets-", tmp_path_factory.mktemp("packets")) as cluster:
        describe(cluster, inventory(cluster.lab), **SHARED)
        cluster.deploy()
        assert cluster.workspace.wgcluster("client", "add", "laptop").returncode == 0
        cluster.deploy()
        yield cluster


def verified(story: Cluster) -> tuple[int, dict[str, dict[str, Any]]]:
    """Status, and the checks of each host by name."""
    done = story.workspace.pyinfra("inventory.py", "verify.py", "-y", "--data", "json=True")
    result = json.loads(done.stdout)  # nothing else is there
    assert result["ok"] == (done.returncode == 0), done.stderr
    hosts = {name: {check["name"]: check for check in one["checks"]} for name, one in result["hosts"].items()}
    return done.returncode, hosts


def faults(hosts: dict[str, dict[str, Any]]) -> set[str]:
    return {
        f"{name}: {check['name']}: {fault}"
        for name, checks in hosts.items()
        for check in checks.values()
        for fault in check["faults"]
    }


def test_as_deployed_every_packet_does_what_the_plan_says(story: Cluster) -> None:
    status, hosts = verified(story)
    assert (status, faults(hosts)) == (0, set())
    for name in NUMBERS:
        assert hosts[name]["ping"]["count"] == 4
        assert hosts[name]["mtu"]["count"] == 4
        assert hosts[name]["service"]["count"] == (0 if name == "root" else 2)
        assert hosts[name]["apart"]["count"] == (0 if name == "root" else 2)
    assert [len(hosts[name]["lan"]["notes"]) for name in NUMBERS] == [0, 0, 2]


def test_a_network_that_knows_the_way_back_needs_no_note(story: Cluster) -> None:
    backup = story.lab["backup"]
    router = story.lab["router"]
    router.run(
        f"ip route add 10.0.0.0/24 via {backup.address} && ip -6 route add fd00::/64 via {backup.address6}",
        check=True,
    )
    try:
        _, hosts = verified(story)
        assert hosts["backup"]["lan"] == {"name": "lan", "count": 2, "faults": [], "notes": []}
    finally:
        router.run("ip route del 10.0.0.0/24; ip -6 route del fd00::/64")


def test_the_port_of_a_guarded_site_is_tried_by_the_others(story: Cluster) -> None:
    rules = [f"{tool} {{}} INPUT -i wg -p tcp --dport 80 -j DROP" for tool in ("iptables", "ip6tables")]
    story.lab["root"].run("; ".join(rule.format("-I") for rule in rules), check=True)
    try:
        status, hosts = verified(story)
    finally:
        story.lab["root"].run("; ".join(rule.format("-D") for rule in rules), check=True)
    assert status == 1
    assert faults(hosts) == {
        f"{name}: service: no connection to root ({address}), TCP port 80, where a guarded site listens"
        for name in ("cloud", "backup")
        for address in ("10.0.0.2", "fd00::2")
    }


def test_who_must_not_be_reached_is_asked_for(story: Cluster) -> None:
    """The laptop is behind a gateway that masquerades; somebody gave its addresses to another machine."""
    cloud = story.lab["cloud"]
    cloud.run("ip addr add 10.0.0.100/32 dev lo; ip addr add fd00::64/128 dev lo", check=True)
    try:
        status, hosts = verified(story)
    finally:
        cloud.run("ip addr del 10.0.0.100/32 dev lo; ip addr del fd00::64/128 dev lo", check=True)
    assert status == 1
    told = {fault for fault in faults(hosts) if ": apart: " in fault}
    assert told == {
        f"cloud: apart: laptop ({address}) answers, although the plan has no way there from here"
        for address in ("10.0.0.100", "fd00::64")
    }


def test_names_lead_into_the_tunnel_where_that_is_wanted(story: Cluster) -> None:
    """Docker mounts /etc/hosts, which cannot be replaced then; on backup it is a file as on any server."""
    hosts = [story.lab[name] for name in NUMBERS]
    story.lab["backup"].run("cp /etc/hosts /run/h && umount /etc/hosts && cp /run/h /etc/hosts", check=True)
    story.lab["backup"].run("chmod 640 /etc/hosts && chown root:adm /etc/hosts", check=True)
    before = [host.read("/etc/hosts") for host in hosts]
    look = "stat -c '%a %U:%G' /etc/hosts; ls /etc | grep hosts; mount | grep -c /etc/hosts"
    modes = [host.run(look).stdout for host in hosts]
    describe(story, inventory(story.lab), **SHARED, wg_hosts_file=True)
    story.deploy()
    for host in hosts:
        for name, address in (
            ("git.example.org", "10.0.0.2"),
            ("cloud", "10.0.0.3"),
            ("laptop", "10.0.0.100"),
        ):
            if name != host.name:  # its own name leads to what Docker wrote
                assert host.run(f"getent ahostsv4 {name}").stdout.split()[:1] == [address]
        assert host.run("getent ahostsv6 git.example.org").stdout.split()[:1] == ["fd00::2"]
    assert [host.run(look).stdout for host in hosts] == modes
    got = story.lab["cloud"].run("curl -s -o /dev/null -w '%{http_code}' http://git.example.org/").stdout
    assert got not in ("000", "403")
    assert story.changes() == {}
    story.lab["cloud"].run(
        "echo '10.9.9.9 git.example.org' >/tmp/h; cat /etc/hosts >>/tmp/h; cat /tmp/h >/etc/hosts"
    )
    status, found = verified(story)
    told = "cloud: names: /etc/hosts has 10.9.9.9 for git.example.org, planned is 10.0.0.2"
    assert (status, told in faults(found)) == (1, True)
    story.lab["cloud"].run("sed 1d /etc/hosts >/tmp/h; cat /tmp/h >/etc/hosts", check=True)
    describe(story, inventory(story.lab), **SHARED)
    story.deploy()
    assert [host.read("/etc/hosts") for host in hosts] == before
    assert [host.run(look).stdout for host in hosts] == modes


def test_a_path_that_takes_smaller_packets_and_says_nothing_of_it(story: Cluster) -> None:
    """backup stands behind it; it dials root by IPv4 and cloud by IPv6. What verify says to set is right."""
    router = story.lab["router"]
    wire = router.run(
        f"ip -o addr show to {story.lab.underlay.lan(0)} | awk '{{print $2; exit}}'", check=True
    ).stdout.strip()
    silent = (
        "iptables {0} OUTPUT -p icmp --icmp-type fragmentation-needed -j DROP;"
        " ip6tables {0} OUTPUT -p icmpv6 --icmpv6-type packet-too-big -j DROP"
    )
    router.run(f"{silent.format('-I')}; ip link set {wire} mtu 1400", check=True)
    try:
        status, hosts = verified(story)
        assert status == 1
        # 1400, less IP, UDP and 32 of WireGuard: 1340 over IPv4, 1320 over IPv6; packets are padded to 16
        told = faults(hosts)
        for name, (address, address6), other in (
            ("root", ("10.0.0.4", "fd00::4"), "backup"),
            ("backup", ("10.0.0.2", "fd00::2"), "root"),
            ("cloud", ("10.0.0.4", "fd00::4"), "backup"),
            ("backup", ("10.0.0.3", "fd00::3"), "cloud"),
        ):
            right = range(1308, 1321) if "cloud" in (name, other) else range(1324, 1341)
            for one in (address, address6):
                (fault,) = (f for f in told if f.startswith(f"{name}: mtu: ") and f"({one})" in f)
                assert fault.startswith(
                    f"{name}: mtu: packets of 1420 bytes do not get through to {other} ({one}), those of "
                )
                assert int(fault.split(" of ")[-1].split(" ")[0]) in right, fault
        assert len(told) == 8
        least = min(int(fault.split("wg_mtu = ")[1].split(" ")[0]) for fault in told)
        describe(story, inventory(story.lab), **SHARED, wg_mtu=least)
        story.deploy()
        status, hosts = verified(story)
        assert (status, faults(hosts)) == (0, set())
    finally:
        router.run(f"{silent.format('-D')}; ip link set {wire} mtu 1500")
