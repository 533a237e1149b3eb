"""Real containers under the tests: one lab and one workspace for each test worker.

``WGCLUSTER_KEEP_LAB=1`` leaves the lab up for a look, and takes it up again in the next run as it is.
``WGCLUSTER_TEST_LAB=NAME`` (default "test") keeps two runs on one machine apart.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lab.lab import PREFIX, Lab
from lab.spec import HostSpec
from lab.workspace import Workspace
from tests.support.lab.cluster import PASSPHRASE, NewLab, NewWorkspace

_HERE = Path(__file__).parent
_KEEP = bool(os.environ.get("WGCLUSTER_KEEP_LAB"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.lab)


@pytest.fixture(scope="session")
def prefix() -> str:
    """Begins the names of all Docker objects of this test worker."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    return f"{PREFIX}{os.environ.get('WGCLUSTER_TEST_LAB', 'test')}-{worker}-"


@pytest.fixture(scope="session")
def lab(prefix: str) -> Iterator[Lab]:
    """The article's lab, on addresses of its own."""
    lab = Lab(prefix=prefix, subnet="free")
    if not _KEEP:
        lab.down()  # what a run that was killed left behind
    yield lab.up()
    if not _KEEP:
        lab.down()


@pytest.fixture
def new_lab(prefix: str) -> Iterator[NewLab]:
    """Makes further labs, which go when the test ends: ``new_lab(plain(7))``."""
    made: list[Lab] = []

    def make(specs: Sequence[HostSpec]) -> Lab:
        lab = Lab(specs, prefix=f"{prefix}{len(made) + 1}-", subnet="free")
        made.append(lab)
        lab.down()
        return lab.up()

    yield make
    for lab in made:
        lab.down()


@pytest.fixture(scope="session")
def workspace(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Where this worker's tests run pyinfra against ``lab``; its keys live as long as the session."""
    return Workspace.make(lab, tmp_path_factory.mktemp("workspace"), {"WGCLUSTER_PASSPHRASE": PASSPHRASE})


@pytest.fixture
def new_workspace(tmp_path_factory: pytest.TempPathFactory) -> NewWorkspace:
    """Makes a workspace for a lab, with keys of its own."""

    def make(lab: Lab) -> Workspace:
        folder = tmp_path_factory.mktemp("workspace")
        return Workspace.make(lab, folder, {"WGCLUSTER_PASSPHRASE": PASSPHRASE})

    return make
