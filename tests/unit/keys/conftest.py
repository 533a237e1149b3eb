"""What every test here is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from wgcluster.keys import registry as keystore
from wgcluster.keys.seal import Cost


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        keystore, "COST", Cost(2**15, 1)
    )  # the least that is read: the tests derive many keys
    for name in ("WGCLUSTER_PASSPHRASE", "WGCLUSTER_PASSPHRASE_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.yml"
