"""README's tables of settings and commands say what there is, and no more."""

from __future__ import annotations

import re
from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from pathlib import Path

import pytest

from wgcluster.__main__ import _parser
from wgcluster.inventory.schema import SETTING_NAMES, ClusterSettings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its first two lines."""
    section = re.split(r"\n##+ ", README.split(f"\n## {heading}\n")[1])[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


SETTINGS = {name.strip("`"): cells for name, *cells in rows("All settings")}


def commands(parser: ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[str]:
    """Each command as README writes it: its words, what it must and what it may be given."""
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            for name, inner in action.choices.items():
                yield from commands(inner, (*words, name))
            return
    must, may = [], []
    for action in parser._actions:
        value = [str(action.metavar or action.dest.upper())] if action.nargs != 0 else []
        text = " ".join([*action.option_strings[:1], *value])
        if action.required:
            must.append(text)
        elif not {"--help", "--inventory"} & set(action.option_strings):
            may.append(f"[{text}]")
    yield " ".join([*words, *must, *sorted(may)])


def test_every_setting_has_a_row_and_every_row_a_setting() -> None:
    assert sorted(SETTINGS) == sorted(SETTING_NAMES)
    assert len(rows("All settings")) == len(SETTING_NAMES)


@pytest.mark.parametrize("name", sorted(ClusterSettings.model_fields))
def test_what_is_one_for_the_whole_cluster_is_said_to_stand_in_all(name: str) -> None:
    assert SETTINGS[name][0] == "all"


def test_every_command_has_a_row_with_all_that_it_takes_and_every_row_a_command() -> None:
    documented = [row[0].strip("`") for row in rows("All commands")]

    def ordered(usage: str) -> str:
        may = re.findall(r"\[.*?\]", usage)
        return " ".join([re.sub(r" ?\[.*?\]", "", usage), *sorted(may)])

    assert sorted(map(ordered, documented)) == sorted(commands(_parser()))


def test_every_command_that_is_named_elsewhere_is_one() -> None:
    there_are = [re.sub(r" (?:\[|-|[A-Z]).*", "", usage).split() for usage in commands(_parser())]
    named = re.findall(r"python -m wgcluster ([a-z].*?)[`\n]", README)
    assert named
    for words in (name.split() for name in named):
        assert any(words[: len(least)] == least for least in there_are), words


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_every_path_that_a_document_names_is_there(document: str) -> None:
    folders = r"wgcluster|tasks|tests|files|script|lab|benchmarks"
    named = re.findall(rf"`(?:script/test )?((?:{folders})/[\w./-]*)", (ROOT / document).read_text())
    assert [path for path in named if not (ROOT / path).exists() and "/.state" not in path] == []
