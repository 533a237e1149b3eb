"""A network that is to go to the tunnel and that a host needs itself: refused, nothing of others touched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_interface

import pytest

from lab.host import Host
from lab.reach import pings
from lab.spec import HostSpec
from tests.support.lab.cluster import Cluster
from tests.support.lab.servers import cluster_of, describe, docker

WIDE, WIDE6 = "172.16.0.0/12", "fd77:1::/32"
OVERLAY = ["10.0.0.0/24", "fd00::/64"]
# A network of its own; nothing in it changes by itself.
LAN = (
    "ip link add lan0 type veth peer name lan1 && ip link set lan0 addrgenmode none"
    " && ip link set lan1 addrgenmode none up && ip link set lan0 up"
)
# All that a deploy may touch; counters of the tables are nobody's.
LOOK = (
    "ip -4 route show table all; ip -6 route show table all; ip rule; ip -6 rule;"
    " ip -o addr show | sed 's/ valid_.*//';"
    " iptables-save | grep -v '^[#:]'; ip6tables-save | grep -v '^[#:]'; sysctl net.ipv4.ip_forward;"
    " find /etc /usr/local /run -xdev -name '*wg*' | sort; which wg; wg show wg allowed-ips | sort"
)


@dataclass
class Story:
    """far is managed over SSH, near in its container; near announces what a test says."""

    cluster: Cluster
    far: Host
    near: Host

    def announce(self, *subnets: str, four: str = "10.0.0.0/24", **settings: object) -> None:
        begin = four.rpartition(".")[0]
        far = {
            **self.far.ssh_data(),
            "wg_address": [f"{begin}.2", "fd00::2"],
            "wg_endpoint": self.far.address,
        }
        name, how = docker(self.near)
        near = {**how, "wg_address": [f"{begin}.3", "fd00::3"], "wg_endpoint": self.near.address}
        near["wg_subnets"] = list(subnets)
        keys = {"wg_networks": [four, OVERLAY[1]], "wg_keystore": "lab/.state/keys.yml"}
        describe(self.cluster, [("far", far), (name, near)], **keys, **settings)

    def share(self, family: int) -> str:
        """near announces the very network in which both stand, and from which far is managed."""
        networks = [
            ip_interface(word).network
            for word in self.far.run(
                f"ip -{family} -o addr show dev eth0 scope global | awk '{{ print $4 }}'", check=True
            ).stdout.split()
        ]
        (lan,) = networks
        name, how = docker(self.near)
        site = {"wg_site": "office", "wg_keepalive": 25}
        at = [one.address if family == 4 else f"[{one.address6}]" for one in (self.far, self.near)]
        far = {
            **self.far.ssh_data(),
            "wg_address": ["10.0.0.2", "fd00::2"],
            "wg_site_endpoint": at[0],
            **site,
        }
        near = {**how, "wg_address": ["10.0.0.3", "fd00::3"], "wg_site_endpoint": at[1], **site}
        near["wg_subnets"] = [str(lan)]
        keys = {"wg_networks": OVERLAY, "wg_keystore": "lab/.state/keys.yml"}
        describe(self.cluster, [("far", far), (name, near)], **keys)
        return str(lan)

    def refused(self) -> list[str]:
        """The faults of a run that is refused and leaves both hosts as they are."""
        before = [host.run(LOOK).stdout for host in (self.far, self.near)]
        done = self.cluster.workspace.pyinfra("inventory.py", "deploy.py", "-y")
        assert done.returncode == 1, done.stdout + done.stderr
        assert [host.run(LOOK).stdout for host in (self.far, self.near)] == before
        said = done.stdout + done.stderr
        assert "on the hosts, nothing was changed:" in said, said
        return [line.strip() for line in said.splitlines() if line.startswith(("  far: ", "  near: "))]


@pytest.fixture(scope="module")
def story(prefix: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    specs = [HostSpec("far", 0x0A01, ssh=True), HostSpec("near", 0x0A02, has_tools=True)]
    with cluster_of(specs, f"{prefix}routes-", tmp_path_factory.mktemp("routes")) as cluster:
        settled = "for _ in $(seq 100); do ip -6 addr | grep -q tentative || exit 0; sleep 0.1; done; exit 1"
        for name in ("far", "near"):
            cluster.lab[name].run(settled, check=True)
        yield Story(cluster, cluster.lab["far"], cluster.lab["near"])


@pytest.fixture
def far(story: Story) -> Iterator[Host]:
    """The server that has a network of its own in what near announces; afterwards it has none."""
    yield story.far
    story.far.run(
        "ip link del lan0; ip route del 172.16.0.0/12 metric 100; ip route del blackhole 172.16.7.0/24;"
        " ip link del docker0; ip rule del priority 10; ip -6 rule del priority 10; pkill -x wireguard-go"
    )


# on far; what near announces; what far is said to need
NEEDED = [
    (f"{LAN} && ip addr add 172.16.5.9/24 dev lan0", WIDE, "its route 172.16.5.0/24 dev lan0 proto kernel"),
    (
        f"{LAN} && ip addr add fd77:1:2::9/64 nodad dev lan0",
        WIDE6,
        "its route fd77:1:2::/64 dev lan0 proto kernel",
    ),
    (f"{LAN} && ip addr add 172.16.5.9/32 dev lan0", WIDE, "its address 172.16.5.9 on lan0"),
    (
        f"{LAN} && ip addr add fd77:1:2::9/128 nodad noprefixroute dev lan0",
        WIDE6,
        "its address fd77:1:2::9 on lan0",
    ),
    (
        f"{LAN} && ip route add {WIDE} dev lan0 metric 100",
        WIDE,
        f"its route {WIDE} dev lan0 scope link metric",
    ),
    (f"{LAN} && ip -6 route add {WIDE6} dev lan0 metric 20", WIDE6, f"its route {WIDE6} dev lan0 metric 20"),
    ("ip route add blackhole 172.16.7.0/24", WIDE, "its route blackhole 172.16.7.0/24"),
    # what DHCP leaves: an address without a route of the kernel's, and one with a metric
    (
        f"{LAN} && ip addr add 172.16.5.9/12 noprefixroute dev lan0"
        f" && ip route add {WIDE} dev lan0 metric 100",
        WIDE,
        f"its route {WIDE} dev lan0 scope link metric 100",
    ),
]


@pytest.mark.parametrize(("there", "announced", "needs"), NEEDED)
def test_what_a_host_has_itself_is_not_announced_to_it(
    story: Story, far: Host, there: str, announced: str, needs: str
) -> None:
    far.run(there, check=True)
    story.announce(announced)
    (fault,) = story.refused()
    assert fault.startswith(f"far: {announced} is to go to wg, but this host needs in it {needs}")
    assert fault.endswith("  [wg_subnets.in-use]")


def test_all_of_it_at_once(story: Story, far: Host) -> None:
    addresses = ("172.16.5.9/24", "fd77:1:2::9/64 nodad", "10.0.0.99/32")
    far.run(" && ".join([LAN, *(f"ip addr add {one} dev lan0" for one in addresses)]), check=True)
    story.announce(WIDE, WIDE6)
    faults = story.refused()
    assert [fault.split()[1] for fault in faults] == ["10.0.0.0/24", WIDE, WIDE6]
    assert "its address 10.0.0.99 on lan0;" in faults[0]
    assert faults[0].endswith("  [wg_networks.in-use]")


@pytest.mark.parametrize(
    ("network", "there"), [("10.0.0.0/24", "10.0.0.50/24"), ("fd00::/64", "fd00::50/64 nodad")]
)
def test_an_overlay_that_a_host_stands_in_already(story: Story, far: Host, network: str, there: str) -> None:
    far.run(f"{LAN} && ip addr add {there} dev lan0", check=True)
    story.announce()
    (fault,) = story.refused()
    assert f"{network} is to go to wg, but this host needs in it its route {network} dev lan0" in fault
    assert fault.endswith("  [wg_networks.in-use]")


@pytest.mark.parametrize(
    ("network", "there"), [("10.0.0.0/24", "10.0.7.50/16"), ("fd00::/64", "fd00:0:0:7::50/48 nodad")]
)
def test_an_overlay_inside_a_network_that_a_host_stands_in(
    story: Story, far: Host, network: str, there: str
) -> None:
    """The private network of a cloud: its hosts, its resolver among them, would be hidden."""
    far.run(f"{LAN} && ip addr add {there} dev lan0", check=True)
    story.announce()
    (fault,) = story.refused()
    assert f"far: {network} is to go to wg, but this host needs in it its network " in fault
    assert '"python -m wgcluster check --suggest-overlay" names one' in fault
    suggested = story.cluster.workspace.wgcluster("check", "--suggest-overlay")
    assert suggested.returncode == 0, suggested.stderr
    assert "10.0." not in suggested.stdout
    assert "fd00:" not in suggested.stdout


def test_dockers_own_network_while_its_bridge_is_down(story: Story, far: Host) -> None:
    far.run(
        f"{LAN} && ip link add docker0 type bridge && ip addr add 172.17.0.1/16 dev docker0"
        " && ip link set docker0 addrgenmode none up && ip link set lan1 master docker0 down"
        " && for _ in $(seq 50); do ip route | grep -q 'docker0.*linkdown' && break; sleep 0.1; done; sleep 2"
        " && ip route | grep -q 'docker0.*linkdown'",
        check=True,
    )
    story.announce(four="172.17.0.0/24")
    (fault,) = story.refused()
    assert (
        "far: 172.17.0.0/24 is to go to wg, but this host needs in it its address 172.17.0.1 on docker0"
        in fault
    )
    assert "its network 172.17.0.0/16 dev docker0" in fault


def test_another_wireguard_interface_with_the_overlays_network(story: Story) -> None:
    story.near.run(
        "wireguard-go wg1 && ip addr add 10.0.0.9/24 dev wg1 && ip addr add fd00::9/64 nodad dev wg1"
        " && ip link set wg1 up",
        check=True,
    )
    try:
        story.announce()
        four, six = story.refused()
        assert (
            "near: 10.0.0.0/24 is to go to wg, but this host needs in it its route 10.0.0.0/24 dev wg1"
            in four
        )
        assert "near: fd00::/64 is to go to wg, but this host needs in it its route fd00::/64 dev wg1" in six
    finally:
        story.near.run("ip link del wg1")


# all but the way of the SSH connection
RULES = {
    "10.0.0.0/24": "ip route add default dev lan0 table 100"
    " && ip rule add to 10.0.0.0/8 lookup 100 priority 10",
    "fd00::/64": "ip -6 route add default dev lan0 table 100"
    " && ip -6 rule add to fd00::/16 lookup 100 priority 10",
}


@pytest.mark.parametrize("network", RULES)
def test_a_rule_that_looks_into_another_table_first(story: Story, far: Host, network: str) -> None:
    far.run(f"{LAN} && {RULES[network]}", check=True)
    story.announce()
    (fault,) = story.refused()
    assert f"far: packets for {network} are to go to wg, but the rule" in fault
    assert "sends them elsewhere first (default dev lan0 table 100" in fault
    assert fault.endswith("  [host.policy-routing]")


def test_the_default_gateway_stays_the_default_gateway(story: Story) -> None:
    """It is the machine that the lab runs on: far is managed from it, too."""
    gateway = str(story.cluster.lab.underlay.internet[1])
    story.announce(f"{gateway}/32")
    (fault,) = story.refused()
    assert f"far: {gateway}/32 is to go to wg, but this host needs in it the gateway of its route" in fault
    assert f"default via {gateway} dev eth0" in fault
    assert f"the way back to {gateway}, from where this run manages it" in fault


def test_a_host_is_not_cut_off_from_who_manages_it(story: Story) -> None:
    gateway = str(story.cluster.lab.underlay.internet[1])
    story.far.run(
        "ip route show | grep ' via ' | while read -r route; do ip route del $route; done", check=True
    )
    try:
        story.announce(f"{gateway}/32")
        (fault,) = story.refused()
        assert f"needs in it the way back to {gateway}, from where this run manages it;" in fault
        assert fault.endswith("  [wg_subnets.in-use]")
    finally:
        story.far.run("systemctl restart lab-network", check=True)


def routes_but(host: Host, device: str) -> list[str]:
    """All routes and rules; without the address that routers of IPv6 have beside theirs (RFC 4291, 2.6.1)."""
    shown = host.run(
        "ip -4 route show table all; ip -6 route show table all; ip rule; ip -6 rule", check=True
    )
    lines = shown.stdout.splitlines()
    return [line for line in lines if f"dev {device}" not in line and not line.startswith("anycast ")]


def test_a_host_in_the_network_that_another_announces(story: Story) -> None:
    """On the first deploy in IPv4, live in IPv6: the network stays what it is, and the tunnel is there."""
    far, before = story.far, [routes_but(host, "wg") for host in (story.far, story.near)]
    for family in (4, 6):
        lan = story.share(family)
        story.cluster.deploy()
        assert [routes_but(host, "wg") for host in (far, story.near)] == before
        assert (
            lan not in far.run("wg show wg allowed-ips; ip route show dev wg; ip -6 route show dev wg").stdout
        )
        assert pings(far, ["10.0.0.3", "fd00::3"]) == {"10.0.0.3", "fd00::3"}
        assert pings(far, [story.near.address]) == {story.near.address}
        assert story.cluster.changes() == {}
    story.cluster.workspace.pyinfra("inventory.py", "teardown.py", "-y")
    assert [routes_but(host, "wg") for host in (far, story.near)] == before
    assert far.run("ip link show wg").returncode != 0


def test_a_net_below_all_routes_is_none_of_it(story: Story) -> None:
    """The lab's own: what has no route to a private network ends there, whatever else is routed."""
    below = "unreachable 172.16.0.0/12 metric 4000000000"
    assert below in story.far.run("ip route show").stdout
    story.announce(WIDE, WIDE6)
    story.cluster.deploy()
    routes = story.far.run("ip route show; ip -6 route show", check=True).stdout
    assert below in routes
    assert f"{WIDE} dev wg scope link" in routes
    assert f"{WIDE6} dev wg" in routes
    assert story.cluster.changes() == {}  # its own routes are no obstacle


