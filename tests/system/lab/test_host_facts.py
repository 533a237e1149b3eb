"""What a host itself has of ports, families, sysctls and addresses, against what it is about to get."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from lab.host import Host
from lab.reach import pings
from lab.spec import HostSpec
from tests.support.lab.cluster import Cluster
from tests.support.lab.servers import cluster_of, describe, docker

OVERLAY = ["10.0.0.0/24", "fd00::/64"]
BEHIND = ["192.168.77.0/24", "fd77::/64"]
# All that a deploy may touch; counters of the tables are nobody's.
LOOK = (
    "ip -4 route show table all; ip -6 route show table all; ip -o addr show | sed 's/ valid_.*//';"
    " iptables-save | grep -v '^[#:]'; ip6tables-save | grep -v '^[#:]';"
    " iptables -S FORWARD | head -n 1; ip6tables -S FORWARD | head -n 1; cat /proc/sys/net/ipv4/ip_forward;"
    " find /etc /usr/local /run -xdev -name '*wg*' | sort; which wg; wg show wg allowed-ips | sort;"
    " wg show wg listen-port"
)
BIND = (
    "import socket, sys, time; s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET,"
    " socket.SOCK_DGRAM); s.bind((sys.argv[1], int(sys.argv[2]))); time.sleep(300)"
)
DNAT = "-p udp --dport {port} -j DNAT --to-destination"


@dataclass
class Story:
    """gate forwards for networks behind it and has no sysctl(8); node is a host like others."""

    cluster: Cluster
    gate: Host
    node: Host

    def declare(
        self, gate: dict[str, object] | None = None, node: dict[str, object] | None = None, **shared: object
    ) -> None:
        """Write the inventory; what is given is set beside what a host has anyway, None takes it out."""
        rows = []
        for host, number, given in ((self.gate, 2, gate), (self.node, 3, node)):
            name, how = docker(host)
            data = {**how, "wg_address": [f"10.0.0.{number}", f"fd00::{number}"], "wg_endpoint": host.address}
            data |= {"wg_subnets": BEHIND} if host is self.gate else {}
            rows.append((name, {k: v for k, v in {**data, **(given or {})}.items() if v is not None}))
        describe(self.cluster, rows, wg_networks=OVERLAY, wg_keystore="lab/.state/keys.yml", **shared)

    def look(self) -> list[str]:
        return [host.run(LOOK).stdout for host in (self.gate, self.node)]

    def refused(self) -> dict[str, str]:
        """The faults of a run that leaves both hosts as they are: texts by host and code."""
        before = self.look()
        done = self.cluster.workspace.pyinfra("inventory.py", "deploy.py", "-y")
        said = done.stdout + done.stderr
        assert done.returncode == 1, said
        assert self.look() == before
        assert "on the hosts, nothing was changed:" in said, said
        lines = [line.strip() for line in said.splitlines() if line.startswith(("  gate: ", "  node: "))]
        return {f"{line.partition(':')[0]} {line.rpartition('[')[2].rstrip(']')}": line for line in lines}

    def verified(self) -> str:
        done = self.cluster.workspace.pyinfra("inventory.py", "verify.py", "-y")
        return done.stdout + done.stderr

    def talks(self, *prefixes: str) -> bool:
        """In the families of these prefixes. Whose interface is new has to begin: both do, and once more."""
        prefixes = prefixes or ("10.0.0.", "fd00::")
        there, back = ([f"{one}{number}" for one in prefixes] for number in (3, 2))
        return any(pings(self.gate, there) | pings(self.node, back) == {*there, *back} for _ in range(2))


def bind(host: Host, address: str, port: int) -> None:
    """A program gets a UDP port and keeps it."""
    started = host.run(
        f'systemd-run -q --unit bound-{port} python3 -c "{BIND}" {address} {port}'
        f" && for _ in $(seq 50); do ss -Huln 'sport = :{port}' | grep -q . && exit; sleep 0.1; done; exit 1"
    )
    assert started.returncode == 0, started.stderr


def restored(host: Host, *commands: str) -> None:
    for command in commands:
        host.run(command, check=True)


READ_ONLY = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys"
NO_IPV6_TABLES = "mv /usr/sbin/ip6tables-save /root/ip6tables-save"


@pytest.fixture(scope="module")
def story(prefix: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    specs = [HostSpec("gate", 0x0C01), HostSpec("node", 0x0C02)]
    with cluster_of(specs, f"{prefix}facts-", tmp_path_factory.mktemp("facts")) as cluster:
        gate, node = cluster.lab["gate"], cluster.lab["node"]
        gate.run("mv $(which sysctl) /root/sysctl", check=True)
        settled = "for _ in $(seq 100); do ip -6 addr | grep -q tentative || exit 0; sleep 0.1; done; exit 1"
        for host in (gate, node):
            host.run(settled, check=True)
        yield Story(cluster, gate, node)


def test_a_first_deploy_is_refused_for_all_of_it_at_once(story: Story) -> None:
    story.declare()
    bind(story.gate, "::1", 51820)
    story.gate.run(
        f"mkdir -p /etc/sysctl.d && echo 'net.ipv4.ip_forward = 0' >/etc/sysctl.d/zzz.conf && {READ_ONLY}",
        check=True,
    )
    story.node.run(
        f"iptables -t nat -A PREROUTING {DNAT.format(port=51820)} 172.17.0.2:51820 && {NO_IPV6_TABLES}"
        " && sysctl -qw net.ipv6.conf.default.disable_ipv6=1",
        check=True,
    )
    found = story.refused()
    assert set(found) == {
        "gate wg_port.taken",
        "gate host.sysctls-read-only",
        "gate host.sysctl-undone",
        "node wg_port.redirected",
        "node host.iptables-fails",
        "node host.ipv6-off",
    }
    assert "taken by python3 (" in found["gate wg_port.taken"]
    assert "/etc/sysctl.d/zzz.conf sets net.ipv4.ip_forward = 0" in found["gate host.sysctl-undone"]
    restored(story.gate, "systemctl stop bound-51820", "rm /etc/sysctl.d/zzz.conf", "umount /proc/sys")
    restored(
        story.node,
        f"iptables -t nat -D PREROUTING {DNAT.format(port=51820)} 172.17.0.2:51820",
        "mv /root/ip6tables-save /usr/sbin/",
        "sysctl -qw net.ipv6.conf.default.disable_ipv6=0",
    )


def test_a_redirect_of_the_other_family_and_by_nft(story: Story) -> None:
    story.node.run(
        f"ip6tables -t nat -A PREROUTING {DNAT.format(port='51000:52000')} [fd99::2]:51820", check=True
    )
    story.gate.run(
        "nft add table inet t && nft add chain inet t pre '{ type nat hook prerouting priority -100; }'"
        " && nft add rule inet t pre udp dport 51820 dnat ip to 172.17.0.2",
        check=True,
    )
    found = story.refused()
    assert set(found) == {"gate wg_port.redirected", "node wg_port.redirected"}
    assert "the rule" in found["gate wg_port.redirected"]
    restored(story.gate, "nft delete table inet t")
    restored(story.node, f"ip6tables -t nat -D PREROUTING {DNAT.format(port='51000:52000')} [fd99::2]:51820")


def test_a_host_without_the_program_sysctl_forwards(story: Story) -> None:
    story.declare()
    story.cluster.deploy()
    assert story.talks()
    values = (
        "cd /proc/sys/net && cat ipv4/ip_forward ipv6/conf/all/forwarding ipv4/conf/wg/{0} ipv4/conf/wg/{1}"
    )
    values = values.format("forwarding", "send_redirects")
    assert story.gate.run(values, check=True).stdout.split() == ["1", "1", "1", "0"]
    # what a new interface gets from "default" does not matter, for the next start sets it
    story.gate.run(
        "echo 0 >/proc/sys/net/ipv4/conf/default/forwarding && systemctl restart wg-quick@wg", check=True
    )
    assert story.gate.run(values, check=True).stdout.split() == ["1", "1", "1", "0"]
    assert story.cluster.changes() == {}
    story.gate.run("echo 1 >/proc/sys/net/ipv4/conf/default/forwarding", check=True)


def test_a_live_host_stays_as_it_is_where_all_of_it_comes_later(story: Story) -> None:
    """The port of its own interface is no other's; a new one is compared as at first."""
    story.declare(gate={"wg_port": 51999})
    bind(story.gate, "127.0.0.1", 51999)
    story.node.run(
        f"{NO_IPV6_TABLES} && sysctl -qw net.ipv6.conf.wg.disable_ipv6=1"
        " && mkdir -p /run/sysctl.d && echo 'net.ipv6.conf.*.disable_ipv6 = 1' >/run/sysctl.d/90-six.conf",
        check=True,
    )
    found = story.refused()
    assert set(found) == {"gate wg_port.taken", "node host.iptables-fails", "node host.ipv6-off"}
    assert "net.ipv6.conf.wg.disable_ipv6 = 1" in found["node host.ipv6-off"]
    assert story.talks("10.0.0.")
    assert "IPv6 is off: net.ipv6.conf.wg.disable_ipv6 = 1" in story.verified()
    restored(story.node, "mv /root/ip6tables-save /usr/sbin/", "sysctl -qw net.ipv6.conf.wg.disable_ipv6=0")
    found = story.refused()
    assert set(found) == {"gate wg_port.taken", "node host.sysctl-undone"}
    restored(story.gate, "systemctl stop bound-51999")
    restored(story.node, "rm /run/sysctl.d/90-six.conf")
    story.cluster.deploy()
    assert story.gate.run("wg show wg listen-port").stdout.split() == ["51999"]
    assert story.talks()
    story.declare()
    story.cluster.deploy()


