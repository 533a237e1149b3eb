"""The key that opens the registry, derived in a native thread from a deploy's first step on.

Scrypt takes longer than all else on the controller. So it begins with what keys.yml says at a glance, before
all that reads and checks the inventory is even imported; nothing is done on a host before it has ended.
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

# Perhaps still being derived. An error is given back: gevent prints the traceback of what a worker raises.
Key = Future[Seal | KeystoreError]


@dataclass(frozen=True)
class Early:
    """A key begun before anything was checked: of use where it turns out to be made of the same."""

    kdf_parameters: tuple[str, Cost]  # salt and cost
    passphrase: Secret
    key: Key


@once
def begin(state: State) -> Early | None:
    """Begin the key of the registry that the first host's data name.

    None where its passphrase is to be asked for, or the registry cannot be read at a glance.
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
    """What ``derive`` gives, beside all that goes on."""

    def work() -> Seal | KeystoreError:
        try:
            return derive()
        except KeystoreError as error:
            return error

    return ThreadPoolExecutor(1).submit(work)
