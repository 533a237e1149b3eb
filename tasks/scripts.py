"""Shell scripts, and how they travel: on standard input, so that no login shell has to read them.

pyinfra hands ``sh -c COMMAND`` to the login shell of the user. fish and csh read quotes, backslashes and line
ends in it in ways of their own, and what a ``.bashrc`` prints stands in front of every answer. So the command
is always ``REMOTE``, and what a script prints stands between two lines that only this run knows.
"""

from __future__ import annotations

import base64
import re
import secrets
import shlex
from collections.abc import Sequence
from pathlib import Path

FILES = Path(__file__).parent.parent / "files"
# In base64 no other shell can take it for commands, should it come to read it.
REMOTE = 'eval "$(base64 -d)"'
MARK = f"wgcluster-{secrets.token_hex(8)}"
# A script that was cut off lacks its last bracket, and nothing of it runs. An empty line ends what was
# printed before, as a prompt for a password. From su may come a PATH without the system's programs.
_PATH = "PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export PATH"
# Of a command both streams are marked, and its status is the one of the shell.
COMMAND = (
    f"{{ {_PATH}; echo; echo {MARK}; echo >&2; echo {MARK} >&2\n(\n",
    f"\n)\nstatus=$?; echo {MARK}; echo {MARK} >&2; exit $status; }}",
)
# Of a question the second mark comes with the status, and with what was said on standard error.
QUESTION = (
    f"{{ {_PATH}; exec 3>&1; echo; echo {MARK}; said=$( {{\n",
    f"\n}} 2>&1 >&3 3>&- ); echo {MARK} $?; printf '%s\\n' \"$said\"; }}",
)


class Script(list[str]):
    """A script as standard input of ``REMOTE``: for pyinfra a list of one line, of which it logs ``str``."""

    def __init__(self, text: str) -> None:
        super().__init__([base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()])

    def __str__(self) -> str:
        return "a script of ours"


def script(name: str, **variables: str) -> str:
    """The text of a file in files/, after assignments of the shell variables that it reads."""
    head = "".join(f"{variable}={shlex.quote(value)}\n" for variable, value in variables.items())
    return head + (FILES / name).read_text()


def purpose(text: str) -> str:
    """What a script or unit is for: its first comment, or its description (systemd.unit(5))."""
    found = re.search(r"^(?:# (?:[\w-]+(?: [A-Z]+)*: )?|Description=)(\S.*?)\.?$", text, re.MULTILINE)
    return found[1] if found else ""


def with_input(text: str, data: str) -> str:
    """A script that reads ``data``; no list of processes shows it: echo is a part of the shell."""
    encoded = base64.b64encode(data.encode("utf-8", "surrogateescape")).decode()
    return f"echo {encoded} | base64 -d | {{\n{text}\n}}"


def in_marks(text: str) -> Script:
    """A script whose output ``printed`` finds again."""
    return Script(text.join(COMMAND))


def printed(lines: Sequence[str]) -> list[str]:
    """What a command printed on a stream, without what shells said around it; all, if it never ran."""
    at = [number for number, line in enumerate(lines) if line == MARK]
    return list(lines[at[0] + 1 : at[1] if at[1:] else None]) if at else list(lines)


def question(text: str) -> Script:
    """A script whose output ``answer`` takes apart."""
    return Script(text.join(QUESTION))


def answer(output: Sequence[str]) -> tuple[list[str], int, list[str]]:
    """The lines that a question printed, its exit status, and its lines on standard error.

    Raises:
        ValueError: it does not end as every answer does.
    """
    if MARK not in output:
        raise ValueError("it does not begin")
    begin = output.index(MARK)
    ends = [number for number, line in enumerate(output) if number > begin and line.startswith(f"{MARK} ")]
    if not ends:
        raise ValueError("it has no end")
    return list(output[begin + 1 : ends[0]]), int(output[ends[0]].split(" ")[1]), list(output[ends[0] + 1 :])
