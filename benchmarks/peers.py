"""The programs we are measured against, from PyPI, each in a virtual environment of its own."""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path

STATE = Path(__file__).parent / ".state"
ANSIBLE = "ansible==12.3.0"  # with the collections community.docker, community.general and ansible.posix
WG_MESHCONF = "wg-meshconf==2.5.1"


def installed(*requirements: str) -> Path:
    """The folder of the programs of ``requirements``, installed if need be; that takes PyPI."""
    home = STATE / "_".join(requirements).replace("=", "-")
    done = home / "installed"
    if not done.exists():
        print(f"installing {' '.join(requirements)}", flush=True)
        venv.create(home, clear=True, with_pip=True)
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *requirements], check=True)
        done.touch()
    return home / "bin"
