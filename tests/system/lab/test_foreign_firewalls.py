"""ufw, firewalld and native nftables, seen by what they do; and packets as the judge of what drops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lab.host import Host
from lab.reach import pings
from lab.spec import HostSpec
from tests.support.chains import EVERYWHERE, GATEWAY
from tests.support.lab.cluster import Cluster
from tests.support.lab.servers import cluster_of, describe, docker
from wgcluster.host.reading import parse
from wgcluster.verify.foreign_firewalls import dropped_by_nft

SCRIPT = (Path(__file__).parents[3] / "files" / "observe.sh").read_text()
PORT = 51820
LOOK = (
    "iptables-save | grep -v '^#' | sed 's/ [[].*//'; ip6tables-save | grep -v '^#' | sed 's/ [[].*//';"
    " nft -s list ruleset; ip route; find /etc /usr/local -xdev -newer /run/begin; which wg; ip -o link"
)


@dataclass
class Story:
    """far is the gateway with a firewall of someone else's; near and a laptop dial it."""

    cluster: Cluster
    far: Host
    near: Host

    def tell(self, **far: object) -> None:
        name, how = docker(self.far)
        ours = {**how, "wg_address": "10.0.0.2", "wg_endpoint": self.far.address, "wg_gateway": True, **far}
        other, that = docker(self.near)
        describe(
            self.cluster,
            [(name, ours), (other, {**that, "wg_address": "10.0.0.3"})],
            wg_networks=["10.0.0.0/24"],
            wg_keystore="lab/.state/keys.yml",
        )

    def refused(self) -> list[str]:
        """The faults of a run that is refused, and leaves the host as it is."""
        self.far.run("touch /run/begin")
        before = self.far.run(LOOK).stdout
        done = self.cluster.workspace.pyinfra("inventory.py", "deploy.py", "-y")
        said = done.stdout + done.stderr
        assert done.returncode == 1, said
        assert self.far.run(LOOK).stdout == before
        assert "on the hosts, nothing was changed:" in said, said
        return [line.strip() for line in said.splitlines() if line.startswith(("  far: ", "  near: "))]


@pytest.fixture(scope="module")
def story(prefix: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    specs = [HostSpec("far", 0x0A01, has_tools=True), HostSpec("near", 0x0A02, has_tools=True)]
    with cluster_of(specs, f"{prefix}firewalls-", tmp_path_factory.mktemp("firewalls")) as cluster:
        story = Story(cluster, cluster.lab["far"], cluster.lab["near"])
        story.tell()
        added = cluster.workspace.wgcluster("client", "add", "laptop")  # so that far forwards
        assert added.returncode == 0, added.stderr
        yield story


@pytest.fixture
def far(story: Story) -> Iterator[Host]:
    """Without any firewall, before and after."""
    clean = "ufw disable; nft flush ruleset; iptables-legacy -F; iptables-legacy -X"
    story.far.run(clean)
    story.tell()
    yield story.far
    story.far.run(clean)


def test_ufw_whose_unit_is_inactive_until_the_next_boot(story: Story, far: Host) -> None:
    far.run("ufw --force enable", check=True)
    assert far.run("systemctl is-active ufw").stdout == "inactive\n"
    assert codes(story.refused()) == ["far [firewall.ufw-active]"]
    far.run("ufw disable", check=True)
    assert "ufw-before-input" in far.run("iptables-save").stdout  # what it leaves is empty
    story.cluster.deploy()


@pytest.mark.parametrize("without", ["ip6tables", "ENABLED=no", "legacy"])
def test_ufw_by_its_rules_alone(story: Story, far: Host, without: str) -> None:
    """In one family only, though its file says otherwise, or in the backend that iptables does not show."""
    if without == "legacy":
        far.run(
            "iptables-legacy -N ufw-before-input && iptables-legacy -A INPUT -j ufw-before-input", check=True
        )
        far.run("iptables-legacy -A ufw-before-input -p tcp --dport 99 -j DROP", check=True)
    else:
        far.run("ufw --force enable && sed -i s/^ENABLED=yes/ENABLED=no/ /etc/ufw/ufw.conf", check=True)
    if without == "ip6tables":
        far.run("ip6tables -F && ip6tables -P INPUT ACCEPT && ip6tables -P FORWARD ACCEPT", check=True)
    assert codes(story.refused()) == ["far [firewall.ufw-active]"]


def test_ufw_that_comes_at_the_next_boot(story: Story, far: Host) -> None:
    far.run("systemctl enable -q ufw && sed -i s/^ENABLED=no/ENABLED=yes/ /etc/ufw/ufw.conf", check=True)
    try:
        assert codes(story.refused()) == ["far [firewall.ufw-enabled]"]
    finally:
        far.run("systemctl disable -q ufw", check=True)
    story.cluster.deploy()  # it says yes still, and nobody asks it


def test_firewalld_that_someone_started_by_hand(story: Story, far: Host) -> None:
    far.run(
        "firewalld && timeout 30 sh -c 'until nft list table inet firewalld; do sleep 0.3; done'", check=True
    )
    assert far.run("systemctl is-active firewalld").stdout == "inactive\n"
    assert codes(story.refused()) == ["far [firewall.firewalld-without-unit]"]
    far.run("kill $(cat /run/firewalld.pid)", check=True)
    far.run("timeout 30 sh -c 'while nft list table inet firewalld; do sleep 0.3; done'", check=True)
    story.cluster.deploy()


def test_firewalld_whose_rules_outlived_it(story: Story, far: Host) -> None:
    far.run(
        "firewalld && timeout 30 sh -c 'until nft list table inet firewalld; do sleep 0.3; done'", check=True
    )
    far.run("kill -9 $(cat /run/firewalld.pid)", check=True)
    assert "far [firewall.firewalld-without-unit]" in codes(story.refused())


def test_firewalld_that_comes_at_the_next_boot(story: Story, far: Host) -> None:
    far.run("systemctl enable -q firewalld", check=True)
    try:
        assert "far [firewall.firewalld-enabled]" in codes(story.refused())
    finally:
        far.run("systemctl disable -q firewalld", check=True)


def codes(faults: list[str]) -> list[str]:
    """Host and code of each."""
    return [f"{fault.partition(':')[0]} [{fault.rpartition('  [')[2]}" for fault in faults]


def table(hook: str, *rules: str, policy: str = "accept", family: str = "inet", more: str = "") -> str:
    head = f"type filter hook {hook} priority 0; policy {policy};"
    return "\n".join([f"table {family} theirs {{", more, "chain gate {", head, *rules, "}", "}", ""])


def load(host: Host, text: str) -> None:
    host.run("nft -f -", stdin=text, check=True)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (table("input", policy="drop"), "the policy of inet theirs gate drops UDP to port 51820"),
        (table("input", "reject", family="ip"), "of ip theirs gate drops UDP to port 51820"),
        (table("input", "jump deny", more="chain deny {\ndrop\n}"), "of inet theirs deny drops UDP to port"),
        (table("forward", policy="drop"), "the policy of inet theirs gate drops what is forwarded for wg"),
        (
            table("forward", 'iifname "wg" oifname != "eth0" reject'),
            "of inet theirs gate drops what is forwarded",
        ),
    ],
)
def test_nft_that_drops_what_we_let_in(story: Story, far: Host, text: str, where: str) -> None:
    load(far, text)
    (fault,) = story.refused()
    assert codes([fault]) == ["far [firewall.nft-drops]"]
    assert where in fault


