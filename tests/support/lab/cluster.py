"""The article's cluster, deployed for real in a lab: what several test files begin with."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from subprocess import CompletedProcess
from typing import Any

from lab.lab import Lab
from lab.spec import HostSpec
from lab.workspace import Workspace

PASSPHRASE = "correct horse battery staple"
SERVERS = ("root", "cloud", "backup")
OVERLAY = {"root": "10.0.0.2", "cloud": "10.0.0.3", "backup": "10.0.0.4", "laptop": "10.0.0.100"}
KEYSTORE = "lab/.state/keys.yml"

NewLab = Callable[[Sequence[HostSpec]], Lab]
NewWorkspace = Callable[[Lab], Workspace]


@dataclass
class Cluster:
    """A lab and the workspace that deploys to it."""

    lab: Lab
    workspace: Workspace

    def deploy(self, *options: str) -> CompletedProcess[str]:
        """``pyinfra inventory.py deploy.py -y``; asserts that it succeeds."""
        done = self.workspace.pyinfra("inventory.py", "deploy.py", "-y", *options)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def changes(self, *options: str) -> dict[str, set[str]]:
        """What a real run changes: host names by operation."""
        done = self.workspace.pyinfra("inventory.py", "deploy.py", "-y", "--json", *options)
        assert done.returncode == 0, done.stdout + done.stderr
        return changed(json.loads(done.stdout))

    def plan(self, *options: str) -> dict[str, set[str]]:
        """What a dry run says would change: host names by operation."""
        done = self.workspace.pyinfra("inventory.py", "deploy.py", "--dry", "--json", *options)
        assert done.returncode == 0, done.stdout + done.stderr
        plan = json.loads(done.stdout)["plan"]
        return {one["name"]: set(one["hosts_with_change"]) for one in plan if one["hosts_with_change"]}

    def set(self, file: str, old: str, new: str) -> None:
        """Change the operator's data; ``old`` must be there."""
        path = self.workspace.folder / file
        text = path.read_text()
        assert old in text, f"{file} has no {old!r}"
        path.write_text(text.replace(old, new))

    def clean_up(self) -> None:
        """Bare hosts, no keys, the laptop without a tunnel."""
        self.lab["laptop"].run("wg-quick down wg; rm -f /etc/wireguard/wg.conf")
        self.lab.renew(*SERVERS)
        shutil.rmtree(self.workspace.folder / "lab" / ".state")
        (self.workspace.folder / "lab" / ".state").mkdir()

    def join(self, name: str = "laptop") -> None:
        """The road warrior gets its file and plain wg-quick, nothing else."""
        added = self.workspace.wgcluster("client", "add", name)
        assert added.returncode == 0, added.stderr
        self.deploy()
        shown = self.workspace.wgcluster("client", "show", name)
        assert shown.returncode == 0, shown.stderr
        laptop = self.lab[name]
        laptop.write("/etc/wireguard/wg.conf", shown.stdout, 0o600)
        laptop.run("wg-quick up wg", check=True)


def changed(result: dict[str, Any]) -> dict[str, set[str]]:
    """The operations of a ``--json`` result that did something, each with its hosts."""
    operations = result["results"]["operations"]
    return {
        one["name"]: set(one["success"] + one["error"]) for one in operations if one["success"] + one["error"]
    }


def forward_chain(host: Any, tool: str = "iptables") -> list[str]:
    """Its rules as the kernel lists them, without the policy."""
    lines = host.run(f"{tool} -S FORWARD", check=True).stdout.splitlines()
    return [re.sub(r"^-A FORWARD ", "", line) for line in lines if line.startswith("-A")]
