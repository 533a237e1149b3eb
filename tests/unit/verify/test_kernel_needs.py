"""What the kernel of a host lacks for its plan."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface

import pytest

from tests.support.small_clusters import cluster, host, planned
from wgcluster.host.observed import Observed
from wgcluster.verify.kernel_needs import kernel_lacks

FOUR = planned(cluster(host("cloud", 3))).hosts[0]
BOTH = replace(FOUR, addresses=(*FOUR.addresses, ip_interface("fd00::2/64")))
KEY = "net/ipv6/conf/{}/disable_ipv6"


@pytest.mark.parametrize(
    ("observed", "why"),
    [
        (Observed(forwarding={4: "1", 6: "-"}), "its kernel has none"),
        (Observed(sysctls={KEY.format("default"): "1"}), "net.ipv6.conf.default.disable_ipv6 = 1"),
        (Observed(sysctls={KEY.format("wg"): "1"}), "net.ipv6.conf.wg.disable_ipv6 = 1"),
    ],
)
def test_an_overlay_address_of_a_family_that_is_off(observed: Observed, why: str) -> None:
    (fault,) = (one for one in kernel_lacks(BOTH, observed) if one.code == "host.ipv6-off")
    assert fault.text.startswith(f"IPv6 is off ({why}), and its address fd00::2 needs it;")
    assert not [one for one in kernel_lacks(FOUR, observed) if one.code == "host.ipv6-off"]
