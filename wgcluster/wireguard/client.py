"""Road warriors: a free address, the text for wg-quick(8) or a phone, and that text as a QR code."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence

import segno

from wgcluster.inventory.schema import DEFAULT_KEEPALIVE
from wgcluster.keys.secret import HIDDEN, Secret
from wgcluster.plan.plan import ClientPlan
from wgcluster.prefixes import Address, Network

FIRST = 100  # below it the servers have their addresses, as in the article


def next_addresses(networks: Sequence[Network], taken: Collection[Address]) -> tuple[Address, ...]:
    """One free address in each of ``networks``, the first from the hundredth on.

    The same offset in both families where there is one, so that 10.0.0.100 goes with fd00::64.

    Raises:
        ValueError: a network has none left.
    """
    # Each taken address bars one offset, so one of these is free unless the network ends before
    offsets = range(FIRST, FIRST + len(taken) + 1)
    free = {n: [o for o in offsets if _usable(n, o) and n[o] not in taken] for n in networks}
    if full := [str(network) for network in networks if not free[network]]:
        raise ValueError(
            f"{' and '.join(full)}: no address is free from .{FIRST} on; choose one: --address A"
        )
    common = set.intersection(*(set(found) for found in free.values())) if free else set()
    return tuple(network[min(common or free[network])] for network in networks)


def _usable(network: Network, offset: int) -> bool:
    last = network.num_addresses - (2 if network.version == 4 else 1)  # IPv4 ends with the broadcast address
    return offset <= last


def config(
    client: ClientPlan, private_key: Secret | str = HIDDEN, preshared_key: Secret | None = None
) -> str:
    """The config of a road warrior; without a key it shows ``(hidden)`` in its place."""
    gateway = client.gateway
    lines = [
        f"# {client.name}, by way of {gateway.name}",
        "[Interface]",
        *(f"Address = {address.ip}/{address.max_prefixlen}" for address in client.addresses),
        f"PrivateKey = {_text(private_key)}",
        f"MTU = {client.mtu}",
        "",
        "[Peer]",
        f"# host {gateway.name}",
        f"PublicKey = {gateway.public_key}",
    ]
    if gateway.preshared_key is not None:
        lines.append(f"PresharedKey = {_text(preshared_key or HIDDEN)}")
    lines.append(f"AllowedIPs = {', '.join(map(str, gateway.allowed_ips))}")
    if gateway.endpoint is not None:
        lines.append(f"Endpoint = {gateway.endpoint}")
    lines.append(f"PersistentKeepalive = {gateway.keepalive or DEFAULT_KEEPALIVE}")
    return "\n".join(lines) + "\n"


def _text(key: Secret | str) -> str:
    return key.reveal() if isinstance(key, Secret) else key


def qr(text: str) -> str:
    """``text`` as a QR code for a terminal, two rows of it a line."""
    out = io.StringIO()
    segno.make_qr(text, error="l").terminal(out, compact=True)
    return out.getvalue()
