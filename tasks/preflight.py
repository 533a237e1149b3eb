"""All that would make the deploy fail half-way on a host, found on every host before one is touched."""

from __future__ import annotations

from collections.abc import Iterator

from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks import nginx, paths
from tasks.controller import Run, of_all
from tasks.firewall import lockout
from tasks.packages import INSTALL, missing
from wgcluster.keystore import KeystoreError
from wgcluster.nginx import NginxError
from wgcluster.observed import Observed
from wgcluster.plan import HostPlan
from wgcluster.wgconf import MARK


def preflight(state: State, run: Run) -> None:
    """Look at every host of this run once; the first host's deploy does it for all.

    Raises:
        PyinfraError: naming every host, what is wrong there and how to mend it; or the passphrase is wrong.
    """
    with run.lock:
        if run.refused is None:
            seen = of_all(state, run.look)
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
        for fault in host_faults(part, observed):
            yield part, fault


def host_faults(part: HostPlan, observed: Observed) -> Iterator[str]:
    """What stands in the way on one host."""
    tools = observed.tools
    if missing(tools) and not tools & INSTALL.keys():
        yield (
            f"{' and '.join(missing(tools))} must be installed, and there is none of {', '.join(INSTALL)}"
            " to do it; install by hand"
        )
    if "systemctl" not in tools:
        yield (
            "there is no systemd, whose wg-quick@.service starts the interface at boot;"
            " leave this host to a system that has it"
        )
    if observed.module == "missing" and "wireguard-go" not in tools:
        yield (
            "the kernel has no WireGuard module and wireguard-go is not installed;"
            " boot a kernel that has it (Linux 5.6 or later), or install wireguard-go"
        )
    yield from _foreign_interface(part, observed)
    if part.firewall != "off":
        if observed.ufw and observed.unit("ufw.service").active:
            yield (
                'ufw is active and would undo our rules; "ufw disable", or set firewall = "off" for this host'
            )
        if observed.unit("firewalld.service").active:
            yield (
                'firewalld is active and would undo our rules; "systemctl disable --now firewalld",'
                ' or set firewall = "off" for this host'
            )
    reason = lockout(part, observed)
    if reason is not None:
        yield reason
    try:
        nginx.check(part, observed)
    except NginxError as error:
        yield from map(str, error.faults)


def _foreign_interface(part: HostPlan, observed: Observed) -> Iterator[str]:
    path = paths.config(part.interface)
    file = observed.file(path)
    other = "set wg_interface to another name, or move what is there out of the way"
    if file.kind not in ("absent", "file"):
        yield f"{path} is no regular file; {other}"
    elif file.kind == "file" and not file.text.startswith(MARK):
        yield f"{path} was not made by us and is never overwritten; {other}"
    elif file.kind == "absent" and observed.link is not None and observed.link.public_key != part.public_key:
        yield f"an interface {part.interface} that is not ours is up; {other}"
    for one in observed.interfaces:
        if one.public_key == part.public_key:
            yield (
                f"this host is in the cluster by its interface {one.name} already;"
                f' to rename it, run teardown.py with wg_interface = "{one.name}" first'
            )
        elif one.port == part.port:
            yield (
                f"UDP port {part.port} is taken by the interface {one.name};"
                " set wg_port to another one, or take that interface down"
            )
