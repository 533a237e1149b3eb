"""Every fault has a code, a message in one table, a rendered example and an explanation.

After a change of the wording: ``python -m docs`` writes the golden file and the examples in docs/faults.md.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from string import Formatter

import pytest

from docs.__main__ import FAULTS, GOLDEN, golden, with_examples
from tests.support.fault_examples import EXAMPLES
from tests.test_house import ROOT
from wgcluster.inventory.faults import fault
from wgcluster.inventory.messages import MESSAGES

MAKERS = {"fault", "host_fault", "wrong", "of", "worded", "file_fault", "problem"}  # take a code and fields
BESIDE = {"host", "value", "key"}  # what they take besides
LATER = {"hint", "example"}  # of ``wrong``: what schema.fault_of adds
SECTION = re.compile(
    r"### (?P<code>\S+)\n\n```text\n(?P<example>.+?)\n```\n\n"
    r"\*\*Cause\.\*\* (?P<cause>.+?)\n\n\*\*Remedy\.\*\* (?P<remedy>.+?)\n(?=\n#|\Z)",
    re.DOTALL,
)


def fields(code: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(MESSAGES[code]) if name}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((ROOT / "wgcluster").rglob("*.py")):
        if path.name != "messages.py":
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def wrong_calls(trees: Mapping[str, ast.Module]) -> Iterator[str]:
    """Calls with a code that is not in the table, or without just the fields of its message."""
    for name, tree in trees.items():
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            maker = getattr(call.func, "id", getattr(call.func, "attr", ""))
            codes = [one.value for one in call.args if isinstance(one, ast.Constant)]
            if maker not in MAKERS or not codes or "." not in str(codes[0]):
                continue
            code = str(codes[0])
            given = {one.arg for one in call.keywords} - BESIDE
            if code not in MESSAGES:
                yield f"{name}:{call.lineno}: {code} is not in the table"
            elif None not in given and given | LATER != fields(code) | LATER:
                yield f"{name}:{call.lineno}: {code} has the fields {sorted(fields(code))}"


def test_every_fault_is_made_with_a_code_and_its_fields() -> None:
    assert list(wrong_calls(dict(sources()))) == []


@pytest.mark.parametrize(
    "call",
    ['fault("wg_address.takn", other="a")', 'fault("wg_address.taken")', 'wrong("network.invalid", a="b")'],
)
def test_a_call_that_is_wrong_is_found(call: str) -> None:
    assert len(list(wrong_calls({"a.py": ast.parse(call)}))) == 1


def test_a_wrong_call_fails_at_once() -> None:
    with pytest.raises(KeyError, match=r"wg_address\.takn"):
        fault("wg_address.takn")
    with pytest.raises(KeyError, match="other"):
        fault("wg_address.taken")


def test_no_code_is_left_over() -> None:
    used = {node.value for _, tree in sources() for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert MESSAGES.keys() - used == set()


def test_every_code_is_key_and_what_and_stands_in_order() -> None:
    assert list(MESSAGES) == sorted(MESSAGES)
    assert [code for code in MESSAGES if not re.fullmatch(r"[a-z_]+\.[a-z0-9-]+", code)] == []


def test_the_golden_file_has_every_message() -> None:
    assert EXAMPLES.keys() == MESSAGES.keys()
    assert {code: set(given) for code, (_, given) in EXAMPLES.items()} == {c: fields(c) for c in MESSAGES}
    assert GOLDEN.read_text() == golden(), "read what changed, then run python -m docs"


def test_every_code_is_explained() -> None:
    text = FAULTS.read_text()
    sections = [found.groupdict() for found in SECTION.finditer(text)]
    assert [section["code"] for section in sections] == sorted(MESSAGES)
    assert all(section["cause"].strip() and section["remedy"].strip() for section in sections)
    keys = [key for key, _ in groupby(sorted(MESSAGES), lambda code: code.partition(".")[0])]
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["What is compared", *keys]
    assert with_examples(text) == text, "run python -m docs"
