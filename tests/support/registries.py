"""Registries with something in them."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

from wgcluster.keys.registry import Registry
from wgcluster.keys.secret import Secret

WORD = Secret("correct horse")
LAPTOP, PHONE = ip_address("10.0.0.100"), ip_address("10.0.0.101")
ROOT = Path(__file__).parents[2]


def fill(path: Path) -> Registry:
    """A registry of two hosts, two clients and two links, saved at ``path``, unlocked."""
    registry = Registry.load(path)
    registry.unlock(WORD)
    registry.ensure_hosts(["root", "cloud"])
    registry.ensure_links(["cloud|root", "laptop|root"])
    registry.add_client("laptop", [LAPTOP, ip_address("fd00::64")])
    registry.add_client("phone", [PHONE], "root")
    registry.save()
    return registry


def opened(path: Path) -> Registry:
    registry = Registry.load(path)
    registry.unlock(WORD)
    return registry


def secrets_of(registry: Registry) -> dict[str, str]:
    return {
        **{f"host {name}": registry.private_key(name).reveal() for name in registry.public_keys()},
        **{f"client {name}": registry.client_private_key(name).reveal() for name in registry.client_keys()},
        **{f"link {name}": registry.preshared_key(name).reveal() for name in registry.links()},
    }
