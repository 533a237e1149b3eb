"""docs/architecture.md says what the sources say."""

from __future__ import annotations

import re

from docs.__main__ import DOCUMENT, FLOW, written
from tests.test_house import MAY_IMPORT, ROOT, allowed
from wgcluster.host import answer

TEXT = DOCUMENT.read_text()
HELPERS = {"prefixes", "text"}  # they hand nothing on


def rows(title: str) -> list[list[str]]:
    """The cells of the tables under a heading, without their heads."""
    section = TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]
    tables = re.findall(r"^\|.*\n\|-.*\n((?:\|.*\n)+)", section, re.MULTILINE)
    return [line.strip("|").split("|") for table in tables for line in table.splitlines()]


def test_the_picture_and_the_rooms_are_those_of_the_sources() -> None:
    assert written(TEXT) == TEXT, "run python -m docs"


def test_the_table_of_rooms_is_the_one_that_imports_are_held_to() -> None:
    """By another way than it is made."""
    told = {}
    for name, _, *others in rows("The rooms"):
        if others:  # else it is one of the other folders
            room = name.strip(" `").removesuffix(".py").replace("/", ".")
            told[room] = tuple(re.findall(r"`([\w.]+)`", others[0]))
    assert told == MAY_IMPORT


def test_data_goes_from_a_room_to_those_that_may_import_it() -> None:
    for source, target, _ in FLOW:
        if {source, target} <= MAY_IMPORT.keys():
            assert source in allowed(target), f"{target} may not import {source}"
    assert {one for edge in FLOW for one in edge[:2]} & MAY_IMPORT.keys() == MAY_IMPORT.keys() - HELPERS


def test_each_section_of_an_answer_is_told_of() -> None:
    told = {name.strip(" `"): often.strip() for name, often, *_ in rows("What a host answers")}
    for name, shape in answer._SHAPES.items():
        assert told.get(name) == ("several" if shape.many else "once" if shape.must else "may be"), name
    script = re.sub(r"^ *#.*", "", (ROOT / "files" / "observe.sh").read_text(), flags=re.MULTILINE)
    printed = re.findall(r'(?:\bsection "?|print "@ )([a-z][a-z-]*)', script)
    assert set(printed) == told.keys()


def test_each_dependency_is_told_of() -> None:
    asked = set()
    for path in ROOT.glob("requirements*.in"):
        asked |= set(re.findall(r"^([A-Za-z][\w-]*)", path.read_text(), re.MULTILINE))
    told = {name.strip() for first, *_ in rows("Dependencies") for name in first.split(",")}
    assert told == asked


def test_the_files_that_it_names_are_there() -> None:
    for name in set(re.findall(r"`([a-z_]+(?:/[a-z_]+)*(?:\.py|\.sh|/))`", TEXT)):
        assert (ROOT / name).exists() or (ROOT / "wgcluster" / name).exists(), name


def test_the_functions_and_classes_that_it_tells_to_use_are_there() -> None:
    sources = "".join(
        path.read_text() for top in ("wgcluster", "tasks", "tests") for path in (ROOT / top).rglob("*.py")
    )
    advice = (ROOT / "CONTRIBUTING.md").read_text().split("\n## How to add")[1].split("\n## ")[0]
    named = set(re.findall(r"`@?(?:run\.)?(\w+)(?:\(host\))?`", advice))
    defined = set(re.findall(r"^ *(?:def |class |(?=[A-Z_]+\b.* = ))(\w+)", sources, re.MULTILINE))
    assert len(named) > 10
    assert named - defined == {"tools"}  # a section
