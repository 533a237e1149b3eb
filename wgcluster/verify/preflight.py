"""What would make a deploy fail half-way on a host."""

from __future__ import annotations

from collections.abc import Iterator

from wgcluster.host import paths
from wgcluster.host.observed import Observed
from wgcluster.host.packages import INSTALL, missing
from wgcluster.nginx.edit.on_host import check
from wgcluster.nginx.syntax.errors import NginxError
from wgcluster.plan.plan import HostPlan
from wgcluster.verify.lockout import lockout
from wgcluster.verify.other_firewalls import other_firewalls
from wgcluster.verify.overlaps import overlaps
from wgcluster.wireguard.config import MARK


def preflight_faults(part: HostPlan, observed: Observed) -> Iterator[str]:
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
    yield from overlaps(part, observed)
    if part.firewall != "off":
        yield from other_firewalls(part, observed)
    reason = lockout(part, observed)
    if reason is not None:
        yield reason
    if not observed.nginx_cut_off:  # else it is judged when the old files are back
        try:
            check(part, observed)
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
