"""What script/demo and script/test say where they cannot set up what they need."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
_MOUNTS = ["unshare", "--mount", "true"]
pytestmark = pytest.mark.skipif(
    not shutil.which("unshare") or subprocess.run(_MOUNTS, capture_output=True).returncode != 0,
    reason="needs a mount namespace, and for that root",
)
OTHER = 'ID=fedora\nVERSION_ID="42"\n'


SENTENCE = "No Docker engine answers: install Docker (docs.docker.com/engine/install), start it"


def run(folder: Path, script: str, *words: str) -> subprocess.CompletedProcess[str]:
    """On a system that is neither Debian nor Ubuntu, in a mount namespace: its os-release, and no docker."""
    release, programs, checkout = folder / "os-release", folder / "bin", folder / "checkout"
    release.write_text(OTHER)
    programs.mkdir()
    for place in ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"):
        for program in Path(place).iterdir() if Path(place).is_dir() else ():
            link = programs / program.name
            if not program.name.startswith(("docker", "apt")) and not link.is_symlink():
                link.symlink_to(program)
    checkout.mkdir(exist_ok=True)
    (checkout / "script").symlink_to(ROOT / "script")
    inner = f'mount --bind {release} /etc/os-release && exec sh {checkout}/script/{script} "$@"'
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", inner, "sh", *words],
        env={"PATH": str(programs), "HOME": os.environ.get("HOME", "/")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("script", ["demo", "test"])
def test_elsewhere_without_an_engine_one_sentence_says_what_to_install(script: str, tmp_path: Path) -> None:
    done = run(tmp_path, script)
    assert done.returncode == 1
    assert done.stderr.startswith(SENTENCE)
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "checkout" / ".venv").exists()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Folders of tests, and a .venv that is as it should be, whose programs say how they were called."""
    checkout = tmp_path / "checkout"
    for folder in (
        "tests/unit/cli",
        "tests/property",
        "tests/deploy",
        "tests/system/lab",
        "lab",
        ".venv/bin",
    ):
        (checkout / folder).mkdir(parents=True)
    (checkout / "tests/system/lab/test_ssh.py").touch()
    (checkout / "tests/test_house.py").touch()
    for file in ("requirements.txt", "requirements-dev.txt"):
        (checkout / file).write_text(f"{file}\n")
    (checkout / ".venv/locked.txt").write_text("requirements.txt\nrequirements-dev.txt\n")
    for name in ("python", "ruff", "mypy"):
        program = checkout / ".venv/bin" / name
        quick = "${WGCLUSTER_QUICK:+quick}" if name == "python" else ""
        program.write_text(f'#!/bin/sh\n[ "$1" = -c ] || echo {name} "$@" {quick}\n')
        program.chmod(0o755)
    return tmp_path


PYTEST = "python -m pytest -n 2 --dist loadfile"
UNIT = "tests/unit tests/property tests/test_house.py"
CHECKS = ["ruff check .", "ruff format --check .", "mypy"]


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["unit"], [*CHECKS, f"{PYTEST} {UNIT} quick"]),
        (["unit", "-k", "lab"], [*CHECKS, f"{PYTEST} -k lab {UNIT} quick"]),
        (["--coverage", "unit"], [*CHECKS, f"{PYTEST} {UNIT} --cov quick"]),
        (["unit", "--coverage"], [*CHECKS, f"{PYTEST} {UNIT} --cov quick"]),
        (["tests/unit/cli", "tests/deploy"], [f"{PYTEST} tests/unit/cli tests/deploy"]),
        (["-m", "not lab"], [*CHECKS, f"{PYTEST} -m not lab"]),
        (["tests", "-m", "not lab"], [f"{PYTEST} tests -m not lab"]),
    ],
)
def test_what_needs_no_lab_runs_without_an_engine(checkout: Path, words: list[str], lines: list[str]) -> None:
    done = run(checkout, "test", *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == lines


@pytest.mark.parametrize(
    "words",
    [
        ["tests"],
        ["."],
        ["tests/system/lab"],
        ["tests/system/lab/test_ssh.py::NAME", "tests/unit"],
        ["-k", "forward"],
    ],
)
def test_what_may_need_the_lab_looks_for_an_engine(checkout: Path, words: list[str]) -> None:
    done = run(checkout, "test", *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(SENTENCE)


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_a_change_of_either_lock_is_noticed(checkout: Path, file: str) -> None:
    (checkout / "checkout" / file).write_text("another==1\n")
    (checkout / "checkout" / ".venv/bin/pip-was-here").touch()
    done = run(checkout, "test", "unit")
    assert done.stdout.startswith("Making .venv from requirements.txt and requirements-dev.txt\n")
    assert done.returncode != 0  # what the files hold here is nothing that pip takes
    assert not (checkout / "checkout" / ".venv/bin/pip-was-here").exists()


def test_help_says_what_there_is_and_runs_nothing(checkout: Path) -> None:
    done = run(checkout, "test", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert {"script/test unit", "script/test PATH...", "script/test --coverage"} <= {
        line.split("  ")[0] for line in done.stdout.splitlines()
    }
