"""Faults: where something is wrong, what it is, and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from wgcluster.inventory.messages import MESSAGES
from wgcluster.text import abbreviated, counted


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, with its place and its message."""

    host: str  # or hosts; "": the whole cluster
    key: str  # the setting, with the path inside it; "": none
    value: object
    code: str  # of MESSAGES: "wg_address.taken"
    message: str

    @property
    def text(self) -> str:
        key = self.key if self.value is None else f"{self.key} = {self.value!r}"
        return ": ".join(filter(None, (self.host, key, self.message)))

    def __str__(self) -> str:
        return with_code(self.text, self.code)


def with_code(text: str, code: str) -> str:
    """``text`` with the code of its fault at the end of the first line."""
    first, *rest = text.split("\n")
    return "\n".join([f"{first}  [{code}]", *rest])


def fault(
    code: str, host: str = "", value: object = None, *, key: str | None = None, **fields: object
) -> Fault:
    """The fault that ``MESSAGES`` has under ``code``.

    Args:
        host: or hosts; "": the whole cluster.
        value: what the operator wrote; None: it is not shown.
        key: the setting, with the path inside it; by default the part of ``code`` before the dot.
        fields: of the message.

    Raises:
        KeyError: there is no such code, or a field of its message is missing.
    """
    where = code.partition(".")[0] if key is None else key
    return Fault(host, where, value, code, MESSAGES[code].format(**fields))


def host_fault(code: str, **fields: object) -> Fault:
    """A fault observed on a host, without its name, which the caller adds."""
    return Fault("", "", None, code, MESSAGES[code].format(**fields))


class KeystoreError(ValueError):
    """The key registry cannot be read, opened or written. ``faults`` has every reason."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))

    @classmethod
    def of(cls, code: str, where: object = "", **fields: object) -> KeystoreError:
        """One fault of the file ``where``."""
        return cls([Fault("", str(where), None, code, MESSAGES[code].format(**fields))])


class ModelError(ValueError):
    """The inventory describes no valid cluster. ``faults`` has every reason."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        count = counted(len(faults), "fault")
        super().__init__(
            "\n".join(
                [f"{count} in the inventory, nothing was changed:", *(f"  {fault}" for fault in faults)]
            )
        )


def deduplicated(faults: Iterable[Fault], hosts: Collection[str]) -> list[Fault]:
    """The faults in their order, those that several hosts share merged into one.

    An invalid value in group_data causes the same fault for every host of the group.

    Args:
        hosts: the names of all hosts.
    """
    found: dict[tuple[str, str, str], list[Fault]] = {}
    for fault in faults:
        found.setdefault((fault.key, repr(fault.value), fault.message), []).append(fault)
    return [
        replace(same[0], host=_together([fault.host for fault in same], hosts)) for same in found.values()
    ]


def _together(names: Sequence[str], hosts: Collection[str]) -> str:
    if len(names) > 1 and set(names) == set(hosts):
        return "all hosts"
    return abbreviated(names)


def near(word: str, names: Collection[str]) -> str:
    """A hint to append to a message: the nearest of ``names``, or some of them."""
    close = difflib.get_close_matches(word, names, 1)
    return f"; did you mean {close[0]}?" if close else f"; there are {abbreviated(sorted(names))}"
