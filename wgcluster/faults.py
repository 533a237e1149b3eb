"""What is wrong with an operator's data, in words: where it stands, what it is, what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one value: where it stands, what it is, what would be right."""

    host: str  # "" when it concerns the whole cluster
    key: str
    value: object
    message: str

    def __str__(self) -> str:
        where = f"{self.host}: {self.key}" if self.host else self.key
        shown = "" if self.value is None else f" = {self.value!r}"
        return f"{where}{shown}: {self.message}"


class ModelError(ValueError):
    """The inventory does not describe a cluster. ``faults`` holds every reason."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''} in the inventory"
        super().__init__("\n".join([f"{count}, nothing was changed:", *(f"  {fault}" for fault in faults)]))


def near(word: str, names: Collection[str]) -> str:
    """A hint to append to a fault: the nearest of ``names``, or some of those there are."""
    close = difflib.get_close_matches(word, names, 1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(sorted(names)[:10])}"
