"""The registry loses nothing to a rival, a crash or a full disk."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
import textwrap
import time
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.support.registries import ROOT, WORD, fill, opened
from wgcluster.inventory.faults import KeystoreError
from wgcluster.keys.registry import Registry


def test_a_registry_that_another_run_changed_is_not_written_over(path: Path) -> None:
    fill(path)
    one, other = opened(path), opened(path)
    one.ensure_hosts(["from-one"])
    one.save()
    data = path.read_bytes()
    other.ensure_hosts(["from-other"])
    with pytest.raises(KeystoreError, match=r"\[keystore\.changed\]"):
        other.save()
    assert path.read_bytes() == data
    assert other.dirty


@pytest.mark.parametrize("meanwhile", ["made", "removed"])
def test_a_registry_that_came_or_went_is_not_written_over(path: Path, meanwhile: str) -> None:
    registry = Registry.load(path) if meanwhile == "made" else fill(path)
    registry.unlock(WORD)
    registry.ensure_hosts(["backup"])
    if meanwhile == "made":
        fill(path)
    else:
        path.unlink()
    with pytest.raises(KeystoreError, match=r"\[keystore\.changed\]"):
        registry.save()


PROGRAM = """
import sys
from pathlib import Path
from wgcluster.inventory.faults import KeystoreError
from wgcluster.keys.registry import Registry
from wgcluster.keys.secret import Secret
path, word = Path(sys.argv[1]), Secret(sys.argv[2])
"""


def run(program: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM + textwrap.dedent(program), str(path), WORD.reveal()],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_runs_at_the_same_time_lose_nothing(path: Path) -> None:
    """Each of four processes removes a client of its own, again and again until its save is taken."""
    registry = fill(path)
    for number in range(4):
        registry.add_client(f"c{number}", [ip_address(f"10.0.0.{110 + number}")])
    registry.save()
    program = """
        for attempt in range(200):
            registry = Registry.load(path)
            registry.remove_client("c{}")
            try:
                registry.save()
                break
            except KeystoreError as error:
                assert "[keystore.changed]" in str(error)
        else:
            sys.exit("never got through")
    """
    runs = [run(program.format(number), path) for number in range(4)]
    for one in runs:
        _, errors = one.communicate(timeout=60)
        assert (one.returncode, errors) == (0, "")
    assert list(Registry.load(path).client_keys()) == ["laptop", "phone"]


def test_a_run_waits_while_another_writes(path: Path) -> None:
    fill(path)
    program = """
        registry = Registry.load(path)
        registry.remove_client("laptop")
        print("ready", flush=True)
        registry.save()
    """
    with open(f"{path}.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        one = run(program, path)
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            one.wait(timeout=0.5)
    assert one.wait(timeout=10) == 0  # the lock goes with the file that is closed
    one.communicate()
    assert list(Registry.load(path).client_keys()) == ["phone"]


def test_a_killed_run_leaves_a_whole_registry(path: Path) -> None:
    fill(path)
    program = """
        registry = Registry.load(path)
        print("ready", flush=True)
        for _ in range(100_000):
            registry.dirty = True
            registry.save()
    """
    for _ in range(3):
        one = run(program, path)
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
        time.sleep(0.05)
        one.send_signal(signal.SIGKILL)
        one.communicate(timeout=10)
        assert one.returncode == -signal.SIGKILL
        assert list(Registry.load(path).client_keys()) == ["laptop", "phone"]


def test_a_full_disk_leaves_the_old_registry_and_no_litter(path: Path) -> None:
    fill(path)
    data = path.read_bytes()
    program = """
        import resource
        registry = Registry.load(path)
        registry.remove_client("laptop")
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
        try:
            registry.save()
        except KeystoreError as error:
            print(error)
    """
    output, errors = run(program, path).communicate(timeout=30)
    assert (output, errors) == (f"{path}: cannot be written: File too large  [keystore.unwritable]\n", "")
    assert path.read_bytes() == data
    assert sorted(p.name for p in path.parent.iterdir()) == ["keys.yml", "keys.yml.lock"]


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    fill(tmp_path / "lab" / "state" / "keys.yml")
    assert list(Registry.load(tmp_path / "lab" / "state" / "keys.yml").public_keys()) == ["cloud", "root"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    registry = Registry.load(tmp_path / "file" / "keys.yml")
    registry.unlock(WORD)
    registry.ensure_hosts(["root"])
    (tmp_path / "file").write_text("")
    with pytest.raises(KeystoreError, match=r"file/keys\.yml: .*: File exists  \[keystore\.unwritable\]"):
        registry.save()


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    fill(tmp_path / "kept" / "keys.yml")
    link = tmp_path / "keys.yml"
    link.symlink_to(Path("kept") / "keys.yml")
    registry = opened(link)
    registry.ensure_hosts(["backup"])
    registry.save()
    assert link.is_symlink()
    assert list(Registry.load(tmp_path / "kept" / "keys.yml").public_keys()) == ["backup", "cloud", "root"]


def test_a_link_to_nowhere_is_no_empty_registry(tmp_path: Path) -> None:
    """Nor is what lies in a folder that is one."""
    (tmp_path / "keys.yml").symlink_to("gone/keys.yml")
    (tmp_path / "disk").symlink_to("gone")
    for path, link in ((tmp_path / "keys.yml", "keys.yml"), (tmp_path / "disk" / "keys.yml", "disk")):
        with pytest.raises(
            KeystoreError, match=rf"{path}: {link} is a link to gone.*\[keystore\.link-to-nowhere\]"
        ):
            Registry.load(path)
    assert not (tmp_path / "gone").exists()
