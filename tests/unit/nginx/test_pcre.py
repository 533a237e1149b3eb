"""PCRE read with Python: does it match, and what would?"""

from __future__ import annotations

import pytest

from wgcluster.nginx.config.pcre import hits, pattern, samples

HITS = [
    (r"\.php$", "/a.php", True),
    ("^/(?<lang>de|en)/", "/de/x", True),
    (r"(?<!x)\.js$", "/a.js", True),
    ("^/[[:digit:]]+$", "/12", True),
    (r"^/a\z", "/a", True),
    (r"^/a\z", "/ab", False),
    (r"(?|a|b)", "a", False),  # only PCRE reads it
    ("(", "(", False),
]


@pytest.mark.parametrize(("regex", "subject", "hit"), HITS)
def test_hits(regex: str, subject: str, hit: bool) -> None:
    assert hits(regex, subject) is hit


def test_caseless() -> None:
    assert hits("^/A", "/a", caseless=True)
    assert not hits("^/A", "/a")


SAMPLED = [
    r"\.php$",
    r"\.(js|css|png)$",
    "^/(api|x)/v[0-9]+/",
    r"^/\.(?!well-known).+",
    "(?i)^/foo",
    r"\.php(?:$|/)",
    r"^(.+\.php)(/.*)$",
    "/(?:\\.|autotest|occ)",
    "^/x{2}$",
    "^/x{2,5}y{0}z?$",
    "[[:digit:]]{3}/",
    "^/(?<n>[^/]+)/edit$",
    r"^~^(www\.)?a\.test$"[2:],
    "[^a]b",
    r"[\w-]+\.html",
    r"[]a]x",
    r"a\/b\-c",
    r"\d\D\w\W",
]


@pytest.mark.parametrize("regex", SAMPLED)
def test_a_sample_matches(regex: str) -> None:
    assert any(hits(regex, text) or hits(regex, "/" + text) for text in samples(regex))


@pytest.mark.parametrize("regex", ["", "(", ")", "[", "\\", "a{99999999}", "(?", "(((((", "|", "[^", "x**"])
def test_any_regex_is_sampled_without_end_or_crash(regex: str) -> None:
    assert all(len(text) < 1000 for text in samples(regex))
    assert pattern(regex) is None or pattern(regex) is pattern(regex)
