"""How a deploy begins: read, plan, prove, and look at every host before one is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra.api.state import State

if TYPE_CHECKING:
    from tasks.controller import Run


def start(state: State) -> Run:
    """The Run that all concerns work on, once it is sure that nothing would make it fail half-way.

    What takes long begins first and goes on beside the rest, whose modules are therefore loaded here and not
    above: the key of the registry (0.1 s in a thread), then the look at every host.

    Raises:
        PyinfraError: with every fault of the operator's data, or of the hosts; nothing was changed.
    """
    from tasks.key import begin

    begin(state)

    from tasks.declaration import declaration
    from tasks.observations import observations_of

    observations_of(state, declaration(state).cluster).begin()

    from tasks.controller import this_run
    from tasks.preflight import preflight

    run = this_run(state)
    preflight(run)
    return run
