"""What is wrong with an operator's data, in words: where it stands, what it is, what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from wgcluster.inventory.messages import MESSAGES
from wgcluster.text import abbreviated


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one value: where it stands, what it is, what would be right."""

    host: str  # or hosts; "" when it concerns the whole cluster
    key: str  # the setting, with the path inside it; "" when it stands in none
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
        host: or hosts; "" when it concerns the whole cluster.
        value: what the operator wrote; None: it is not shown.
        key: the setting, with the path inside it; by default what stands before the dot of ``code``.
        fields: those of the message.

    Raises:
        KeyError: there is no such code, or a field of its message is missing.
    """
    where = code.partition(".")[0] if key is None else key
    return Fault(host, where, value, code, MESSAGES[code].format(**fields))


def host_fault(code: str, **fields: object) -> Fault:
    """A fault that was seen on a host, beside all settings; who knows the host's name adds it."""
    return Fault("", "", None, code, MESSAGES[code].format(**fields))


class KeystoreError(ValueError):
    """The key registry cannot be read, opened or written. ``faults`` has every reason at once."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))

    @classmethod
    def of(cls, code: str, where: object = "", **fields: object) -> KeystoreError:
        """One fault of the file ``where``."""
        return cls([Fault("", str(where), None, code, MESSAGES[code].format(**fields))])


class ModelError(ValueError):
    """The inventory does not describe a cluster. ``faults`` holds every reason."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''} in the inventory"
        super().__init__("\n".join([f"{count}, nothing was changed:", *(f"  {fault}" for fault in faults)]))


def deduplicated(faults: Iterable[Fault], hosts: Collection[str]) -> list[Fault]:
    """``faults`` in their order, the same one of several hosts told once for all of them.

    A value in group_data reaches every host of the group, and so does what is wrong with it.

    Args:
        hosts: the names of all there are.
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
    """A hint to append to a fault: the nearest of ``names``, or some of those there are."""
    close = difflib.get_close_matches(word, names, 1)
    return f"; did you mean {close[0]}?" if close else f"; there are {abbreviated(sorted(names))}"
