"""How commands print: tables for people, JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

_PIPE_WIDTH = 200  # characters; what reads a pipe does not wrap, so neither do we


def console() -> Console:
    """Standard output. Names and regexes may hold brackets: nothing in them is markup."""
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return Console(markup=False, emoji=False, highlight=False, width=width)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table with a line under its head; every cell whole, folded where the terminal is narrow."""
    built = Table(*heads, box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in built.columns:
        column.overflow = "fold"
    for row in rows:
        built.add_row(*row)
    return built


def print_json(value: object) -> None:
    """``value`` on standard output; dataclasses as mappings, addresses and networks as text."""
    print(json.dumps(value, indent=2, default=_plain, ensure_ascii=False))


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return str(value)
