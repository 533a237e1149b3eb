"""An inventory becomes a Cluster, whatever the order of its hosts."""

from __future__ import annotations

import random
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.inventories import GATEWAY, Data, client, rows
from wgcluster.inventory import schema
from wgcluster.inventory.cluster import Cluster, Endpoint, Host
from wgcluster.inventory.faults import ModelError
from wgcluster.inventory.reading import read_cluster
from wgcluster.inventory.row import Row
from wgcluster.inventory.schema import GuardedSite, OpenPort


def test_hosts_behind_one_address_have_a_port_each() -> None:
    nat = "198.51.100.2"
    hosts = read_cluster(
        rows({"wg_endpoint": nat}, {"wg_endpoint": f"{nat}:51821"}, {"wg_endpoint": nat, "wg_port": 51822})
    ).hosts
    assert [str(host.endpoint) for host in hosts] == [f"{nat}:{port}" for port in (51820, 51821, 51822)]


def test_two_sites_may_use_one_private_address() -> None:
    inside = {"wg_site_endpoint": "172.16.0.2"}
    assert len(read_cluster(rows({"wg_site": "x", **inside}, {"wg_site": "y", **inside})).hosts) == 2


@pytest.mark.parametrize("endpoint", ["169.254.7.7", "[64:ff9b::198.51.100.2]", "[fd00:1::2]", "100.64.0.1"])
def test_what_some_network_reaches_is_an_endpoint(endpoint: str) -> None:
    assert read_cluster(rows({"wg_endpoint": endpoint})).hosts[0].endpoint is not None


def test_a_whole_cluster_as_declared() -> None:
    cluster = read_cluster(
        rows(
            {
                **GATEWAY,
                "wg_name": "root",
                "wg_address": ["fd00::2", "10.0.0.2"],
                "wg_port": 51821,
                "wg_mtu": 1280,
                "wg_site": "one",
                "wg_site_endpoint": "root.internal:9",
                "wg_masquerade": True,
                "wg_subnets": ["172.16.0.0/12"],
                "wg_masquerade_lan": True,
                "wg_links": "b",
                "wg_keepalive": 10,
                "wg_source": ["203.0.113.9", "2001:db8::/64"],
                "wg_clients_from": "198.51.100.0/24",
                "wg_dns": "10.0.0.2",
                "wg_hosts_file": True,
                "firewall": "baseline",
                "firewall_allow": [
                    {"port": 22, "from": ["198.51.100.0/24"]},
                    {"port": 53, "protocol": "udp"},
                    {"port": "8000-8100", "interface": "eth1"},
                ],
                "nginx_vpn_only": [{"file": "/etc/nginx/a", "server_name": "a.example", "public": "/x"}],
                "ssh_user": "root",
            },
            {"wg_address": ["10.0.0.3", "fd00::3"]},
            wg_networks=["fd00::/64", "10.0.0.0/24"],
            wg_topology="partial",
            wg_preshared_keys=True,
            wg_expect="root -> b",
            wg_keystore="keys/mine.yml",
        ),
        [client("phone", "10.0.0.101", "fd00::65"), client("laptop", "10.0.0.100", "fd00::64")],
    )
    anyone = ip_network("198.51.100.0/24")
    root = Host(
        name="root",
        addresses=(ip_address("10.0.0.2"), ip_address("fd00::2")),
        port=51821,
        mtu=1280,
        endpoint=Endpoint(ip_address("198.51.100.2"), 51821),
        site="one",
        site_endpoint=Endpoint("root.internal", 9),
        gateway=True,
        masquerade=True,
        subnets=(ip_network("172.16.0.0/12"),),
        masquerade_lan=True,
        links=("b",),
        keepalive=10,
        sources=(ip_network("203.0.113.9/32"), ip_network("2001:db8::/64")),
        clients_from=(anyone,),
        dns=(ip_address("10.0.0.2"),),
        hosts_file=True,
        firewall="baseline",
        firewall_allow=(
            OpenPort(22, "tcp", (anyone,)),
            OpenPort(53, "udp", ()),
            OpenPort("8000-8100", interface="eth1"),
        ),
        nginx=(GuardedSite("/etc/nginx/a", "a.example", ("/",), ("/x",), (), "location", None),),
    )
    assert cluster == Cluster(
        networks=(ip_network("10.0.0.0/24"), ip_network("fd00::/64")),
        hosts=(Host("b", (ip_address("10.0.0.3"), ip_address("fd00::3"))), root),
        clients=(client("laptop", "10.0.0.100", "fd00::64"), client("phone", "10.0.0.101", "fd00::65")),
        topology="partial",
        preshared_keys=True,
        expect=("root -> b",),
        keystore="keys/mine.yml",
    )


