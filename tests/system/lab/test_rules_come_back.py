"""Our rules after others flush them: services of other firewalls, by hand, a boot; and what cannot be set."""

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
from tests.support.lab.servers import cluster_of, describe, docker, rules

AGAIN = "wgcluster-firewall-again@wg.service"
UNITS = f"wgcluster-firewall-early@wg.service wgcluster-firewall@wg.service {AGAIN}"
CANARY = "OUTPUT -p tcp -m tcp --dport 9 -m comment --comment canary -j ACCEPT"
FAMILIES = ("iptables", "ip6tables")


@dataclass
class Story:
    """far is a gateway that masquerades, of both families; near and a laptop dial it."""

    cluster: Cluster
    far: Host
    near: Host

    def tell(self, networks: tuple[str, ...] = ("10.0.0.0/24", "fd00::/64"), **far: object) -> None:
        addresses = {"far": ["10.0.0.2", "fd00::2"], "near": ["10.0.0.3", "fd00::3"]}
        rows = []
        for host, more in ((self.far, {"wg_gateway": True, "wg_masquerade": True, **far}), (self.near, {})):
            name, how = docker(host)
            own = addresses[host.name][: len(networks)]
            rows.append((name, {**how, "wg_address": own, "wg_endpoint": host.address, **more}))
        describe(self.cluster, rows, wg_networks=list(networks), wg_keystore="lab/.state/keys.yml")

    def ours(self) -> dict[str, list[str]]:
        """Our rules as the host shows them, in their order."""
        found = {
            tool: [line for line in lines if "wgcluster-wg" in line]
            for tool, lines in rules(self.far).items()
        }
        return {tool: sorted(lines) for tool, lines in found.items() if lines}

    def returned(self, wanted: dict[str, list[str]]) -> bool:
        """Are they back? Who starts another service does not wait for our unit, which comes after it."""
        end = time.monotonic() + 10
        while (there := self.ours()) != wanted and time.monotonic() < end:
            time.sleep(0.2)
        return there == wanted

    def verify(self) -> str:
        """What verify.py says of far, if it finds a fault; "" if it finds none."""
        done = self.cluster.workspace.pyinfra("inventory.py", "verify.py", "-y")
        said = done.stdout + done.stderr
        assert (done.returncode == 0) == ("below the table" not in said), said
        return said if done.returncode else ""

    def fails(self) -> str:
        done = self.cluster.workspace.pyinfra("inventory.py", "deploy.py", "-y")
        assert done.returncode == 1, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def story(prefix: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    specs = [HostSpec("far", 0x0A01, has_tools=True), HostSpec("near", 0x0A02, has_tools=True)]
    with cluster_of(specs, f"{prefix}back-", tmp_path_factory.mktemp("back")) as cluster:
        story = Story(cluster, cluster.lab["far"], cluster.lab["near"])
        install = "apt-get install -qq -y --no-download iptables-persistent </dev/null"
        story.far.run(f"DEBIAN_FRONTEND=noninteractive {install}", check=True, timeout=120)
        story.far.run(
            "systemctl disable -q --now netfilter-persistent; iptables -F; ip6tables -F", check=True
        )
        # what others have saved knows nothing of ours, and nftables begins with "flush ruleset"
        for tool, file in (("iptables", "rules.v4"), ("ip6tables", "rules.v6")):
            story.far.run(
                f"{tool} -A {CANARY} && {tool}-save >/etc/iptables/{file} && {tool} -F OUTPUT", check=True
            )
        story.tell()
        added = cluster.workspace.wgcluster("client", "add", "laptop")
        assert added.returncode == 0, added.stderr
        cluster.deploy()
        yield story


@pytest.fixture
def deployed(story: Story) -> Iterator[dict[str, list[str]]]:
    """All is right; it is our own rules that are given."""
    assert story.far.run(f"systemctl is-enabled {UNITS}", check=True).stdout.split() == ["enabled"] * 3
    before = story.ours()
    assert {"iptables-nft", "ip6tables-nft"} <= before.keys()
    assert all(any("MASQUERADE" in line for line in before[f"{tool}-nft"]) for tool in FAMILIES)
    yield before
    story.far.run("systemctl stop nftables netfilter-persistent; nft flush ruleset")
    story.cluster.deploy()


def flushed(host: Host, how: str) -> None:
    """Do something after which a rule that is nobody's is gone, or is there as it was saved."""
    for tool in FAMILIES:
        host.run(
            f"{tool} -A FORWARD -p tcp -m tcp --dport 7 -m comment --comment nobody -j ACCEPT", check=True
        )
    host.run(how, check=True)
    assert "nobody" not in host.run("iptables-save; ip6tables-save", check=True).stdout
    assert host.run("systemctl --failed --plain --no-legend | grep wgcluster").stdout == ""


def test_services_that_set_whole_tables(story: Story, deployed: dict[str, list[str]]) -> None:
    """Started for the first time, restarted, stopped and started, reloaded where it can be, often."""
    far = story.far
    for service in ("nftables", "netfilter-persistent"):
        assert far.run(f"systemctl is-active {service}").stdout == "inactive\n"
        often = (
            f"for n in 1 2 3 4 5 6 7; do systemctl reset-failed {service}; systemctl restart {service}; done"
        )
        ways = [f"systemctl start {service}", f"systemctl restart {service}"]
        ways += [f"systemctl stop {service}; systemctl start {service}", often]
        if "CanReload=yes" in far.run(f"systemctl show -p CanReload {service}", check=True).stdout:
            ways.append(f"systemctl reload {service}")
        for way in ways:
            flushed(far, way)
            assert story.returned(deployed), way
    assert far.run("systemctl show -p CanReload nftables", check=True).stdout == "CanReload=yes\n"
    assert pings(far, ["10.0.0.3", "fd00::3"]) == {"10.0.0.3", "fd00::3"}
    assert story.verify() == ""
    assert story.cluster.changes() == {}


def test_it_is_our_unit_that_brings_them_back(story: Story, deployed: dict[str, list[str]]) -> None:
    far = story.far
    far.run(f"systemctl disable -q {AGAIN}", check=True)
    flushed(far, "systemctl start nftables; sleep 2")
    assert story.ours() == {}
    said = story.verify()
    assert f"{AGAIN} is not enabled" in said
    assert "far: stranger: lets in what comes by eth0 for 10.0.0.2" in said
    changed = story.cluster.changes()
    assert changed["Firewall | Set the rules"] == {"@docker/far"}
    assert changed["Firewall | Enable wgcluster-firewall@wg.service"] == {"@docker/far"}
    assert story.ours() == deployed
    far.run("systemctl stop wgcluster-firewall@wg.service", check=True)
    assert story.ours() == deployed  # nothing is taken away
    assert "wgcluster-firewall@wg.service is not active" in story.verify()
    assert story.cluster.changes() == {"Firewall | Start wgcluster-firewall@wg.service": {"@docker/far"}}


def test_nat_that_somebody_flushed(story: Story, deployed: dict[str, list[str]]) -> None:
    networks = {"iptables": "10.0.0.0/24", "ip6tables": "fd00::/64"}
    for tool in networks:
        story.far.run(f"{tool} -t nat -F POSTROUTING", check=True)
    said = story.verify()
    for network in networks.values():
        assert f"far: forward: nat: what goes from {network} to wg keeps its address" in said
    assert story.cluster.changes() == {"Firewall | Set the rules": {"@docker/far"}}
    assert story.ours() == deployed
    for tool in networks:  # who else translates it will do
        story.far.run(f"{tool} -t nat -R POSTROUTING 1 -o wg -j MASQUERADE", check=True)
    assert story.verify() == ""


def test_a_ruleset_that_somebody_flushed(story: Story, deployed: dict[str, list[str]]) -> None:
    story.far.run("nft flush ruleset", check=True)
    said = story.verify()
    for words in (
        "lets in what comes by eth0 for fd00::2",
        "10.0.0.0/24 to wg keeps",
        "fd00::/64 to wg keeps",
    ):
        assert words in said
    story.cluster.deploy()
    assert story.ours() == deployed


def test_a_boot_with_both(story: Story, deployed: dict[str, list[str]]) -> None:
    far = story.far
    far.run("systemctl enable -q nftables netfilter-persistent", check=True)
    try:
        far.restart()
        far.run("timeout 60 systemctl is-system-running --wait")
        assert "canary" in far.run("iptables-save", check=True).stdout  # it has run
        assert story.returned(deployed)
        said = far.run("journalctl -b --no-pager", check=True).stdout
        assert not re.search("ordering cycle|Found dependency", said)
        checked = far.run(
            f"systemd-analyze verify {UNITS} nftables.service netfilter-persistent.service 2>&1"
        )
        about = [line for line in checked.stdout.splitlines() if "Command 'man" not in line]
        assert not [line for line in about if re.search("cycle|wgcluster", line)], about
        assert pings(far, ["10.0.0.3", "fd00::3"]) == {"10.0.0.3", "fd00::3"}  # its session is new
        assert pings(story.near, ["10.0.0.2", "fd00::2"]) == {"10.0.0.2", "fd00::2"}
        assert story.verify() == ""
    finally:
        far.run("systemctl disable -q nftables netfilter-persistent", check=True)


def instead(host: Host, program: str, script: str) -> str:
    """Something else under the name of a program; and the command that gives the program back."""
    path = f"/usr/sbin/{program}"
    host.run(f"mv {path} {path}.kept", check=True)
    if script:
        host.write(path, f"#!/bin/sh\n{script}\n", 0o755)
    return f"rm -f {path}; mv {path}.kept {path}"


def test_a_program_that_says_yes_and_does_nothing(story: Story, deployed: dict[str, list[str]]) -> None:
    story.far.run("ip6tables -F INPUT", check=True)
    back = instead(story.far, "ip6tables-restore", "cat >/dev/null")
    try:
        said = story.fails()
        assert "ip6tables: not in force although it was set: + -t filter -A INPUT -p udp" in said
    finally:
        story.far.run(back, check=True)
    assert story.cluster.changes() == {"Firewall | Set the rules": {"@docker/far"}}


def test_ip6tables_that_fails(story: Story, deployed: dict[str, list[str]]) -> None:
    """Refused where IPv6 rules are needed, with nothing changed; left out where they are not."""
    far = story.far
    far.run("iptables -t nat -F POSTROUTING", check=True)
    before = story.ours()
    back = instead(far, "ip6tables-save", "echo 'ip6tables: Permission denied' >&2; exit 3")
    try:
        said = story.fails()
        assert "nothing was changed" in said
        assert (
            '"ip6tables-save" fails (ip6tables: Permission denied), so this host can have no IPv6 rules'
            in said
        )
        assert '"ip6tables-save" fails' in story.verify()
        far.run(back, check=True)
        assert story.ours() == before
        back = instead(far, "ip6tables-save", "echo 'ip6tables: Permission denied' >&2; exit 3")
        story.tell(("10.0.0.0/24",), wg_subnets=["198.19.7.0/24"])  # so that it forwards
        removed = story.cluster.workspace.wgcluster("client", "remove", "laptop")  # who has an IPv6 address
        assert removed.returncode == 0, removed.stderr
        story.cluster.deploy()
        shown = far.run("iptables-save", check=True).stdout
        assert "-A POSTROUTING -s 10.0.0.0/24 -o wg" in shown
        assert story.verify() == ""
        assert story.cluster.changes() == {}
        # which would leave the host open over IPv6
        story.tell(("10.0.0.0/24",), wg_subnets=["198.19.7.0/24"], firewall="baseline")
        assert "host.iptables-fails" in story.fails()
    finally:
        far.run(back)
        story.tell()
        story.cluster.workspace.wgcluster("client", "add", "laptop")


LISTEN = (
    "import socket,threading\n"
    "def serve(port):\n"
    "    s = socket.create_server(('::', port), family=socket.AF_INET6, dualstack_ipv6=True)\n"
    "    while True: s.accept()[0].close()\n"
    "for port in (8000, 8050, 8101, 8200): threading.Thread(target=serve, args=(port,)).start()\n"
)


def test_ports_for_those_who_come_by_the_tunnel(story: Story, deployed: dict[str, list[str]]) -> None:
    """far keeps all others out by rules of its own; a port that is named with eth0 is open there."""
    far, near = story.far, story.near
    story.tell(
        firewall_allow=[
            {"port": "8000-8100"},
            {"port": 8200, "interface": "eth0", "from": ["::/0", "0.0.0.0/0"]},
        ]
    )
    for tool in FAMILIES:
        far.run(f"{tool} -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", check=True)
        far.run(f"{tool} -A INPUT -p {'icmp' if tool == 'iptables' else 'ipv6-icmp'} -j ACCEPT", check=True)
        far.run(f"{tool} -A INPUT -j DROP", check=True)
    far.write("/run/serve.py", LISTEN)
    far.run("systemd-run -q --unit=serve python3 /run/serve.py", check=True)
    try:
        story.cluster.deploy()
        places = ("10.0.0.2", "fd00::2", far.address, far.address6)
        tries = [f"{address} {port}" for address in places for port in (8000, 8050, 8101, 8200)]
        one = 'timeout 2 bash -c "</dev/tcp/$1/$2" 2>/dev/null && echo $1 $2'
        reached = near.run(f"xargs -P 16 -L 1 sh -c '{one}' -", stdin="\n".join(tries)).stdout.splitlines()
        inside, outside = ("10.0.0.2", "fd00::2"), (far.address, far.address6)
        assert sorted(reached) == sorted(
            [f"{address} {port}" for address in inside for port in (8000, 8050)]
            + [f"{address} 8200" for address in outside]
        )
        assert story.verify() == ""
        far.run("iptables -I INPUT -i wg -p tcp --dport 1:9000 -j DROP", check=True)
        assert "iptables: INPUT does not let all by wg reach TCP port 8000-8100" in story.verify()
        assert story.cluster.changes() == {
            name: {"@docker/far"}
            for name in ("Firewall | Set the rules", "Firewall | Write /etc/wgcluster/wg.rules")
        }
        assert near.run("timeout 2 bash -c '</dev/tcp/10.0.0.2/8000'").returncode == 0
        story.tell(firewall="off", firewall_allow=[{"port": 22}])
        assert "firewall_allow.firewall-off" in story.fails()
    finally:
        far.run("systemctl stop serve")
        story.tell()


NFT = [
    ("output", "udp sport 51820 drop", "UDP from port 51820"),
    ("postrouting", 'oifname "eth0" meta l4proto udp drop', "UDP from port 51820"),
    ("prerouting", "udp dport 51820 drop", "UDP to port 51820"),
    ("prerouting", 'iifname "wg" drop', "what is forwarded for wg"),
    ("ingress device eth0", "udp dport 51820 drop", "UDP to port 51820"),
]


def test_nft_that_drops_on_another_hook(story: Story, deployed: dict[str, list[str]]) -> None:
    """Each is seen before a deploy and after it, by table and handle; with the remedy told packets pass."""
    far, words, tables = story.far, [], []
    for number, (hook, rule, what) in enumerate(NFT):
        table = f"{'netdev' if 'device' in hook else 'inet'} theirs{number}"
        text = f"table {table} {{ chain gate {{ type filter hook {hook} priority 0; {rule}; }}; }}"
        far.run("nft -f -", stdin=text, check=True)
        tables.append(table)
        handle = re.search(r"drop # handle (\d+)", far.run(f"nft -a list table {table}", check=True).stdout)
        assert handle is not None
        words.append(f"the rule {handle[1]} of {table} gate drops {what}")
    assert pings(story.near, ["10.0.0.2"]) == set()
    refused, told = story.fails(), story.verify()
    assert [one for one in words if one not in refused or one not in told] == []
    assert refused.count("firewall.nft-drops") == len(NFT)
    for remedy in re.findall(r"'(nft insert rule [^\n]*? accept)'", refused):
        far.run(remedy, check=True)
    assert pings(story.near, ["10.0.0.2", "fd00::2"]) == {"10.0.0.2", "fd00::2"}
    assert "nftables" not in story.verify()
    for table in tables:
        far.run(f"nft delete table {table}", check=True)
