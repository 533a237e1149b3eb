"""Whether others let in what a host sends them: it may send from another address than its endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from wgcluster.host.observed import Observed
from wgcluster.inventory.faults import Fault, host_fault
from wgcluster.plan.plan import HostPlan, Plan
from wgcluster.prefixes import Address
from wgcluster.text import abbreviated

# Of such an address NAT makes another one on the way: RFC 1918, RFC 6598, RFC 4193, link-local.
_TRANSLATED = [
    ip_network(one)
    for one in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "fc00::/7",
    )
]


def sends_elsewhere(plan: Plan, part: HostPlan, observed: Observed) -> Iterator[Fault]:
    """A fault for each source address that hosts which this one dials do not let in.

    Hosts that dial it get their answers from the address that they dialled. A private address towards a
    public one proves nothing: behind the NAT of a cloud it becomes the endpoint.
    """
    sources = {}
    for peer in part.peers:
        host = (peer.endpoint or "").rpartition(":")[0].strip("[]")
        if host in observed.sources:
            sources[peer.name] = ip_address(host), ip_address(observed.sources[host])
    refused: dict[Address, list[str]] = {}
    for other in plan.hosts if sources else ():
        if other.name in sources and other.firewall != "off":
            to, source = sources[other.name]
            known = any(source in one for one in other.listen_from if one.version == source.version)
            if not known and (_is_private(to) or not _is_private(source)):
                refused.setdefault(source, []).append(other.name)
    for address, names in refused.items():
        yield host_fault("wg_source.lacking", source=address, names=abbreviated(names))


def _is_private(address: Address) -> bool:
    return any(address in one for one in _TRANSLATED if one.version == address.version)
