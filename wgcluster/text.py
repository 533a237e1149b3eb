"""Texts for people: lists, counts, output of programs, and masked secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable

HIDDEN = "(hidden)"  # in place of a secret
LAST = 5  # lines of a failed program's output
# A key in base64, even truncated; and what wg(8) repeats of a line or key that it cannot read.
_SECRET = re.compile(
    r"()[A-Za-z0-9+/]{40,}={0,2}"
    r"|(Key is not the correct length or format: ).*"
    r"|((?:PrivateKey|PresharedKey|Line unrecognized: `[^=]*)\s*=).*",
    re.ASCII | re.IGNORECASE,
)


def abbreviated(names: Iterable[str]) -> str:
    """The first ten names, and how many more there are."""
    listed = list(names)
    return ", ".join(listed[:10]) + (f" and {len(listed) - 10} more" if len(listed) > 10 else "")


def counted(count: int, word: str) -> str:
    """``count`` of what ``word`` names: "1 host", "2 hosts"."""
    return f"{count} {word}{'' if count == 1 else 's'}"


def printable(text: str) -> str:
    """``text`` with control characters escaped (``\\x1b``), for a terminal; line ends and tabs stay.

    Bytes that are not UTF-8, as "surrogateescape" keeps them, are shown as ``\\xff``.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else ascii(character)[1:-1]


def last_words(lines: Iterable[str]) -> list[str]:
    """The last lines that a failed program printed, printable and without keys."""
    said = [printable(line.strip()) for text in lines for line in text.split("\n") if line.strip()]
    return [
        _SECRET.sub(lambda found: f"{found[found.lastindex or 1]}{HIDDEN}", line) for line in said[-LAST:]
    ]
