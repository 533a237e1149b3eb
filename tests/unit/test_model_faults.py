"""Every fault of an inventory is told at once, in the operator's own words."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.inventories import Data, client, faults, rows
from wgcluster.inventory.cluster import Client
from wgcluster.inventory.faults import ModelError
from wgcluster.inventory.reading import read_cluster
from wgcluster.inventory.row import Row

NO_ENDPOINT = 'no endpoint; write an address, a DNS name or "[v6]", each with an optional ":port"'
UNDIALLED = "nobody else can dial this address; write the one that other hosts reach it at"
TWICE = "is dialled there, too; give each an address or a port of its own"
NO_NAME = "a name is 1 to 63 letters, digits, dots, underscores and hyphens"
NO_INTERFACE = "wg-quick and its unit take 1 to 15 characters of a-z A-Z 0-9 _ . -"

OF_ONE_HOST: list[tuple[str, object, list[str]]] = [
    ("wg_address", "x", ['a: wg_address[0] = \'x\': no IP address; write it like "10.0.0.2" or "fd00::2"']),
    (
        "wg_address",
        "10.0.0.2/24",
        ['a: wg_address[0] = \'10.0.0.2/24\': no IP address; write it like "10.0.0.2" or "fd00::2"'],
    ),
    ("wg_address", 5, ['a: wg_address[0] = 5: no IP address; write it like "10.0.0.2" or "fd00::2"']),
    ("wg_address", [], ["a: wg_address = []: must not be empty"]),
    (
        "wg_address",
        ["10.0.0.2", "10.0.0.3"],
        ["a: wg_address = ['10.0.0.2', '10.0.0.3']: one address a family"],
    ),
    (
        "wg_address",
        ["10.0.0.2", "fd00::1", "10.0.0.4"],
        ["a: wg_address = ['10.0.0.2', 'fd00::1', '10.0.0.4']: must have at most 2 entries"],
    ),
    (
        "wg_address",
        "10.0.0.0",
        ["a: wg_address = '10.0.0.0': is the address of the network 10.0.0.0/24 itself; take another"],
    ),
    (
        "wg_address",
        "10.0.0.255",
        ["a: wg_address = '10.0.0.255': is the broadcast address of 10.0.0.0/24; take another"],
    ),
    (
        "wg_address",
        "10.1.0.1",
        ["a: wg_address = '10.1.0.1': lies outside the overlay; take one in 10.0.0.0/24"],
    ),
    (
        "wg_address",
        "fd00::1",
        [
            "a: wg_address = ['fd00::1']: needs an address in 10.0.0.0/24 as well",
            "a: wg_address = 'fd00::1': lies outside the overlay; take one in 10.0.0.0/24",
        ],
    ),
    *(
        ("wg_endpoint", value, [f"a: wg_endpoint = {value!r}: {NO_ENDPOINT}"])
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
    ("wg_endpoint", "192.0.2.1:0", ["a: wg_endpoint = '192.0.2.1:0': the port of an endpoint is 1 to 65535"]),
    (
        "wg_endpoint",
        "192.0.2.1:70000",
        ["a: wg_endpoint = '192.0.2.1:70000': the port of an endpoint is 1 to 65535"],
    ),
    (
        "wg_endpoint",
        "2001:db8::1",
        ["a: wg_endpoint = '2001:db8::1': an IPv6 endpoint goes in brackets: \"[2001:db8::1]\""],
    ),
    ("wg_endpoint", "[x]:1", ["a: wg_endpoint = '[x]:1': what stands in brackets is no IPv6 address"]),
    *(
        ("wg_endpoint", value, [f"a: wg_endpoint = {value!r}: {UNDIALLED}"])
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
    ("wg_site_endpoint", "240.0.0.1", [f"a: wg_site_endpoint = '240.0.0.1': {UNDIALLED}"]),
    ("wg_site_endpoint", "a b", [f"a: wg_site_endpoint = 'a b': {NO_ENDPOINT}"]),
    ("wg_port", 0, ["a: wg_port = 0: must be at least 1"]),
    ("wg_port", 65536, ["a: wg_port = 65536: must be at most 65535"]),
    ("wg_port", "51820", ["a: wg_port = '51820': must be a whole number, without quotes"]),
    ("wg_port", True, ["a: wg_port = True: must be a whole number, without quotes"]),
    ("wg_mtu", 500, ["a: wg_mtu = 500: must be at least 576"]),
    ("wg_keepalive", 0, ["a: wg_keepalive = 0: must be at least 1"]),
    ("wg_keepalive", 65536, ["a: wg_keepalive = 65536: must be at most 65535"]),
    ("wg_gateway", "yes", ["a: wg_gateway = 'yes': must be True or False"]),
    (
        "wg_masquerade",
        True,
        ["a: wg_masquerade = True: only a gateway masquerades; set wg_gateway = True or leave it out"],
    ),
    (
        "wg_endpoint",
        "10.0.0.9",
        [
            "a: wg_endpoint = '10.0.0.9': lies inside the overlay; "
            "write where the host is reached without the tunnel"
        ],
    ),
    (
        "nginx_vpn_only",
        [{"file": "/etc/nginx/a", "server_name": "git", "locations": []}],
        [
            "a: nginx_vpn_only = 'git': guards nothing; name locations, or guard the whole server with"
            ' "scope": "server"'
        ],
    ),
    ("wg_name", "ro ot", [f"ro ot: wg_name = 'ro ot': {NO_NAME}"]),
    ("wg_site", "", [f"a: wg_site = '': {NO_NAME}"]),
    ("wg_links", ["a"], ["a: wg_links = 'a': is the host itself"]),
    ("wg_links", ["zebra"], ["a: wg_links = 'zebra': no host has this name; there are a"]),
    ("wg_links", "b c", [f"a: wg_links[0] = 'b c': {NO_NAME}"]),
    ("wg_subnets", 5, ['a: wg_subnets[0] = 5: no network; write it like "10.0.0.0/24" or "fd00::/64"']),
    ("wg_subnets", "x", ['a: wg_subnets[0] = \'x\': no network; write it like "10.0.0.0/24" or "fd00::/64"']),
    (
        "wg_subnets",
        "172.16.0.1/12",
        ["a: wg_subnets[0] = '172.16.0.1/12': host bits are set; the network is \"172.16.0.0/12\""],
    ),
    ("wg_subnets", "10.0.0.0/25", ["a: wg_subnets = '10.0.0.0/25': overlaps the overlay 10.0.0.0/24"]),
    (
        "wg_clients_from",
        "anywhere",
        ['a: wg_clients_from[0] = \'anywhere\': no network; write it like "10.0.0.0/24" or "fd00::/64"'],
    ),
    ("firewall", "on", ["a: firewall = 'on': must be 'peers', 'baseline' or 'off'"]),
    ("firewall_allow", {"port": 22}, ["a: firewall_allow = {'port': 22}: must be a list: [...]"]),
    (
        "firewall_allow",
        [22],
        ['a: firewall_allow[0] = 22: must be a mapping: {"port": 22, "protocol": "tcp"}'],
    ),
    ("firewall_allow", [{}], ["a: firewall_allow[0].port: is required"]),
    (
        "firewall_allow",
        [{"port": 22}, {"port": 99999, "protocol": "icmp", "form": "x"}],
        [
            "a: firewall_allow[1].port = 99999: must be at most 65535",
            "a: firewall_allow[1].protocol = 'icmp': must be 'tcp' or 'udp'",
            "a: firewall_allow[1].form = 'x': is not known here; did you mean from?",
        ],
    ),
    (
        "firewall_allow",
        [{"port": 22, "from": "x"}],
        ['a: firewall_allow[0].from[0] = \'x\': no network; write it like "10.0.0.0/24" or "fd00::/64"'],
    ),
    (
        "nginx_vpn_only",
        ["git"],
        [
            "a: nginx_vpn_only[0] = 'git': must be a mapping:"
            ' {"file": "/etc/nginx/sites-available/NAME", "server_name": "NAME"}'
        ],
    ),
    (
        "nginx_vpn_only",
        [{}],
        ["a: nginx_vpn_only[0].file: is required", "a: nginx_vpn_only[0].server_name: is required"],
    ),
    (
        "nginx_vpn_only",
        [{"file": "/a", "server_name": "b", "addresses": ["10.0.0.9"]}],
        [
            "a: nginx_vpn_only[0].addresses = ['10.0.0.9']: is not known here; there are file, server_name,"
            " locations, public, allow, scope, acme_root"
        ],
    ),
    (
        "nginx_vpn_only",
        [{"file": "sites/a", "server_name": "", "scope": "all"}],
        [
            "a: nginx_vpn_only[0].file = 'sites/a': a path on the host that begins with \"/\","
            " without blanks or quotes",
            "a: nginx_vpn_only[0].server_name = '': a text of one line, not empty",
            "a: nginx_vpn_only[0].scope = 'all': must be 'location' or 'server'",
        ],
    ),
    ("wg_adress", "10.0.0.3", ["a: wg_adress: is no key of ours; did you mean wg_address?"]),
    ("firewall_alow", [], ["a: firewall_alow: is no key of ours; did you mean firewall_allow?"]),
    ("nginx_vpn", [], ["a: nginx_vpn: is no key of ours; did you mean nginx_vpn_only?"]),
    ("wg_qqqqqqqqqqqq", 1, ["a: wg_qqqqqqqqqqqq: is no key of ours; the README lists the keys there are"]),
]


@pytest.mark.parametrize(("key", "value", "wanted"), OF_ONE_HOST)
def test_what_is_wrong_with_a_host(key: str, value: object, wanted: list[str]) -> None:
    assert faults(rows({key: value})) == wanted


OF_ALL: list[tuple[Data, list[str]]] = [
    (
        {"wg_networks": ["x"]},
        ['wg_networks[0] = \'x\': no network; write it like "10.0.0.0/24" or "fd00::/64"'],
    ),
    ({"wg_networks": []}, ["wg_networks = []: must not be empty"]),
    ({"wg_networks": 5}, ['wg_networks[0] = 5: no network; write it like "10.0.0.0/24" or "fd00::/64"']),
    (
        {"wg_networks": ["10.0.0.0/24", "10.1.0.0/24"]},
        ["wg_networks = ['10.0.0.0/24', '10.1.0.0/24']: holds 2 IPv4 prefixes; one a family"],
    ),
    (
        {"wg_networks": ["10.0.0.0/24", "fd00::/64"]},
        [
            "a: wg_address = ['10.0.0.2']: needs an address in fd00::/64 as well",
            "b: wg_address = ['10.0.0.3']: needs an address in fd00::/64 as well",
        ],
    ),
    ({"wg_topology": "star"}, ["wg_topology = 'star': must be 'mesh', 'sites' or 'partial'"]),
    ({"wg_topology": "partial"}, ["wg_topology = 'partial': needs wg_links on hosts, or wg_degree"]),
    (
        {"wg_topology": "sites"},
        [
            'all hosts: wg_site: is required with wg_topology = "sites";'
            " name the provider or location it stands in"
        ],
    ),
    ({"wg_degree": 1}, ["wg_degree = 1: must be at least 2"]),
    ({"wg_degree": "3"}, ["wg_degree = '3': must be a whole number, without quotes"]),
    *(
        ({"wg_interface": name}, [f"wg_interface = {name!r}: {NO_INTERFACE}"])
        for name in ("wg 0", "", ".", "..", "a" * 16, "wg/0", "wgé", 0)
    ),
    *(
        ({"wg_interface": name}, [f'wg_interface = {name!r}: {why}; take another name, such as "wg"'])
        for name, why in (
            ("all", "the kernel means every interface by it"),
            ("default", "the kernel means every new interface by it"),
            ("lo", "the loopback interface has this name"),
        )
    ),
    *(
        ({"wg_keystore": path}, [f'wg_keystore = {path!r}: names a folder; name the file in it: "keys.yml"'])
        for path in (".", "..", "keys/", "/", "keys/..")
    ),
    (
        {"wg_keystore": "~/keys.yml"},
        [
            "wg_keystore = '~/keys.yml': \"~\" stays as it is, for no shell reads it;"
            ' write the whole path, or "keys.yml"'
        ],
    ),
    ({"wg_preshared_keys": "yes"}, ["wg_preshared_keys = 'yes': must be True or False"]),
    ({"wg_expect": [""]}, ["wg_expect[0] = '': a text of one line, not empty"]),
    ({"wg_keystore": ""}, ["wg_keystore = '': a text of one line, not empty"]),
]


@pytest.mark.parametrize(("shared", "wanted"), OF_ALL)
def test_what_is_wrong_with_all(shared: Data, wanted: list[str]) -> None:
    assert faults(rows({}, {}, **shared)) == wanted


BETWEEN: list[tuple[list[Data], list[Client], list[str]]] = [
    (
        [{"wg_topology": "mesh"}, {"wg_topology": "sites"}],
        [],
        ["b: wg_topology = 'sites': a has 'mesh'; it is one for all, in group_data/all.py"],
    ),
    (
        [{"wg_name": "x"}, {"wg_name": "x"}],
        [],
        ["x: wg_name = 'x': 2 hosts have this name; each needs its own"],
    ),
    (
        [{}, {"wg_address": "10.0.0.2"}],
        [],
        ["b: wg_address = '10.0.0.2': a has this address; each needs its own"],
    ),
    (
        [{"wg_name": "backup"}, {"wg_links": ["backpu"]}],
        [],
        ["b: wg_links = 'backpu': no host has this name; did you mean backup?"],
    ),
    (
        [{"wg_subnets": "172.16.0.0/12"}, {"wg_subnets": "172.16.1.0/24"}],
        [],
        ["a: wg_subnets = '172.16.0.0/12': overlaps 172.16.1.0/24 of b"],
    ),
    (
        [{"wg_subnets": "172.16.0.0/12"}, {"wg_endpoint": "172.17.0.1"}],
        [],
        ["a: wg_subnets = '172.16.0.0/12': holds b's endpoint 172.17.0.1: the tunnel would swallow itself"],
    ),
    (
        [{"wg_subnets": "2001:db8::/32"}, {"wg_site_endpoint": "[2001:db8::1]:5"}],
        [],
        ["a: wg_subnets = '2001:db8::/32': holds b's endpoint 2001:db8::1: the tunnel would swallow itself"],
    ),
    (
        [{"wg_endpoint": "198.51.100.2"}, {}, {"wg_endpoint": "198.51.100.2:51820"}],
        [],
        [f"c: wg_endpoint = '198.51.100.2:51820': a {TWICE}"],
    ),
    (
        [{"wg_endpoint": "Home.example.org"}, {"wg_endpoint": "home.example.org"}],
        [],
        [f"b: wg_endpoint = 'home.example.org:51820': a {TWICE}"],
    ),
    (
        [{"wg_site": "x", "wg_site_endpoint": "172.16.0.2"}] * 2,
        [],
        [f"b: wg_site_endpoint = '172.16.0.2:51820': a {TWICE}"],
    ),
    (
        [{}],
        [client("laptop", "10.0.0.2")],
        ["laptop: wg_address = '10.0.0.2': a has this address; each needs its own"],
    ),
    (
        [{}],
        [client("laptop", "10.9.0.2")],
        [
            "laptop: wg_address = '10.9.0.2': lies outside the overlay; take one in 10.0.0.0/24,"
            ' or "python -m wgcluster client renumber", which keeps the keys'
        ],
    ),
]


@pytest.mark.parametrize(("hosts", "clients", "wanted"), BETWEEN)
def test_what_is_wrong_between_them(hosts: list[Data], clients: list[Client], wanted: list[str]) -> None:
    assert faults(rows(*hosts), clients) == wanted


def test_a_host_without_an_address_is_told_so() -> None:
    assert faults([Row("a", {"wg_networks": ["10.0.0.0/24"]})]) == ["a: wg_address: is required"]


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
    wrong = f"pyinfra has made a new host of it: {meant}"
    assert faults([*here, gateway, stray(name, wg_gateway=True, wg_topology="partial")]) == [
        f"{name}: wg_address: is required; if {name} stands in a group alone, {wrong}"
    ]


def test_hosts_that_have_an_address_from_a_group_are_hosts() -> None:
    assert read_cluster([stray("a", wg_address="10.0.0.2")]).hosts[0].name == "a"


def test_an_inventory_without_hosts_is_told_so() -> None:
    assert faults([]) == ["inventory: names no host"]


def test_a_cluster_without_networks_is_told_so() -> None:
    assert faults([Row("a", {"wg_address": "10.0.0.2"})]) == ["wg_networks = (): must not be empty"]


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
        "a, b: wg_mtu = 1: must be at least 576",
        "c: wg_mtu = 2: must be at least 576",
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
        "h2, h3, h4, h5, h6, h7, h8, h9, h10, h11 and 2 more: wg_mtu = 1: must be at least 576"
    ]


def test_a_host_that_is_wrong_in_itself_hides_no_fault_between_the_others() -> None:
    found = faults(rows({"wg_port": 0}, {}, {"wg_address": "10.0.0.3"}))
    assert found == [
        "a: wg_port = 0: must be at least 1",
        "c: wg_address = '10.0.0.3': b has this address; each needs its own",
    ]
