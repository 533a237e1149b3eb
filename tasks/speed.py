"""All that is here for speed alone. The deploy does the same without it, only slower.

What each saves of a run that changes nothing: ``python -m benchmarks.speed``.
"""

from __future__ import annotations

import atexit
import gc
import inspect
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyinfra.api.state import State


def prepare_python() -> None:
    """Before anything of ours is imported."""
    # pyinfra switches the writing of bytecode off (pyinfra_cli.main), and Python would compile all of ours
    # anew at every run: 0.4 s. What the operator himself has set stays.
    sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)
    # At its end Python would go through all that is left once more, 0.1 s, to free what goes anyway.
    atexit.register(gc.freeze)
    # Before that it would go through all modules again and again while they are loaded.
    gc.set_threshold(100_000, 50, 50)
    # What numpy multiplies matrices with starts a thread for each core, which spins at first. Nothing is
    # multiplied here; the key and the hosts can use the core.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def known_to_inspect(state: State) -> None:
    """Let the files that pyinfra's operations are called from be found among the modules at once.

    pyinfra looks up the stack for the order of each operation on each host. inspect.getmodule goes through
    all modules for a file that is none, as the deploy's own: 3 ms of the 4 that an operation costs where
    nothing changes. The first time it also follows the links of every module's file, 25 ms. Safe: it only
    adds entries to a table that inspect fills by itself.
    """
    if state.current_deploy_filename:
        module = ModuleType(f"<{state.current_deploy_filename}>")
        module.__file__ = os.path.abspath(state.current_deploy_filename)
        sys.modules[module.__name__] = module
    for name, found in list(sys.modules.items()):
        if isinstance(file := getattr(found, "__file__", None), str):
            inspect.modulesbyfile.setdefault(file, name)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Python's garbage collector would go through all peers again and again, and a plan leaves it nothing."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
