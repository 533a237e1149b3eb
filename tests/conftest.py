"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

# How long an example takes is the machine's matter, and that of whatever else runs on it.
settings.register_profile("wgcluster", deadline=None)
settings.load_profile("wgcluster")
