"""Facts whose output is checked; among them the one that observes a host by one command."""

from __future__ import annotations

import re
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pyinfra import logger
from pyinfra.api.facts import FactBase
from pyinfra.api.host import Host

from tasks.scripts import script
from wgcluster.host.observed import Observed, Query
from wgcluster.host.reading import parse
from wgcluster.text import printable

_ORDINARY = re.compile(r"@ user [1-9][0-9]*")

T = TypeVar("T")


class HostFailed(Exception):  # noqa: N818 - it reports no error: that was logged before
    """A host has failed, which was logged; the run goes on without it."""


@dataclass(frozen=True)
class Unreadable:
    """Why an answer cannot be read."""

    reason: str


@dataclass(frozen=True)
class Sent:
    """A long argument of a fact, of which pyinfra logs the number of lines."""

    text: str

    def __str__(self) -> str:
        return f"{self.text.count(chr(10)) + 1} lines"


class CheckedFact(FactBase[T | Unreadable], Generic[T]):
    """A fact that refuses output it cannot read completely."""

    @abstractmethod
    def read(self, output: list[str]) -> T | Unreadable:
        """Parse the output.

        Raises:
            ValueError: the command never prints this.
        """

    @staticmethod
    def default() -> T | Unreadable:  # also where the command prints nothing
        return _odd("it is empty")

    def process(self, output: list[str]) -> T | Unreadable:
        try:
            return self.read(output)
        except ValueError as error:
            return _odd(str(error))
        except Exception as error:  # whatever it is, only this host fails
            return _odd(f"{type(error).__name__}: {error}")


def _odd(what: str) -> Unreadable:
    return Unreadable(
        f"its answer cannot be read: {what}; run again, and if it stays so, look at what it prints: -vvv"
    )


def ask(host: Host, fact: type[CheckedFact[T]], **arguments: Any) -> T:
    """Get a fact of a host.

    Raises:
        HostFailed: the host has failed, now or before.
    """
    answer = host.get_fact(fact, **arguments)
    if host in host.state.failed_hosts:
        raise HostFailed
    if isinstance(answer, Unreadable):
        host.log_styled(printable(answer.reason), fg="red", log_func=logger.error)
        # Not ``host``, which may be pyinfra's proxy for the current host: pyinfra keeps this one.
        host.state.fail_hosts({host.state.inventory.get_host(host.name)})  # type: ignore[no-untyped-call]
        raise HostFailed
    return answer


class HostState(CheckedFact[Observed]):
    """Everything that a deploy needs to know of a host, by one command."""

    def command(self, query: Query) -> str:
        self._query = query
        return script(
            "observe.sh",
            interface=query.interface,
            files=" ".join(query.files),
            sites=" ".join(query.sites),
            dump=str(int(query.dump)),
        )

    def read(self, output: list[str]) -> Observed | Unreadable:
        if any(_ORDINARY.fullmatch(line) for line in output):
            # What only root can read would look absent.
            return Unreadable('only root can look; set "_sudo": True for this host, or "ssh_user": "root"')
        return parse(output, self._query)
