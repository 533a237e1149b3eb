"""What the operator declares, read once a run."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from gevent.threadpool import ThreadPoolExecutor
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.state import State

from tasks.once import once
from wgcluster.inventory.cluster import Cluster
from wgcluster.inventory.faults import KeystoreError, ModelError
from wgcluster.inventory.from_pyinfra import rows_of
from wgcluster.inventory.reading import read_cluster
from wgcluster.keys.loading import registry_of
from wgcluster.keys.registry import Registry
from wgcluster.keys.seal import Seal
from wgcluster.keys.secret import passphrase

# Perhaps still being derived. An error is a result: gevent prints the traceback of what a worker raises.
Key = Future[Seal | KeystoreError]


@dataclass(frozen=True)
class Declaration:
    """The inventory and its registry."""

    cluster: Cluster
    registry: Registry
    key: Key | None  # of the registry; None: no secrets are needed


@once
def declaration(state: State, secrets: bool = True) -> Declaration:
    """The inventory and its registry.

    Args:
        secrets: False: ask for no passphrase.

    Raises:
        PyinfraError: with every fault of the operator's data; it ends the run without a traceback.
    """
    try:
        return _read(state, secrets)
    except (ModelError, KeystoreError) as error:
        raise PyinfraError(f"\n{error}") from None


def _read(state: State, secrets: bool) -> Declaration:
    rows = rows_of(state.inventory)
    registry = registry_of(rows, Path(state.cwd or "."))
    cluster = read_cluster(rows, registry.clients())
    if not secrets:
        return Declaration(cluster, registry, None)
    secret = passphrase(registry.path, confirm=not registry.path.exists())
    return Declaration(cluster, registry, _derived(lambda: registry.derive(secret)))


def _derived(derive: Callable[[], Seal]) -> Key:
    """The result of ``derive``, which takes 0.1 s in a native thread, while the hosts are observed."""

    def work() -> Seal | KeystoreError:
        try:
            return derive()
        except KeystoreError as error:
            return error

    return ThreadPoolExecutor(1).submit(work)


def unlock(registry: Registry, key: Key) -> None:
    """Wait for the key and unlock the registry with it.

    Raises:
        KeystoreError: the key cannot be derived, or is the wrong one.
    """
    derived = key.result()
    if isinstance(derived, KeystoreError):
        raise derived
    registry.unlock_with(derived)