@pytest.mark.parametrize(
    ("written", "read", "shown"),
    [
        ("198.51.100.2", Endpoint(ip_address("198.51.100.2"), 51820), "198.51.100.2:51820"),
        ("198.51.100.2:1", Endpoint(ip_address("198.51.100.2"), 1), "198.51.100.2:1"),
        ("root.example.org", Endpoint("root.example.org", 51820), "root.example.org:51820"),
        ("root.example.org.:1", Endpoint("root.example.org.", 1), "root.example.org.:1"),
        ("[2001:db8::1]", Endpoint(ip_address("2001:db8::1"), 51820), "[2001:db8::1]:51820"),
        ("[2001:db8::1]:65535", Endpoint(ip_address("2001:db8::1"), 65535), "[2001:db8::1]:65535"),
    ],
)
def test_endpoints_as_the_contract_has_them(written: str, read: Endpoint, shown: str) -> None:
    endpoint = read_cluster(rows({"wg_endpoint": written})).hosts[0].endpoint
    assert endpoint == read
    assert str(endpoint) == shown


@pytest.mark.parametrize(
    ("name", "called"),
    [("@docker/root", "root"), ("@ssh/root.example.org", "root.example.org"), ("root.example.org",) * 2],
)
def test_a_host_is_called_as_in_pyinfra_without_the_connector(name: str, called: str) -> None:
    row = Row(name, {"wg_networks": ["10.0.0.0/24"], "wg_address": "10.0.0.2"})
    assert [host.name for host in read_cluster([row]).hosts] == [called]


def test_the_ends_of_a_tiny_network_are_addresses() -> None:
    """A /31 has no network and no broadcast address of its own (RFC 3021), an IPv6 prefix no broadcast."""
    two = rows({"wg_address": "10.0.0.0"}, {"wg_address": "10.0.0.1"}, wg_networks=["10.0.0.0/31"])
    assert len(read_cluster(two).hosts) == 2
    last = rows({"wg_address": "fd00::ffff"}, wg_networks=["fd00::/112"])
    assert len(read_cluster(last).hosts) == 1


hosts_of_any = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "wg_endpoint": st.sampled_from(["198.51.100.2", "a.example:5", "[2001:db8::1]"]),
            "wg_port": st.integers(1, 65535),
            "wg_site": st.sampled_from(["one", "two"]),
            "wg_gateway": st.booleans(),
            "firewall": st.sampled_from(["peers", "baseline", "off"]),
        },
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda host: host.get("wg_endpoint", object()),
)


@settings(deadline=None)
@given(hosts_of_any, st.randoms(use_true_random=False))
def test_the_order_of_an_inventory_does_not_matter(hosts: list[Data], order: random.Random) -> None:
    listed = rows(*hosts)
    turned = list(listed)
    order.shuffle(turned)
    clients = [client("one", "10.0.0.100"), client("two", "10.0.0.101")]
    assert read_cluster(turned, clients[::-1]) == read_cluster(listed, clients)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.ip_addresses().map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(schema.SETTING_NAMES)), anything, max_size=4))
def test_any_value_is_read_or_refused_by_its_key(data: Data) -> None:
    try:
        read_cluster(rows(data))
    except ModelError as error:
        told = {fault.key.partition("[")[0].partition(".")[0] for fault in error.faults}
    else:
        return
    assert told <= schema.SETTING_NAMES
    assert told
