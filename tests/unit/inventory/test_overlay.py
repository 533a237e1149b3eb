"""A prefix for the overlay: free of what is declared, of what is there, and of everybody's defaults."""

from __future__ import annotations

from ipaddress import IPv4Network, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wgcluster.inventory.overlay import declared_networks, free_overlay, wanted_lengths
from wgcluster.inventory.row import Row

USUAL = (
    "10.0.0.0/24",  # this program's own examples, Hetzner, Azure
    "10.0.0.0/16",  # AWS, Google's tutorials, Oracle
    "172.17.0.0/16",  # docker0
    "172.18.0.0/16",
    "172.31.0.0/16",  # AWS, default VPC
    "192.168.0.0/20",  # Docker's last pools
    "192.168.122.0/24",  # libvirt
    "10.42.0.0/16",  # k3s
    "10.43.0.0/16",
    "10.88.0.0/16",  # Podman
    "10.96.0.0/12",  # Kubernetes
    "10.244.0.0/16",  # flannel
    "10.128.0.0/20",  # Google Cloud
    "100.64.0.0/10",  # Tailscale
)


@settings(deadline=None)
@given(st.text(max_size=8), st.integers(16, 30))
def test_nobodys_default(seed: str, length: int) -> None:
    (found,) = free_overlay({4: length}, (), seed)
    assert found.is_private
    assert found.prefixlen == length
    assert not any(found.overlaps(IPv4Network(text)) for text in USUAL if found.version == 4)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(64, 95), st.integers(0, 255)), max_size=40), st.text(max_size=4))
def test_free_of_what_is_taken_and_always_the_same(blocks: list[tuple[int, int]], seed: str) -> None:
    taken = [ip_network(f"10.{one}.{two}.0/24") for one, two in blocks]
    four, six = free_overlay({4: 24, 6: 64}, taken, seed)
    assert free_overlay({6: 64, 4: 24}, taken, seed) == (four, six)
    assert not any(four.overlaps(one) for one in taken)
    taken += [four, six]
    again = free_overlay({4: 24, 6: 64}, taken, seed)
    assert not any(one.overlaps(other) for one in again for other in taken if one.version == other.version)
    assert six.overlaps(ip_network("fd00::/8"))
    assert int(six.network_address) >> 80 != 0xFD << 40  # its 40 bits are no zeros


def test_where_the_usual_is_all_that_is_left() -> None:
    (found,) = free_overlay({4: 24}, [ip_network("10.0.0.0/8")], "x")
    assert found.overlaps(ip_network("172.16.0.0/12"))
    with pytest.raises(ValueError, match="no private IPv4 prefix of length 24 is free"):
        free_overlay({4: 24}, [ip_network("10.0.0.0/8"), ip_network("172.16.0.0/12")], "x")
    with pytest.raises(ValueError, match="no private IPv6 prefix of length 64 is free"):
        free_overlay({6: 64}, [ip_network("fd00::/8")], "x")


def test_what_rows_name_sound_or_not() -> None:
    data = {"wg_networks": ["10.70.0.0/24", "what"], "wg_subnets": "10.71.0.0/16", "wg_address": "10.70.0.2"}
    other = {"wg_endpoint": "10.72.0.1:51820", "wg_site_endpoint": "[fd77::1]:7", "wg_clients_from": ["::/0"]}
    name = {"wg_endpoint": "c.example.org:51820", "wg_site_endpoint": None}
    rows = [Row("a", data), Row("b", other), Row("c", name)]
    found = {str(one) for one in declared_networks(rows)}
    assert found == {"10.70.0.0/24", "10.71.0.0/16", "10.70.0.2/32", "10.72.0.1/32", "fd77::1/128"}
    assert wanted_lengths(rows) == {4: 24}
    assert wanted_lengths([Row("a", {})]) == {4: 24}
    assert wanted_lengths([Row("a", {"wg_networks": ["fd00::/56", "10.0.0.0/20"]})]) == {6: 56, 4: 20}
