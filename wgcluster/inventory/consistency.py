"""Faults between settings that are valid each by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations

from wgcluster.inventory.cluster import Client, Host, dialled_names, stands_in
from wgcluster.inventory.expectations import invalid_expectations
from wgcluster.inventory.faults import Fault, fault, near
from wgcluster.inventory.schema import ClusterSettings
from wgcluster.prefixes import Address, Network

_MIN_IPV6_MTU = 1280  # bytes


def inconsistencies(
    shared: ClusterSettings, hosts: Sequence[Host], clients: Sequence[Client]
) -> Iterator[Fault]:
    """Every fault between two settings, two hosts, or a host and a road warrior.

    Args:
        hosts: as read, with defaults for settings that are invalid.
        clients: the road warriors of the key registry.
    """
    networks = shared.wg_networks
    for version, count in Counter(network.version for network in networks).items():
        if count > 1:
            prefixes = [str(network) for network in networks]
            yield fault("wg_networks.same-family", value=prefixes, count=count, family=version)
    for name, count in Counter(host.name for host in hosts).items():
        if count > 1:
            yield fault("wg_name.duplicate", name, name, count=count)
    yield from _check_addresses(networks, hosts, clients)
    yield from _check_subnets(networks, hosts)
    yield from _check_endpoints(hosts)
    yield from _check_names(hosts)
    names = {host.name for host in hosts}
    for host in hosts:
        yield from _check_links(host, names)
        yield from _check_keys(shared, host)
        yield from _check_modes(shared, host)
    no_links = shared.wg_degree is None and not any(host.links for host in hosts)
    if shared.wg_topology == "partial" and no_links and len(hosts) > 1:
        yield fault("wg_topology.no-links", value="partial")


def _check_links(host: Host, names: set[str]) -> Iterator[Fault]:
    for link in host.links:
        if link == host.name:
            yield fault("wg_links.itself", host.name, link)
        elif link not in names:
            yield fault("wg_links.unknown-host", host.name, link, hint=near(link, names))


def _check_keys(shared: ClusterSettings, host: Host) -> Iterator[Fault]:
    networks = shared.wg_networks
    for key, endpoint in (("wg_endpoint", host.endpoint), ("wg_site_endpoint", host.site_endpoint)):
        address = None if endpoint is None or isinstance(endpoint.host, str) else endpoint.host
        if address is not None and any(address in n for n in networks if n.version == address.version):
            yield fault("endpoint.inside-overlay", host.name, str(address), key=key)
    if host.mtu < _MIN_IPV6_MTU and any(network.version == 6 for network in networks):
        yield fault("wg_mtu.too-small-for-ipv6", host.name, host.mtu, least=_MIN_IPV6_MTU)
    for site in host.nginx:
        if site.scope == "location" and not site.locations:
            yield fault("nginx_vpn_only.no-locations", host.name, site.server_name)


def _check_modes(shared: ClusterSettings, host: Host) -> Iterator[Fault]:
    if host.masquerade and not host.gateway:
        yield fault("wg_masquerade.no-gateway", host.name, True)
    if host.masquerade and host.firewall == "off":
        yield fault("wg_masquerade.firewall-off", host.name, True)
    if host.masquerade_lan and not host.subnets:
        yield fault("wg_masquerade_lan.no-subnets", host.name, True)
    if host.masquerade_lan and host.firewall == "off":
        yield fault("wg_masquerade_lan.firewall-off", host.name, True)
    if host.firewall_allow and host.firewall == "off":
        yield fault("firewall_allow.firewall-off", host.name)
    if shared.wg_topology == "sites" and host.site is None:
        yield fault("wg_site.missing", host.name)


def _check_addresses(
    networks: Sequence[Network], hosts: Sequence[Host], clients: Sequence[Client]
) -> Iterator[Fault]:
    owners: dict[Address, str] = {}
    optional = _optional(networks, hosts) if hosts else {}
    hint = ', or "python -m wgcluster client renumber", which keeps the keys'
    for name, addresses, mend in [
        *((h.name, h.addresses, "") for h in hosts),
        *((c.name, c.addresses, hint) for c in clients),
    ]:
        if len({address.version for address in addresses}) < len(addresses):
            yield fault("wg_address.same-family", name, [str(a) for a in addresses])
        for network in networks:
            there = any(address.version == network.version for address in addresses)
            if addresses and not there and network.version != optional.get(name):
                found = [str(a) for a in addresses]
                yield fault("wg_address.missing-family", name, found, network=network, hint=mend)
        for address in addresses:
            value = str(address)
            home = next((n for n in networks if n.version == address.version and address in n), None)
            if home is None and networks:
                wanted = " or ".join(str(network) for network in networks)
                yield fault("wg_address.outside-network", name, value, networks=wanted, hint=mend)
            elif home is not None and home.num_addresses > 2 and address == home.network_address:
                yield fault("wg_address.network-itself", name, value, network=home)
            elif (
                home is not None
                and home.version == 4
                and home.num_addresses > 2
                and address == home.broadcast_address
            ):
                yield fault("wg_address.broadcast", name, value, network=home)
            if address in owners:
                yield fault("wg_address.taken", name, value, other=owners[address])
            owners.setdefault(address, name)


def _optional(networks: Sequence[Network], hosts: Sequence[Host]) -> dict[str, int]:
    """The family, by host, that it need not have: some hosts have it, and all have the other.

    A gateway forwards both. So does a host that others are reached through (plan/checks.py).
    """
    overlay = {network.version for network in networks}
    having = [{address.version for address in host.addresses} & overlay for host in hosts]
    common = set.intersection(*having)
    found: dict[str, int] = {}
    for family in set.union(*having) - common if common else ():
        for host in hosts:
            if not host.gateway and not any(subnet.version == family for subnet in host.subnets):
                found[host.name] = family
    return found


def _check_endpoints(hosts: Sequence[Host]) -> Iterator[Fault]:
    """Hosts that share an endpoint, of which only one can be dialled.

    Hosts behind one NAT need different ports. Different sites may use the same private address.
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
                yield fault("endpoint.taken", host.name, str(endpoint), key=key, other=owners[place])
            owners.setdefault(place, host.name)


