"""Loading of the WireGuard module at boot."""

from __future__ import annotations

from wgcluster.host.observed import Observed

TEXT = "# wgcluster: loads the module at boot\nwireguard\n"


def boot_text(observed: Observed) -> str | None:
    """The file for /etc/modules-load.d; None: there should be none.

    Loading a missing module would fail at every boot (systemd-modules-load(8)). In a container that unit does
    not run, and the kernel of the machine may get the module later.
    """
    return TEXT if observed.module != "missing" or observed.container else None
