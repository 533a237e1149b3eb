"""How commands print: tables for people, JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

_PIPE_WIDTH = 200  # characters, for pipes


def console() -> Console:
    """A console for standard output, without markup: names and regexes may have brackets."""
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return Console(markup=False, emoji=False, highlight=False, width=width)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table with a line below its head. Cells are folded, never truncated."""
    built = Table(*heads, box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in built.columns:
        column.overflow = "fold"
    for row in rows:
        built.add_row(*row)
    return built


def print_json(value: object) -> None:
    """Print ``value`` as JSON; dataclasses as objects, addresses and networks as text."""
    print(json.dumps(value, indent=2, default=_plain, ensure_ascii=False))


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return str(value)
