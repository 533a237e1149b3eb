"""Real nginx as the judge: texts are read as it reads them, and the audit says what strangers really get.

The bounded runs are for every day and always the same; for ten minutes of texts that nobody has seen:

    WGCLUSTER_FUZZ_SECONDS=600 pytest tests/system/nginx/test_real.py -k fuzz -s
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.support.nginx import strangers
from tests.support.nginx.bodies import disagreements
from tests.support.nginx.real import LUA, NGINX, opinion
from wgcluster.nginx.syntax.errors import NginxSyntaxError
from wgcluster.nginx.syntax.tree import parse

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
FUZZ_SECONDS = float(os.environ.get("WGCLUSTER_FUZZ_SECONDS", "0"))


def _on_two_cores(
    judge: Callable[..., tuple[dict[str, int], *tuple[list[str], ...]]], seeds: range, **more: object
) -> tuple[Counter[str], list[list[str]]]:
    """What ``judge`` says of each half of ``seeds``, as one: its counts, then its lists.

    Question and answer go to and fro: alone, it would leave two cores half idle and take five times as long.
    """
    middle = (seeds.start + seeds.stop) // 2
    halves = [range(seeds.start, middle), range(middle, seeds.stop)]
    with ProcessPoolExecutor(2) as pool:
        (counts, *lists), (others, *further) = pool.map(partial(judge, **more), halves)
    return Counter(counts) + Counter(others), [a + b for a, b in zip(lists, further, strict=True)]


def test_accepts_and_refuses_what_nginx_does(tmp_path: Path) -> None:
    counts, (wrong,) = _on_two_cores(disagreements, range(4000), folder=tmp_path, lua=False)
    assert not wrong, "\n\n".join(wrong[:5])
    assert counts["accepts"] > 800
    assert counts["refuses"] > 800


@pytest.mark.skipif(not LUA, reason="nginx has no lua module")
def test_reads_lua_blocks_as_the_module_does(tmp_path: Path) -> None:
    counts, (wrong,) = _on_two_cores(disagreements, range(1500), folder=tmp_path, lua=True)
    assert not wrong, "\n\n".join(wrong[:5])
    assert counts["accepts"] > 200
    assert counts["refuses"] > 200


@pytest.mark.skipif(not LUA, reason="nginx has no lua module")
@pytest.mark.parametrize(
    ("body", "accepted"),
    [
        ("'{'", True),
        ("'\\'{'", True),
        ("'\\n{'", True),
        ("'\n{'", False),
        ("'\\\n{'", False),  # found by the fuzz: a backslash does not carry a string over its line
        ("'\\\n'{}", True),
        ("'\\\n\"{\"'", True),
        ("'\"[[\" {'", True),
        ("'\\\n\"[[\" {'", False),
    ],
)
def test_strings_of_lua_end_as_the_module_ends_them(tmp_path: Path, body: str, accepted: bool) -> None:
    text = f"events {{}}\nhttp {{ server {{ location / {{ content_by_lua_block {{{body}}} }} }} }}\n"
    assert (opinion(text, tmp_path, lua=True).says == "accepts") == accepted
    if accepted:
        parse(text)
    else:
        with pytest.raises(NginxSyntaxError):
            parse(text)


@pytest.mark.parametrize("start", [0, 500, 1000, 1500])
def test_the_audit_says_what_a_stranger_gets(start: int) -> None:
    counts, (wrong, cautious) = _on_two_cores(strangers.disagreements, range(start, start + 500))
    assert not wrong, "\n\n".join(wrong[:3])
    # Called a leak or public, and no stranger of ours got through.
    assert not cautious, "\n\n".join(cautious[:3])
    assert all(counts[kind] > 70 for kind in ("guarded", "public", "closed", "leaks"))


def test_fuzz_against_nginx(tmp_path: Path) -> None:
    end = time.monotonic() + FUZZ_SECONDS
    first = seed = int(time.time()) * 1000 if FUZZ_SECONDS else 100_000
    counts: Counter[str] = Counter()
    while seed == first or time.monotonic() < end:
        seeds = range(seed, seed + 400)
        found = []
        for lua in {False, LUA}:
            texts, (wrong,) = _on_two_cores(disagreements, seeds, folder=tmp_path, lua=lua)
            counts.update(texts)
            found += wrong
        classes, (wrong, cautious) = _on_two_cores(strangers.disagreements, range(seed, seed + 200))
        counts.update({**classes, "servers": 200})
        found += wrong + cautious
        assert not found, "\n\n".join(found[:3])
        seed += 400
    print(f"seeds {first} to {seed}: {dict(counts)}")


def test_a_regex_with_a_brace_has_to_be_quoted(tmp_path: Path) -> None:
    bad = "events {}\nhttp { server { location ~ ^/x{2}$ { allow all; } } }\n"
    assert opinion(bad, tmp_path).says != "accepts"
    with pytest.raises(NginxSyntaxError):
        parse(bad)
    good = bad.replace("^/x{2}$", '"^/x{2}$"')
    assert opinion(good, tmp_path).says == "accepts"
    assert parse(good)
