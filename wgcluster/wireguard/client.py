"""Road warriors: a free address, the config for wg-quick(8) or a phone, and its QR code."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from dataclasses import replace
from ipaddress import ip_interface

import segno

from wgcluster.host.hosts_file import lines
from wgcluster.inventory.schema import DEFAULT_KEEPALIVE
from wgcluster.keys.secret import Secret
from wgcluster.plan.plan import ClientPlan, Names
from wgcluster.prefixes import Address, Network
from wgcluster.text import HIDDEN
from wgcluster.wireguard.config import NAMED, RenderCache, interface_lines

_QR_BYTES = 2953  # of version 40, level L (ISO/IEC 18004, table 7)
_FIRST = 100  # servers have the addresses below, as in the article


def next_addresses(networks: Sequence[Network], taken: Collection[Address]) -> tuple[Address, ...]:
    """The first free address of each network from the hundredth on.

    If possible at the same offset in both families: 10.0.0.100 and fd00::64.

    Raises:
        ValueError: a network has none left.
    """
    # Each taken address takes one offset, so one of these is free unless the network ends before
    offsets = range(_FIRST, _FIRST + len(taken) + 1)
    free = {n: [o for o in offsets if _usable(n, o) and n[o] not in taken] for n in networks}
    if full := [str(network) for network in networks if not free[network]]:
        raise ValueError(
            f"{' and '.join(full)}: no address is free from .{_FIRST} on; choose one: --address A"
        )
    common = set.intersection(*(set(found) for found in free.values())) if free else set()
    return tuple(network[min(common or free[network])] for network in networks)


def _usable(network: Network, offset: int) -> bool:
    last = network.num_addresses - (2 if network.version == 4 else 1)  # IPv4 ends with the broadcast address
    return offset <= last


def config(
    client: ClientPlan,
    private_key: Secret | str = HIDDEN,
    preshared_key: Secret | None = None,
    with_names: bool = False,
) -> str:
    """The config of a road warrior, with ``(hidden)`` in place of missing keys.

    Args:
        with_names: say in comments what its /etc/hosts needs.
    """
    gateway = replace(client.gateway, keepalive=client.gateway.keepalive or DEFAULT_KEEPALIVE)
    addresses = [ip_interface(address.ip) for address in client.addresses]  # without the network's length
    secrets = {}
    if gateway.preshared_key is not None and preshared_key is not None:
        secrets[gateway.preshared_key] = _text(preshared_key)
    written = [
        f"# {client.name}, by way of {gateway.name}",
        *_hosts_lines(client.names if with_names else ()),
        *interface_lines(addresses, _text(private_key), client.mtu),
        *([f"DNS = {', '.join(map(str, client.dns))}"] if client.dns else []),
        # wg-quick resolves a name each time the road warrior sets out
        *(text.replace(NAMED, "Endpoint = ") for text in RenderCache().peers([gateway], secrets)),
    ]
    return "\n".join(written) + "\n"


def _hosts_lines(names: Names) -> list[str]:
    if not names:
        return []
    head = '# For /etc/hosts, so that these names lead into the tunnel (README, "Names"):'
    return [head, *(f"# {line}" for line in lines(names))]


def _text(key: Secret | str) -> str:
    return key.reveal() if isinstance(key, Secret) else key


def qr(text: str) -> str:
    """``text`` as a QR code for a terminal, two rows of modules per line.

    Raises:
        ValueError: it is longer than a QR code holds.
    """
    if (size := len(text.encode())) > _QR_BYTES:
        raise ValueError(f"has {size:,} bytes, and a QR code holds {_QR_BYTES:,}")
    out = io.StringIO()
    segno.make_qr(text, error="l").terminal(out, compact=True)
    return out.getvalue()
