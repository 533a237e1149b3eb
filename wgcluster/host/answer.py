"""The sections and words of a host's answer, checked before anything else uses them.

Each function for a word returns the word, or raises ValueError with a printable message.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from ipaddress import ip_address, ip_interface, ip_network
from typing import NamedTuple

from wgcluster.text import printable


class Shape(NamedTuple):
    """How many words and lines a section may have, and how often it may occur."""

    least: int  # words after its name
    most: int | None = None  # None: any number
    lines: int | None = 0  # None: any number
    must: bool = True  # in every answer
    many: bool = False  # several times


_SHAPES = {
    "user": Shape(1, 1),
    "tools": Shape(0, 0, None),
    "module": Shape(0, 0, 2),
    "directory": Shape(0, 2),
    "file": Shape(2, many=True),
    "texts": Shape(1, 1, None, must=False),
    "unit": Shape(2, 4, many=True),
    "ufw": Shape(0, 0, None),
    "link": Shape(2, 3),
    "config-key": Shape(0, 0, 1, must=False),
    "routes": Shape(1, 1, None, many=True),
    "policy": Shape(1, 1, None, many=True),
    "dump": Shape(0, 0, None, must=False),
    "interfaces": Shape(0, 0, None, must=False),
    "preshared": Shape(0, 0, 1, must=False),
    "port": Shape(1, 1, None),
    "sysctl-files": Shape(0, 0, None),
    "sources": Shape(0, 0, None),
    "addresses": Shape(0, 0, None),
    "clock": Shape(1, 1),
    "forwarding": Shape(3, 3),
    "sysctls": Shape(0, 0, None),
    "rules": Shape(3, 3, None, many=True),
    "nft": Shape(0, 1, None),
    "ssh": Shape(0, 4, None),
    "guarded": Shape(0, 0, None),
    "folders": Shape(0, 0, None),
    "lists": Shape(0, 0, None),
    "replacement": Shape(0, 0, 1),
    "nginx": Shape(0, 0, None, must=False),
    "nginx-links": Shape(0, 0, None, must=False),
    "workers": Shape(1, 1, None, must=False),
    "changed": Shape(0, 0, None, must=False),
    "names": Shape(0, 0, None, must=False),
    "end": Shape(0, 0),
}

MODE = re.compile(r"[0-7]{3,4}")
OWNER = re.compile(r"[^\s:]+:[^\s:]+")
DIGEST = re.compile(r"[0-9a-f]{64}")
TOOL = re.compile(r"[a-z0-9-]+")
TIME = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")  # seconds since the epoch
PATH = re.compile(r"/[^\0\n]*")
KEY = re.compile(r"[A-Za-z0-9+/]{43}=|\(none\)")  # an interface without a key has "(none)"
INTERFACE = re.compile(r"[a-zA-Z0-9_=+.-]{1,15}(?=@|$)")  # of a veth pair: "eth0@if7"
STATE = re.compile(r"[a-z-]*")  # of a unit, systemctl(1)
NAME = re.compile(r"[A-Za-z0-9._-]{1,255}")  # of DNS
VALUE = re.compile(r"-|-?[0-9]{1,10}")  # of a sysctl; "-": there is none
HEX = re.compile(r"0x[0-9a-f]{1,8}")
SYSCTL_FILE = re.compile(r"(/[a-z]+)+/sysctl\.d/[^/]+\.conf")
SYSCTL = re.compile(r"net/ipv[46]/[^\s]+")
RULE = re.compile(r"[0-9]{1,10}:[\t -~]+")  # of the policy, ip-rule(8)
_NUMBER = re.compile(r"[0-9]{1,15}")


def shown(value: str) -> str:
    """The beginning of a text that cannot be read, printable and on one line."""
    begin = printable(value[:60]).replace("\t", "\\t").replace("\n", "\\n")
    return f'"{begin}"' + ("…" if len(value) > 60 else "")


def sections(output: Sequence[str]) -> Iterator[tuple[list[str], list[str]]]:
    """The words after "@" and the lines of each section.

    Lines before the first section are skipped: a .bashrc may print something.

    Raises:
        ValueError: a section is unknown, missing, too many, or of another shape.
    """
    words: list[str] = []
    lines: list[str] = []
    seen: Counter[str] = Counter()
    for line in [*output, "@ "]:
        if not line.startswith("@ "):
            lines.append(line)
            continue
        if words:
            name = words[0]
            if name not in _SHAPES or (seen[name] and not _SHAPES[name].many):
                raise ValueError(f"a section {shown(name)} too many")
            _check_shape(_SHAPES[name], words, lines)
            seen[name] += 1
            yield words, lines
        words, lines = line[2:].split(), []
    if not seen["end"]:
        raise ValueError("it is cut off")
    if lacking := [name for name, shape in _SHAPES.items() if shape.must and not seen[name]]:
        raise ValueError(f"it lacks the section {', '.join(lacking)}")


def _check_shape(shape: Shape, words: Sequence[str], lines: Sequence[str]) -> None:
    name, count = words[0], len(words) - 1
    if count < shape.least or (shape.most is not None and count > shape.most):
        raise ValueError(f"{name} has {count} words")
    if shape.lines is not None and len(lines) > shape.lines:
        raise ValueError(f"{name} has {shown(lines[shape.lines])} too many")
    if "" in lines and name != "rules":  # a comment of a rule may hold one
        raise ValueError(f"{name} has an empty line")


def matching(pattern: re.Pattern[str], value: str, what: str) -> str:
    """A word that ``pattern`` matches; ``what`` names it in the error."""
    if not pattern.fullmatch(value):
        raise ValueError(f"{shown(value)} is no {what}")
    return value


def one_of(words: Sequence[str], value: str, what: str) -> str:
    """One of ``words``."""
    if value not in words:
        raise ValueError(f"{shown(value)} is no {what}")
    return value


def number(value: str, what: str, low: int = 0, high: int = 2**32 - 1) -> int:
    """A decimal number from ``low`` to ``high``."""
    if not _NUMBER.fullmatch(value) or not low <= int(value) <= high:
        raise ValueError(f"{shown(value)} is no {what}")
    return int(value)


def port(value: str) -> int:
    return number(value, "port", high=65535)


def interface(value: str) -> str:
    """The name of an interface, without that of its veth peer."""
    found = INTERFACE.match(value)
    if not found:
        raise ValueError(f"{shown(value)} is no interface")
    return found[0]


def address(value: str) -> str:
    try:
        ip_address(value)
    except ValueError:
        raise ValueError(f"{shown(value)} is no address") from None
    return value


def with_prefix(value: str) -> str:
    """An address with or without a prefix length: before "peer" there is none, ip-address(8)."""
    try:
        ip_interface(value)
    except ValueError:
        raise ValueError(f"{shown(value)} is no address") from None
    return value


def network(value: str) -> str:
    try:
        ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f"{shown(value)} is no network") from None
    return value


def endpoint(value: str) -> str:
    host, _, behind = value.rpartition(":")
    address(host.removeprefix("[").removesuffix("]"))
    port(behind)
    return value


def data(lines: Sequence[str]) -> bytes:
    """The bytes of base64, wrapped or not."""
    try:
        return base64.b64decode("".join(lines).encode("ascii"), validate=True)
    except ValueError:
        raise ValueError("it is no base64") from None
