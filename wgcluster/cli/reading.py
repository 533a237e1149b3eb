"""Inventory and key registry -> cluster and plan, for every command; no connection, no passphrase."""

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
    """A command cannot do what it is asked; the message says why and what would help."""


@dataclass
class Reading:
    """One inventory as it is now, with the registry beside it."""

    rows: Sequence[Row]
    registry: Registry

    def cluster(self) -> Cluster:
        """All hosts and the clients of the registry; ModelError."""
        return read_cluster(self.rows, self.registry.clients())

    def plan(self) -> Plan:
        """What everyone gets; who has no key yet shows as ``(key of NAME)``. ModelError, PlanError."""
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
        """Ask for the passphrase, as the deploy does; KeystoreError."""
        path = self.registry.path
        self.registry.unlock(passphrase(path, confirm=not path.exists()))


def read(inventory: Path) -> Reading:
    """Read an inventory as pyinfra does, and the registry that it names.

    Raises:
        CommandError: the inventory or its group data does not run.
        ModelError, KeystoreError: they do not hold what they should.
    """
    try:
        with redirect_stdout(sys.stderr):  # what an inventory prints must not spoil the JSON of a command
            rows = load_rows(inventory)
    except FileNotFoundError as error:
        raise CommandError(str(error)) from None
    except (Exception, SystemExit) as error:  # an inventory is a program, so anything may come out of it
        own = error.__context__ or error  # pyinfra wraps what comes out
        raise CommandError(f"{_where(own, inventory)}: {type(own).__name__}: {own}") from None
    return Reading(rows, registry_of(rows, inventory.parent))


def _where(error: BaseException, inventory: Path) -> str:
    """The last line of the operator's own files that the error came through."""
    folder = inventory.parent.resolve()
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.resolve().parent in (folder, folder / "group_data"):
            return f"{path}:{frame.lineno}"
    return str(inventory)


def no_such(kind: str, name: str, names: Sequence[str], meant: str | None = None) -> CommandError:
    """What to raise where none of ``names`` is ``name``: asks for ``meant``, or else for the nearest."""
    near = [meant] if meant else difflib.get_close_matches(name, names, 1)
    question = f"did you mean {near[0]}? There" if near else "there"
    return CommandError(f"no {kind} is called {name}; {question} are: {abbreviated(names) or 'none'}")
