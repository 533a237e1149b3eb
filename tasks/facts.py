"""What is on a host, read by one remote command."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

from wgcluster.observed import Observed, parse

SCRIPT = Path(__file__).parent.parent / "files" / "observe.sh"


class HostState(FactBase[Observed]):
    """One host, all that the deploy has to know of it.

    Args:
        interface: name of the WireGuard interface.
        files: paths of ours, read whole.
        sites: paths of nginx, read whole, links followed.
        dump: read the effective nginx configuration too.
    """

    def command(self, interface: str, files: Sequence[str], sites: Sequence[str], dump: bool) -> str:
        values = {
            "interface": interface,
            "files": " ".join(files),
            "sites": " ".join(sites),
            "dump": str(int(dump)),
        }
        head = "\n".join(f"{name}={shlex.quote(value)}" for name, value in values.items())
        return f"{head}\n{SCRIPT.read_text()}"

    @staticmethod
    def default() -> Observed:
        return Observed()

    def process(self, output: list[str]) -> Observed:
        try:
            observed = parse(output)
        except (ValueError, IndexError) as error:
            # pyinfra prints the cause instead, if there is one
            raise FactProcessError(f"the host's answer to observe.sh cannot be read: {error}") from None
        if observed.user:
            # Half of it would be missing, and look as if it were not there.
            raise FactProcessError(
                'only root can look; set "_sudo": True for this host, or "ssh_user": "root"'
            )
        return observed
