"""Lines of ours inserted into a site file and removed again; no other byte changes.

Each line of ours ends in the mark ``# wgcluster``. Where a block's ``{`` ends its line, ours is a line of
its own with the file's indentation; where the block continues on the line (``location / { … }``), ours
follows the ``{`` with its own line end, because the mark is a comment. Both are found by the mark and can
be removed byte for byte. What has no mark is never touched.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from wgcluster.nginx.syntax.tree import Directive, parse

MARK = "# wgcluster"
_OUR_END = re.compile(rf" {MARK}\r?\n")
_REST_OF_LINE = re.compile(r"[ \t\r]*(?:#[^\n]*)?\n")
_INDENT = re.compile(r"[ \t]*")


class Edit(NamedTuple):
    """``text[start:end]`` becomes ``new``."""

    start: int
    end: int
    new: str


def apply(text: str, edits: Iterable[Edit]) -> str:
    """``text`` with the edits made, which must not overlap. Edits at one offset keep their order."""
    parts, at = [], 0
    for start, end, new in sorted(edits, key=lambda e: (e.start, e.end)):
        parts += [text[at:start], new]
        at = end
    return "".join([*parts, text[at:]])


class Shift:
    """Maps offsets in an edited text to the text before the edits, which must not overlap."""

    def __init__(self, edits: Iterable[Edit]) -> None:
        self._edits = sorted(edits, key=lambda e: (e.start, e.end))
        self._starts: list[int] = []  # of each edit in the edited text
        grown = 0
        for start, end, new in self._edits:
            self._starts.append(start + grown)
            grown += len(new) - (end - start)

    def back(self, offset: int) -> int:
        """The offset before the edits; for inserted text, where it was inserted."""
        number = bisect_right(self._starts, offset) - 1
        if number < 0:
            return offset
        start, end, new = self._edits[number]
        inside = offset - self._starts[number]
        return start if inside < len(new) else end + inside - len(new)


class Spliced(NamedTuple):
    """A site file with the lines that guard it, and how its offsets map to the original text."""

    text: str
    origin: str
    added: Shift  # to the text without lines of ours
    removed: Shift  # from ``origin``

    def back(self, offset: int) -> int:
        """The offset in ``origin`` of ``offset``."""
        return self.removed.back(self.added.back(offset))


def first_inside(text: str, block: Directive, lines: Sequence[str]) -> Edit:
    """The edit that inserts ``lines``, each with the mark, at the beginning of ``block``."""
    rest = _REST_OF_LINE.match(text, block.opened)
    if rest is None:
        newline = _newline(text, block.opened)
        # The first continues the line of the "{", the others are lines of their own.
        return Edit(block.opened, block.opened, "".join(f" {line} {MARK}{newline}" for line in lines))
    newline = "\r\n" if rest[0].endswith("\r\n") else "\n"
    indent = _indent_inside(text, block)
    return Edit(rest.end(), rest.end(), "".join(f"{indent}{line} {MARK}{newline}" for line in lines))


def removals(text: str, tree: Sequence[Directive]) -> list[Edit]:
    """The edits that remove every line of ours."""
    edits: list[Edit] = []
    blocks = list(tree)
    while blocks:
        directive = blocks.pop()
        if span := _our_span(text, directive):
            edits.append(Edit(*span, ""))
        else:
            blocks.extend(directive.body)
    return sorted(edits)


def unguard(text: str, file: str = "") -> str:
    """``text`` without lines of ours: the bytes that it had before ``guard``.

    Raises:
        NginxSyntaxError: nginx would refuse the text.
    """
    if MARK not in text:
        return text
    return apply(text, removals(text, parse(text, file)))


def _our_span(text: str, directive: Directive) -> tuple[int, int] | None:
    """Start and end of a directive of ours, with the blanks before it and its line end; None: not ours."""
    ours = (
        (directive.name == "include" and len(directive.args) == 1)
        or (directive.name == "allow" and directive.args == ("all",))
        or (directive.name == "location" and directive.args[:1] == ("^~",))
    )
    end = _OUR_END.match(text, directive.end) if ours else None
    if end is None:
        return None
    line_start = text.rfind("\n", 0, directive.start) + 1
    if not text[line_start : directive.start].strip(" \t"):
        return line_start, end.end()
    blank_in_front = text[directive.start - 1] == " "
    return directive.start - blank_in_front, end.end()


def _indent_inside(text: str, block: Directive) -> str:
    for child in block.body:
        line_start = text.rfind("\n", 0, child.start) + 1
        if line_start >= block.opened and not (lead := text[line_start : child.start]).strip(" \t"):
            return lead
    line_start = text.rfind("\n", 0, block.start) + 1
    outer = _INDENT.match(text, line_start)
    lead = outer[0] if outer else ""
    return lead + ("\t" if "\t" in lead else "    ")


def _newline(text: str, offset: int) -> str:
    """The line end in use at ``offset``: of its line, else of the first line, else LF."""
    end = text.find("\n", offset)
    if end < 0:
        end = text.find("\n")
    return "\r\n" if end > 0 and text[end - 1] == "\r" else "\n"
