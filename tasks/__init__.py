"""The deploy: thin pyinfra operations that make a host what its HostPlan says."""

import atexit
import gc
import os
import sys

from tasks.output import read_safely

# pyinfra switches the writing of bytecode off (pyinfra_cli.main), and Python would compile all of ours anew
# at every run: 0.4 s. What the operator himself has set stays.
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)

# At its end Python would go through all that is left once more, 0.1 s, to free what goes with the process.
atexit.register(gc.freeze)
# Before that it looks through all modules again and again while they are loaded: a fiftieth of a run.
gc.set_threshold(100_000, 50, 50)

# What numpy multiplies matrices with starts a thread for each core, which spins at first. Nothing is
# multiplied here; the key and the hosts can use the core.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

read_safely()
