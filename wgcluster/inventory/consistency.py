"""Is a cluster consistent? What is wrong between values that are right each for itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations

from wgcluster.inventory.cluster import Client, Host
from wgcluster.inventory.expectations import invalid_expectations
from wgcluster.inventory.faults import Fault, near
from wgcluster.inventory.schema import SharedKeys
from wgcluster.prefixes import Address, Network

MIN_IPV6_MTU = 1280  # bytes


def inconsistencies(shared: SharedKeys, hosts: Sequence[Host], clients: Sequence[Client]) -> Iterator[Fault]:
    """Every fault that two keys, two hosts, or a host and a road warrior make together.

    Args:
        hosts: as read, with defaults in the place of what has a fault of its own.
        clients: the road warriors of the key registry.
    """
    networks = shared.wg_networks
    for version, count in Counter(network.version for network in networks).items():
        if count > 1:
            yield Fault(
                "",
                "wg_networks",
                [str(n) for n in networks],
                f"holds {count} IPv{version} prefixes; one a family",
            )
    for name, count in Counter(host.name for host in hosts).items():
        if count > 1:
            yield Fault(name, "wg_name", name, f"{count} hosts have this name; each needs its own")
    yield from _check_addresses(networks, hosts, clients)
    yield from _check_subnets(networks, hosts)
    yield from _check_endpoints(hosts)
    names = {host.name for host in hosts}
    for host in hosts:
        yield from _check_links(host, names)
        yield from _check_keys(shared, host)
        yield from _check_modes(shared, host)
    no_links = shared.wg_degree is None and not any(host.links for host in hosts)
    if shared.wg_topology == "partial" and no_links and len(hosts) > 1:
        yield Fault("", "wg_topology", "partial", "needs wg_links on hosts, or wg_degree")


def _check_links(host: Host, names: set[str]) -> Iterator[Fault]:
    for link in host.links:
        if link == host.name:
            yield Fault(host.name, "wg_links", link, "is the host itself")
        elif link not in names:
            yield Fault(host.name, "wg_links", link, f"no host has this name{near(link, names)}")


def _check_keys(shared: SharedKeys, host: Host) -> Iterator[Fault]:
    networks = shared.wg_networks
    for key, endpoint in (("wg_endpoint", host.endpoint), ("wg_site_endpoint", host.site_endpoint)):
        address = None if endpoint is None or isinstance(endpoint.host, str) else endpoint.host
        if address is not None and any(address in n for n in networks if n.version == address.version):
            wrong = "lies inside the overlay; write where the host is reached without the tunnel"
            yield Fault(host.name, key, str(address), wrong)
    if host.mtu < MIN_IPV6_MTU and any(network.version == 6 for network in networks):
        wrong = f"an overlay with IPv6 needs at least {MIN_IPV6_MTU} (RFC 8200, 5)"
        yield Fault(host.name, "wg_mtu", host.mtu, wrong)
    for site in host.nginx:
        if site.scope == "location" and not site.locations:
            wrong = 'guards nothing; name locations, or guard the whole server with "scope": "server"'
            yield Fault(host.name, "nginx_vpn_only", site.server_name, wrong)


def _check_modes(shared: SharedKeys, host: Host) -> Iterator[Fault]:
    if host.masquerade and not host.gateway:
        yield Fault(
            host.name,
            "wg_masquerade",
            True,
            "only a gateway masquerades; set wg_gateway = True or leave it out",
        )
    if host.masquerade and host.firewall == "off":
        wrong = 'its rule goes with firewall = "peers" or "baseline"; with "off" set it to False: routed'
        yield Fault(host.name, "wg_masquerade", True, wrong)
    if shared.wg_topology == "sites" and host.site is None:
        wrong = 'is required with wg_topology = "sites"; name the provider or location it stands in'
        yield Fault(host.name, "wg_site", None, wrong)


def _check_addresses(
    networks: Sequence[Network], hosts: Sequence[Host], clients: Sequence[Client]
) -> Iterator[Fault]:
    owners: dict[Address, str] = {}
    hint = ', or "python -m wgcluster client renumber", which keeps the keys'
    for name, addresses, mend in [
        *((h.name, h.addresses, "") for h in hosts),
        *((c.name, c.addresses, hint) for c in clients),
    ]:
        if len({address.version for address in addresses}) < len(addresses):
            yield Fault(name, "wg_address", [str(a) for a in addresses], "one address a family")
        for network in networks:
            if addresses and not any(address.version == network.version for address in addresses):
                needs = f"needs an address in {network} as well{mend}"
                yield Fault(name, "wg_address", [str(a) for a in addresses], needs)
        for address in addresses:
            value = str(address)
            home = next((n for n in networks if n.version == address.version and address in n), None)
            if home is None and networks:
                wanted = " or ".join(str(network) for network in networks)
                yield Fault(
                    name, "wg_address", value, f"lies outside the overlay; take one in {wanted}{mend}"
                )
            elif home is not None and home.num_addresses > 2 and address == home.network_address:
                yield Fault(
                    name, "wg_address", value, f"is the address of the network {home} itself; take another"
                )
            elif (
                home is not None
                and home.version == 4
                and home.num_addresses > 2
                and address == home.broadcast_address
            ):
                yield Fault(name, "wg_address", value, f"is the broadcast address of {home}; take another")
            if address in owners:
                yield Fault(
                    name, "wg_address", value, f"{owners[address]} has this address; each needs its own"
                )
            owners.setdefault(address, name)


def _check_endpoints(hosts: Sequence[Host]) -> Iterator[Fault]:
    """One address and port for two hosts: at most one of them can be dialled there.

    Behind one NAT each has a port of its own. Two sites may use the same private address, each for itself.
    """
    owners: dict[tuple[str, str, int], str] = {}
    for host in hosts:
        public = ("wg_endpoint", "", host.endpoint)
        inside = ("wg_site_endpoint", f"site {host.site}", host.site_endpoint)
        for key, where, endpoint in (public, inside):
            if endpoint is None:
                continue
            place = (where, str(endpoint.host).lower().removesuffix("."), endpoint.port)
            if place in owners:
                wrong = f"{owners[place]} is dialled there, too; give each an address or a port of its own"
                yield Fault(host.name, key, str(endpoint), wrong)
            owners.setdefault(place, host.name)


def _check_subnets(networks: Sequence[Network], hosts: Sequence[Host]) -> Iterator[Fault]:
    subnets = [(host.name, subnet) for host in hosts for subnet in host.subnets]
    for name, subnet in subnets:
        for network in networks:
            if subnet.version == network.version and subnet.overlaps(network):
                yield Fault(name, "wg_subnets", str(subnet), f"overlaps the overlay {network}")
        for host in hosts:
            for endpoint in (host.endpoint, host.site_endpoint):
                if endpoint is not None and not isinstance(endpoint.host, str) and endpoint.host in subnet:
                    yield Fault(
                        name,
                        "wg_subnets",
                        str(subnet),
                        f"holds {host.name}'s endpoint {endpoint.host}: the tunnel would swallow itself",
                    )
    for (name, one), (other_name, other) in combinations(subnets, 2):
        if one.version == other.version and one.overlaps(other):
            yield Fault(name, "wg_subnets", str(one), f"overlaps {other} of {other_name}")


def strange_expectations(
    entries: Sequence[str], hosts: Sequence[Host], clients: Sequence[Client]
) -> Iterator[Fault]:
    """Each of ``entries`` of ``wg_expect`` that is none, or names nobody."""
    names = {host.name for host in hosts} | {client.name for client in clients}
    names |= {str(subnet) for host in hosts for subnet in host.subnets}
    for text, wrong in invalid_expectations(entries, names):
        yield Fault("", "wg_expect", text, wrong)
