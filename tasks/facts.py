"""What is on a host, read by one remote command; and how a host's answers are asked for."""

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


class HostFailed(Exception):  # noqa: N818 - what it stands for was told
    """This host takes no further part in the run; why was told where it happened."""


@dataclass(frozen=True)
class Unreadable:
    """Why what a host answered is no answer."""

    reason: str


@dataclass(frozen=True)
class Sent:
    """A script or its input as the argument of a fact, of which pyinfra logs the arguments."""

    text: str

    def __str__(self) -> str:
        return f"{self.text.count(chr(10)) + 1} lines"


class Reading(FactBase[T | Unreadable], Generic[T]):
    """A fact whose output is believed only as far as it can be read."""

    @abstractmethod
    def read(self, output: list[str]) -> T | Unreadable:
        """ValueError for what the command never prints."""

    @staticmethod
    def default() -> T | Unreadable:  # also where the command prints nothing
        return _odd("it is empty")

    def process(self, output: list[str]) -> T | Unreadable:
        try:
            return self.read(output)
        except ValueError as error:
            return _odd(str(error))
        except Exception as error:  # one host's matter, whatever it is
            return _odd(f"{type(error).__name__}: {error}")


def _odd(what: str) -> Unreadable:
    return Unreadable(
        f"its answer cannot be read: {what}; run again, and if it stays so, look at what it prints: -vvv"
    )


def ask(host: Host, fact: type[Reading[T]], **arguments: Any) -> T:
    """What the host answers.

    Raises:
        HostFailed: it has failed, now or before; the run goes on without it.
    """
    answer = host.get_fact(fact, **arguments)
    if host in host.state.failed_hosts:
        raise HostFailed
    if isinstance(answer, Unreadable):
        host.log_styled(printable(answer.reason), fg="red", log_func=logger.error)
        # Not ``host``: that may be pyinfra's stand-in for whichever host it is at, and this one is kept.
        host.state.fail_hosts({host.state.inventory.get_host(host.name)})  # type: ignore[no-untyped-call]
        raise HostFailed
    return answer


class HostState(Reading[Observed]):
    """One host, all that the deploy has to know of it."""

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
            # Half of it is missing, and would look as if it were not there.
            return Unreadable('only root can look; set "_sudo": True for this host, or "ssh_user": "root"')
        return parse(output, self._query)
