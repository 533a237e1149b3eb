"""Where the passphrase comes from, and secrets that show themselves to nobody."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.registries import ROOT
from wgcluster.inventory.faults import KeystoreError
from wgcluster.keys.seal import encode, new_private_key, public_key_of
from wgcluster.keys.secret import Secret, passphrase


def test_the_passphrase_is_taken_from_the_first_place_that_has_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside, named = path.with_name("keys.yml.pass"), path.with_name("elsewhere")
    beside.write_text("beside\n")
    beside.chmod(0o600)
    named.write_text("named\r\n")
    assert passphrase(path) == Secret("beside")
    monkeypatch.setenv("WGCLUSTER_PASSPHRASE_FILE", str(named))
    assert passphrase(path) == Secret("named")
    monkeypatch.setenv("WGCLUSTER_PASSPHRASE", " from the environment ")
    assert passphrase(path) == Secret(" from the environment ")


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644, 0o620])
def test_a_passphrase_that_others_can_read_is_refused(path: Path, mode: int) -> None:
    beside = path.with_name("keys.yml.pass")
    beside.write_text("beside")
    beside.chmod(mode)
    with pytest.raises(KeystoreError, match=rf"chmod 600 {beside}  \[passphrase\.exposed\]"):
        passphrase(path)


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "passphrase.empty"), (b"\n", "passphrase.empty"), (b"\xff", "passphrase.not-utf8")],
)
def test_a_passphrase_file_must_hold_one(path: Path, content: bytes, code: str) -> None:
    beside = path.with_name("keys.yml.pass")
    beside.write_bytes(content)
    beside.chmod(0o600)
    with pytest.raises(KeystoreError, match=re.escape(f"[{code}]")):
        passphrase(path)


def test_a_named_file_that_is_not_there_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WGCLUSTER_PASSPHRASE_FILE", "/nowhere/word")
    with pytest.raises(KeystoreError, match=r"/nowhere/word .*: No such file .*\[passphrase\.unreadable\]"):
        passphrase(path)


def test_an_empty_variable_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WGCLUSTER_PASSPHRASE", "")
    with pytest.raises(KeystoreError, match=r"^WGCLUSTER_PASSPHRASE: .*\[passphrase\.empty\]"):
        passphrase(path)


def test_without_a_passphrase_every_way_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        with pytest.raises(KeystoreError) as caught:
            passphrase(path)
    for way in ("WGCLUSTER_PASSPHRASE,", "WGCLUSTER_PASSPHRASE_FILE", f"{path}.pass", "terminal"):
        assert way in str(caught.value)


@pytest.mark.parametrize(
    ("confirm", "typed", "said"),
    [
        (False, ["word"], "got word"),
        (True, ["word", "word"], "got word"),
        (True, ["word", "wort"], "[passphrase.differ]"),
        (False, [""], "the terminal: the passphrase is empty"),
    ],
)
def test_at_a_terminal_it_is_asked_for_and_not_shown(
    path: Path, confirm: bool, typed: list[str], said: str
) -> None:
    program = f"""
from pathlib import Path
from wgcluster.inventory.faults import KeystoreError
from wgcluster.keys.secret import passphrase
try:
    print("got", passphrase(Path("keys.yml"), confirm={confirm}).reveal())
except KeystoreError as error:
    print(error)
"""
    pid, terminal = os.forkpty()
    if pid == 0:  # the child: what runs here has the terminal as its own
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-c", program])
    shown = b""
    answers = [answer.encode() + b"\n" for answer in typed]
    try:
        while chunk := os.read(terminal, 1000):
            shown += chunk
            if answers and shown.count(b": ") == len(typed) - len(answers) + 1:
                os.write(terminal, answers.pop(0))
    except OSError:  # Linux: EIO once the child has closed its side
        pass
    finally:
        os.waitpid(pid, 0)
        os.close(terminal)
    assert said in shown.decode()
    for answer in filter(None, typed):
        assert shown.decode().replace(said, "").count(answer) == 0


@dataclass(frozen=True)
class Holder:
    key: Secret


def test_a_secret_shows_itself_to_nobody() -> None:
    secret = Secret("hunter2")
    shown = [
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret!r:>12}",
        f"{secret:>12}",
        "%s" % secret,  # noqa: UP031 - this form, too
        str([secret]),
        str(Holder(secret)),
    ]
    assert not any("hunter2" in text for text in shown)
    assert all("(hidden)" in text for text in shown)
    with pytest.raises(TypeError, match="neither pickled nor copied"):
        pickle.dumps(secret)
    assert not hasattr(secret, "__dict__")


def test_secrets_are_equal_by_value() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert Secret("a").reveal() == "a"


def test_public_keys_are_those_of_rfc_7748() -> None:
    private = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    public = bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
    assert public_key_of(private) == encode(public)  # section 6.1, Bob


def test_private_keys_are_clamped_as_wg_does() -> None:
    for _ in range(64):
        key = new_private_key()
        assert key[0] & 7 == 0
        assert key[31] & 192 == 64


def test_too_little_memory_is_said(tmp_path: Path) -> None:
    program = """
import resource
from pathlib import Path
from wgcluster.inventory.faults import KeystoreError
from wgcluster.keys.registry import Registry
from wgcluster.keys.secret import Secret

used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**24, used + 2**24))
try:
    Registry.load(Path("keys.yml")).unlock(Secret("four words"))
except KeystoreError as error:
    print(error.faults[0].code)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "keystore.memory\n", done.stderr
