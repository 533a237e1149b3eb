"""One host of a lab that runs: what a person at its console could do."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from docker.models.containers import Container
from docker.models.networks import Network

from lab import ssh
from lab.errors import LabError
from lab.spec import HostSpec

_BOOT_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Attachment:
    """One network a host stands in, and its addresses there."""

    network: Network
    address: IPv4Address
    address6: IPv6Address


@dataclass(slots=True)
class Host:
    """A container of the lab. ``address`` and ``address6`` are those of its first network."""

    spec: HostSpec
    container: Container
    prefix: str
    attachments: tuple[Attachment, ...] = field(repr=False)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def identifier(self) -> str:
        """The container's name: pyinfra's ``docker_identifier``."""
        return str(self.container.name)

    @property
    def address(self) -> str:
        return str(self.attachments[0].address)

    @property
    def address6(self) -> str:
        return str(self.attachments[0].address6)

    def run(
        self,
        command: str,
        *,
        check: bool = False,
        timeout: int = 60,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command as root; it is killed after ``timeout`` seconds (status 124).

        Raises:
            LabError: ``check`` is set and the command failed; holds its output.
        """
        settings = [f"--env={name}={value}" for name, value in (env or {}).items()]
        inside = ["timeout", "--kill-after=5", str(timeout), "sh", "-c", command]
        ended = subprocess.run(
            ["docker", "exec", "--interactive", *settings, self.identifier, *inside],
            input=(stdin or "").encode(errors="surrogateescape"),
            capture_output=True,
            timeout=timeout + 30,
            check=False,
        )
        # not text=True, which makes \n of \r\n; any byte survives a read and a write
        out, err = (data.decode(errors="surrogateescape") for data in (ended.stdout, ended.stderr))
        done = subprocess.CompletedProcess(command, ended.returncode, out, err)
        if check and done.returncode != 0:
            raise LabError(
                f"{self.name}: {command}: status {done.returncode}\n{done.stdout}{done.stderr}".rstrip()
            )
        return done

    def read(self, path: str) -> str:
        """The text of a file.

        Raises:
            LabError: it cannot be read.
        """
        return self.run(f"cat {shlex.quote(path)}", check=True).stdout

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file, with the folders it needs, as root."""
        quoted = shlex.quote(path)
        self.run(
            f'mkdir -p "$(dirname {quoted})" && cat > {quoted} && chmod {mode:o} {quoted}',
            stdin=text,
            check=True,
        )

    def restart(self) -> None:
        """Boot it again, as ``docker restart`` does, and wait until all is started, or failed."""
        self.container.restart(timeout=20)
        self.wait()

    def wait(self) -> str:
        """Wait until systemd has started everything; "running", or "degraded" if a unit failed.

        Raises:
            LabError: it takes longer than two minutes.
        """
        deadline = time.monotonic() + _BOOT_SECONDS
        state = ""
        while time.monotonic() < deadline:
            state = self.run("systemctl is-system-running --wait", timeout=_BOOT_SECONDS).stdout.strip()
            if state in ("running", "degraded"):
                return state
            time.sleep(0.2)  # the bus is not there yet
        raise LabError(f"{self.identifier}: not up after {_BOOT_SECONDS} s, systemd says {state!r}")

    def failures(self) -> str:
        """The units that failed, and the last warnings."""
        return self.run(
            "systemctl --failed --no-legend --plain; journalctl -b -p warning -n 20 --no-pager"
        ).stdout

    def pause(self) -> None:
        """Freeze it: nothing reaches it, an exec neither."""
        self.container.pause()

    def unpause(self) -> None:
        self.container.unpause()

    def disconnect(self) -> None:
        """Pull its cables; an exec still works."""
        for attachment in self.attachments:
            attachment.network.disconnect(self.container)

    def connect(self) -> None:
        """Put the cables back, with the addresses it had."""
        for attachment in self.attachments:
            attachment.network.connect(
                self.container, ipv4_address=str(attachment.address), ipv6_address=str(attachment.address6)
            )
        self.run("systemctl restart lab-network.service", check=True)

    def ssh_data(self) -> dict[str, str | int]:
        """pyinfra's inventory data for this host over SSH, its host key already known.

        Raises:
            LabError: it was made without ``ssh=True``.
        """
        if not self.spec.ssh:
            raise LabError(f"{self.name}: made without ssh=True")
        self.container.reload()
        bindings = self.container.ports["22/tcp"] or [{}]
        port = int(bindings[0].get("HostPort", 0))
        return ssh.inventory_data(self.prefix, port, self.read("/etc/ssh/ssh_host_ed25519_key.pub"))
