"""The scripts and units of files/, as they are sent to hosts."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

FILES = Path(__file__).parent.parent / "files"


def script(name: str, **variables: str) -> str:
    """The text of a file in files/, after assignments of the shell variables that it reads."""
    head = "".join(f"{variable}={shlex.quote(value)}\n" for variable, value in variables.items())
    return head + (FILES / name).read_text()


def purpose(text: str) -> str:
    """What a script or unit is for: its first comment, or its description (systemd.unit(5))."""
    found = re.search(r"^(?:# (?:[\w-]+(?: [A-Z]+)*: )?|Description=)(\S.*?)\.?$", text, re.MULTILINE)
    return found[1] if found else ""
