"""How a deploy begins: read, plan, prove, and observe every host before any is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra.api.state import State

if TYPE_CHECKING:
    from tasks.controller import Run


def start(state: State) -> Run:
    """Make the Run that all concerns use, and check that nothing would make it fail half-way.

    The hosts are observed in the background, while the rest is imported: that is why imports stand here
    (``python -m benchmarks.speed`` says what it saves).

    Raises:
        PyinfraError: with every fault of the operator's data, or of the hosts; nothing was changed.
    """
    from tasks.declaration import declaration
    from tasks.observations import observations_of

    observations_of(state, declaration(state).cluster).begin()

    from tasks.controller import this_run
    from tasks.preflight import preflight

    run = this_run(state)
    preflight(run)
    return run
