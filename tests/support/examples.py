"""How many examples a law is tried on."""

from __future__ import annotations

import os

from hypothesis import settings

_QUICK = bool(os.environ.get("WGCLUSTER_QUICK"))  # script/test unit sets it


def examples(count: int) -> settings:
    """``count`` of them; a quarter where tests are to be quick."""
    return settings(max_examples=count // 4 if _QUICK else count)
