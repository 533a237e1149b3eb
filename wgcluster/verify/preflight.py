"""Faults that would make a deploy fail half-way on a host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from wgcluster.host import paths
from wgcluster.host.observed import Observed
from wgcluster.host.packages import MANAGERS, manager, missing
from wgcluster.inventory.faults import Fault, host_fault
from wgcluster.nginx.edit.on_host import check
from wgcluster.nginx.syntax.errors import NginxError
from wgcluster.plan.plan import HostPlan, Plan
from wgcluster.verify.foreign_firewalls import foreign_firewalls
from wgcluster.verify.kernel_needs import kernel_lacks
from wgcluster.verify.listen_port import port_redirected, port_taken
from wgcluster.verify.lockout import lockout
from wgcluster.verify.overlaps import overlaps
from wgcluster.verify.send_from import sends_elsewhere
from wgcluster.wireguard.config import MARK


def preflight_faults(plan: Plan, part: HostPlan, observed: Observed) -> Iterator[Fault]:
    """Every fault of one host, from its observation."""
    for one in (*_faults(part, observed), *sends_elsewhere(plan, part, observed)):
        yield replace(one, host=part.name)


def _faults(part: HostPlan, observed: Observed) -> Iterator[Fault]:
    tools = observed.tools
    if missing(tools) and manager(tools) is None:
        packages, installers = " and ".join(missing(tools)), ", ".join(MANAGERS)
        yield host_fault("host.cannot-install", packages=packages, installers=installers)
    if "systemctl" not in tools:
        yield host_fault("host.no-systemd")
    if observed.module == "missing" and "wireguard-go" not in tools:
        yield host_fault("host.no-wireguard")
    yield from _foreign_interface(part, observed)
    yield from port_taken(part, observed)
    yield from port_redirected(part, observed)
    yield from kernel_lacks(part, observed)
    yield from overlaps(part, observed)
    if part.names and observed.file(paths.HOSTS).kind in ("dangling", "other"):
        yield host_fault("wg_hosts_file.not-a-file", path=paths.HOSTS)
    if part.firewall != "off":
        yield from foreign_firewalls(part, observed)
    yield from lockout(part, observed)
    if not observed.nginx_cut_off:  # otherwise it is checked after the old files are restored
        try:
            check(part, observed)
        except NginxError as error:
            for one in error.faults:
                yield Fault("", "", None, one.code, one.text)


def _foreign_interface(part: HostPlan, observed: Observed) -> Iterator[Fault]:
    path = paths.config(part.interface)
    file = observed.file(path)
    if file.kind not in ("absent", "file"):
        yield host_fault("wg_interface.not-a-file", path=path)
    elif file.kind == "file" and not file.text.startswith(MARK):
        yield host_fault("wg_interface.foreign-file", path=path)
    elif file.kind == "absent" and observed.link is not None and observed.link.public_key != part.public_key:
        yield host_fault("wg_interface.foreign", interface=part.interface)
    for one in observed.interfaces:
        if one.public_key == part.public_key:
            yield host_fault("wg_interface.renamed", old=one.name)
