"""What the requirement files, pyproject.toml and the imports say of each other."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
OPERATOR = ("wgcluster", "tasks", "deploy.py", "verify.py", "teardown.py", "inventory.py", "group_data")
REST = ("lab", "tests", "benchmarks")
TOOLS = {"mypy", "ruff", "pytest-cov", "pytest-xdist"}  # run by name, imported by nobody
_OURS = {"wgcluster", "tasks", "lab", "tests", "benchmarks"}
_PIN = re.compile(
    r"^([a-z0-9.-]+)==([^ ]+)(?: ; ([^\\]+))? \\\n((?: {4}--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.M
)


def declared(name: str) -> dict[str, Requirement]:
    lines = (line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    wanted = [Requirement(line) for line in lines if line and not line.startswith("-")]
    return {canonicalize_name(one.name): one for one in wanted}


def locked(name: str) -> dict[str, set[tuple[str, str]]]:
    """Version and marker of each distribution that a lock pins."""
    pins: dict[str, set[tuple[str, str]]] = {}
    for one, version, marker, _ in _PIN.findall((ROOT / name).read_text()):
        pins.setdefault(one, set()).add((version, marker))
    return pins


def imported(*places: str) -> set[str]:
    """The distributions whose modules these files and folders import."""
    modules = set()
    for place in places:
        path = ROOT / place
        for file in path.rglob("*.py") if path.is_dir() else [path]:
            if ".state" not in file.parts:  # there benchmarks keep the programs that they are held against
                modules |= set(_imports(ast.parse(file.read_text())))
    modules -= _OURS | set(sys.stdlib_module_names)
    of = packages_distributions()
    # a module may be of several: pyinfra_cli's, of pyinfra alone
    return {canonicalize_name(of[module][0]) for module in modules if module in of}


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name.partition(".")[0] for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def test_an_operator_installs_what_the_program_imports_and_no_more() -> None:
    # pydantic pins its core to one version, and its documentation says to raise errors from there
    assert declared("requirements.in").keys() == imported(*OPERATOR) - {"pydantic-core"}


def test_the_rest_is_what_the_lab_and_the_tests_need_beside() -> None:
    rest = imported(*REST) - locked("requirements.txt").keys()
    wanted = declared("requirements-dev.in").keys() - locked("requirements.txt").keys()
    stubs = {name for name in wanted if name.startswith("types-")}
    assert wanted == rest | TOOLS | stubs


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_a_lock_pins_what_is_declared_with_hashes_and_tells_no_host(name: str) -> None:
    pins = locked(f"{name}.txt")
    for one, requirement in declared(f"{name}.in").items():
        assert pins[one], one
        assert all(requirement.specifier.contains(version) for version, _ in pins[one]), one
    rest = re.sub(r"^ *#.*\n", "", _PIN.sub("", (ROOT / f"{name}.txt").read_text()), flags=re.M)
    assert rest.strip() == ""  # no index, no local path, nothing without a hash


def test_both_locks_have_the_same_versions() -> None:
    one, other = locked("requirements.txt"), locked("requirements-dev.txt")
    assert {name: other[name] for name in one.keys() & other.keys()} == {
        name: one[name] for name in one.keys() & other.keys()
    }


def test_each_dependency_has_a_lower_bound_and_no_upper_one() -> None:
    for requirement in declared("requirements.in").values():
        assert [clause.operator for clause in requirement.specifier] == [">="], requirement
