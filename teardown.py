"""Takes all of ours off the hosts again: pyinfra inventory.py teardown.py [--data remove_packages=True]."""

from pyinfra import state

from tasks.controller import this_run
from tasks.removal import removal

removal(run=this_run(state, secrets=False))
