"""Reads inventory and key registry for all commands; no connection, no passphrase."""

from __future__ import annotations

import difflib
import sys
import traceback
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from wgcluster.inventory.cluster import Cluster
from wgcluster.inventory.from_pyinfra import load_rows
from wgcluster.inventory.reading import read_cluster
from wgcluster.inventory.row import Row
from wgcluster.keys.loading import registry_of
from wgcluster.keys.registry import Registry
from wgcluster.keys.secret import passphrase
from wgcluster.plan.plan import HostPlan, Plan
from wgcluster.plan.planner import make_plan
from wgcluster.text import abbreviated


class CommandError(ValueError):
    """A command cannot do what was asked; the message has the reason and the remedy."""


@dataclass
class LoadedInventory:
    """An inventory and its registry."""

    rows: Sequence[Row]
    registry: Registry

    def cluster(self) -> Cluster:
        """The hosts of the inventory and the clients of the registry.

        Raises:
            ModelError: with every fault.
        """
        return read_cluster(self.rows, self.registry.clients())

    def plan(self) -> Plan:
        """The plan, with ``(key of NAME)`` for missing keys.

        Raises:
            ModelError, PlanError: with every fault.
        """
        return make_plan(self.cluster(), self.registry.public_keys(), self.registry.client_keys())

    def host(self, plan: Plan, name: str) -> HostPlan:
        """The host of ``plan`` called ``name``.

        Raises:
            CommandError: there is none; with the name that may be meant. One that pyinfra's inventory has is
                answered with the one that the host has in the cluster.
        """
        try:
            return plan.host(name)
        except KeyError:
            of_inventory = {row.name: row.cluster_name for row in self.rows}
            meant = of_inventory.get(name)
            raise no_such("host", name, [host.name for host in plan.hosts], meant) from None

    def unlock(self) -> None:
        """Get the passphrase as the deploy does, and unlock the registry.

        Raises:
            KeystoreError: there is none, or it is wrong.
        """
        path = self.registry.path
        self.registry.unlock(passphrase(path, confirm=not path.exists()))


def read(inventory: Path) -> LoadedInventory:
    """Read an inventory as pyinfra does, and the registry that it names.

    Raises:
        CommandError: the inventory or its group data does not run.
        ModelError, KeystoreError: with every fault.
    """
    rows = read_rows(inventory)
    return LoadedInventory(rows, registry_of(rows, inventory.parent))


def read_rows(inventory: Path) -> Sequence[Row]:
    """Read an inventory as pyinfra does, whatever is in it.

    Raises:
        CommandError: the inventory or its group data does not run.
    """
    try:
        with redirect_stdout(sys.stderr):  # an inventory may print; standard output is for the command
            return load_rows(inventory)
    except FileNotFoundError as error:
        raise CommandError(str(error)) from None
    except (Exception, SystemExit) as error:  # an inventory is a program, which may raise anything
        own = error.__context__ or error  # pyinfra wraps it
        raise CommandError(f"{_where(own, inventory)}: {type(own).__name__}: {own}") from None


def _where(error: BaseException, inventory: Path) -> str:
    """The innermost line of the operator's own files in the traceback."""
    folder = inventory.parent.resolve()
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.resolve().parent in (folder, folder / "group_data"):
            return f"{path}:{frame.lineno}"
    return str(inventory)


def no_such(kind: str, name: str, names: Sequence[str], meant: str | None = None) -> CommandError:
    """The error for an unknown name, with a hint at ``meant`` or at the nearest of ``names``."""
    near = [meant] if meant else difflib.get_close_matches(name, names, 1)
    question = f"did you mean {near[0]}? There" if near else "there"
    return CommandError(f"no {kind} is called {name}; {question} are: {abbreviated(names) or 'none'}")
