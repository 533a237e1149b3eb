"""What hosts say reaches the terminal as text, without a secret, and no more of it than is of use."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgcluster.text import LAST, last_words, printable


def test_plain_text_stays_as_it_is() -> None:
    text = "Zürich\t→ 10.0.0.2\n\n\\x1b stays"
    assert printable(text) == text


def test_orders_to_a_terminal_are_shown() -> None:
    data = b"\x1b[2J\x07\r\x00\x7f\xff\xc2\x9b31m"
    text = data.decode("utf-8", "surrogateescape") + "\u202e\u2028"
    assert printable(text) == r"\x1b[2J\x07\x0d\x00\x7f\xff\x9b31m\u202e\u2028".replace(r"\x0d", r"\r")


@given(st.text(st.characters(exclude_categories=[])))
def test_nothing_but_text_comes_out_and_once_is_enough(text: str) -> None:
    shown = printable(text)
    assert all(c.isprintable() or c in "\n\t" for c in shown)
    assert printable(shown) == shown
    shown.encode()


def test_the_last_lines_are_what_matters() -> None:
    said = ["", *(f"line {n}\x1b" for n in range(20)), "", " the end "]
    assert last_words(said) == [*(f"line {n}\\x1b" for n in range(20 - LAST + 1, 20)), "the end"]


@pytest.mark.skipif(not shutil.which("wg"), reason="wireguard-tools are not installed")
@pytest.mark.parametrize(
    "line", ["PrivateKey = SECRET", "PresharedKey = SECRET", "PrivatKey = SECRET", "PrivateKey = SECRET=="]
)
def test_what_wg_repeats_of_a_config_holds_no_key(tmp_path: Path, line: str) -> None:
    genkey = ["wg", "genkey"]
    key = subprocess.run(genkey, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    config = tmp_path / "wg.conf"
    for secret in (key, key[:-2], key[:39]):
        section = "[Peer]" if "Pre" in line else "[Interface]"
        config.write_text(f"{section}\n{line.replace('SECRET', secret)}\nbroken\n")
        done = subprocess.run(
            ["wg", "setconf", "wgc-none", str(config)], capture_output=True, text=True, timeout=10
        )
        assert done.returncode != 0
        words = "\n".join(last_words(done.stderr.splitlines()))
        assert words
        assert secret[:20] not in words