def test_all_of_it_at_once_and_the_remedy_told_is_one(story: Story, far: Host) -> None:
    """What far is told to run lets the tunnel through."""
    text = table("input", "ct state established,related accept", 'iifname "lo" accept', policy="drop")
    load(far, text + table("forward", policy="drop").replace("theirs", "others"))
    faults = story.refused()
    assert len(faults) == 2
    for fault in faults:
        far.run(fault.partition("'")[2].partition("'")[0], check=True)
    story.cluster.deploy()
    assert pings(far, ["10.0.0.3"]) == {"10.0.0.3"}
    assert story.cluster.changes() == {}


def test_off_is_off(story: Story, far: Host) -> None:
    load(far, table("input", policy="drop"))
    story.tell(firewall="off")
    done = story.cluster.workspace.pyinfra("inventory.py", "deploy.py", "-y", "--dry")
    assert "nftables" not in done.stdout + done.stderr
    assert done.returncode == 0


def test_a_table_that_iptables_does_not_show(story: Story, far: Host) -> None:
    """It would take our rules, and take them again in each run."""
    chain = "type filter hook input priority 0;\ntcp dport 7 ct mark 8 drop\nfib daddr type local accept"
    load(far, f"table ip filter {{\nchain INPUT {{\n{chain}\n}}\n}}\n")
    assert "-A INPUT" not in far.run("iptables -A INPUT -p tcp --dport 4 -j DROP; iptables-save").stdout
    (fault,) = story.refused()
    assert codes([fault]) == ["far [firewall.table-not-shown]"]
    assert "iptables does not show its table filter" in fault


