"""nginx's regexes (PCRE), read with Python's ``re``: whether they match, and texts that they match."""

from __future__ import annotations

import re
import warnings
from functools import lru_cache

_GROUP_NAME = re.compile(r"\(\?<(?=[A-Za-z_])")
_POSIX = {
    "digit": "0-9", "alpha": "A-Za-z", "alnum": "A-Za-z0-9", "upper": "A-Z", "lower": "a-z",
    "xdigit": "0-9A-Fa-f", "word": r"\w", "space": r"\s",
}  # fmt: skip
_POSIX_NAME = re.compile(rf"\[:({'|'.join(_POSIX)}):\]")
_CLASSES = {"d": "1", "w": "a", "D": "a", "W": "-", "S": "a", "h": " ", "s": " "}
_NOTHING = frozenset("AzZbBGKQE")  # escapes that take no character
_GROUP_KIND = re.compile(r"\?(?:<?[=!]|[a-zA-Z-]*\)|P?<\w+>|'\w+'|[a-zA-Z-]*:|[>|])")
_ONE_OF = re.compile(r"\^?\]?(?:\[:\w+:\]|\\.|[^\]\\])*")
_COUNT = re.compile(r"(?:([*+?])|\{(\d+)(?:,\d*)?\})[?+]?")
_MAX_REPEAT = 64
_START = re.compile(r"\^((?:[\w/-]|\\[./-])*)(.*)", re.DOTALL)


@lru_cache(maxsize=4096)
def pattern(text: str, *, caseless: bool = False) -> re.Pattern[str] | None:
    """The compiled regex; None if only PCRE can read it."""
    translated = _GROUP_NAME.sub("(?P<", text).replace(r"\z", r"\Z")
    translated = _POSIX_NAME.sub(lambda m: _POSIX[m[1]], translated)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "possible nested set": PCRE has none
            return re.compile(translated, re.IGNORECASE if caseless else 0)
    except (re.error, OverflowError, RecursionError):
        return None


def hits(text: str, subject: str, *, caseless: bool = False) -> bool:
    """Does the regex match in ``subject``? False if only PCRE can read it."""
    compiled = pattern(text, caseless=caseless)
    return compiled is not None and compiled.search(subject) is not None


def beginning(text: str) -> tuple[str, str] | None:
    """The literal text that a regex begins with, and the rest of it; None if "^" does not anchor it."""
    start = _START.fullmatch(text)
    if start is None or "|" in text:
        return None
    literal, rest = start[1].replace("\\", ""), start[2]
    if rest[:1] in ("*", "?", "{"):  # the character before it may be missing
        literal, rest = literal[:-1], f".{rest}"
    return literal, rest


def samples(text: str) -> list[str]:
    """Strings that the regex probably matches; check them with ``hits``.

    They take the first or the last branch of each choice, without and with optional parts. Lookarounds are
    ignored.
    """
    ways = ((0, False), (1, False), (0, True), (1, True))
    return list(dict.fromkeys(_Reader(text, least, last).alternatives() for least, last in ways))


class _Reader:
    """A cursor over a regex."""

    def __init__(self, text: str, least: int, last: bool) -> None:
        self.text = text
        self.least = least  # how often * and ? repeat
        self.last = last  # take the last branch of each choice
        self.at = 0

    def alternatives(self) -> str:
        """What one branch matches, up to the ``)`` that ends this group."""
        first: str | None = None
        branch: list[str] = []
        while self.at < len(self.text) and self.text[self.at] != ")":
            if self.text[self.at] == "|":
                self.at += 1
                first = "".join(branch) if first is None or self.last else first
                branch = []
            else:
                branch.append(self._repeated(self._atom()))
        return "".join(branch) if first is None or self.last else first

    def _repeated(self, atom: str) -> str:
        count = _COUNT.match(self.text, self.at)
        if count is None:
            return atom
        self.at = count.end()
        least = int(count[2]) if count[2] else max(self.least, int(count[1] == "+"))
        return atom * min(least, _MAX_REPEAT)

    def _atom(self) -> str:
        char = self.text[self.at]
        self.at += 1
        if char == "\\":
            return self._escaped()
        if char == "[":
            return self._one_of()
        if char == "(":
            return self._group()
        return {"^": "", "$": "", ".": "x"}.get(char, char)

    def _escaped(self) -> str:
        char = self.text[self.at : self.at + 1]
        self.at += 1
        return "" if char in _NOTHING else _CLASSES.get(char, char)

    def _group(self) -> str:
        kind = _GROUP_KIND.match(self.text, self.at)
        if kind is not None:
            self.at = kind.end()
            if kind[0].endswith(")"):  # (?i)
                return ""
        inside = self.alternatives()
        self.at += 1
        return "" if kind is not None and kind[0][-1] in "=!" else inside

    def _one_of(self) -> str:
        end = _ONE_OF.match(self.text, self.at)
        inside = end[0] if end else ""
        self.at += len(inside) + 1
        members = pattern(f"[{inside}]")
        # Letters first: they need no escape in a request.
        return next((c for c in "ax1-_/.~: %" if members and members.match(c)), "a")
