"""Networks that would be routed into the tunnel although the host uses them otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from ipaddress import ip_address

from wgcluster.host.kernel_routes import Route
from wgcluster.host.observed import Observed
from wgcluster.inventory.faults import Fault, host_fault
from wgcluster.plan.plan import HostPlan
from wgcluster.prefixes import Address, Network, is_within
from wgcluster.text import abbreviated
from wgcluster.verify.diversions import diversions
from wgcluster.wireguard.drift import routed


def overlaps(part: HostPlan, observed: Observed) -> Iterator[Fault]:
    """A fault for each planned network in which the host has other routes, addresses or gateways.

    The longest prefix routes a packet: of two equal ones one would lose, and packets for a longer one would
    not take the tunnel. A shorter one loses what is planned: that is refused where the host's own neighbours
    would be hidden behind the overlay; networks that others announce may lie in it.
    """
    own = {part.interface} | {one.name for one in observed.interfaces if one.public_key == part.public_key}
    others = [route for route in observed.routes if not route.devices or route.devices - own]
    foreign = [route for route in others if route.table == "main"]
    held = [
        (interface, address.ip) for interface, address in observed.interface_addresses if interface not in own
    ]
    overlay = tuple(address.network for address in part.addresses)
    for network in (*overlay, *routed(part)):
        found = [*_in_use(network, foreign, held), *_gateways(network, others)]
        if network in overlay:
            found += [f"its network {route}" for route in foreign if _is_neighbourhood(route, network)]
        found += _managed_from(network, own, observed)
        if found:
            code = "wg_networks.in-use" if network in overlay else "wg_subnets.in-use"
            yield host_fault(code, network=network, interface=part.interface, needs=abbreviated(found))
        yield from diversions(network, part, own, observed)
    for network in part.beside:
        if not any(address in network for _, address in held):
            yield host_fault("wg_site_endpoint.elsewhere", network=network)


def _in_use(network: Network, foreign: Sequence[Route], held: Sequence[tuple[str, Address]]) -> Iterator[str]:
    inside = [route for route in foreign if is_within(route.network, network) and not route.is_below(network)]
    for route in inside:
        yield f"its route {route}"
    for interface, address in held:
        if address in network and not any(address in route.network for route in inside):
            yield f"its address {address} on {interface}"


def _gateways(network: Network, foreign: Sequence[Route]) -> Iterator[str]:
    for route in foreign:
        reached = not is_within(route.network, network) and any(one in network for one in route.gateways)
        if reached:
            yield f"the gateway of its route {route}"


def _is_neighbourhood(route: Route, network: Network) -> bool:
    """Does the host reach hosts in ``network`` directly, as parts of a network that it stands in?"""
    inside = is_within(network, route.network) and route.network != network
    return inside and not route.gateways and bool(route.devices) and "kernel" in route.words


def _managed_from(network: Network, own: AbstractSet[str], observed: Observed) -> Iterator[str]:
    """Would the route to the SSH client of this run newly lead into the tunnel?"""
    ssh = observed.ssh
    if ssh is None or ssh.interface in own:
        return
    source = ip_address(ssh.source.partition("%")[0])
    live = any(
        route.network == network and route.table == "main" and route.devices and route.devices <= own
        for route in observed.routes
    )
    if source in network and not live:
        yield f"the way back to {source}, from where this run manages it"
