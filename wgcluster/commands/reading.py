"""Inventory and key registry -> cluster and plan, for every command; no connection, no passphrase."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from wgcluster.declared import registry_of
from wgcluster.keystore import Registry, passphrase
from wgcluster.model import Cluster, Row, read_cluster
from wgcluster.plan import HostPlan, Plan, make_plan
from wgcluster.rows import load_rows


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


def host_of(plan: Plan, name: str) -> HostPlan:
    """The host called ``name``; CommandError lists those there are."""
    try:
        return plan.host(name)
    except KeyError:
        names = [host.name for host in plan.hosts]
        more = f" and {len(names) - 10} more" if len(names) > 10 else ""
        raise CommandError(f"no host is called {name}; there are: {', '.join(names[:10])}{more}") from None


def secret_names(plan: Plan) -> set[str]:
    """The names of all preshared keys that a plan speaks of."""
    return {
        peer.preshared_key for host in plan.hosts for peer in host.peers if peer.preshared_key is not None
    }
