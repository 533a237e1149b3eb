"""What nginx has not read yet, and the order in which its files are replaced."""

from __future__ import annotations

import pytest

from wgcluster.host.observed import File, Observed
from wgcluster.host.paths import GUARDED
from wgcluster.nginx.edit.on_host import steps, unread

SITE, OTHER = "/etc/nginx/sites-available/a", "/etc/nginx/sites-available/b"
OLD, NEW = "/etc/nginx/wgcluster/a-1.conf", "/etc/nginx/wgcluster/a-2.conf"


@pytest.mark.parametrize(
    ("changed", "started", "clock", "older"),
    [
        (100.25, 100.3, 200, False),
        (100.35, 100.3, 200, True),
        (100.35, None, 200, False),  # nginx is not running: it reads them when it starts
        (200.5, 100.3, 200, True),  # the clock is told in whole seconds
        (9000.0, 100.3, 200, False),  # of a clock that was wrong: else nginx would be reloaded for ever
    ],
)
def test_what_was_changed_after_nginx_read_it(
    changed: float, started: float | None, clock: int, older: bool
) -> None:
    seen = Observed(nginx_changed={SITE: changed, OTHER: 1.0}, nginx_started=started, clock=clock)
    assert unread(seen) == ([SITE] if older else [])


def observed(*guarded: str) -> Observed:
    text = "".join(f"{path}\n" for path in guarded).encode()
    files = {GUARDED: File("file", data=text)} if guarded else {}
    return Observed(guarded=guarded, files=files)


@pytest.mark.parametrize(
    ("guarded", "changed", "order"),
    [
        ((), {SITE: "x", NEW: "y", GUARDED: f"{SITE}\n"}, [(GUARDED, f"{SITE}\n"), (NEW, "y"), (SITE, "x")]),
        ((SITE,), {SITE: "x", OLD: None, GUARDED: None}, [(SITE, "x"), (OLD, None), (GUARDED, None)]),
        ((SITE,), {SITE: "x", OLD: None, NEW: "y"}, [(NEW, "y"), (SITE, "x"), (OLD, None)]),
        (
            (SITE,),
            {SITE: "x", OTHER: "z", GUARDED: f"{OTHER}\n"},
            [(GUARDED, f"{SITE}\n{OTHER}\n"), (SITE, "x"), (OTHER, "z"), (GUARDED, f"{OTHER}\n")],
        ),
        ((), {}, []),
    ],
    ids=["a first site", "the last one goes", "another list", "from one site to another", "nothing"],
)
def test_nginx_would_start_after_each_step_and_no_site_is_forgotten(
    guarded: tuple[str, ...], changed: dict[str, str | None], order: list[tuple[str, str | None]]
) -> None:
    assert steps(changed, observed(*guarded)) == order
