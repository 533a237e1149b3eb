"""What every test here is given."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.support.operator_folder import WORD, Cluster
from wgcluster.keys import registry as keystore
from wgcluster.keys.seal import Cost


@pytest.fixture
def cluster(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setattr(keystore, "COST", Cost(2**15, 1))
    monkeypatch.setenv("WGCLUSTER_PASSPHRASE", WORD)
    made = Cluster(tmp_path, capsys)
    made.write()
    return made


@pytest.fixture
def locked(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A cluster without a passphrase anywhere."""
    monkeypatch.delenv("WGCLUSTER_PASSPHRASE")
    monkeypatch.setattr(sys, "stdin", open(os.devnull))  # noqa: SIM115 - lives as long as the test
    return cluster
