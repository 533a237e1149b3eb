"""What script/demo and script/test say where they cannot set up what they need."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OTHER = 'ID=fedora\nVERSION_ID="42"\n'


@pytest.mark.parametrize("script", ["demo", "test"])
def test_elsewhere_without_an_engine_one_sentence_says_what_to_install(script: str, tmp_path: Path) -> None:
    """On a system that is neither Debian nor Ubuntu, in a mount namespace: its os-release, and no docker."""
    release, programs, checkout = tmp_path / "os-release", tmp_path / "bin", tmp_path / "checkout"
    release.write_text(OTHER)
    programs.mkdir()
    for folder in ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"):
        for program in Path(folder).iterdir() if Path(folder).is_dir() else ():
            link = programs / program.name
            if not program.name.startswith(("docker", "apt")) and not link.is_symlink():
                link.symlink_to(program)
    checkout.mkdir()
    (checkout / "script").symlink_to(ROOT / "script")
    inner = f"mount --bind {release} /etc/os-release && exec sh {checkout}/script/{script}"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", inner],
        env={"PATH": str(programs), "HOME": os.environ.get("HOME", "/")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    sentence = "No Docker engine answers: install Docker (docs.docker.com/engine/install), start it"
    assert done.stderr.startswith(sentence)
    assert done.stderr.count("\n") == 1
    assert not (checkout / ".venv").exists()
