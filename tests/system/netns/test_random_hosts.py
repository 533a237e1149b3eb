"""Random hosts against random plans: a deploy is refused, or everything from before stays and all pairs talk.

What the hosts have was chosen by what people's hosts have: further networks, routes and routing tables, rules
of Docker and of providers, programs on UDP ports, families that are off. A world that failed is made again by
its number: ``WGCLUSTER_WORLDS=17 pytest tests/system/netns/test_random_hosts.py``.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from random import Random
from typing import Any

import pytest

from tasks.scripts import script
from tests.support.lab.overlay import Machine, Overlay, Station, key_pair, overlay
from tests.support.net import no_tunnel
from wgcluster.firewall.placement import restore_text
from wgcluster.firewall.rules import desired_rules, mark
from wgcluster.host.backends import changes_by_tool
from wgcluster.host.forwarding_before import before, forward_policies
from wgcluster.host.observed import Observed
from wgcluster.host.reading import parse
from wgcluster.host.sysctl import differences
from wgcluster.inventory.cluster import Cluster
from wgcluster.inventory.reading import read_cluster
from wgcluster.inventory.row import Row
from wgcluster.plan.plan import HostPlan, Plan
from wgcluster.plan.planner import make_plan
from wgcluster.plan.sources import dialled_by
from wgcluster.prefixes import Family
from wgcluster.verify.preflight import preflight_faults
from wgcluster.wireguard import config as wgconf

HOSTS = 5  # in a world
WORLDS = [int(one) for one in os.environ.get("WGCLUSTER_WORLDS", "").split(",") if one] or range(64)
_FOUR, _SIX = "10.0.0.0/24", "fd00::/64"
_LANS = ("172.16.5.0/24", "172.16.6.0/23", "fd01:0:0:5::/64")

pytestmark = pytest.mark.skipif(bool(no_tunnel()), reason=no_tunnel())


@dataclass
class Nature:
    """What a host has before it meets its plan."""

    number: int
    families: tuple[Family, ...]
    port: int
    lines: list[str] = field(default_factory=list)  # of shell
    sockets: list[int] = field(default_factory=list)  # UDP ports of another program


Trait = Callable[[Nature, Random], None]


def _say(*lines: str) -> Trait:
    """Lines with {n} for the number of the host, {p} for its listen port and {r} for a random number."""

    def trait(one: Nature, rng: Random) -> None:
        values = {"n": one.number, "p": one.port, "r": rng.randrange(2, 250)}
        one.lines += [line.format(**values) for line in lines]

    return trait


def _six_is_off(scope: str) -> Trait:
    def trait(one: Nature, rng: Random) -> None:
        if 6 not in one.families or rng.random() < 0.3:
            one.lines.append(f"echo 1 >/proc/sys/net/ipv6/conf/{scope}/disable_ipv6")

    return trait


def _program(one: Nature, rng: Random) -> None:
    one.sockets.append(rng.choice([53, 123, 4500, 51820, 51821, one.port]))


_DOCKER = (
    "iptables -N DOCKER",
    "iptables -N DOCKER-USER",
    "iptables -A FORWARD -j DOCKER-USER",
    "iptables -A FORWARD -o docker0 -j DOCKER",
    "iptables -A DOCKER-USER -j RETURN",
    "iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE",
    "iptables -P FORWARD DROP",
    "ip link add docker0 type bridge",
    "ip address add 172.17.0.1/16 dev docker0",
    "ip link set docker0 up",
)
# Answers and pings; the rest of the tables of a cloud's image is closed.
_CLOSED = (
    "iptables -A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT",
    "iptables -A INPUT -p icmp -j ACCEPT",
)
# As people's hosts have them, in nobody's way unless a plan says otherwise.
COMMON: list[Trait] = [
    _say("ip address add 192.168.{n}.1/24 dev lan"),
    _say("ip address add fd99:0:0:{n}::1/64 dev lan nodad"),
    _say("ip address add 10.0.{r}.1/24 dev lan"),
    _say("ip route add 10.0.0.0/8 via 198.18.0.250"),
    _say("ip route add default via 198.18.0.250"),
    _say("ip -6 route add default via fd57::250"),
    _say("ip route add 172.16.0.0/12 via 198.18.0.250"),
    _say("ip -6 route add fd01::/32 via fd57::250"),
    _say("ip route add blackhole 10.0.0.0/16 metric 4000"),
    _say("ip route add unreachable 172.16.5.0/24 metric 9000"),
    _say("ip route add default via 198.18.0.250 table 100", "ip rule add from 192.168.{n}.1 lookup 100"),
    _say("ip route add default via 198.18.0.250 table 101", "ip rule add fwmark 0x77 lookup 101"),
    _six_is_off("all"),
    _six_is_off("default"),
    _program,
    _program,
    _say(*_DOCKER),
    _say("iptables -A INPUT -p udp -j DROP"),
    _say(*_CLOSED, "iptables -A INPUT -j REJECT", "iptables -A FORWARD -j REJECT"),
    _say("ip6tables -A INPUT -p ipv6-icmp -j ACCEPT", "ip6tables -P INPUT DROP", "ip6tables -P FORWARD DROP"),
    _say("iptables -A INPUT -p tcp --dport 22 -j ACCEPT", "iptables -A FORWARD -i lan -j ACCEPT"),
    _say("iptables -t nat -A POSTROUTING -s 192.168.{n}.0/24 -o eth0 -j MASQUERADE"),
    _say(*_CLOSED, "iptables -P INPUT DROP", "iptables -P FORWARD DROP"),
    _say("iptables-legacy -A INPUT -p udp -j DROP", "iptables-legacy -A FORWARD -j DROP"),
    _say("iptables -t mangle -A FORWARD -i lan -j MARK --set-mark 0x77"),
    _say("nft add table inet mine", "nft add chain inet mine in '{{ type filter hook input priority 10; }}'"),
    _say(*(f"echo 1 >/proc/sys/net/{key}" for key in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"))),
    _say("echo 1 >/proc/sys/net/ipv4/conf/all/rp_filter"),
]
# These are in the way of most plans.
IN_THE_WAY: list[Trait] = [
    _say("ip address add 10.0.0.{r}/32 dev lan"),
    _say("ip address add 10.0.0.{r}/25 dev lan"),
    _say("ip address add fd00::{r}/64 dev lan nodad"),
    _say("ip address add 172.16.5.{r}/24 dev lan"),
    _say("ip address add fd01:0:0:5::{r}/64 dev lan nodad"),
    _say("ip address add 172.16.7.{r}/32 dev lo"),
    _say("ip route add 10.0.0.64/26 via 198.18.0.250"),
    _say("ip -6 route add fd00::/120 via fd57::250"),
    _say("ip route add blackhole 10.0.0.0/24"),
    _say("ip route add default via 198.18.0.250 table 100", "ip rule add to 10.0.0.0/24 lookup 100"),
    _say("ip route add 10.0.0.0/24 via 198.18.0.250 table 102", "ip rule add lookup 102 priority 900"),
    _say("ip -6 route add default via fd57::250 table 103", "ip -6 rule add lookup 103 priority 950"),
    _say("ip rule add to 172.16.0.0/12 prohibit"),
    _say("iptables -t nat -A PREROUTING -p udp --dport {p} -j DNAT --to-destination 198.18.0.250:53"),
    _say(
        "nft add table inet shut",
        "nft add chain inet shut in '{{ type filter hook input priority 10; }}'",
        "nft add rule inet shut in udp dport != 53 drop",
    ),
]


@dataclass
class World:
    """One cluster and the nature of its hosts."""

    cluster: Cluster
    plan: Plan
    keys: dict[str, str]
    natures: dict[str, Nature]


def _world(number: int) -> World:
    rng = Random(number)
    both = rng.random() < 0.6
    networks = [_FOUR, _SIX] if both else [rng.choice([_FOUR, _SIX])]
    shared: dict[str, Any] = {"wg_networks": networks, "wg_topology": "mesh"}
    if rng.random() < 0.3:
        shared |= {"wg_topology": "partial", "wg_degree": 2}
    families: tuple[Family, ...] = tuple(6 if ":" in net else 4 for net in networks)
    natures, rows, keys, public = {}, [], {}, {}
    for i in range(1, HOSTS + 1):
        name = f"h{i}"
        nature = natures[name] = Nature(i, families, rng.choice([51820, 51820, 51821, 40000 + i]))
        data: dict[str, Any] = {
            "wg_address": [str(ip_network(net)[i]) for net in networks],
            "wg_port": nature.port,
            "wg_endpoint": rng.choice(
                [f"198.18.0.{i}", f"[fd57::{i}]"] if 6 in families else [f"198.18.0.{i}"]
            ),
            "wg_gateway": i == 1 or rng.random() < 0.2,
        }
        if i == 1 and rng.random() < 0.3:
            data["wg_masquerade"] = True
        if i == 2 and (lans := [lan for lan in _LANS if (6 if ":" in lan else 4) in families]):
            data["wg_subnets"] = rng.sample(lans, 1)
        rows.append(Row(name, {**shared, **data}))
        keys[name], public[name] = key_pair()
        if rng.random() < 0.7:  # else it is bare
            for trait in rng.sample(COMMON, rng.choice([1, 2, 3])):
                trait(nature, rng)
        if rng.random() < 0.12:
            rng.choice(IN_THE_WAY)(nature, rng)
    cluster = read_cluster(rows, [])
    return World(cluster, make_plan(cluster, public, {}), keys, natures)


class Meeting:
    """A world whose machines are there, and their tunnels not yet."""

    def __init__(self, world: World, made: Overlay) -> None:
        self.world = world
        self.made = made

    def each(self, job: Callable[[HostPlan, Machine], Any]) -> dict[str, Any]:
        hosts = self.world.plan.hosts
        with ThreadPoolExecutor(HOSTS) as pool:
            done = pool.map(lambda host: job(host, self.made.machines[host.name]), hosts)
            return dict(zip((host.name for host in hosts), done, strict=True))

    def prepare(self, host: HostPlan, machine: Machine) -> None:
        lines = ["mount -t sysfs none /sys", *self.world.natures[host.name].lines]
        machine.shell.run("PATH=$PATH:/usr/sbin:/sbin\n" + "\n".join(f"{line} || true" for line in lines))

    def observe(self, host: HostPlan, machine: Machine) -> Observed:
        declared = next(one for one in self.world.cluster.hosts if one.name == host.name)
        towards = " ".join(dialled_by(declared, self.world.cluster.hosts))
        asked = {"files": "", "sites": "", "dump": "0", "port": str(host.port), "towards": towards}
        said = machine.shell.run(script("observe.sh", interface=host.interface, SSH_CONNECTION="", **asked))
        observed = parse(said.removesuffix("\n").splitlines())
        # of this machine, which may be a container without an init
        return replace(observed, tools=observed.tools | {"systemctl", "iptables"}, module="available")

    def deploy(self, host: HostPlan, machine: Machine, observed: Observed) -> None:
        """In the order of deploy.py, by the core's own decisions."""
        policies = forward_policies(host, before(host, observed))
        for saved, made in changes_by_tool(desired_rules(host), host.interface, observed, policies):
            text = restore_text(made)
            machine.shell.run(f"{saved.tool}-restore -w --noflush <<'END OF RULES'\n{text}END OF RULES")
        for key, (_, value) in differences(host, observed).items():
            machine.shell.run(f"echo {value} >/proc/sys/{key.replace('.', '/')}")
        config = wgconf.render(host, self.world.keys[host.name], {})
        machine.shell.run(
            f"umask 077; cat >/etc/wireguard/{host.interface}.conf <<'END OF FILE'\n{config}END OF FILE\n"
            f"wg-quick up {host.interface}"
        )


