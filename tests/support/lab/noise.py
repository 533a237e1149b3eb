"""A deploy that prints any byte, and a lot: what comes through a connector."""

from __future__ import annotations

from lab.workspace import Workspace

NOISE = """
from pyinfra.api.command import StringCommand
from pyinfra import host

from tasks.facts import CheckedFact, ask
from tasks.operations import host_operation

SCRIPT = r'''printf 'one \\377 \\033[2J two\\n'; printf 'err \\377\\n' >&2; yes | head -c 300000; echo end'''


class Noise(CheckedFact[list[str]]):
    def command(self) -> str:
        return SCRIPT

    def read(self, output: list[str]) -> list[str]:
        return output


@host_operation
def noise():
    heard = ask(host, Noise)
    host.log(f"heard {len(heard)} lines, the first: {heard[0]}, the last: {heard[-1]}")
    yield StringCommand(SCRIPT + "; printf 'last \\\\033[2J\\\\377\\n' >&2; exit 1")


noise(name="Make noise")
"""


def assert_heard(workspace: Workspace, where: str) -> None:
    """All 150,002 lines, what is no text among them shown as such; the failure in five."""
    done = workspace.pyinfra(where, "noise.py", "-y", timeout=60)
    assert done.returncode == 1
    assert r"heard 150002 lines, the first: one \xff \x1b[2J two, the last: end" in done.stderr
    assert "Make noise: failed" in done.stderr
    assert r"last \x1b[2J\xff" in done.stderr
    assert "\x1b[2J" not in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("] y\n") + done.stderr.count("]  y\n") < 6
