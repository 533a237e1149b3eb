"""WireGuard's module at boot."""

from __future__ import annotations

from wgcluster.host.observed import Observed

TEXT = "# wgcluster: loads the module at boot\nwireguard\n"


def boot_text(observed: Observed) -> str | None:
    """The file for /etc/modules-load.d; None where there is to be none.

    Where the module is known to be missing, loading it would fail at every boot (systemd-modules-load(8)).
    In a container that unit does not run: the kernel is the host's, and what it has may change under us.
    """
    return TEXT if observed.module != "missing" or observed.container else None
