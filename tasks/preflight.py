"""What would make the deploy fail half-way, found on all hosts before any is touched."""

from __future__ import annotations

from pyinfra import logger
from pyinfra.api.exceptions import PyinfraError

from tasks.controller import Run
from tasks.once import once
from wgcluster.inventory.faults import KeystoreError
from wgcluster.inventory.from_pyinfra import new_keys
from wgcluster.text import counted, printable
from wgcluster.verify.last_deploy import announced, last_deploy, restore
from wgcluster.verify.preflight import preflight_faults
from wgcluster.wireguard.config import RenderCache
from wgcluster.wireguard.names import unresolved


@once
def preflight(run: Run) -> None:
    """Check the observations of all hosts, and log what the run will take away, before the operator is asked.

    Raises:
        PyinfraError: with every fault of every host and its remedy; or the passphrase is wrong.
    """
    if refusal := _refusal(run):
        raise PyinfraError(refusal)


def _refusal(run: Run) -> str:
    """Why no host may be touched; "": nothing is wrong."""
    lines = []
    try:
        run.unlock()
    except KeystoreError as error:
        lines.append(str(error))
    try:
        seen = run.observations.first()
    except PyinfraError as error:  # no host is left
        return "\n".join(["", *lines, str(error)])
    shown = RenderCache()
    found = {host: last_deploy(run.part_of(host), observed, shown) for host, observed in seen.items()}
    faults = [
        fault
        for host, observed in seen.items()
        for fault in preflight_faults(run.plan, run.part_of(host), observed)
    ]
    unknown = {host: fault for host, one in found.items() if (fault := run.unknown_keys(one))}
    refused = [fault for host, fault in unknown.items() if not new_keys(host)]
    faults += refused
    if faults:
        lines.append(f"{counted(len(faults), 'fault')} on the hosts, nothing was changed:")
        lines += [f"  {printable(str(fault))}" for fault in faults]
    if refused:
        lines.append(restore(run.registry.path.name))
    if lines:
        return "\n".join(["", *lines])
    run.tell_made()
    for fault in unknown.values():
        logger.warning(f"--> {fault.text}: replaced or let go, as new_keys says")
    for host, observed in seen.items():
        for line in unresolved(run.part_of(host), observed):
            logger.warning(f"--> {run.part_of(host).name}: {printable(line)}")
    for change in announced(run.plan, found.values(), run.moved):
        logger.warning(f"--> {printable(change)}")
    return ""
