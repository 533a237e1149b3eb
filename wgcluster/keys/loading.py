"""An inventory and the key registry that it names, read together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from wgcluster.inventory.faults import KeystoreError, ModelError
from wgcluster.inventory.reading import keystore_of, read_cluster
from wgcluster.inventory.row import Row
from wgcluster.keys.registry import Registry


def registry_of(rows: Sequence[Row], folder: Path) -> Registry:
    """The registry of an inventory that lies in ``folder``.

    Raises:
        ModelError: with every fault of the inventory, those that only show beside the registry's road
            warriors, too.
        KeystoreError: the registry cannot be read.
    """
    try:
        return Registry.load(folder / read_cluster(rows).keystore)
    except ModelError:
        with suppress(KeystoreError):  # which is told once the inventory has no fault
            read_cluster(rows, Registry.load(folder / keystore_of(rows)).clients())
        raise
