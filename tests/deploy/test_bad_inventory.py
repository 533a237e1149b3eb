"""Bad data of the operator: every fault at once, each with host, key, value and what would be right.

Nothing is changed on a host and no key is made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.fake.cluster import LAPTOP, FakeCluster, article
from tests.support.faults import prints

Data = dict[str, dict[str, Any]]


def cloud(key: str, value: Any, *faults: str) -> tuple[Data, list[str]]:
    return {"cloud": {key: value}}, [f"cloud: {fault}" for fault in faults]


def shared(key: str, value: Any, *faults: str) -> tuple[Data, list[str]]:
    return {"": {key: value}}, list(faults)


CASES = [
    # addresses
    cloud("wg_address", "10.0.0.2", "wg_address = '10.0.0.2' [wg_address.taken]"),
    cloud(
        "wg_address",
        ["10.0.0.3", "10.0.0.9"],
        "wg_address = ['10.0.0.3', '10.0.0.9'] [wg_address.same-family]",
    ),
    cloud("wg_address", "10.1.0.3", "wg_address = '10.1.0.3' [wg_address.outside-network]"),
    cloud(
        "wg_address",
        "fd00::3",
        "wg_address = 'fd00::3' [wg_address.outside-network]",
        "wg_address = ['fd00::3'] [wg_address.missing-family]",
    ),
    cloud("wg_address", "10.0.0.0", "wg_address = '10.0.0.0' [wg_address.network-itself]"),
    cloud("wg_address", "10.0.0.255", "wg_address = '10.0.0.255' [wg_address.broadcast]"),
    cloud("wg_address", "10.0.0", "wg_address[0] = '10.0.0' [address.invalid]"),
    cloud("wg_address", "10.0.0.3/24", "wg_address[0] = '10.0.0.3/24' [address.invalid]"),
    cloud("wg_address", 3, "wg_address[0] = 3 [address.invalid]"),
    cloud("wg_address", None, "wg_address [setting.missing]"),
    shared("wg_networks", [], "wg_networks = [] [setting.empty]"),
    shared("wg_networks", "10.0.0.1/24", "wg_networks[0] = '10.0.0.1/24' [network.host-bits]"),
    shared(
        "wg_networks",
        ["10.0.0.0/24", "10.9.0.0/16"],
        "wg_networks = ['10.0.0.0/24', '10.9.0.0/16'] [wg_networks.same-family]",
    ),
    shared(
        "wg_networks",
        ["10.0.0.0/24", "fd00::/64"],
        "root: wg_address = ['10.0.0.2'] [wg_address.missing-family]",
        "cloud: wg_address = ['10.0.0.3'] [wg_address.missing-family]",
        "backup: wg_address = ['10.0.0.4'] [wg_address.missing-family]",
    ),
    cloud("wg_subnets", "10.0.0.0/8", "wg_subnets = '10.0.0.0/8' [wg_subnets.overlaps-overlay]"),
    cloud("wg_subnets", "198.18.1.0/24", "wg_subnets = '198.18.1.0/24' [wg_subnets.holds-endpoint]"),
    # topology
    shared("wg_topology", "ring", "wg_topology = 'ring' [setting.not-one-of]"),
    shared("wg_topology", ["mesh"], "wg_topology = ['mesh'] [setting.not-one-of]"),
    cloud("wg_topology", "sites", "wg_topology = 'sites' [setting.differs]"),
    shared("wg_topology", "partial", "wg_topology = 'partial' [wg_topology.no-links]"),
    shared("wg_topology", "sites", "all hosts: wg_site [wg_site.missing]"),
    shared("wg_degree", 1, "wg_degree = 1 [setting.too-small]"),
    cloud("wg_links", ["rooot"], "wg_links = 'rooot' [wg_links.unknown-host]"),
    cloud("wg_links", "paris", "wg_links = 'paris' [wg_links.unknown-host]"),
    cloud("wg_links", ["cloud"], "wg_links = 'cloud' [wg_links.itself]"),
    # endpoints
    *(
        cloud("wg_endpoint", value, f"wg_endpoint = {value!r} [endpoint.invalid]")
        for value in ("198.18.2", "two words", 5)
    ),
    cloud("wg_endpoint", "198.18.2.2:udp", "wg_endpoint = '198.18.2.2:udp' [endpoint.invalid]"),
    cloud("wg_endpoint", "fd00::3", "wg_endpoint = 'fd00::3' [endpoint.needs-brackets]"),
    cloud("wg_endpoint", "[fd00::g]", "wg_endpoint = '[fd00::g]' [endpoint.not-ipv6]"),
    cloud("wg_endpoint", "h.example:70000", "wg_endpoint = 'h.example:70000' [endpoint.port]"),
    *(
        cloud("wg_endpoint", value, f"wg_endpoint = {value!r} [endpoint.not-dialable]")
        for value in ("255.255.255.255", "240.0.0.1")
    ),
    cloud("wg_endpoint", "198.18.1.2:51820", "wg_endpoint = '198.18.1.2:51820' [endpoint.taken]"),
    cloud("wg_site_endpoint", "", "wg_site_endpoint = '' [endpoint.invalid]"),
    # ports and numbers
    cloud("wg_port", 0, "wg_port = 0 [setting.too-small]"),
    cloud("wg_port", 65536, "wg_port = 65536 [setting.too-large]"),
    cloud("wg_port", "51820", "wg_port = '51820' [setting.not-integer]"),
    cloud("wg_mtu", 100, "wg_mtu = 100 [setting.too-small]"),
    cloud("wg_keepalive", 0, "wg_keepalive = 0 [setting.too-small]"),
    cloud("wg_gateway", "yes", "wg_gateway = 'yes' [setting.not-boolean]"),
    cloud("wg_masquerade", True, "wg_masquerade = True [wg_masquerade.no-gateway]"),
    ({"root": {"firewall": "off"}}, ["root: wg_masquerade = True [wg_masquerade.firewall-off]"]),
    # names
    *(
        shared("wg_interface", value, f"wg_interface = {value!r} [wg_interface.invalid]")
        for value in ("wireguard-cluster", "wg=1", "wg+1", "wg 0", "wg/0", "", "..", 0)
    ),
    shared("wg_interface", "all", "wg_interface = 'all' [wg_interface.reserved]"),
    shared("wg_keystore", "~/keys.yml", "wg_keystore = '~/keys.yml' [wg_keystore.tilde]"),
    shared("wg_keystore", ".", "wg_keystore = '.' [wg_keystore.folder]"),
    ({"cloud": {"wg_name": "the cloud"}}, ["the cloud: wg_name = 'the cloud' [name.invalid]"]),
    # keys that are none
    cloud("wg_adress", "x", "wg_adress [setting.unknown]"),
    cloud("wg_endpoints", "x", "wg_endpoints [setting.unknown]"),
    cloud("firewall_alow", [], "firewall_alow [setting.unknown]"),
    cloud("nginx_vpn", [], "nginx_vpn [setting.unknown]"),
    shared("wg_prot", 1, "all hosts: wg_prot [setting.unknown]"),
    cloud("wg_of_mine_0815", 1, "wg_of_mine_0815 [setting.unknown]"),
    # firewall and nginx
    cloud("firewall", "nft", "firewall = 'nft' [setting.not-one-of]"),
    cloud("firewall_allow", [{"port": 0}], "firewall_allow[0].port = 0 [setting.too-small]"),
    cloud("firewall_allow", [22], "firewall_allow[0] = 22 [setting.not-mapping]"),
    cloud(
        "firewall_allow",
        [{"port": 22, "source": "x"}],
        "firewall_allow[0].source = 'x' [setting.unknown-field]",
    ),
    cloud("nginx_vpn_only", {"file": "/x"}, "nginx_vpn_only = {'file': '/x'} [setting.not-list]"),
    cloud(
        "nginx_vpn_only",
        [{"file": "gitlab", "server_name": "x", "location": "/"}],
        "nginx_vpn_only[0].file = 'gitlab' [path.invalid]",
        "nginx_vpn_only[0].location = '/' [setting.unknown-field]",
    ),
]

PLANNED = [
    shared("wg_expect", ["root -> clout"], "wg_expect = 'root -> clout' [wg_expect.unknown-name]"),
    shared("wg_expect", ["root => cloud"], "wg_expect = 'root => cloud' [wg_expect.invalid]"),
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
            "root: wg_port = 0 [setting.too-small]",
            "cloud: wg_address = '10.0.0.3' [wg_address.taken]",
            "cloud: wg_endpoint = 'two words' [endpoint.invalid]",
            "cloud: wg_adress [setting.unknown]",
            "backup: wg_mtu = 'large' [setting.not-integer]",
            "wg_topology = 'ring' [setting.not-one-of]",
            "wg_interface = 'wg 0' [wg_interface.invalid]",
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
            "wg_networks[0] = '10.0.0.1/24' [network.host-bits]",
            "root: wg_gateway = 'yes' [setting.not-boolean]",
            "cloud: wg_port = 0 [setting.too-small]",
            "backup: wg_links = 'rooot' [wg_links.unknown-host]",
            "backup: wg_address = '10.0.0.4' [wg_address.taken]",
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
    assert "2 faults in the inventory, nothing was changed:\n  cloud: wg_port = 0: " in done.stderr
    assert prints(done.stderr, "cloud: wg_port = 0 [setting.too-small]")
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
        assert prints(done.err, fault), done.err
    count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''} in the "
    assert count in done.err
    assert "nothing was changed" in done.err
    assert "Traceback" not in done.err
    assert world.changes() == []
    assert not world.keystore.exists()