def _check_names(hosts: Sequence[Host]) -> Iterator[Fault]:
    """A name cannot lead into the tunnel if the tunnel is dialled by it."""
    dialled = dialled_names(hosts)
    sites = {site.server_name: host.name for host in hosts for site in host.nginx}
    for name, at in sites.items():
        if name.lower().removesuffix(".") in dialled:
            for host in hosts:
                if host.hosts_file:
                    yield fault("wg_hosts_file.dialled-name", host.name, True, name=name, site_of=at)


def _check_subnets(networks: Sequence[Network], hosts: Sequence[Host]) -> Iterator[Fault]:
    subnets = [(host.name, subnet) for host in hosts for subnet in host.subnets]
    owners = [(host, subnet) for host in hosts for subnet in host.subnets]
    for owner, subnet in owners:
        name = owner.name
        for network in networks:
            if subnet.version == network.version and subnet.overlaps(network):
                yield fault("wg_subnets.overlaps-overlay", name, str(subnet), network=network)
        for host in hosts:
            for endpoint in (host.endpoint, host.site_endpoint):
                if endpoint is not None and not isinstance(endpoint.host, str) and endpoint.host in subnet:
                    if endpoint is host.site_endpoint and _all_stand_in(hosts, host.site, subnet, owner):
                        continue  # nobody dials it through the tunnel
                    at = endpoint.host
                    yield fault("wg_subnets.holds-endpoint", name, str(subnet), other=host.name, endpoint=at)
    for (name, one), (other_name, other) in combinations(subnets, 2):
        if one.version == other.version and one.overlaps(other):
            yield fault("wg_subnets.overlaps-subnet", name, str(one), network=other, other=other_name)


def _all_stand_in(hosts: Sequence[Host], site: str | None, subnet: Network, owner: Host) -> bool:
    """Does every host of the site reach the network directly?"""
    others = [one for one in hosts if one.site == site and one.name != owner.name]
    return site is not None and site == owner.site and all(stands_in(one, subnet, owner) for one in others)


def expectation_faults(
    entries: Sequence[str], hosts: Sequence[Host], clients: Sequence[Client]
) -> Iterator[Fault]:
    """Faults of entries of ``wg_expect`` that are malformed or name no host, client or network."""
    names = {host.name for host in hosts} | {client.name for client in clients}
    names |= {str(subnet) for host in hosts for subnet in host.subnets}
    yield from invalid_expectations(entries, names)