def _state(host: HostPlan, machine: Machine) -> Counter[str]:
    """Addresses, routes, routing rules and firewall rules that are not ours."""
    wg = host.interface
    commands = [
        f"ip -o address | grep -v ' {wg} ' | sed 's/ valid_lft.*//; s/ tentative//'",
        f"ip -o route show table all | grep -v 'dev {wg} '",
        f"ip -o -6 route show table all | grep -v 'dev {wg} '",
        "ip rule; ip -6 rule",
        *(
            f"{tool}-save | grep '^-A' | grep -v -e '--comment {mark(wg)} '"
            for tool in ("iptables", "ip6tables", "iptables-legacy", "ip6tables-legacy")
        ),
        "nft list table inet mine 2>/dev/null; nft list table inet shut 2>/dev/null",
    ]
    said = machine.shell.run(
        "PATH=$PATH:/usr/sbin:/sbin\n" + "\n".join(f"{{ {one}; }} 2>/dev/null" for one in commands) + "\ntrue"
    )
    return Counter(line.strip() for line in said.splitlines() if line.strip())


def _meet(number: int) -> str:
    """ "refused" with the faults, or "" once everything held."""
    world = _world(number)
    stations = {
        name: Station(
            {
                "eth0": ("internet", [f"198.18.0.{one.number}/16", f"fd57::{one.number}/64"]),
                "lan": (f"lan{one.number}", []),
            }
        )
        for name, one in world.natures.items()
    }
    with overlay(stations, "nft") as made, ExitStack() as held:
        meeting = Meeting(world, made)
        meeting.each(meeting.prepare)
        for name, nature in world.natures.items():
            for port in nature.sockets:
                program = held.enter_context(made.machines[name].namespace.socket(4, socket.SOCK_DGRAM))
                program.bind(("0.0.0.0", port))
        was = meeting.each(_state)
        seen = meeting.each(meeting.observe)
        plan = world.plan
        faults = [one for host in plan.hosts for one in preflight_faults(plan, host, seen[host.name])]
        if faults:
            _assert_still_there(number, was, meeting.each(_state))
            return "refused: " + "; ".join(map(str, faults))
        meeting.each(lambda host, machine: meeting.deploy(host, machine, seen[host.name]))
        _assert_still_there(number, was, meeting.each(_state))
        _assert_all_talk(number, meeting)
    return ""


