"""What is done for speed alone; without it a deploy does the same, only slower.

What each part saves in a run without changes: ``python -m benchmarks.speed``.
"""

from __future__ import annotations

import atexit
import gc
import inspect
import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyinfra.api.state import State


def prepare_python() -> None:
    """Settings of the interpreter, made before anything of ours is imported."""
    # pyinfra switches the writing of bytecode off (pyinfra_cli.main): Python would compile our modules at
    # every run, 0.4 s. A setting of the operator stays.
    sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)
    # At exit Python would collect all garbage once more, 0.1 s.
    atexit.register(gc.freeze)
    # Collecting again and again finds nothing: 5 % of a run over 300 hosts, nothing of one over three.
    gc.set_threshold(100_000, 50, 50)
    # OpenBLAS starts a thread for each core, which spins at first. We multiply little; the key and the hosts
    # need the cores.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def known_to_inspect(state: State) -> None:
    """Register deploy files in the cache of inspect.getmodule.

    pyinfra inspects the stack to order each operation on each host. inspect.getmodule goes through all
    modules for a file that is no module, such as the deploy: 3 ms of the 4 ms of an operation without
    changes. The first call also resolves the links of every module's file, 25 ms. Safe: inspect would add
    these entries itself.
    """
    if state.current_deploy_filename:
        module = ModuleType(f"<{state.current_deploy_filename}>")
        module.__file__ = os.path.abspath(state.current_deploy_filename)
        sys.modules[module.__name__] = module
    for name, found in list(sys.modules.items()):
        if isinstance(file := getattr(found, "__file__", None), str):
            inspect.modulesbyfile.setdefault(file, name)
