"""The hosts of ``benchmarks.scale`` answer as observe.sh does now: else it would measure nothing, or fail."""

from __future__ import annotations

from benchmarks.measure import run
from benchmarks.scale import DEPLOY, FAKE, fakes, unchanged


def test_nothing_is_to_be_changed_on_them() -> None:
    with fakes(4) as folder:
        unchanged(run(DEPLOY, folder, FAKE))
