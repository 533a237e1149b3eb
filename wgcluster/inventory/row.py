"""One row of an inventory, nothing of it checked yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

OURS = ("wg_", "firewall", "nginx_")  # how the names of our keys begin


@dataclass(frozen=True, slots=True)
class Row:
    """One host of a pyinfra inventory, its data merged in pyinfra's order of precedence."""

    name: str  # pyinfra's host name, connector and all
    data: Mapping[str, Any]
    declared: bool = True  # False: nothing of ours stands at the host itself, all of it comes from groups

    @property
    def default_name(self) -> str:
        """pyinfra's name without ``@connector/``."""
        return self.name.split("/", 1)[-1] if self.name.startswith("@") else self.name

    @property
    def cluster_name(self) -> str:
        """Its ``wg_name``, which others may use before it is checked."""
        return str(self.data.get("wg_name", self.default_name))
