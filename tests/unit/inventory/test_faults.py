"""Every fault of an inventory is told at once, in the operator's own words."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.faults import short
from tests.support.inventories import Data, client, faults, rows, worded
from wgcluster.inventory.cluster import Client
from wgcluster.inventory.faults import ModelError
from wgcluster.inventory.reading import read_cluster
from wgcluster.inventory.row import Row

OF_ONE_HOST: list[tuple[str, object, list[str]]] = [
    ("wg_address", "x", ["a: wg_address[0] = 'x' [address.invalid]"]),
    ("wg_address", "10.0.0.2/24", ["a: wg_address[0] = '10.0.0.2/24' [address.invalid]"]),
    ("wg_address", 5, ["a: wg_address[0] = 5 [address.invalid]"]),
    ("wg_address", [], ["a: wg_address = [] [setting.empty]"]),
    (
        "wg_address",
        ["10.0.0.2", "10.0.0.3"],
        ["a: wg_address = ['10.0.0.2', '10.0.0.3'] [wg_address.same-family]"],
    ),
    (
        "wg_address",
        ["10.0.0.2", "fd00::1", "10.0.0.4"],
        ["a: wg_address = ['10.0.0.2', 'fd00::1', '10.0.0.4'] [setting.too-many]"],
    ),
    ("wg_address", "10.0.0.0", ["a: wg_address = '10.0.0.0' [wg_address.network-itself]"]),
    ("wg_address", "10.0.0.255", ["a: wg_address = '10.0.0.255' [wg_address.broadcast]"]),
    ("wg_address", "10.1.0.1", ["a: wg_address = '10.1.0.1' [wg_address.outside-network]"]),
    (
        "wg_address",
        "fd00::1",
        [
            "a: wg_address = ['fd00::1'] [wg_address.missing-family]",
            "a: wg_address = 'fd00::1' [wg_address.outside-network]",
        ],
    ),
    *(
        ("wg_endpoint", value, [f"a: wg_endpoint = {value!r} [endpoint.invalid]"])
        for value in (
            "",
            "a b",
            "host:port",
            "host:",
            "[2001:db8::1",
            "999.1.1.1",
            "1.2.3",
            "-a.b",
            "a..b",
            5,
        )
    ),
    ("wg_endpoint", "192.0.2.1:0", ["a: wg_endpoint = '192.0.2.1:0' [endpoint.port]"]),
    ("wg_endpoint", "192.0.2.1:70000", ["a: wg_endpoint = '192.0.2.1:70000' [endpoint.port]"]),
    ("wg_endpoint", "2001:db8::1", ["a: wg_endpoint = '2001:db8::1' [endpoint.needs-brackets]"]),
    ("wg_endpoint", "[x]:1", ["a: wg_endpoint = '[x]:1' [endpoint.not-ipv6]"]),
    *(
        ("wg_endpoint", value, [f"a: wg_endpoint = {value!r} [endpoint.not-dialable]"])
        for value in (
            "255.255.255.255",
            "240.0.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "224.0.0.1:51820",
            "[::]",
            "[::1]",
            "[ff02::1]",
            "[fe80::1]:51820",
            "[fe80::1%eth0]",
            "[::ffff:198.51.100.2]",
            "[4000::1]",
        )
    ),
    ("wg_site_endpoint", "240.0.0.1", ["a: wg_site_endpoint = '240.0.0.1' [endpoint.not-dialable]"]),
    ("wg_site_endpoint", "a b", ["a: wg_site_endpoint = 'a b' [endpoint.invalid]"]),
    ("wg_port", 0, ["a: wg_port = 0 [setting.too-small]"]),
    ("wg_port", 65536, ["a: wg_port = 65536 [setting.too-large]"]),
    ("wg_port", "51820", ["a: wg_port = '51820' [setting.not-integer]"]),
    ("wg_port", True, ["a: wg_port = True [setting.not-integer]"]),
    ("wg_mtu", 500, ["a: wg_mtu = 500 [setting.too-small]"]),
    ("wg_keepalive", 0, ["a: wg_keepalive = 0 [setting.too-small]"]),
    ("wg_keepalive", 65536, ["a: wg_keepalive = 65536 [setting.too-large]"]),
    ("wg_gateway", "yes", ["a: wg_gateway = 'yes' [setting.not-boolean]"]),
    ("wg_masquerade", True, ["a: wg_masquerade = True [wg_masquerade.no-gateway]"]),
    ("wg_masquerade_lan", True, ["a: wg_masquerade_lan = True [wg_masquerade_lan.no-subnets]"]),
    ("wg_masquerade_lan", "yes", ["a: wg_masquerade_lan = 'yes' [setting.not-boolean]"]),
    ("wg_endpoint", "10.0.0.9", ["a: wg_endpoint = '10.0.0.9' [endpoint.inside-overlay]"]),
    (
        "nginx_vpn_only",
        [{"file": "/etc/nginx/a", "server_name": "git", "locations": []}],
        ["a: nginx_vpn_only = 'git' [nginx_vpn_only.no-locations]"],
    ),
    ("wg_name", "ro ot", ["ro ot: wg_name = 'ro ot' [name.invalid]"]),
    ("wg_site", "", ["a: wg_site = '' [name.invalid]"]),
    ("wg_links", ["a"], ["a: wg_links = 'a' [wg_links.itself]"]),
    ("wg_links", ["zebra"], ["a: wg_links = 'zebra' [wg_links.unknown-host]"]),
    ("wg_links", "b c", ["a: wg_links[0] = 'b c' [name.invalid]"]),
    ("wg_subnets", 5, ["a: wg_subnets[0] = 5 [network.invalid]"]),
    ("wg_subnets", "x", ["a: wg_subnets[0] = 'x' [network.invalid]"]),
    ("wg_subnets", "172.16.0.1/12", ["a: wg_subnets[0] = '172.16.0.1/12' [network.host-bits]"]),
    ("wg_subnets", "10.0.0.0/25", ["a: wg_subnets = '10.0.0.0/25' [wg_subnets.overlaps-overlay]"]),
    ("wg_dns", ["10.0.0.2", "one"], ["a: wg_dns[1] = 'one' [address.invalid]"]),
    ("wg_hosts_file", "yes", ["a: wg_hosts_file = 'yes' [setting.not-boolean]"]),
    ("wg_clients_from", "anywhere", ["a: wg_clients_from[0] = 'anywhere' [network.invalid]"]),
    ("firewall", "on", ["a: firewall = 'on' [setting.not-one-of]"]),
    ("firewall_allow", {"port": 22}, ["a: firewall_allow = {'port': 22} [setting.not-list]"]),
    ("firewall_allow", [22], ["a: firewall_allow[0] = 22 [setting.not-mapping]"]),
    ("firewall_allow", [{}], ["a: firewall_allow[0].port [setting.missing]"]),
    (
        "firewall_allow",
        [{"port": 22}, {"port": 99999, "protocol": "icmp", "form": "x"}],
        [
            "a: firewall_allow[1].port = 99999 [setting.too-large]",
            "a: firewall_allow[1].protocol = 'icmp' [setting.not-one-of]",
            "a: firewall_allow[1].form = 'x' [setting.unknown-field]",
        ],
    ),
    ("firewall_allow", [{"port": 22, "from": "x"}], ["a: firewall_allow[0].from[0] = 'x' [network.invalid]"]),
    ("firewall_allow", [{"port": "22"}], ["a: firewall_allow[0].port = '22' [port.invalid]"]),
    ("firewall_allow", [{"port": "8000:8100"}], ["a: firewall_allow[0].port = '8000:8100' [port.invalid]"]),
    ("firewall_allow", [{"port": True}], ["a: firewall_allow[0].port = True [port.invalid]"]),
    ("firewall_allow", [{"port": "9-8"}], ["a: firewall_allow[0].port = '9-8' [port.backwards]"]),
    ("firewall_allow", [{"port": "0-8"}], ["a: firewall_allow[0].port = '0-8' [setting.too-small]"]),
    ("firewall_allow", [{"port": "8-65536"}], ["a: firewall_allow[0].port = '8-65536' [setting.too-large]"]),
    (
        "firewall_allow",
        [{"port": 22, "interface": "eth0+"}, {"port": 22, "interface": "all"}],
        [
            "a: firewall_allow[0].interface = 'eth0+' [interface.invalid]",
            "a: firewall_allow[1].interface = 'all' [interface.invalid]",
        ],
    ),
    ("nginx_vpn_only", ["git"], ["a: nginx_vpn_only[0] = 'git' [setting.not-mapping]"]),
    (
        "nginx_vpn_only",
        [{}],
        ["a: nginx_vpn_only[0].file [setting.missing]", "a: nginx_vpn_only[0].server_name [setting.missing]"],
    ),
    (
        "nginx_vpn_only",
        [{"file": "/a", "server_name": "b", "addresses": ["10.0.0.9"]}],
        ["a: nginx_vpn_only[0].addresses = ['10.0.0.9'] [setting.unknown-field]"],
    ),
    (
        "nginx_vpn_only",
        [{"file": "sites/a", "server_name": "", "scope": "all"}],
        [
            "a: nginx_vpn_only[0].file = 'sites/a' [path.invalid]",
            "a: nginx_vpn_only[0].server_name = '' [text.invalid]",
            "a: nginx_vpn_only[0].scope = 'all' [setting.not-one-of]",
        ],
    ),
    ("wg_adress", "10.0.0.3", ["a: wg_adress [setting.unknown]"]),
    ("firewall_alow", [], ["a: firewall_alow [setting.unknown]"]),
    ("nginx_vpn", [], ["a: nginx_vpn [setting.unknown]"]),
    ("wg_qqqqqqqqqqqq", 1, ["a: wg_qqqqqqqqqqqq [setting.unknown]"]),
]


@pytest.mark.parametrize(("key", "value", "wanted"), OF_ONE_HOST)
def test_what_is_wrong_with_a_host(key: str, value: object, wanted: list[str]) -> None:
    assert faults(rows({key: value})) == wanted


HINTS: list[tuple[str, object, str]] = [
    ("wg_adress", 1, "did you mean wg_address?"),
    ("firewall_alow", [], "did you mean firewall_allow?"),
    ("nginx_vpn", [], "did you mean nginx_vpn_only?"),
    ("wg_qqqqqqqqqqqq", 1, "the README lists all settings"),
    ("wg_links", ["zebra"], "there are a"),
    ("wg_subnets", "172.16.0.1/12", 'the network is "172.16.0.0/12"'),
    ("wg_endpoint", "2001:db8::1", '"[2001:db8::1]"'),
    ("wg_port", 65536, "at most 65535"),
    ("firewall", "on", "'peers', 'baseline' or 'off'"),
    ("firewall_allow", [22], '{"port": 22, "protocol": "tcp"}'),
    ("firewall_allow", [{"port": 22, "form": "x"}], "did you mean from?"),
    ("firewall_allow", [{"port": 22, "zzzzzz": "x"}], "there are from, interface, port, protocol"),
    ("nginx_vpn_only", ["git"], '{"file": "/etc/nginx/sites-available/NAME", "server_name": "NAME"}'),
]


@pytest.mark.parametrize(("key", "value", "hint"), HINTS)
def test_what_would_be_right_is_said(key: str, value: object, hint: str) -> None:
    (fault,) = worded(rows({key: value}))
    assert hint in fault.message


OF_ALL: list[tuple[Data, list[str]]] = [
    ({"wg_networks": ["x"]}, ["wg_networks[0] = 'x' [network.invalid]"]),
    ({"wg_networks": []}, ["wg_networks = [] [setting.empty]"]),
    ({"wg_networks": 5}, ["wg_networks[0] = 5 [network.invalid]"]),
    (
        {"wg_networks": ["10.0.0.0/24", "10.1.0.0/24"]},
        ["wg_networks = ['10.0.0.0/24', '10.1.0.0/24'] [wg_networks.same-family]"],
    ),
    (
        {"wg_networks": ["10.0.0.0/24", "fd00::/64"]},
        [
            "a: wg_address = ['10.0.0.2'] [wg_address.missing-family]",
            "b: wg_address = ['10.0.0.3'] [wg_address.missing-family]",
        ],
    ),
    (
        {"wg_networks": "fd00::/64", "wg_address": "fd00::2", "wg_mtu": 1279},
        [
            "b: wg_address = 'fd00::2' [wg_address.taken]",
            "all hosts: wg_mtu = 1279 [wg_mtu.too-small-for-ipv6]",
        ],
    ),
    ({"wg_topology": "star"}, ["wg_topology = 'star' [setting.not-one-of]"]),
    ({"wg_topology": "partial"}, ["wg_topology = 'partial' [wg_topology.no-links]"]),
    ({"wg_topology": "sites"}, ["all hosts: wg_site [wg_site.missing]"]),
    ({"wg_degree": 1}, ["wg_degree = 1 [setting.too-small]"]),
    ({"wg_degree": "3"}, ["wg_degree = '3' [setting.not-integer]"]),
    *(
        ({"wg_interface": name}, [f"wg_interface = {name!r} [wg_interface.invalid]"])
        for name in ("wg 0", "", ".", "..", "a" * 16, "wg/0", "wgé", 0)
    ),
    *(
        ({"wg_interface": name}, [f"wg_interface = {name!r} [wg_interface.reserved]"])
        for name in ("all", "default", "lo")
    ),
    *(
        ({"wg_keystore": path}, [f"wg_keystore = {path!r} [wg_keystore.folder]"])
        for path in (".", "..", "keys/", "/", "keys/..")
    ),
    ({"wg_keystore": "~/keys.yml"}, ["wg_keystore = '~/keys.yml' [wg_keystore.tilde]"]),
    ({"wg_preshared_keys": "yes"}, ["wg_preshared_keys = 'yes' [setting.not-boolean]"]),
    ({"wg_expect": [""]}, ["wg_expect[0] = '' [text.invalid]"]),
    ({"wg_keystore": ""}, ["wg_keystore = '' [text.invalid]"]),
]


@pytest.mark.parametrize(("shared", "wanted"), OF_ALL)
def test_what_is_wrong_with_all(shared: Data, wanted: list[str]) -> None:
    assert faults(rows({}, {}, **shared)) == wanted


SITE = [{"file": "/etc/nginx/git", "server_name": "git.example.org"}]

BETWEEN: list[tuple[list[Data], list[Client], list[str]]] = [
    (
        [
            {"nginx_vpn_only": SITE, "wg_endpoint": "GIT.example.org."},
            {"wg_hosts_file": True},
            {"wg_hosts_file": False},
        ],
        [],
        ["b: wg_hosts_file = True [wg_hosts_file.dialled-name]"],
    ),
    ([{"wg_topology": "mesh"}, {"wg_topology": "sites"}], [], ["b: wg_topology = 'sites' [setting.differs]"]),
    ([{"wg_name": "x"}, {"wg_name": "x"}], [], ["x: wg_name = 'x' [wg_name.duplicate]"]),
    ([{}, {"wg_address": "10.0.0.2"}], [], ["b: wg_address = '10.0.0.2' [wg_address.taken]"]),
    (
        [{"wg_name": "backup"}, {"wg_links": ["backpu"]}],
        [],
        ["b: wg_links = 'backpu' [wg_links.unknown-host]"],
    ),
    (
        [{"wg_subnets": "172.16.0.0/12"}, {"wg_subnets": "172.16.1.0/24"}],
        [],
        ["a: wg_subnets = '172.16.0.0/12' [wg_subnets.overlaps-subnet]"],
    ),
    (
        [{"wg_subnets": "172.16.0.0/12"}, {"wg_endpoint": "172.17.0.1"}],
        [],
        ["a: wg_subnets = '172.16.0.0/12' [wg_subnets.holds-endpoint]"],
    ),
    (
        [{"wg_subnets": "2001:db8::/32"}, {"wg_site_endpoint": "[2001:db8::1]:5"}],
        [],
        ["a: wg_subnets = '2001:db8::/32' [wg_subnets.holds-endpoint]"],
    ),
    (
        # b stands in a's network; c is of their site and would dial b through the tunnel
        [
            {"wg_site": "x", "wg_subnets": "172.16.0.0/12", "wg_site_endpoint": "172.16.0.1"},
            {"wg_site": "x", "wg_site_endpoint": "172.16.0.2"},
            {"wg_site": "x"},
        ],
        [],
        ["a: wg_subnets = '172.16.0.0/12' [wg_subnets.holds-endpoint]"] * 2,
    ),
    (
        # where all of them stand in it there is nothing to say
        [
            {"wg_site": "x", "wg_subnets": "172.16.0.0/12", "wg_site_endpoint": "172.16.0.1"},
            {"wg_site": "x", "wg_site_endpoint": "172.16.0.2"},
            {"wg_site": "y", "wg_site_endpoint": "172.17.0.9"},
            {"wg_site": "x", "wg_site_endpoint": "172.17.0.9"},
        ],
        [],
        ["a: wg_subnets = '172.16.0.0/12' [wg_subnets.holds-endpoint]"],  # of the one of y
    ),
    (
        [{"wg_endpoint": "198.51.100.2"}, {}, {"wg_endpoint": "198.51.100.2:51820"}],
        [],
        ["c: wg_endpoint = '198.51.100.2:51820' [endpoint.taken]"],
    ),
    (
        [{"wg_endpoint": "Home.example.org"}, {"wg_endpoint": "home.example.org"}],
        [],
        ["b: wg_endpoint = 'home.example.org:51820' [endpoint.taken]"],
    ),
    (
        [{"wg_site": "x", "wg_site_endpoint": "172.16.0.2"}] * 2,
        [],
        ["b: wg_site_endpoint = '172.16.0.2:51820' [endpoint.taken]"],
    ),
    ([{}], [client("laptop", "10.0.0.2")], ["laptop: wg_address = '10.0.0.2' [wg_address.taken]"]),
    ([{}], [client("laptop", "10.9.0.2")], ["laptop: wg_address = '10.9.0.2' [wg_address.outside-network]"]),
]


@pytest.mark.parametrize(("hosts", "clients", "wanted"), BETWEEN)
def test_what_is_wrong_between_them(hosts: list[Data], clients: list[Client], wanted: list[str]) -> None:
    assert faults(rows(*hosts), clients) == wanted


def test_a_host_without_an_address_is_told_so() -> None:
    assert faults([Row("a", {"wg_networks": ["10.0.0.0/24"]})]) == ["a: wg_address [setting.missing]"]


def stray(name: str, **groups: Any) -> Row:
    """As pyinfra makes a host of a name in a group that no host has: only the groups' data is there."""
    return Row(name, {"wg_networks": ["10.0.0.0/24"], **groups}, declared=False)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("a", "names as in the inventory: @docker/a?"),
        ("@docker/aa", "names as in the inventory: @docker/a?"),
        ("gatewya.example.org", "names as in the inventory: gateway.example.org?"),
        ("gateway", "names as in the inventory: gateway.example.org?"),
        ("zebra", "there are @docker/a, @docker/b, gateway.example.org"),
    ],
)
def test_a_name_that_only_a_group_has_is_no_host(name: str, meant: str) -> None:
    here = rows({"wg_links": name.split("/")[-1]}, {}, wg_topology="partial")
    gateway = Row("gateway.example.org", {**here[1].data, "wg_name": "gateway", "wg_address": "10.0.0.4"})
    (fault,) = worded([*here, gateway, stray(name, wg_gateway=True, wg_topology="partial")])
    assert short(fault) == f"{name}: wg_address [wg_address.only-in-group]"
    assert fault.message.endswith(meant)


