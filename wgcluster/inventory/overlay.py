"""A prefix for the overlay that nobody is likely to use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from wgcluster.inventory.row import Row
from wgcluster.prefixes import Address, Family, Network

_LENGTHS: Mapping[Family, int] = {4: 24, 6: 64}  # where the inventory has no valid prefix of the family
_KEYS = (
    "wg_networks",
    "wg_subnets",
    "wg_address",
    "wg_endpoint",
    "wg_site_endpoint",
    "wg_source",
    "wg_clients_from",
)
# RFC 1918, the parts that few use first
_PRIVATE = tuple(map(IPv4Network, ("10.64.0.0/11", "10.16.0.0/12", "10.0.0.0/8", "172.16.0.0/12")))
# What others take if nobody says otherwise, from their manuals.
_USUAL = tuple(
    IPv4Network(text)
    for text in (
        "10.0.0.0/14",  # AWS, Azure, Hetzner, Oracle; Docker swarm; VirtualBox, LXC; MicroK8s
        "10.8.0.0/24",  # OpenVPN
        "10.10.0.0/16",  # DigitalOcean and others
        "10.42.0.0/15",  # k3s
        "10.88.0.0/15",  # Podman
        "10.96.0.0/12",  # Kubernetes, services; DigitalOcean
        "10.128.0.0/9",  # Google Cloud; Kubernetes with flannel, kubespray
        "172.16.0.0/12",  # Docker; AWS
        "192.168.0.0/16",  # Docker, libvirt, networks at home
        "100.64.0.0/10",  # carriers (RFC 6598), Tailscale
    )
)
_TRIES = 1 << 12


def free_overlay(wanted: Mapping[Family, int], taken: Iterable[Network], seed: str) -> tuple[Network, ...]:
    """One prefix a family, free of ``taken`` and of what clouds and Docker use by default.

    The same answer for the same arguments. If all that is private overlaps what is taken or usual, what is
    usual is given up.

    Args:
        wanted: prefix lengths by family.
        seed: chooses among all that are free.

    Raises:
        ValueError: none is free.
    """
    there = list(taken)
    return tuple(_free(family, length, there, seed) for family, length in sorted(wanted.items()))


def _free(family: Family, length: int, taken: Sequence[Network], seed: str) -> Network:
    for avoided in ([*taken, *_USUAL], taken):
        for one in _private(length, avoided, seed) if family == 4 else _unique_local(length, seed):
            if not _overlaps(one, avoided):
                return one
    raise ValueError(f"no private IPv{family} prefix of length {length} is free")


def _private(length: int, taken: Sequence[Network], seed: str) -> Iterator[Network]:
    for base in _PRIVATE:
        if any(isinstance(one, IPv4Network) and base.subnet_of(one) for one in taken):
            continue
        longer = max(length, base.prefixlen)
        count, size = 1 << (longer - base.prefixlen), 1 << (32 - longer)
        start = int(_digest(seed), 16)
        for step in range(min(count, _TRIES)):
            yield IPv4Network((int(base.network_address) + (start + step) % count * size, longer))


def _unique_local(length: int, seed: str) -> Iterator[Network]:
    """RFC 4193, 3.2: fd, then 40 bits by chance; the first of the networks behind them."""
    for number in range(_TRIES):
        chance = int(_digest(f"{seed} {number}")[:10], 16)
        yield IPv6Network((IPv6Address((0xFD << 120) | (chance << 80)), max(length, 48)))


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _overlaps(one: Network, others: Iterable[Network]) -> bool:
    return any(one.version == other.version and one.overlaps(other) for other in others)


def declared_networks(rows: Iterable[Row]) -> list[Network]:
    """The networks and addresses that rows of an inventory name, sound or not, without names and /0."""
    values = (value for row in rows for key in _KEYS for value in _values(row.data.get(key, ())))
    return [one for one in map(_read, values) if one is not None and one.prefixlen]


def wanted_lengths(rows: Iterable[Row]) -> dict[Family, int]:
    """The families of ``wg_networks`` with their prefix lengths; of IPv4 alone where it says nothing."""
    values = (value for row in rows for value in _values(row.data.get("wg_networks", ())))
    found: dict[Family, int] = {}
    for value in values:
        if (network := _read(value)) is not None:
            found.setdefault(network.version, network.prefixlen)
    return found or {4: _LENGTHS[4]}


def _values(value: Any) -> Iterable[object]:
    return value if isinstance(value, list | tuple | set | frozenset) else [value]


def _read(value: object) -> Network | None:
    """A network, or an address with or without a port."""
    text = str(value)
    try:
        return ip_network(text, strict=False)
    except ValueError:
        pass
    host = text.partition("]")[0].removeprefix("[") if text.startswith("[") else text.rpartition(":")[0]
    try:
        address: Address = ip_address(host)
    except ValueError:
        return None
    return ip_network(address)
