"""No private key, preshared key or passphrase is in anything that a run prints, in any form of it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fake.cluster import LAPTOP, PASSPHRASE, FakeCluster, article, json_of


def forms(secret: str) -> Iterator[str]:
    """The text as it stands, in hex, and in base64 wherever it begins in what is encoded."""
    yield secret
    yield secret.encode().hex()
    for shift in range(3):
        # what surrounds the secret changes the characters at both ends
        text = base64.b64encode(b"\0" * shift + secret.encode()).decode()
        yield text[4 if shift else 0 : len(text) // 4 * 4 - 4]


def raw_forms(key: str) -> Iterator[str]:
    yield base64.b64decode(key).hex()
    yield key.replace("+", "-").replace("/", "_")


@pytest.fixture
def world(tmp_path: Path) -> FakeCluster:
    world = article(tmp_path)
    world.shared["wg_preshared_keys"] = True
    world.add_clients(LAPTOP)
    return world


def secrets(world: FakeCluster) -> list[str]:
    registry = world.registry()
    assert len(registry.links()) == 4
    keys = [registry.private_key(name).reveal() for name in registry.public_keys()]
    keys += [registry.client_private_key(name).reveal() for name in registry.client_keys()]
    keys += [registry.preshared_key(name).reveal() for name in registry.links()]
    return [PASSPHRASE, *keys]


def assert_hidden(world: FakeCluster, text: str) -> None:
    assert text
    for secret in secrets(world):
        for form in (*forms(secret), *(raw_forms(secret) if secret != PASSPHRASE else ())):
            assert len(form) > 20
            assert form not in text


LOUD = ("-vvv", "--diff", "--debug")


def test_a_real_run_at_its_loudest_and_what_it_left(world: FakeCluster) -> None:
    first = world.deploy(*LOUD)
    assert "+PrivateKey = (hidden)" in first.err
    assert_hidden(world, first.out + first.err)
    for host in world.hosts.values():
        assert_hidden(world, "\n".join(host.arguments))  # these stand in the host's list of processes
    again = world.deploy(*LOUD)
    assert_hidden(world, again.out + again.err)


def test_the_search_would_find_them(world: FakeCluster) -> None:
    world.deploy()
    config = world.hosts["root"].files["/etc/wireguard/wg.conf"].data
    for shift in range(3):
        sent = base64.b64encode(b"x" * shift + config).decode()
        with pytest.raises(AssertionError):
            assert_hidden(world, sent)


@pytest.mark.parametrize(
    "arguments",
    [
        ("deploy.py", "--dry", "--diff", *LOUD[::2]),
        ("deploy.py", "--dry", "--diff", "--json"),
        ("deploy.py", "--dry", "--debug-operations"),
        ("debug-inventory",),
        ("debug-inventory", "--json"),
        ("deploy.py", "-y", "--json"),
        ("teardown.py", "-y", *LOUD),
    ],
)
def test_other_runs(world: FakeCluster, arguments: tuple[str, ...]) -> None:
    world.deploy()
    # A change of every key: what is printed has old and new ones.
    world.shared["wg_mtu"] = 1400
    config = world.hosts["cloud"].files["/etc/wireguard/wg.conf"]
    config.data = config.data.replace(b"PresharedKey = ", b"presharedkey=").replace(
        b"PrivateKey", b" privatekey "
    )
    done = world.run(*arguments)
    assert done.code == 0, done.err
    assert_hidden(world, done.out + done.err)


def test_no_name_of_an_operation_holds_one(world: FakeCluster) -> None:
    result = json_of(world.deploy("--json"))
    names = [name for one in result["results"]["operations"] for name in (one["name"], *one["names"])]
    assert len(names) > 20
    assert_hidden(world, "\n".join(names))


def test_a_run_that_fails_half_way(world: FakeCluster) -> None:
    world.deploy()
    world.hosts["cloud"].links.clear()
    world.hosts["cloud"].fails = "systemctl restart"
    done = world.run("deploy.py", "-y", *LOUD)
    assert done.code == 1
    assert_hidden(world, done.out + done.err)
