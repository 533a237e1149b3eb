"""A copy of what an operator works in, its inventory set for one lab: for tests, and for a demo elsewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from lab.errors import LabError
from lab.lab import PREFIX, Lab
from lab.spec import article
from lab.underlay import DEFAULT_BLOCK

CHECKOUT = Path(__file__).resolve().parent.parent
_PARTS = (
    "deploy.py",
    "verify.py",
    "teardown.py",
    "inventory.py",
    "group_data",
    "tasks",
    "files",
    "wgcluster",
)


def localized(text: str, lab: Lab) -> str:
    """The shipped inventory's text with the containers and addresses of ``lab``."""
    shipped, block = IPv4Network(DEFAULT_BLOCK), lab.underlay.block

    def moved(match: re.Match[str]) -> str:
        address = IPv4Address(match[0])
        return str(block[int(address) - int(shipped[0])]) if address in shipped else match[0]

    names = "|".join(spec.name for spec in article())
    text = re.sub(rf'"{PREFIX}({names})"', rf'"{lab.prefix}\1"', text)
    return re.sub(r"\b\d{1,3}(?:\.\d{1,3}){3}\b", moved, text)


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder to run pyinfra in, and the environment to run it with."""

    folder: Path
    env: Mapping[str, str]

    @classmethod
    def make(cls, lab: Lab, folder: Path, env: Mapping[str, str] | None = None) -> Workspace:
        """Copy the checkout's working parts into ``folder``; keys that are there stay.

        Raises:
            LabError: a part is missing in the checkout.
        """
        folder.mkdir(parents=True, exist_ok=True)
        missing = [part for part in _PARTS if not (CHECKOUT / part).exists()]
        if missing:
            raise LabError(f"{CHECKOUT}: not there: {', '.join(missing)}")
        for part in _PARTS:
            source, copy = CHECKOUT / part, folder / part
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, copy, ignore=ignored, dirs_exist_ok=True)
            else:
                shutil.copy2(source, copy)
        inventory = folder / "inventory.py"
        inventory.write_text(localized(inventory.read_text(), lab))
        (folder / "lab" / ".state").mkdir(parents=True, exist_ok=True)  # the shipped wg_keystore lies there
        return cls(folder, dict(env or {}))

    def pyinfra(
        self, *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """``pyinfra ARGUMENTS`` in this folder; it may prompt nobody."""
        return self._python("pyinfra", arguments, env, timeout)

    def wgcluster(
        self, *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """``python -m wgcluster ARGUMENTS`` in this folder."""
        return self._python("wgcluster", arguments, env, timeout)

    def _python(
        self, module: str, arguments: tuple[str, ...], env: Mapping[str, str] | None, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=self.folder,
            env={**os.environ, **self.env, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