def _assert_still_there(number: int, was: dict[str, Counter[str]], now: dict[str, Counter[str]]) -> None:
    """More may be there: link-local addresses settle in their own time."""
    for name, lines in was.items():
        assert not lines - now[name], (number, name, sorted(lines - now[name]))


def _assert_all_talk(number: int, meeting: Meeting) -> None:
    hosts = meeting.world.plan.hosts
    nodes = {
        f"{host.name} {address.version}": [(host.name, str(address.ip))]
        for host in hosts
        for address in host.addresses
    }
    wanted = {(a, b) for a in nodes for b in nodes if a[:2] != b[:2] and a[-1] == b[-1]}
    # as the deploy does it: of two hosts that begin at the same moment neither answers
    one_way = {(a, b) for a, b in wanted if a < b}
    meeting.made.reached(nodes, one_way, one_way)
    silent = wanted - meeting.made.reached(nodes, wanted, wanted)
    assert not silent, (number, sorted(silent), meeting.world.natures)


def _tried(number: int) -> str:
    try:
        return _meet(number)
    except AssertionError as error:
        return f"FAILED: {error}"


@pytest.mark.parametrize("group", range(4))
def test_a_deploy_is_refused_or_leaves_everything_and_connects_all(group: int) -> None:
    """320 random hosts, in 64 worlds."""
    results = {number: _tried(number) for number in WORLDS if number % 4 == group}
    print("\n".join(f"{number}: {result or 'done'}" for number, result in results.items()))
    assert not [f"{number}: {one}" for number, one in results.items() if one.startswith("FAILED")]
    if len(results) > 4:
        assert 0.2 < sum(map(bool, results.values())) / len(results) < 0.8
