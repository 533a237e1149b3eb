"""How lists are told to people."""

from __future__ import annotations

from collections.abc import Iterable


def some(names: Iterable[str]) -> str:
    """The first ten names, and how many more there are."""
    listed = list(names)
    return ", ".join(listed[:10]) + (f" and {len(listed) - 10} more" if len(listed) > 10 else "")
