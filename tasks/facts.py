"""Facts whose output is checked; among them the one that observes a host by one command."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from pyinfra import logger
from pyinfra.api.facts import FactBase
from pyinfra.api.host import Host

from tasks.scripts import REMOTE, answer, question, script
from wgcluster.host.observed import Observed, Query
from wgcluster.host.reading import parse
from wgcluster.text import last_words, printable

_ORDINARY = re.compile(r"@ user [1-9][0-9]*")

T = TypeVar("T")


class HostFailed(Exception):  # noqa: N818 - it reports no error: that was logged before
    """A host has failed, which was logged; the run goes on without it."""


@dataclass(frozen=True)
class Unreadable:
    """Why an answer cannot be read."""

    reason: str


class CheckedFact(ABC, Generic[T]):
    """A question to a host, as a shell script. What cannot be read completely is refused."""

    title: ClassVar[str] = "a question"  # in error messages

    command: Callable[..., str]  # the script; each kind of question has arguments of its own

    def __str__(self) -> str:  # pyinfra logs it
        return self.title

    @abstractmethod
    def read(self, output: list[str]) -> T | Unreadable:
        """Parse the output.

        Raises:
            ValueError: the command never prints this.
        """

    def default(self) -> T | Unreadable:
        """The answer of a script that prints nothing."""
        return _odd("it is empty")

    def process(self, output: list[str]) -> T | Unreadable:
        """Read what came from the host, with what its shells said before and after."""
        try:
            printed, status, said = answer(output)
            if status:
                return Unreadable(f"{self.title} failed: {'; '.join(last_words(said)) or 'nothing was said'}")
            return self.read(printed) if printed else self.default()
        except ValueError as error:
            return _odd(str(error))
        except Exception as error:  # whatever it is, only this host fails
            return _odd(f"{type(error).__name__}: {error}")


class Answer(FactBase[Any]):
    """What pyinfra takes for the fact: the answer to any question of ours."""

    def command(self, to: CheckedFact[Any]) -> str:
        self._question = to
        return REMOTE

    @staticmethod
    def default() -> Unreadable:
        return _odd("it is empty")

    def process(self, output: list[str]) -> Any:
        return self._question.process(output)


Answer.name = "answer"  # in pyinfra's own errors, with ``CheckedFact.title``


def _odd(what: str) -> Unreadable:
    return Unreadable(
        f"its answer cannot be read: {what}; run again, and if it stays so, look at what it prints: -vvv"
    )


def ask(host: Host, fact: type[CheckedFact[T]], **arguments: Any) -> T:
    """Get a fact of a host.

    Raises:
        HostFailed: the host has failed, now or before.
    """
    asked = fact()
    script = question(asked.command(**arguments))
    found: T | Unreadable = host.get_fact(Answer, to=asked, _stdin=script)
    if host in host.state.failed_hosts:
        raise HostFailed
    if isinstance(found, Unreadable):
        host.log_styled(printable(found.reason), fg="red", log_func=logger.error)
        # Not ``host``, which may be pyinfra's proxy for the current host: pyinfra keeps this one.
        host.state.fail_hosts({host.state.inventory.get_host(host.name)})  # type: ignore[no-untyped-call]
        raise HostFailed
    return found


class HostState(CheckedFact[Observed]):
    """Everything that a deploy needs to know of a host, by one command."""

    title = "the look at the host"

    def command(self, query: Query) -> str:
        self._query = query
        return script(
            "observe.sh",
            interface=query.interface,
            files=" ".join(query.files),
            sites=" ".join(query.sites),
            dump=str(int(query.dump)),
            port=str(query.port),
            towards=" ".join(query.towards),
            names=" ".join(query.names),
        )

    def read(self, output: list[str]) -> Observed | Unreadable:
        if any(_ORDINARY.fullmatch(line) for line in output):
            # What only root can read would look absent.
            return Unreadable('only root can look; set "_sudo": True for this host, or "ssh_user": "root"')
        return parse(output, self._query)