def test_what_others_put_on_our_interface_stays(story: Story) -> None:
    """A moving address, and routes of bird or a person; what looks like ours and is not planned goes."""
    far = story.far
    guests = ("192.168.9.0/24 dev wg proto static", "fd88::/64 dev wg proto bird")
    there = ["10.0.0.50/32", "fd00::50/128"]
    far.run(
        f"ip addr add {there[0]} dev wg; ip addr add {there[1]} nodad dev wg;"
        f" ip route add {guests[0]}; ip -6 route add {guests[1]}; ip route add 192.168.8.0/24 dev wg",
        check=True,
    )
    assert story.cluster.changes() == {"WireGuard | Sync the peers": {"far"}}
    said = story.cluster.deploy().stderr
    line = next(one for one in said.splitlines() if "on wg, not ours, left alone (wg_keep): " in one)
    assert all(one in line for one in (*there, "192.168.9.0/24 proto static", "fd88::/64 proto bird"))

    def look() -> str:
        return far.run("ip route show; ip -6 route show; ip -o addr show dev wg", check=True).stdout

    seen = look()
    assert all(one in seen for one in (*guests, *there))
    assert "192.168.8.0/24" not in seen
    story.announce(WIDE, WIDE6, wg_keep=["10.0.0.50", "fd00::/64", "proto bird", "proto 4"])
    quiet = story.cluster.deploy().stderr
    assert "wg_keep" not in quiet
    assert "10.0.0.50" not in quiet
    assert look() == seen
    story.announce(WIDE, WIDE6, wg_keep=["192.168.8.0/24"], wg_mtu=1400)
    far.run("ip route add 192.168.8.0/24 dev wg", check=True)
    said = story.cluster.deploy().stderr
    line = next(one for one in said.splitlines() if "the restart takes off what others put on it: " in one)
    assert all(one in line for one in (*there, "192.168.8.0/24", "fd88::/64 proto bird"))
    assert not any(one in look() for one in (*guests, *there))
    assert story.cluster.changes() == {}


