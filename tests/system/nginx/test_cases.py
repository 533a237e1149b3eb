"""Each configuration in cases/: what clients get from a real nginx, and what the audit says of it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.nginx.cases import Case, Expected, asked
from tests.support.nginx.real import NGINX, lacking

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
CASES = Path(__file__).parent / "cases"


@pytest.mark.parametrize(
    "path", sorted(CASES.rglob("*.conf")), ids=lambda path: str(path.relative_to(CASES).with_suffix(""))
)
def test_the_clients_get_and_the_audit_says_what_the_file_says(path: Path) -> None:
    case = Case.read(path)
    if modules := lacking(case.whole):
        pytest.skip(f"nginx lacks {', '.join(modules)}")
    if "auth_pam_service_name su;" in case.config and os.geteuid() != 0:
        pytest.skip("the service of su lets in root alone")
    assert list(asked(case).differences(case)) == []


def test_what_is_otherwise_is_told() -> None:
    case = Case.read(CASES / "locations" / "a-case-insensitive-regex-location-without-a-list.conf")
    outcome = asked(case)
    guarded = Expected("guarded", "~* ^/ADMIN", "")
    assert list(outcome.differences(replace(case, denied_gets="200", allowed_gets="403"))) == [
        "the denied client gets 200 SECRET, not 200",
        "the allowed client gets 200 SECRET, not 403",
    ]
    assert list(outcome.differences(replace(case, audit=(guarded,)))) == [
        "the audit does not say: guarded at ~* ^/ADMIN: ",
        "the audit says: leaks at ~* ^/ADMIN: no list is in effect",
    ]


def test_an_unknown_key_in_a_head_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "case.conf"
    file.write_text("# A case\n#\n# ask: GET /\n# denied client get: 200\n\nserver { }\n")
    with pytest.raises(ValueError, match=r"unknown in the head: denied client get$"):
        Case.read(file)
