"""``wg_expect``: what must and what must not be reachable."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from wgcluster.inventory.faults import Fault, fault
from wgcluster.inventory.messages import MESSAGES
from wgcluster.text import abbreviated

_EXPECTATION = re.compile(r"(\S+)\s*(!?->)\s*(\S+)")


@dataclass(frozen=True, slots=True)
class Expectation:
    """``laptop -> cloud`` or ``guest !-> cloud``, between hosts, clients and networks behind hosts."""

    source: str
    destination: str
    reaches: bool

    def __str__(self) -> str:
        return f"{self.source} {'->' if self.reaches else '!->'} {self.destination}"


def read_expectation(text: str) -> Expectation:
    """Parse one entry of ``wg_expect``.

    Raises:
        ValueError: it is malformed; the message says how to write it.
    """
    match = _EXPECTATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(MESSAGES["wg_expect.invalid"])
    source, arrow, destination = match.groups()
    return Expectation(source, destination, arrow == "->")


def invalid_expectations(entries: Iterable[str], names: Collection[str]) -> Iterator[Fault]:
    """Faults of entries of ``wg_expect`` that are malformed or name something that is not in ``names``."""
    for text in entries:
        try:
            expectation = read_expectation(text)
        except ValueError:
            yield fault("wg_expect.invalid", value=text)
            continue
        for name in (expectation.source, expectation.destination):
            if name not in names:
                there_are = abbreviated(sorted(names))
                yield fault("wg_expect.unknown-name", value=text, name=name, names=there_are)
