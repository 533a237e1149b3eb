"""Settings of all tests."""

from __future__ import annotations

from gevent import monkey
from hypothesis import settings

from tests.support.examples import examples

# How long an example takes is the machine's matter, and that of whatever else runs on it.
settings.register_profile("wgcluster", examples(100), deadline=None)
settings.load_profile("wgcluster")

# pyinfra_cli patches the threads of whatever imports it, and a test worker's own do not survive that. What
# reads an inventory in a test's process needs no greenlets; whole runs of pyinfra have their own processes.
monkey.patch_all = lambda *_, **__: True
