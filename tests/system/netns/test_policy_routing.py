"""Rules of the routing policy that keep packets from the tunnel: what preflight says, the kernel does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from tests.support.chains import PEERS
from tests.support.net import Namespace, namespaces
from wgcluster.host.entries import policy, routes
from wgcluster.host.observed import Observed
from wgcluster.plan.plan import HostPlan
from wgcluster.prefixes import Family, Network
from wgcluster.verify.diversions import diversions

OVERLAY: dict[Family, Network] = {4: ip_network("10.0.0.0/24"), 6: ip_network("fd00::/64")}
OTHER = {4: "10.0.0.3", 6: "fd00::3"}
HOST: HostPlan = replace(
    PEERS, interface="wg", addresses=(ip_interface("10.0.0.2/24"), ip_interface("fd00::2/64")), peers=()
)


@pytest.fixture(scope="module")
def world() -> Iterator[Namespace]:
    """The overlay on an interface wg, and a wire with the default route."""
    with namespaces("policy") as (made,):
        for name in ("wg", "eth0"):
            made.run("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}-peer")
            made.run("ip", "link", "set", f"{name}-peer", "up")
            made.run("ip", "link", "set", name, "up")
        for device, *addresses in (
            ("wg", "10.0.0.2/24", "fd00::2/64"),
            ("eth0", "198.18.0.9/24", "fd99::9/64"),
        ):
            for address in addresses:
                nodad = ["nodad"] if ":" in address else []
                made.run("ip", "address", "add", address, "dev", device, *nodad)
        made.run("ip", "-4", "route", "add", "default", "via", "198.18.0.1", "dev", "eth0")
        made.run("ip", "-6", "route", "add", "default", "via", "fd99::1", "dev", "eth0")
        yield made


@pytest.fixture(params=[4, 6])
def family(request: pytest.FixtureRequest, world: Namespace) -> Iterator[Family]:
    """Afterwards the kernel's own rules alone are there, and the tables of the tests are empty."""
    version: Family = request.param
    yield version
    for line in world.run("ip", f"-{version}", "rule", "show").splitlines():
        priority = line.partition(":")[0]
        if priority not in ("0", "32766", "32767"):
            world.run("ip", f"-{version}", "rule", "del", "priority", priority)
    if "lookup main" not in world.run("ip", f"-{version}", "rule", "show"):
        world.run("ip", f"-{version}", "rule", "add", "lookup", "main", "priority", "32766")
    for table in ("100", "200"):
        shown = world.run("sh", "-c", f"ip -{version} route show table {table} 2>/dev/null || true")
        if shown.strip():
            world.run("ip", f"-{version}", "route", "flush", "table", table)


def setting(world: Namespace, family: Family, commands: str) -> None:
    """NET is the overlay, HALF that of it with the other host, ALL what holds it, HOME the host's wire."""
    words = {
        4: {"NET": "10.0.0.0/24", "HALF": "10.0.0.0/25", "ALL": "10.0.0.0/8", "HOME": "198.18.0.9"},
        6: {"NET": "fd00::/64", "HALF": "fd00::/65", "ALL": "fd00::/16", "HOME": "fd99::9"},
    }[family]
    for command in filter(None, commands.split(";")):
        world.run("ip", f"-{family}", *(words.get(word, word) for word in command.split()))


def seen(world: Namespace, family: Family) -> Observed:
    tables = world.run("ip", "-o", f"-{family}", "route", "show", "table", "all").splitlines()
    rules = world.run("ip", "-o", f"-{family}", "rule", "show").splitlines()
    return Observed(routes=tuple(routes(tables, str(family))), policy=tuple(policy(rules, str(family))))


def goes_by(world: Namespace, family: Family) -> str:
    """The interface that the kernel chooses for a packet to another host of the overlay."""
    command = f"ip -{family} route get {OTHER[family]} 2>&1 || true"
    words = world.run("sh", "-c", command).split()
    return words[words.index("dev") + 1] if "dev" in words else "none"