def test_one_family_alone_needs_nothing_of_the_other(story: Story) -> None:
    """IPv6 off at all, and no ip6tables that works: it has an IPv4 address, and comes up again."""
    story.declare(node={"wg_address": "10.0.0.3"})
    story.node.run(f"{NO_IPV6_TABLES} && sysctl -qw net.ipv6.conf.all.disable_ipv6=1", check=True)
    story.cluster.deploy()
    story.node.run("systemctl restart wg-quick@wg wgcluster-firewall@wg", check=True)
    assert story.talks("10.0.0.")
    assert "fd00" not in story.node.run("wg show wg allowed-ips", check=True).stdout
    assert "/32" in story.node.run("wg show wg allowed-ips", check=True).stdout
    assert story.cluster.changes() == {}
    verified = story.verified()
    assert "fault" not in verified.lower(), verified
    restored(story.node, "mv /root/ip6tables-save /usr/sbin/", "sysctl -qw net.ipv6.conf.all.disable_ipv6=0")
    story.declare()
    story.cluster.deploy()
    assert story.talks()


def test_what_stands_in_the_way_of_forwarding_is_told_and_mended_where_it_is_ours(story: Story) -> None:
    story.gate.run("echo 0 >/proc/sys/net/ipv4/conf/wg/forwarding", check=True)
    assert "net.ipv4.conf.wg.forwarding is 0" in story.verified()
    assert list(story.cluster.changes()) == [
        "Kernel | Forwarding, now and at boot: /etc/sysctl.d/zz-wgcluster.conf"
    ]
    assert story.gate.read("/proc/sys/net/ipv4/conf/wg/forwarding") == "1\n"
    story.gate.run("echo 'net.ipv4.conf.all.forwarding=0' >/etc/sysctl.d/zzz.conf", check=True)
    assert "/etc/sysctl.d/zzz.conf sets net.ipv4.conf.all.forwarding = 0" in story.verified()
    assert set(story.refused()) == {"gate host.sysctl-undone"}
    # a file of the same name in /etc masks another's
    restored(
        story.gate,
        "mkdir -p /run/sysctl.d && mv /etc/sysctl.d/zzz.conf /run/sysctl.d/",
        "ln -s /dev/null /etc/sysctl.d/zzz.conf",
    )
    assert story.cluster.changes() == {}
    restored(story.gate, "rm /etc/sysctl.d/zzz.conf /run/sysctl.d/zzz.conf")


