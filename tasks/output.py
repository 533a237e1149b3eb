"""A reader for the output of remote programs that survives any byte and passes no control characters on.

pyinfra 3.10 decodes it as UTF-8. At an invalid byte its reader dies with a traceback, the lines before count
as the whole output of a successful command, and a program that has more to print than a pipe holds waits for
ever. All its connectors read through ``pyinfra.connectors.util.read_buffer``, which we replace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from queue import Queue
from typing import Any

from pyinfra.api.output import echo
from pyinfra.connectors import util
from pyinfra.connectors.util import OutputLine

from wgcluster.text import printable


def read_buffer(
    name: str,
    io: Iterable[bytes],
    output_queue: Queue[OutputLine],
    print_output: bool = False,
    print_func: Callable[[str], str] | None = None,
) -> None:
    """Put each line of ``io`` into the queue, as printable text."""
    for line in _as_bytes(name, io):
        text = printable(line.removesuffix(b"\n").decode("utf-8", "surrogateescape"))
        output_queue.put(OutputLine(name, text))
        if print_output:
            echo(print_func(text) if print_func else text, err=True)


def _as_bytes(name: str, io: Any) -> Iterable[bytes]:
    # paramiko decodes by itself, as strictly, unless asked for bytes
    channel = getattr(io, "channel", None)
    if channel is None:
        return io  # type: ignore[no-any-return]
    return (channel.makefile_stderr if name == "stderr" else channel.makefile)("rb")  # type: ignore[no-any-return]


def read_safely() -> None:
    """Replace pyinfra's reader, for every connector."""
    util.read_buffer = read_buffer