def test_hosts_that_have_an_address_from_a_group_are_hosts() -> None:
    assert read_cluster([stray("a", wg_address="10.0.0.2")]).hosts[0].name == "a"


def test_an_inventory_without_hosts_is_told_so() -> None:
    assert faults([]) == ["inventory [inventory.empty]"]


def test_a_cluster_without_networks_is_told_so() -> None:
    assert faults([Row("a", {"wg_address": "10.0.0.2"})]) == ["wg_networks = () [setting.empty]"]


def test_every_fault_is_told_at_once() -> None:
    found = faults(rows({"wg_port": 0, "wg_mtu": 1}, {"wg_gatway": True}, {"wg_address": "x"}, wg_degree=1))
    assert [fault.partition(" ")[0] for fault in found] == ["wg_degree", "a:", "a:", "b:", "c:"]
    with pytest.raises(ModelError) as caught:
        read_cluster(rows({"wg_port": 0, "wg_mtu": 1}))
    assert str(caught.value).startswith("2 faults in the inventory, nothing was changed:\n  a: wg_port = 0: ")


@pytest.mark.parametrize("wrong", [{"wg_prot": 51820}, {"firewall": "on"}, {"nginx_vpn_only": [{}]}])
def test_a_fault_of_a_group_is_told_once(wrong: Data) -> None:
    alone = [fault.removeprefix("a: ") for fault in faults(rows(wrong))]
    assert faults(rows({}, {}, {}, **wrong)) == [f"all hosts: {fault}" for fault in alone]
    assert faults(rows(wrong, {}, wrong)) == [f"a, c: {fault}" for fault in alone]


def test_another_value_is_another_fault() -> None:
    assert faults(rows({"wg_mtu": 1}, {"wg_mtu": 1}, {"wg_mtu": 2})) == [
        "a, b: wg_mtu = 1 [setting.too-small]",
        "c: wg_mtu = 2 [setting.too-small]",
    ]


def test_of_many_hosts_some_are_named() -> None:
    many = [
        Row(
            f"h{i}",
            {"wg_networks": ["10.0.0.0/24"], "wg_address": f"10.0.0.{i}", **({"wg_mtu": 1} if i > 1 else {})},
        )
        for i in range(1, 14)
    ]
    assert faults(many) == [
        "h2, h3, h4, h5, h6, h7, h8, h9, h10, h11 and 2 more: wg_mtu = 1 [setting.too-small]"
    ]


def test_a_host_that_is_wrong_in_itself_hides_no_fault_between_the_others() -> None:
    found = faults(rows({"wg_port": 0}, {}, {"wg_address": "10.0.0.3"}))
    assert found == ["a: wg_port = 0 [setting.too-small]", "c: wg_address = '10.0.0.3' [wg_address.taken]"]
