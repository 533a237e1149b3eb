"""The key that opens the registry, derived in a native thread that the deploy starts first.

Scrypt takes longer than anything else on the controller. So it starts with unchecked parameters from
keys.yml, before the code that reads the inventory is even imported. No host is changed before it has ended.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from gevent.threadpool import ThreadPoolExecutor
from pyinfra.api.state import State

from tasks.once import once
from wgcluster.inventory.faults import KeystoreError
from wgcluster.inventory.from_pyinfra import probable_keystore
from wgcluster.keys.seal import Cost, Seal, kdf_parameters
from wgcluster.keys.secret import Secret, passphrase_without_prompt

# A result may be an error: gevent prints the traceback of what a worker raises.
Key = Future[Seal | KeystoreError]


@dataclass(frozen=True)
class Early:
    """A key whose derivation began before its parameters were checked; useful if they prove right."""

    kdf_parameters: tuple[str, Cost]  # salt and cost
    passphrase: Secret
    key: Key


@once
def begin(state: State) -> Early | None:
    """Start deriving the key of the registry that the first host's data name.

    Returns:
        None: the passphrase must be asked for, or the parameters are not found.
    """
    path = Path(state.cwd or ".") / probable_keystore(state.inventory)
    try:
        parts = kdf_parameters(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    secret = passphrase_without_prompt(path)
    if parts is None or secret is None:
        return None
    return Early(parts, secret, derived(lambda: Seal(secret, *parts)))


def derived(derive: Callable[[], Seal]) -> Key:
    """Run ``derive`` in a thread."""

    def work() -> Seal | KeystoreError:
        try:
            return derive()
        except KeystoreError as error:
            return error

    return ThreadPoolExecutor(1).submit(work)