def test_rules_that_appear_later_are_told_of_and_stay(story: Story, far: Host) -> None:
    """With the remedies that the messages name, the tunnel is back and the deploy goes on."""
    others = ["10.0.0.3", "fd00::3"]
    story.announce()
    story.cluster.deploy()
    assert pings(far, others) == set(others)
    far.run(" && ".join([LAN, *RULES.values()]), check=True)
    faults = story.refused()
    assert [fault.split()[3] for fault in faults] == list(RULES)
    verified = story.cluster.workspace.pyinfra("inventory.py", "verify.py", "-y")
    assert verified.returncode == 1
    for network in RULES:
        assert f"far: route: packets for {network} are to go to wg" in verified.stdout + verified.stderr
    remedies = [fault.split('"')[-2] for fault in faults]
    far.run(" && ".join(remedies), check=True)
    assert pings(far, others) == set(others)
    assert story.cluster.changes() == {}
    far.run("; ".join(remedy.replace(" add ", " del ") for remedy in remedies), check=True)


def test_a_network_that_appears_later_is_told_of_and_stays(story: Story, far: Host) -> None:
    story.announce()
    story.cluster.deploy()
    assert WIDE not in far.run("ip route show dev wg").stdout
    far.run(f"{LAN} && ip addr add 172.16.5.9/12 dev lan0", check=True)
    lan = far.run("ip route show dev lan0", check=True).stdout
    story.announce(WIDE)
    (fault,) = story.refused()
    assert f"its route {WIDE} dev lan0 proto kernel scope link src 172.16.5.9" in fault
    assert far.run("ip route show dev lan0").stdout == lan
    verified = story.cluster.workspace.pyinfra("inventory.py", "verify.py", "-y")
    assert verified.returncode == 1
    assert (
        f"far: route: {WIDE} is to go to wg, but this host needs in it" in verified.stdout + verified.stderr
    )
    far.run("ip link del lan0", check=True)
    story.cluster.deploy()
    assert f"{WIDE} scope link" in far.run("ip route show dev wg").stdout
    assert pings(far, ["10.0.0.3"]) == {"10.0.0.3"}
