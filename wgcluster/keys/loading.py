"""The key registry that an inventory names."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from wgcluster.inventory.faults import KeystoreError, ModelError
from wgcluster.inventory.reading import keystore_of, read_cluster
from wgcluster.inventory.row import Row
from wgcluster.keys.registry import Registry


def registry_of(rows: Sequence[Row], folder: Path) -> Registry:
    """Load the registry of an inventory in ``folder``.

    Raises:
        ModelError: with every fault of the inventory, including those with road warriors of the registry.
        KeystoreError: the registry cannot be read.
    """
    try:
        return Registry.load(folder / read_cluster(rows).keystore)
    except ModelError:
        with suppress(KeystoreError):  # reported once the inventory is valid
            read_cluster(rows, Registry.load(folder / keystore_of(rows)).clients())
        raise
