"""A file is written whole or not at all, whatever becomes of the machine that sends it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tasks.operations import Told, upload

NEW = "[Interface]\n" + "[Peer]\n" * 200 + "# \udcff\n"


def send(path: Path, share: float) -> int:
    """Run the command that writes NEW with this share of its input; its exit status."""
    command = Told(upload(str(path), NEW, "600"))
    (data,) = command.connector_arguments["_stdin"]
    # in whole groups of four characters: that is base64, too
    data = data[: int(len(data) * share) // 4 * 4]
    done = subprocess.run(
        ["sh", "-c", command.get_raw_value()], input=data, text=True, timeout=10, check=False
    )
    return done.returncode


def test_all_of_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "wg.conf"
    assert send(path, 1) == 0
    assert path.read_bytes() == NEW.encode("utf-8", "surrogateescape")
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["wg.conf"]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_what_is_cut_off_leaves_the_old_file(tmp_path: Path, share: float) -> None:
    path = tmp_path / "wg.conf"
    path.write_text("old")
    assert send(path, share) != 0
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["wg.conf"]
