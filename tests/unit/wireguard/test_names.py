"""Peers that are dialled by name."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface, ip_network

import pytest

from wgcluster.host.observed import Observed
from wgcluster.inventory.cluster import Cluster, Endpoint, Host, names_dialled
from wgcluster.plan.plan import HostPlan, Peer
from wgcluster.wireguard.config import is_name
from wgcluster.wireguard.names import dialled_by_name, unresolved

NETS = (ip_network("10.0.0.0/32"),)
HOST = HostPlan(
    name="root",
    interface="wg",
    addresses=(ip_interface("10.0.0.2/24"),),
    port=51820,
    mtu=1420,
    public_key="K",
    peers=(
        Peer("a", "A", NETS, "one.example.net:51820"),
        Peer("b", "B", NETS, "198.18.0.1:51820"),
        Peer("c", "C", NETS, "one.example.net:51821"),
        Peer("d", "D", NETS, "[2001:db8::1]:51820"),
        Peer("e", "E", NETS),
    ),
)


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [
        ("one.example.net:1", True),
        ("1.example.net:1", True),
        ("server9:1", True),
        ("198.18.0.1:1", False),
        ("[2001:db8::1]:1", False),
        (None, False),
    ],
)
def test_a_name_is_no_address(endpoint: str | None, name: bool) -> None:
    assert is_name(endpoint) is name


def test_what_does_not_resolve_is_told_once_a_name() -> None:
    assert dialled_by_name(HOST) == {"one.example.net": ["a", "c"]}
    told = "one.example.net does not resolve; a, c cannot be dialled until it does"
    assert list(unresolved(HOST, Observed(names={"one.example.net": False, "other": False}))) == [told]
    assert list(unresolved(HOST, Observed(names={"one.example.net": True}))) == []


def test_names_that_a_host_may_dial() -> None:
    """Its own are not asked for; at its own site it dials the site endpoint."""
    one = Host("one", (ip_interface("10.0.0.1/24"),), endpoint=Endpoint("one.example.net", 51820), site="s")
    hosts = (
        replace(one, site_endpoint=Endpoint("one.internal", 51820)),
        replace(one, name="two", endpoint=Endpoint("two.example.net", 51820)),
        replace(one, name="three", endpoint=None, site=None),
    )
    assert names_dialled(Cluster(NETS, hosts)) == {
        "one": ("two.example.net",),
        "two": ("one.internal",),
        "three": ("one.example.net", "two.example.net"),
    }