def test_where_nothing_can_be_set_and_all_is_right_nothing_is_set(story: Story) -> None:
    """PostUp cannot write a value, and the tunnel comes up all the same."""
    story.gate.run(f"{READ_ONLY} && systemctl restart wg-quick@wg", check=True)
    assert story.cluster.changes() == {}
    assert story.talks()
    restored(story.gate, "umount /proc/sys", "systemctl restart wg-quick@wg")


def test_rules_of_ipv4_come_back_where_those_of_ipv6_cannot(story: Story) -> None:
    """At a boot: the unit says that it failed, and has done what could be done."""
    before = story.gate.run("iptables-save | grep -c wgcluster-wg", check=True).stdout
    flush = "for t in raw mangle filter; do iptables -t $t -F; done"
    story.gate.run(f"{NO_IPV6_TABLES} && {flush}", check=True)
    assert story.gate.run("systemctl restart wgcluster-firewall@wg").returncode == 1
    assert story.gate.run("iptables-save | grep -c wgcluster-wg", check=True).stdout == before
    restored(story.gate, "mv /root/ip6tables-save /usr/sbin/", "systemctl restart wgcluster-firewall@wg")


def test_a_source_that_the_others_do_not_let_in(story: Story) -> None:
    """node gets a second address and sends from it. gate lets in whom it knows, by a baseline."""
    node, further = story.node, "198.18.200.9"
    gateway = node.run("ip route show default", check=True).stdout.split()[2]
    story.declare(gate={"firewall": "baseline"})
    story.cluster.deploy()
    way = f"{story.gate.address} via {gateway} dev eth0 onlink src {further}"
    node.run(f"ip addr add {further}/32 dev eth0 && ip route replace {way}", check=True)
    (fault,) = story.refused().values()
    assert f"node: sends to gate from {further}, which they do not let in" in fault
    assert fault.endswith("[wg_source.lacking]")
    assert f"sends to gate from {further}" in story.verified()
    story.declare(gate={"firewall": "baseline"}, node={"wg_source": f"{further}/32"})
    story.cluster.deploy()
    rule = f"-s {further}/32 -p udp -m udp --dport 51820 -m comment --comment wgcluster-wg -j ACCEPT"
    assert story.gate.run(f"iptables -C INPUT {rule}").returncode == 0
    restored(node, f"ip route del {story.gate.address}", f"ip addr del {further}/32 dev eth0")
    story.declare()
    story.cluster.deploy()
    assert story.talks()


