"""Bad data of the operator: every fault at once, each with host, key, value and what would be right.

Nothing is changed on a host and no key is made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.deploy.fakecluster import LAPTOP, FakeCluster, article

Data = dict[str, dict[str, Any]]

ENDPOINT = 'no endpoint; write an address, a DNS name or "[v6]", each with an optional ":port"'
INTERFACE = "wg-quick and its unit take 1 to 15 characters of a-z A-Z 0-9 _ . -"
NAME = "a name is 1 to 63 letters, digits, dots, underscores and hyphens"


def cloud(key: str, value: Any, *faults: str) -> tuple[Data, list[str]]:
    return {"cloud": {key: value}}, [f"cloud: {fault}" for fault in faults]


def shared(key: str, value: Any, *faults: str) -> tuple[Data, list[str]]:
    return {"": {key: value}}, list(faults)


CASES = [
    # addresses
    cloud("wg_address", "10.0.0.2", "wg_address = '10.0.0.2': root has this address; each needs its own"),
    cloud(
        "wg_address", ["10.0.0.3", "10.0.0.9"], "wg_address = ['10.0.0.3', '10.0.0.9']: one address a family"
    ),
    cloud(
        "wg_address", "10.1.0.3", "wg_address = '10.1.0.3': lies outside the overlay; take one in 10.0.0.0/24"
    ),
    cloud(
        "wg_address",
        "fd00::3",
        "wg_address = 'fd00::3': lies outside the overlay; take one in 10.0.0.0/24",
        "wg_address = ['fd00::3']: needs an address in 10.0.0.0/24 as well",
    ),
    cloud(
        "wg_address",
        "10.0.0.0",
        "wg_address = '10.0.0.0': is the address of the network 10.0.0.0/24 itself; take another",
    ),
    cloud(
        "wg_address",
        "10.0.0.255",
        "wg_address = '10.0.0.255': is the broadcast address of 10.0.0.0/24; take another",
    ),
    cloud("wg_address", "10.0.0", "wg_address[0] = '10.0.0': no IP address; write it like \"10.0.0.2\""),
    cloud(
        "wg_address",
        "10.0.0.3/24",
        "wg_address[0] = '10.0.0.3/24': no IP address; write it like \"10.0.0.2\"",
    ),
    cloud("wg_address", 3, 'wg_address[0] = 3: no IP address; write it like "10.0.0.2"'),
    cloud("wg_address", None, "wg_address: is required"),
    shared("wg_networks", [], "wg_networks = []: must not be empty"),
    shared("wg_networks", "10.0.0.1/24", "wg_networks[0] = '10.0.0.1/24': host bits are set; the network is"),
    shared("wg_networks", ["10.0.0.0/24", "10.9.0.0/16"], "holds 2 IPv4 prefixes; one a family"),
    shared(
        "wg_networks",
        ["10.0.0.0/24", "fd00::/64"],
        "root: wg_address = ['10.0.0.2']: needs an address in fd00::/64 as well",
        "cloud: wg_address = ['10.0.0.3']: needs an address in fd00::/64 as well",
        "backup: wg_address = ['10.0.0.4']: needs an address in fd00::/64 as well",
    ),
    cloud("wg_subnets", "10.0.0.0/8", "wg_subnets = '10.0.0.0/8': overlaps the overlay 10.0.0.0/24"),
    cloud(
        "wg_subnets",
        "198.18.1.0/24",
        "wg_subnets = '198.18.1.0/24': holds root's endpoint 198.18.1.2: the tunnel would swallow itself",
    ),
    # topology
    shared("wg_topology", "ring", "wg_topology = 'ring': must be 'mesh', 'sites' or 'partial'"),
    shared("wg_topology", ["mesh"], "wg_topology = ['mesh']: must be 'mesh', 'sites' or 'partial'"),
    cloud(
        "wg_topology",
        "sites",
        "wg_topology = 'sites': root has 'mesh'; it is one for all, in group_data/all.py",
    ),
    shared("wg_topology", "partial", "wg_topology = 'partial': needs wg_links on hosts, or wg_degree"),
    shared(
        "wg_topology",
        "sites",
        'all hosts: wg_site: is required with wg_topology = "sites"; name the provider',
    ),
    shared("wg_degree", 1, "wg_degree = 1: must be at least 2"),
    cloud("wg_links", ["rooot"], "wg_links = 'rooot': no host has this name; did you mean root?"),
    cloud("wg_links", "paris", "wg_links = 'paris': no host has this name; there are backup, cloud, root"),
    cloud("wg_links", ["cloud"], "wg_links = 'cloud': is the host itself"),
    # endpoints
    *(
        cloud("wg_endpoint", value, f"wg_endpoint = {value!r}: {ENDPOINT}")
        for value in ("198.18.2", "two words", 5)
    ),
    cloud("wg_endpoint", "198.18.2.2:udp", f"wg_endpoint = '198.18.2.2:udp': {ENDPOINT}"),
    cloud(
        "wg_endpoint", "fd00::3", "wg_endpoint = 'fd00::3': an IPv6 endpoint goes in brackets: \"[fd00::3]\""
    ),
    cloud(
        "wg_endpoint", "[fd00::g]", "wg_endpoint = '[fd00::g]': what stands in brackets is no IPv6 address"
    ),
    cloud(
        "wg_endpoint",
        "h.example:70000",
        "wg_endpoint = 'h.example:70000': the port of an endpoint is 1 to 65535",
    ),
    *(
        cloud("wg_endpoint", value, f"wg_endpoint = {value!r}: nobody else can dial this address")
        for value in ("255.255.255.255", "240.0.0.1")
    ),
    cloud("wg_endpoint", "198.18.1.2:51820", "wg_endpoint = '198.18.1.2:51820': root is dialled there, too"),
    cloud("wg_site_endpoint", "", f"wg_site_endpoint = '': {ENDPOINT}"),
    # ports and numbers
    cloud("wg_port", 0, "wg_port = 0: must be at least 1"),
    cloud("wg_port", 65536, "wg_port = 65536: must be at most 65535"),
    cloud("wg_port", "51820", "wg_port = '51820': must be a whole number, without quotes"),
    cloud("wg_mtu", 100, "wg_mtu = 100: must be at least 576"),
    cloud("wg_keepalive", 0, "wg_keepalive = 0: must be at least 1"),
    cloud("wg_gateway", "yes", "wg_gateway = 'yes': must be True or False"),
    cloud("wg_masquerade", True, "wg_masquerade = True: only a gateway masquerades; set wg_gateway = True"),
    (
        {"root": {"firewall": "off"}},
        ['root: wg_masquerade = True: its rule goes with firewall = "peers" or "baseline"; with "off"'],
    ),
    # names
    *(
        shared("wg_interface", value, f"wg_interface = {value!r}: {INTERFACE}")
        for value in ("wireguard-cluster", "wg=1", "wg+1", "wg 0", "wg/0", "", "..", 0)
    ),
    shared("wg_interface", "all", "wg_interface = 'all': the kernel means every interface by it"),
    shared("wg_keystore", "~/keys.yml", "wg_keystore = '~/keys.yml': \"~\" stays as it is"),
    shared("wg_keystore", ".", "wg_keystore = '.': names a folder; name the file in it"),
    cloud("wg_name", "the cloud", f"wg_name = 'the cloud': {NAME}"),
    # keys that are none
    cloud("wg_adress", "x", "wg_adress: is no key of ours; did you mean wg_address?"),
    cloud("wg_endpoints", "x", "wg_endpoints: is no key of ours; did you mean wg_endpoint?"),
    cloud("firewall_alow", [], "firewall_alow: is no key of ours; did you mean firewall_allow?"),
    cloud("nginx_vpn", [], "nginx_vpn: is no key of ours; did you mean nginx_vpn_only?"),
    shared("wg_prot", 1, "all hosts: wg_prot: is no key of ours; did you mean wg_port?"),
    cloud("wg_of_mine_0815", 1, "wg_of_mine_0815: is no key of ours; the README lists the keys there are"),
    # firewall and nginx
    cloud("firewall", "nft", "firewall = 'nft': must be 'peers', 'baseline' or 'off'"),
    cloud("firewall_allow", [{"port": 0}], "firewall_allow[0].port = 0: must be at least 1"),
    cloud(
        "firewall_allow", [22], 'firewall_allow[0] = 22: must be a mapping: {"port": 22, "protocol": "tcp"}'
    ),
    cloud(
        "firewall_allow",
        [{"port": 22, "source": "x"}],
        "firewall_allow[0].source = 'x': is not known here; there are port, protocol, from",
    ),
    cloud("nginx_vpn_only", {"file": "/x"}, "nginx_vpn_only = {'file': '/x'}: must be a list: [...]"),
    cloud(
        "nginx_vpn_only",
        [{"file": "gitlab", "server_name": "x", "location": "/"}],
        "nginx_vpn_only[0].file = 'gitlab': a path on the host that begins with \"/\"",
        "nginx_vpn_only[0].location = '/': is not known here; did you mean locations?",
    ),
]

PLANNED = [
    shared(
        "wg_expect", ["root -> clout"], "wg_expect = 'root -> clout': clout is no host, client or wg_subnets"
    ),
    shared("wg_expect", ["root => cloud"], "wg_expect = 'root => cloud': write it like \"laptop -> cloud\""),
]


@pytest.mark.parametrize(
    ("data", "faults"), CASES, ids=lambda one: repr(one) if isinstance(one, dict) else ""
)
def test_refused_before_a_host_is_asked(tmp_path: Path, data: Data, faults: list[str]) -> None:
    world = article(tmp_path)
    give(world, data)
    assert_refused(world, faults)
    assert all(host.commands == [] for host in world.hosts.values())


@pytest.mark.parametrize(
    ("data", "faults"), PLANNED, ids=lambda one: repr(one) if isinstance(one, dict) else ""
)
def test_refused_while_hosts_are_looked_at(tmp_path: Path, data: Data, faults: list[str]) -> None:
    world = article(tmp_path)
    give(world, data)
    assert_refused(world, faults)


def test_all_faults_of_all_hosts_at_once(tmp_path: Path) -> None:
    world = article(tmp_path)
    parts: list[Data] = [
        {"root": {"wg_address": "10.0.0.3", "wg_port": 0}},
        {"cloud": {"wg_endpoint": "two words", "wg_adress": "10.0.0.3"}},
        {"backup": {"wg_mtu": "large"}, "": {"wg_topology": "ring", "wg_interface": "wg 0"}},
    ]
    for data in parts:
        give(world, data)
    assert_refused(
        world,
        [
            "root: wg_port = 0: must be at least 1",
            "cloud: wg_address = '10.0.0.3': root has this address; each needs its own",
            f"cloud: wg_endpoint = 'two words': {ENDPOINT}",
            "cloud: wg_adress: is no key of ours; did you mean wg_address?",
            "backup: wg_mtu = 'large': must be a whole number, without quotes",
            "wg_topology = 'ring': must be 'mesh', 'sites' or 'partial'",
            f"wg_interface = 'wg 0': {INTERFACE}",
        ],
    )


def test_a_fault_hides_none_and_makes_none(tmp_path: Path) -> None:
    world = article(tmp_path)
    give(world, {"": {"wg_networks": ["10.0.0.1/24"], "wg_topology": "partial"}})
    give(world, {"root": {"wg_links": ["cloud"], "wg_gateway": "yes"}})
    give(world, {"cloud": {"wg_port": 0, "wg_address": "10.0.0.4"}, "backup": {"wg_links": "rooot"}})
    assert_refused(
        world,
        [
            "wg_networks[0] = '10.0.0.1/24': host bits are set; the network is",
            "root: wg_gateway = 'yes': must be True or False",
            "cloud: wg_port = 0: must be at least 1",
            "backup: wg_links = 'rooot': no host has this name; did you mean root?",
            "wg_address = '10.0.0.4': cloud has this address; each needs its own",
        ],
    )


def test_a_plan_that_does_not_hold_is_proved_once_and_stops_the_run(tmp_path: Path) -> None:
    world = article(tmp_path)
    world.shared["wg_expect"] = ["root !-> cloud", "backup -> root"]
    world.add_clients(LAPTOP)
    keys = world.keystore.read_bytes()
    done = world.run("deploy.py", "-y")
    assert done.code == 1
    assert "The plan does not hold, 1 fault, nothing was changed:\n" in done.err
    assert "root !-> cloud" in done.err
    warnings = [line for line in done.err.splitlines() if "Proof of reachability:" in line]
    assert len(warnings) == 1
    assert "if root is lost, laptop is cut off" in warnings[0]
    assert world.changes() == []
    assert world.keystore.read_bytes() == keys


def test_the_command_itself_says_so_and_exits_with_1(tmp_path: Path) -> None:
    world = article(tmp_path)
    give(world, {"cloud": {"wg_address": "10.0.0.2", "wg_port": 0}})
    done = world.pyinfra("deploy.py", "-y")
    assert done.returncode == 1
    assert (
        "2 faults in the inventory, nothing was changed:\n  cloud: wg_port = 0: must be at least 1\n"
        in done.stderr
    )
    assert "Traceback" not in done.stderr
    assert not world.keystore.exists()


def give(world: FakeCluster, data: Data) -> None:
    """Set the operator's data; "" stands for group_data/all.py, None takes a key away."""
    for name, values in data.items():
        target = world.rows[name] if name else world.shared
        for key, value in values.items():
            target.pop(key, None)
            if value is not None:
                target[key] = value


def assert_refused(world: FakeCluster, faults: list[str]) -> None:
    done = world.run("deploy.py", "-y")
    assert done.code == 1
    for fault in faults:
        assert fault in done.err
    count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''} in the "
    assert count in done.err
    assert "nothing was changed" in done.err
    assert "Traceback" not in done.err
    assert world.changes() == []
    assert not world.keystore.exists()
