"""All that would make the deploy fail half-way on a host, found on every host before one is touched."""

from __future__ import annotations

from collections.abc import Iterator

from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host

from tasks.controller import Run
from wgcluster.faults import KeystoreError
from wgcluster.observed import Observed
from wgcluster.obstacles import obstacles
from wgcluster.plan import HostPlan


def preflight(run: Run) -> None:
    """Look at every host of this run once; the first host's deploy does it for all.

    Raises:
        PyinfraError: naming every host, what is wrong there and how to mend it; or the passphrase is wrong.
    """
    with run.lock:
        if run.refused is None:
            seen = run.looks.first()
            faults = [f"  {part.name}: {fault}" for part, fault in _faults(run, seen)]
            count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''} on the hosts, nothing was changed:"
            try:
                run.unlock()
                run.refused = "\n".join(["", count, *faults]) if faults else ""
            except KeystoreError as error:
                run.refused = "\n".join(["", str(error), *([count, *faults] if faults else [])])
    if run.refused:
        raise PyinfraError(run.refused)


def _faults(run: Run, seen: dict[Host, Observed]) -> Iterator[tuple[HostPlan, str]]:
    for host, observed in seen.items():
        part = run.part_of(host)
        for fault in obstacles(part, observed):
            yield part, fault
