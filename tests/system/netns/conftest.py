"""Real filters in network namespaces: with the lab's tests, since they too need root."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.net import Namespace, missing, namespaces

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    lacking = missing()
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.lab)
            if lacking:
                item.add_marker(pytest.mark.skip(reason=lacking))


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    """One namespace; its tables are made anew by whoever needs them."""
    with namespaces("one") as (made,):
        yield made
