"""One row of an inventory, unchecked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

OURS = ("wg_", "firewall", "nginx_")  # prefixes of our settings


@dataclass(frozen=True, slots=True)
class Row:
    """One host of a pyinfra inventory, its data merged in pyinfra's order of precedence."""

    name: str  # pyinfra's host name, with its connector
    data: Mapping[str, Any]
    declared: bool = True  # False: all its settings come from groups

    @property
    def default_name(self) -> str:
        """pyinfra's name without ``@connector/``."""
        return self.name.split("/", 1)[-1] if self.name.startswith("@") else self.name

    @property
    def cluster_name(self) -> str:
        """Its ``wg_name``, unchecked, by which other settings name it."""
        return str(self.data.get("wg_name", self.default_name))
