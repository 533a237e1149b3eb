"""pyinfra's command, run again and again without loading it each time: each run in a fork of its own.

A process of its own, because pyinfra patches the standard library (gevent) in whatever imports it. The hosts
are pyinfra's @fake hosts. That connector keeps no state and answers from fixed texts, so its
``run_shell_command`` is replaced by the model's; all else, from the command line on, is pyinfra's own.

Standard input: pickled Requests; standard output: a pickled Answer for each.
"""

from __future__ import annotations

import importlib
import io
import os
import pickle
import sys
import tempfile
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tests.support.fake.host import FakeHost
from wgcluster.keys import registry as keystore
from wgcluster.keys.seal import Cost


@dataclass
class Request:
    folder: Path
    arguments: tuple[str, ...]
    hosts: dict[str, FakeHost]  # by pyinfra's name without "@fake/"
    env: dict[str, str | None] = field(default_factory=dict)  # None: not set
    unreachable: tuple[str, ...] = ()


@dataclass
class Answer:
    code: int
    out: str
    err: str
    hosts: dict[str, FakeHost]  # as they are after the run
    connected: list[str]  # names of hosts that were connected to


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    # Loaded once, for all runs.
    importlib.import_module("pyinfra_cli.main")
    importlib.import_module("tasks.removal")
    importlib.import_module("tasks.verification")
    keystore.COST = Cost(2**15, 1)  # type: ignore[attr-defined]  # the least that is read: the tests derive many keys
    while True:
        try:
            request = pickle.load(requests)
        except EOFError:
            return
        pickle.dump(_forked(request), answers)
        answers.flush()


def _forked(request: Request) -> Answer:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as result:
        child = os.fork()
        if child == 0:
            _in_child(request, out, err, result)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
        result.seek(0)
        hosts, connected = pickle.load(result)
        return Answer(code, texts[0], texts[1], hosts, connected)


def _in_child(request: Request, out: IO[bytes], err: IO[bytes], result: IO[bytes]) -> None:
    code = 70
    connected: list[str] = []
    try:
        with open(os.devnull, "rb") as nothing:
            for number, file in enumerate((nothing, out, err)):
                os.dup2(file.fileno(), number)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
        os.chdir(request.folder)
        for name, value in request.env.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _answer_with(request, connected)
        sys.argv = ["pyinfra", *request.arguments]
        importlib.import_module("pyinfra_cli.main").main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        pickle.dump((request.hosts, connected), result)
        result.flush()
        os._exit(code)


def _answer_with(request: Request, connected: list[str]) -> None:
    import gevent
    from pyinfra.api.command import StringCommand
    from pyinfra.api.exceptions import ConnectError
    from pyinfra.api.output import echo
    from pyinfra.connectors import util
    from pyinfra.connectors.fake import FakeConnector
    from pyinfra.connectors.util import CommandOutput

    def name(connector: FakeConnector) -> str:
        return connector.host.name.removeprefix("@fake/")

    def connect(self: FakeConnector) -> None:
        connected.append(name(self))
        if name(self) in request.unreachable:
            raise ConnectError("no route to host")

    def run_shell_command(
        self: FakeConnector,
        command: str | StringCommand,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Any,
    ) -> tuple[bool, CommandOutput]:
        text = command if isinstance(command, str) else command.get_raw_value()
        if print_input:
            echo(f"{self.host.print_prefix}>>> {command}", err=True)
        gevent.sleep(0)  # as a real connection would: let the other hosts go on
        done, out, err = request.hosts[name(self)].send(text, "".join(arguments["_stdin"]))
        # read as from a real host, a lone surrogate being a byte that is no UTF-8
        printed, said = (
            io.BytesIO("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
            for lines in (out, err)
        )
        return done, util.read_output_buffers(printed, said, None, print_output, self.host.print_prefix)

    for method in (connect, run_shell_command):
        setattr(FakeConnector, method.__name__, method)


if __name__ == "__main__":
    from tests.support.fake import forkserver  # so that pickled classes have one name, not __main__'s

    forkserver.serve(sys.stdin.buffer, sys.stdout.buffer)
