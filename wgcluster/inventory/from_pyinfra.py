"""A pyinfra inventory as plain rows; the only module of the core that knows pyinfra."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from weakref import WeakKeyDictionary

from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State
from pyinfra.context import ctx_state
from pyinfra_cli.inventory import make_inventory  # type: ignore[import-untyped]

from wgcluster.inventory.row import OURS, Row

_names: WeakKeyDictionary[Host, str] = WeakKeyDictionary()


def rows_of(hosts: Iterable[Host]) -> list[Row]:
    """Every host of an inventory with its merged data, whatever ``--limit`` leaves out."""
    return [_row(host) for host in hosts]


def _row(host: Host) -> Row:
    declared = any(key.startswith(OURS) for key in host.host_data)
    return Row(host.name, host.data.dict(), declared)  # type: ignore[no-untyped-call]


def load_rows(inventory: Path) -> list[Row]:
    """Read an inventory file and its group data as pyinfra does; no connection is made.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not inventory.is_file():
        raise FileNotFoundError(f"{inventory}: no such inventory; name one with --inventory FILE")
    with ctx_state.use(State()):  # pyinfra records there which file it runs
        loaded: Inventory = make_inventory(str(inventory), cwd=str(inventory.parent.resolve()))
    return rows_of(loaded)


def cluster_name(host: Host) -> str:
    """The name of a pyinfra host in the cluster: its ``wg_name``, or its own name."""
    # Cached: pyinfra merges a host's data at each access, and each host needs the names of all.
    if (name := _names.get(host)) is None:
        name = _names[host] = _row(host).cluster_name
    return name


def new_keys(host: Host) -> bool:
    """Does the operator allow replacing keys that the registry does not know (``--data new_keys=True``)?"""
    return bool(host.data.get("new_keys", False))


def wants_json(host: Host) -> bool:
    """Should the verification print its results as JSON (``--data json=True``)?"""
    return bool(host.data.get("json", False))


def remove_packages(host: Host) -> bool:
    """Should the teardown remove packages (``--data remove_packages=True``)?"""
    return bool(host.data.get("remove_packages", False))