STATE = (
    "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding;"
    " iptables -S FORWARD | head -n 1; ip6tables -S FORWARD | head -n 1; ls /etc/sysctl.d/ /etc/wgcluster"
)


def test_the_policy_goes_back_with_the_firewall(story: Story) -> None:
    assert story.gate.run(STATE).stdout.count("-P FORWARD DROP") == 2
    story.declare(gate={"firewall": "off"})
    story.cluster.deploy()
    assert story.gate.run(STATE).stdout.split("\n")[:4] == [
        "1",
        "1",
        "-P FORWARD ACCEPT",
        "-P FORWARD ACCEPT",
    ]
    story.gate.run("iptables -P FORWARD DROP", check=True)  # its owner's
    assert story.cluster.changes() == {}
    story.gate.run("iptables -P FORWARD ACCEPT", check=True)
    story.declare()
    story.cluster.deploy()
    assert story.gate.run(STATE).stdout.count("-P FORWARD DROP") == 2


def test_who_is_no_gateway_any_more_gets_back_what_was_before(story: Story) -> None:
    """Unless others rely on it: then it stays forwarded, and closed."""
    story.gate.run("ip6tables -A FORWARD -i eth0 -s fd99::/64 -j ACCEPT", check=True)
    story.declare(gate={"wg_subnets": None})
    story.cluster.deploy()
    state = story.gate.run(STATE).stdout.split("\n")
    assert state[:4] == ["0", "1", "-P FORWARD ACCEPT", "-P FORWARD DROP"]
    assert "zz-wgcluster.conf" not in state
    assert story.gate.read("/etc/wgcluster/wg.before").splitlines()[1:] == ["6 off ACCEPT"]
    assert story.cluster.changes() == {}
    story.gate.run("ip6tables -D FORWARD -i eth0 -s fd99::/64 -j ACCEPT", check=True)
    story.cluster.deploy()
    state = story.gate.run(STATE).stdout.split("\n")
    assert state[:2] == ["0", "0"]
    assert "wg.before" not in state
    assert story.cluster.changes() == {}
    story.gate.restart()
    state = story.gate.run(STATE).stdout.split("\n")
    assert state[:4] == ["0", "0", "-P FORWARD ACCEPT", "-P FORWARD ACCEPT"]
    assert story.talks()
