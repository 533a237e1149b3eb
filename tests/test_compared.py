"""docs/faults.md, "What is compared": each fault that an observation can give, and where it is tested."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from wgcluster.inventory.messages import MESSAGES

ROOT = Path(__file__).parent.parent
SECTION = (ROOT / "docs" / "faults.md").read_text().split("\n## What is compared\n")[1].split("\n## ")[0]
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in SECTION.splitlines()
    if line.startswith("| ")
][1:]
LISTED = [(code, row[-1].strip("`")) for row in ROWS for code in re.findall(r"`([^`]+)`", row[-2])]


def codes(folder: Path) -> Iterator[str]:
    """The codes of messages that stand in the code of a folder."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and node.value in MESSAGES:
                yield str(node.value)


def test_each_fault_of_a_host_is_in_the_table_once() -> None:
    """These packages alone see observations, but for what nginx has of its own."""
    observed = {code for room in ("verify", "host") for code in codes(ROOT / "wgcluster" / room)}
    assert sorted(code for code, _ in LISTED) == sorted(observed)


@pytest.mark.parametrize(("code", "path"), LISTED)
def test_where_it_is_said_to_be_tested_it_is(code: str, path: str) -> None:
    assert re.search(rf"{re.escape(code)}\b(?!-)", (ROOT / path).read_text())
