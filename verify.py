"""Holds the live hosts against the plan: pyinfra inventory.py verify.py -y; exit status 1 if one fails."""

from pyinfra import host, state

from tasks.controller import this_run
from tasks.verification import fail_on_faults, verify

run = this_run(state, secrets=False)
found = verify(state, run)
fail_on_faults(name="Hold the host against the plan", found=found.get(host.name, ()))
