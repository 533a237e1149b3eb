"""Faults of configuration files, with file, line, column and a marker under the position."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from wgcluster.inventory.faults import with_code
from wgcluster.inventory.messages import MESSAGES

# Surrogates stand for bytes that are no UTF-8, which no terminal prints; control characters command it.
_UNPRINTABLE = re.compile("[\ud800-\udfff\x00-\x08\x0b-\x1f\x7f]")
_MAX_SHOWN = 160  # characters of a source line that a message repeats


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: where it is, what it is, and how to fix it."""

    file: str
    line: int  # from 1; 0: the fault is about the whole file
    column: int  # from 1, in characters; 0: the whole line
    code: str  # of MESSAGES
    message: str
    source: str = ""  # the line and the marker under it
    remedy: str = ""

    def __str__(self) -> str:
        return with_code(self.text, self.code)

    @property
    def text(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        parts = [f"{place}: {self.message}"]
        if self.source:
            parts.append(self.source)
        if self.remedy:
            parts.append(f"    remedy: {self.remedy}")
        return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", "\n".join(parts))


def worded(code: str, **fields: object) -> tuple[str, str]:
    """What MESSAGES has under ``code``: the message, and the remedy, which is its last line."""
    message, _, remedy = MESSAGES[code].rpartition("\n")
    if not message:
        message, remedy = remedy, ""
    return message.format(**fields), remedy.format(**fields)


def file_fault(code: str, file: str, **fields: object) -> Fault:
    """A fault of a file as a whole."""
    message, remedy = worded(code, **fields)
    return Fault(file, 0, 0, code, message, remedy=remedy)


class NginxError(ValueError):
    """A site cannot be found or cannot be guarded safely; ``faults`` has every reason at once."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults: tuple[Fault, ...] = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


class NginxSyntaxError(NginxError):
    """nginx itself would refuse the text."""


def position(text: str, offset: int) -> tuple[int, int]:
    """Line and column of ``offset``, both from 1. nginx ends a line at LF alone."""
    line = bisect_left(_line_ends(text), offset)
    return line + 1, offset - text.rfind("\n", 0, offset)


@lru_cache(maxsize=8)
def _line_ends(text: str) -> list[int]:
    """Offsets of the line ends, cached for the many findings in one file."""
    return [found.start() for found in re.finditer("\n", text)]


def fault_at(
    text: str, start: int, end: int, code: str, message: str, *, file: str = "", remedy: str = ""
) -> Fault:
    """A Fault for ``text[start:end]``, whose first line is marked with ``~~~^``."""
    line, column = position(text, start)
    line_start = start - column + 1
    line_end = text.find("\n", start)
    line_end = len(text) if line_end < 0 else line_end
    shown_from = max(line_start, start - _MAX_SHOWN // 2)
    shown = text[shown_from : min(line_end, shown_from + _MAX_SHOWN)].rstrip("\r")
    width = max(1, min(end, shown_from + len(shown)) - start)
    # Keep tabs, which align the marker.
    lead = "".join("\t" if c == "\t" else " " for c in text[shown_from:start])
    source = f"    {shown}\n    {lead}{'~' * (width - 1)}^"
    return Fault(file or "nginx configuration", line, column, code, message, source, remedy)
