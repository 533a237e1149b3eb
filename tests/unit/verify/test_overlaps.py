"""What a host itself needs in a network that is to go to the tunnel."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface, ip_network

import pytest

from wgcluster.host.kernel_routes import parse_routes
from wgcluster.host.observed import Observed, Ssh, WireguardInterface
from wgcluster.inventory.faults import host_fault
from wgcluster.plan.plan import HostPlan, Peer
from wgcluster.verify.overlaps import overlaps

HOST = HostPlan(
    name="root",
    interface="wg",
    addresses=(ip_interface("10.0.0.2/24"), ip_interface("fd00::2/64")),
    port=51820,
    mtu=1420,
    public_key="K" * 42 + "A=",
    peers=(
        Peer("cloud", "C" * 42 + "A=", tuple(map(ip_network, ("10.0.0.3/32", "172.16.0.0/12", "fd77::/32")))),
    ),
)
OURS = (
    "10.0.0.0/24 dev wg proto kernel scope link src 10.0.0.2",
    "172.16.0.0/12 dev wg scope link",
    "fd00::/64 dev wg proto kernel metric 256 pref medium",
    "fd77::/32 dev wg metric 1024 pref medium",
)
USUAL = ("default via 198.18.0.1 dev eth0", "198.18.0.0/20 dev eth0 proto kernel scope link src 198.18.0.9")


def seen(
    *routes: str, interface_addresses: tuple[tuple[str, str], ...] = (), ssh: Ssh | None = None
) -> Observed:
    four = parse_routes([line for line in routes if ":" not in line], 4)
    six = parse_routes([line for line in routes if ":" in line], 6)
    addresses = tuple(
        (name, ip_interface(text)) for name, text in (*interface_addresses, ("wg", "10.0.0.2/24"))
    )
    return Observed(routes=(*four, *six), interface_addresses=addresses, ssh=ssh)


@pytest.mark.parametrize(
    "observed",
    [
        Observed(),
        seen(*USUAL),
        seen(*USUAL, *OURS),  # deployed before
        seen("unreachable 172.16.0.0/12 metric 4000000000", "unreachable fd77::/32 dev lo metric 4294967295"),
        seen("10.0.0.0/8 via 198.18.0.7 dev eth0", "fd00::/8 via fe80::1 dev eth0"),
        seen("10.0.0.0/25 dev eth1 table 100"),  # which no rule looks up
        # a network that others announce may lie in one's own
        seen("172.0.0.0/8 dev eth0 proto kernel scope link src 172.9.0.1"),
        seen(
            "172.32.0.0/16 dev docker0",
            "10.0.1.0/24 dev eth0",
            interface_addresses=(("eth0", "10.0.1.1/24"),),
        ),
        seen(ssh=Ssh("198.18.0.77", 22, "eth0")),
        # from inside the tunnel, and from behind it where that is routed already
        seen(*OURS, ssh=Ssh("10.0.0.100", 22, "wg")),
        seen(*OURS, ssh=Ssh("172.16.9.9", 22, "eth0")),
        seen(ssh=Ssh("fe80::5%eth0", 22, "eth0")),
    ],
)
def test_what_is_in_nobodys_way(observed: Observed) -> None:
    assert list(overlaps(HOST, observed)) == []


@pytest.mark.parametrize(
    ("observed", "network", "needs"),
    [
        (
            seen("172.17.0.0/16 dev docker0 proto kernel scope link src 172.17.0.1 linkdown"),
            "172.16.0.0/12",
            "its route 172.17.0.0/16 dev docker0 proto kernel scope link src 172.17.0.1 linkdown",
        ),
        (seen("172.31.1.1 dev eth0 scope link"), "172.16.0.0/12", "its route 172.31.1.1 dev eth0 scope link"),
        (
            seen("172.16.0.0/12 dev eth1 scope link metric 100"),
            "172.16.0.0/12",
            "its route 172.16.0.0/12 dev eth1 scope link metric 100",
        ),
        (seen("blackhole 172.20.0.0/16"), "172.16.0.0/12", "its route blackhole 172.20.0.0/16"),
        (
            seen("unreachable fd77::/32 dev lo metric 1024 pref medium"),
            "fd77::/32",
            "its route unreachable fd77::/32 dev lo metric 1024 pref medium",
        ),
        (
            seen("172.19.0.0/16 nexthop dev wg weight 1 \\\tnexthop via 198.18.0.8 dev eth0 weight 1"),
            "172.16.0.0/12",
            "its route 172.19.0.0/16 nexthop dev wg weight 1 nexthop via 198.18.0.8 dev eth0 weight 1",
        ),
        (
            seen("10.0.0.0/16 dev eth0 proto kernel scope link src 10.0.5.1"),
            "10.0.0.0/24",
            "its network 10.0.0.0/16 dev eth0 proto kernel scope link src 10.0.5.1",
        ),
        (
            seen("fd00::/48 dev eth0 proto kernel metric 256 pref medium"),
            "fd00::/64",
            "its network fd00::/48 dev eth0 proto kernel metric 256 pref medium",
        ),
        # of whatever table
        (
            seen("default via 172.16.0.1 dev eth1 table 100"),
            "172.16.0.0/12",
            "the gateway of its route default via 172.16.0.1 dev eth1 table 100",
        ),
        (
            seen("default via inet6 fd77::1 dev eth0"),
            "fd77::/32",
            "the gateway of its route default via inet6 fd77::1 dev eth0",
        ),
        (
            seen("10.0.0.0/8 via 172.16.0.1 dev eth0 onlink"),
            "172.16.0.0/12",
            "the gateway of its route 10.0.0.0/8 via 172.16.0.1 dev eth0 onlink",
        ),
        (
            seen(interface_addresses=(("lo", "172.16.5.5/32"),)),
            "172.16.0.0/12",
            "its address 172.16.5.5 on lo",
        ),
        (seen(interface_addresses=(("eth0", "10.0.0.7/32"),)), "10.0.0.0/24", "its address 10.0.0.7 on eth0"),
        (
            seen(*USUAL, ssh=Ssh("172.16.9.9", 22, "eth0")),
            "172.16.0.0/12",
            "the way back to 172.16.9.9, from where this run manages it",
        ),
        (
            seen(ssh=Ssh("fd77::9", 22, None)),
            "fd77::/32",
            "the way back to fd77::9, from where this run manages it",
        ),
        (
            seen(*OURS[2:], "10.0.0.0/24 dev br0 proto kernel scope link src 10.0.0.1"),
            "10.0.0.0/24",
            "its route 10.0.0.0/24 dev br0 proto kernel scope link src 10.0.0.1",
        ),
    ],
)
def test_what_is(observed: Observed, network: str, needs: str) -> None:
    (fault,) = overlaps(HOST, observed)
    setting = "wg_networks" if network in ("10.0.0.0/24", "fd00::/64") else "wg_subnets"
    assert fault == host_fault(f"{setting}.in-use", network=network, interface="wg", needs=needs)


def test_a_network_that_it_is_said_to_stand_in() -> None:
    host = replace(HOST, beside=(ip_network("192.168.1.0/24"), ip_network("fd99::/64")))
    there = (("eth0", "192.168.1.5/24"), ("eth0", "fd99::5/64"))
    assert list(overlaps(host, seen(interface_addresses=there))) == []
    wrong = list(overlaps(host, seen(interface_addresses=(("eth0", "192.168.2.5/24"), ("wg", "fd99::5/64")))))
    assert wrong == [host_fault("wg_site_endpoint.elsewhere", network=one) for one in host.beside]


def test_a_line_for_each_network_with_all_that_is_in_it() -> None:
    observed = seen(
        "172.17.0.0/16 dev docker0 proto kernel scope link src 172.17.0.1",
        "172.18.0.0/16 dev br0 proto kernel scope link src 172.18.0.1",
        "fd77:0:1::/64 dev br0 proto kernel metric 256 pref medium",
        interface_addresses=(("docker0", "172.17.0.1/16"), ("br0", "172.18.0.1/16"), ("lo", "172.19.0.1/32")),
    )
    first, second = (fault.message for fault in overlaps(HOST, observed))
    assert first.count("its route") == 2
    assert first.count("its address") == 1
    assert "172.19.0.1 on lo" in first
    assert second.startswith("fd77::/32 is to go to wg")


def test_the_same_interface_under_its_old_name_is_told_elsewhere() -> None:
    observed = seen(OURS[0].replace("wg", "wg1"), interface_addresses=(("wg1", "10.0.0.2/24"),))
    assert len(list(overlaps(HOST, observed))) == 1
    renamed = replace(observed, interfaces=(WireguardInterface("wg1", HOST.public_key, 51820),))
    assert list(overlaps(HOST, renamed)) == []


@pytest.mark.parametrize(
    "line", ["nowhere dev eth0", "10.0.0.0/24 dev", "default via", "10.0.0.0/24 metric low"]
)
def test_what_ip_never_prints_is_not_read(line: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        parse_routes([line], 4)