SET = "  set bad { type ipv4_addr; elements = { 203.0.113.7 }; }"
MAP = f"  map ports {{ type inet_service : verdict; elements = {{ 22 : accept, {PORT} : drop }}; }}"
# rules of a base chain in input, its policy, what stands beside it, and: may our packets be dropped here?
RULES: list[tuple[list[str], str, str, bool]] = [
    (["tcp dport 22 ip saddr @bad reject"], "accept", SET, False),  # fail2ban
    (["ip saddr @bad drop"], "accept", SET, False),  # a list of attackers
    (["ip saddr 203.0.113.0/24 drop"], "accept", "", False),
    (["udp dport { 53, 123, 51821-52000 } drop"], "accept", "", False),
    (["meta l4proto tcp drop", "icmp type echo-request drop"], "accept", "", False),
    (["ct state invalid drop"], "accept", "", False),
    (["ct state vmap { established : accept, related : accept, invalid : drop }"], "accept", "", False),
    (['iifname "lo" accept', f"udp dport {PORT} accept"], "drop", "", False),
    (['iifname "lo" accept', f"udp dport {{ 53, {PORT} }} counter accept", "drop"], "accept", "", False),
    (["meta pkttype { broadcast, multicast } drop"], "accept", "", False),
    (["ip6 nexthdr udp drop"], "accept", "", False),
    ([f'iifname . udp dport {{ "eth*" . 7, "eth0" . {PORT} }} accept'], "accept", "", False),
    ([f"udp dport vmap {{ 53 : drop, {PORT} : accept }}"], "drop", "", False),
    (["jump ours"], "drop", f"chain ours {{\nudp dport {PORT} accept\n}}", False),
    (["goto ours", "drop"], "accept", "chain ours {\ntcp dport 1 drop\nreturn\n}", False),
    (
        ['iif "eth0" goto ours', f"udp dport {PORT} accept"],
        "drop",
        "chain ours {\ntcp dport 1 accept\n}",
        True,
    ),
    (['iif "eth0" return', f"udp dport {PORT} accept"], "drop", "", True),
    (["jump ours"], "drop", f'chain ours {{\niif "eth0" return\nudp dport {PORT} accept\n}}', True),
    (["udp dport vmap @ports"], "accept", MAP, True),
    ([f"udp dport {PORT} limit rate over 1/hour burst 1 packets drop"], "accept", "", True),
    ([f"udp dport > {PORT - 1} drop"], "accept", "", True),
    (["ct state != established drop"], "accept", "", True),
    (["ct state new meta l4proto != tcp drop"], "accept", "", True),
    (['iifname != "lo" drop'], "accept", "", True),
    (['iif "eth0" jump deny'], "accept", "chain deny {\ntcp dport 22 return\nreject\n}", True),
    (["ip saddr != @bad drop"], "accept", SET, True),
    (["ip saddr != { 203.0.113.0/24, 192.0.2.1-192.0.2.7 } drop"], "accept", "", True),
    (["tcp dport 22 accept", "ct state established,related accept"], "drop", "", True),
    (["goto ours", f"udp dport {PORT} accept"], "drop", "chain ours {\nreturn\n}", True),
    ([f"udp dport vmap {{ {PORT} : jump deny }}"], "accept", "chain deny {\ndrop\n}", True),
    (["meta mark 0 drop"], "accept", "", True),
    (["ip ttl > 5 drop"], "accept", "", True),
    (["fib daddr type local drop"], "accept", "", True),
    (["th dport 50000-60000 drop"], "accept", "", True),
    (["@th,16,16 51820 drop"], "accept", "", True),
]


@pytest.fixture(scope="module")
def listener(story: Story) -> Host:
    """What comes to the port, written down by far."""
    script = (
        "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        f"s.bind(('', {PORT}))\n"
        "while True:\n    data = s.recv(99)\n    open('/run/got', 'ab').write(data + b'\\n')\n"
    )
    story.far.run("systemctl stop wg-quick@wg; ip link del wg")
    story.far.write("/run/listen.py", script)
    story.far.run("systemd-run -q --unit=listen python3 /run/listen.py", check=True)
    return story.far


@pytest.mark.parametrize("number", range(len(RULES)))
def test_what_drops_a_packet_is_never_taken_for_harmless(
    story: Story, far: Host, listener: Host, number: int
) -> None:
    """A real packet of a stranger's is the judge; what it does not settle, the row says."""
    rules, policy, more, may_drop = RULES[number]
    load(far, table("input", *rules, policy=policy, more=more))
    send = f"for n in 1 2 3; do echo {number}-$n >/dev/udp/{far.address}/{PORT}; done"
    story.near.run(f"bash -c '{send}'", check=True)
    got = [
        line
        for line in far.run("sleep 0.2; cat /run/got").stdout.splitlines()
        if line.startswith(f"{number}-")
    ]
    assert (len(set(got)) < 3) == may_drop
    assert bool(judged(far)) == may_drop


def judged(host: Host) -> list[str]:
    """What the deploy says of a host whose port is open to every IPv4 address."""
    plan = replace(GATEWAY, listen_from=EVERYWHERE[:1], forwards=())
    answer = host.run(f"interface=wg files= sites= dump=0 port=51820 towards=\n{SCRIPT}", check=True).stdout
    return [fault.message for fault in dropped_by_nft(plan, parse(answer.splitlines()))]
