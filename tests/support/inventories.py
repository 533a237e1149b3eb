"""Rows of small inventories, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any

import pytest

from tests.support.faults import short
from wgcluster.inventory.cluster import Client
from wgcluster.inventory.faults import Fault, ModelError
from wgcluster.inventory.reading import read_cluster
from wgcluster.inventory.row import Row

Data = Mapping[str, Any]
GATEWAY = {"wg_endpoint": "198.51.100.2", "wg_gateway": True}


def rows(*hosts: Data, **shared: Any) -> list[Row]:
    """Hosts a, b, c … at 10.0.0.2, 10.0.0.3 …, each with ``shared`` beneath its own data."""
    return [
        Row(
            f"@docker/{'abcdefgh'[i]}",
            {"wg_networks": ["10.0.0.0/24"], "wg_address": f"10.0.0.{i + 2}", **shared, **host},
        )
        for i, host in enumerate(hosts)
    ]


def faults(rows: Sequence[Row], clients: Sequence[Client] = ()) -> list[str]:
    """What is wrong, each fault without its wording: ``a: wg_port = 0 [setting.too-small]``."""
    return [short(fault) for fault in worded(rows, clients)]


def worded(rows: Sequence[Row], clients: Sequence[Client] = ()) -> tuple[Fault, ...]:
    with pytest.raises(ModelError) as caught:
        read_cluster(rows, clients)
    return caught.value.faults


def client(name: str, *addresses: str) -> Client:
    return Client(name, tuple(map(ip_address, addresses)))