ELSEWHERE = "route add default dev eth0 table 100"
# rules beside the kernel's own; whether the host's own packets take the tunnel
SETTINGS = [
    ("", True),
    (f"{ELSEWHERE};rule add lookup 100 priority 5270", False),
    (f"{ELSEWHERE};rule add to NET lookup 100 priority 10", False),
    (f"{ELSEWHERE};rule add to HALF lookup 100 priority 10", False),
    ("route add NET dev eth0 table 100;rule add lookup 100 priority 10", False),
    ("route add HALF dev eth0 table 100;rule add lookup 100 priority 10", False),
    ("route add ALL dev eth0 table 100;rule add lookup 100 priority 10", False),
    ("rule add to NET unreachable priority 10", False),
    ("rule add to ALL prohibit priority 10", False),
    (f"{ELSEWHERE};rule add iif lo lookup 100 priority 10", False),
    (f"{ELSEWHERE};rule add fwmark 0x0/0xff lookup 100 priority 10", False),
    ("rule del lookup main", False),
    # as wg-quick does with AllowedIPs 0.0.0.0/0 on another interface: main comes first, but for its default
    (
        f"{ELSEWHERE};rule add not fwmark 0xca6c lookup 100 priority 32765;"
        "rule add lookup main suppress_prefixlength 0 priority 32764",
        True,
    ),
    (f"{ELSEWHERE};rule add not fwmark 0xca6c lookup 100 priority 32764", False),
    (
        f"{ELSEWHERE};rule add lookup main suppress_prefixlength 100 priority 9;"
        "rule add lookup 100 priority 10",
        False,
    ),
    # the remedy that the message names
    (f"{ELSEWHERE};rule add to NET lookup main priority 9;rule add lookup 100 priority 10", True),
    (f"{ELSEWHERE};rule add to HALF lookup main priority 9;rule add lookup 200 priority 10", True),
    # several uplinks; Tailscale's marked packets; another interface; an empty table; what lies after main
    (f"{ELSEWHERE};rule add from HOME lookup 100 priority 10", True),
    (f"{ELSEWHERE};rule add fwmark 0x80000/0xff0000 lookup 100 priority 10", True),
    (f"{ELSEWHERE};rule add iif eth0 lookup 100 priority 10", True),
    (f"{ELSEWHERE};rule add oif eth0 lookup 100 priority 10", True),
    ("rule add lookup 200 priority 10", True),
    (f"{ELSEWHERE};rule add lookup 100 priority 32767", True),
    (f"{ELSEWHERE};rule add lookup 100 suppress_prefixlength 0 priority 10", True),
    ("route add throw default table 100;rule add lookup 100 priority 10", True),
    # the tunnel's own route in that table
    (f"{ELSEWHERE};route add NET dev wg table 100;rule add lookup 100 priority 10", True),
    (
        "route add HALF dev eth0 table 100;route add NET dev wg table 100;rule add lookup 100 priority 10",
        False,
    ),
]


@pytest.mark.parametrize(("commands", "arrives"), SETTINGS)
def test_the_host_is_refused_where_the_kernel_sends_packets_elsewhere(
    world: Namespace, family: Family, commands: str, arrives: bool
) -> None:
    setting(world, family, commands)
    assert (goes_by(world, family) == "wg") == arrives
    faults = list(diversions(OVERLAY[family], HOST, frozenset({"wg"}), seen(world, family)))
    assert bool(faults) != arrives, faults
    assert len(faults) < 2


# what only some packets meet: those of a user, of a service, those that the host forwards
SOME = [
    (f"{ELSEWHERE};rule add uidrange 1000-1000 lookup 100 priority 10", HOST),
    (f"{ELSEWHERE};rule add ipproto tcp dport 80 lookup 100 priority 10", HOST),
    (f"{ELSEWHERE};rule add iif wg lookup 100 priority 10", replace(HOST, forwards=(4, 6))),
    (
        f"{ELSEWHERE};rule add iif eth0 lookup 100 priority 10",
        replace(HOST, forwards=(4, 6), subnets=(ip_network("172.16.0.0/12"), ip_network("fd77::/32"))),
    ),
    (f"{ELSEWHERE};rule add from NET lookup 100 priority 10", HOST),
]


@pytest.mark.parametrize(("commands", "host"), SOME)
def test_that_some_packets_go_elsewhere_is_enough(
    world: Namespace, family: Family, commands: str, host: HostPlan
) -> None:
    setting(world, family, commands)
    (fault,) = diversions(OVERLAY[family], host, frozenset({"wg"}), seen(world, family))
    assert fault.code == "host.policy-routing"


def test_the_remedy_that_is_named_is_one(world: Namespace, family: Family) -> None:
    setting(world, family, f"{ELSEWHERE};rule add lookup 100 priority 5270")
    (fault,) = diversions(OVERLAY[family], HOST, frozenset({"wg"}), seen(world, family))
    assert "5270: from all lookup 100" in fault.message
    remedy = fault.message.split('"')[-2]
    world.run(*remedy.split())
    assert goes_by(world, family) == "wg"
    assert not list(diversions(OVERLAY[family], HOST, frozenset({"wg"}), seen(world, family)))


def test_a_local_route_of_a_whole_network(world: Namespace, family: Family) -> None:
    """Table local is looked up first; the kernel's own routes in it are for single addresses."""
    setting(world, family, "route add local HALF dev lo table local")
    try:
        assert goes_by(world, family) == "lo"
        (fault,) = diversions(OVERLAY[family], HOST, frozenset({"wg"}), seen(world, family))
        assert "0: from all lookup local" in fault.message
    finally:
        setting(world, family, "route del local HALF dev lo table local")
    assert ip_address(OTHER[family]) in OVERLAY[family]
