"""An operator's folder, and python -m wgcluster run in it."""

from __future__ import annotations

import json
import os
import pprint
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyinfra_cli.util import PYTHON_CODES  # type: ignore[import-untyped]

from wgcluster.__main__ import main
from wgcluster.keys.registry import Registry
from wgcluster.keys.secret import Secret

REPOSITORY = Path(__file__).parents[2]
WORD = "correct horse"
SITE = "/etc/nginx/sites-enabled/git"
NGINX = {"file": SITE, "server_name": "git.example.org", "public": ["/.well-known/acme-challenge"]}
HOSTS: dict[str, Mapping[str, Any]] = {
    "root": {
        "wg_address": "10.0.0.2",
        "wg_endpoint": "198.51.100.2",
        "wg_gateway": True,
        "nginx_vpn_only": [NGINX],
    },
    "cloud": {"wg_address": "10.0.0.3", "wg_endpoint": "198.51.100.3:51821"},
    "backup": {"wg_address": "10.0.0.4"},
}


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Cluster:
    """A folder with an inventory, its group data and its registry."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.keys = folder / "keys.yml"
        self._capsys = capsys

    def write(self, hosts: Mapping[str, Mapping[str, Any]] = HOSTS, **shared: Any) -> None:
        listed = pprint.pformat(list(hosts.items()))
        (self.folder / "inventory.py").write_text(f"servers = {listed}\n")
        (self.folder / "group_data").mkdir(exist_ok=True)
        data = {"wg_networks": ["10.0.0.0/24"], **shared}
        lines = "".join(f"{key} = {value!r}\n" for key, value in data.items())
        (self.folder / "group_data" / "all.py").write_text(lines)
        PYTHON_CODES.clear()  # pyinfra compiles each file once a process

    def run(self, *words: str) -> Result:
        self._capsys.readouterr()
        status = main([*words, "--inventory", str(self.folder / "inventory.py")])
        out, err = self._capsys.readouterr()
        return Result(status, out, err)

    def deployed(self, *hosts: str, links: tuple[str, ...] = ()) -> Registry:
        """As after a deploy: every host has its keys."""
        registry = Registry.load(self.keys)
        registry.unlock(Secret(WORD))
        registry.ensure_hosts(hosts or HOSTS)
        registry.ensure_links(links)
        registry.save()
        return registry

    def secrets(self) -> list[str]:
        registry = Registry.load(self.keys)
        registry.unlock(Secret(WORD))
        return [
            *(registry.private_key(name).reveal() for name in registry.public_keys()),
            *(registry.client_private_key(name).reveal() for name in registry.client_keys()),
            *(registry.preshared_key(name).reveal() for name in registry.links()),
        ]

    def content(self) -> dict[str, bytes]:
        return {
            str(p.relative_to(self.folder)): p.read_bytes() for p in self.folder.rglob("*") if p.is_file()
        }


def process(cluster: Cluster, *words: str) -> subprocess.CompletedProcess[str]:
    """As a user runs it: in the folder of the inventory, which is not named."""
    return subprocess.run(
        [sys.executable, "-m", "wgcluster", *words],
        cwd=cluster.folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
    )
