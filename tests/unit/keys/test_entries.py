"""The registry keeps what it is given and gives it to nobody else."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import stat
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.support.registries import LAPTOP, PHONE, WORD, fill, opened, secrets_of
from wgcluster.inventory.cluster import Client
from wgcluster.inventory.faults import KeystoreError
from wgcluster.keys import registry as keystore
from wgcluster.keys import seal
from wgcluster.keys.registry import Registry
from wgcluster.keys.seal import Cost, decode, public_key_of
from wgcluster.keys.secret import Secret

# As it was written when N was 2^17 and p 1; the passphrase is "four words".
EARLIER = """\
version: 1
passphrase:
  kdf: scrypt
  n: 131072
  r: 8
  p: 1
  salt: IXnlmQkhdVEH35+HRYS5CQ==
  check: PueLQT2EGb5gE6+kbLwpqsaT9GI4c1g6RT/GV20ehCCZ991XTg==
hosts:
  root:
    public_key: QoyOys3F/+eHvipz+Li2IzPSZBJOuSrcrQl/5YAS+TM=
    sealed: S2glM6qoT/jYZP1F8Nq2OMVxOCBBV1zly+X4BFRHqok97VDZdGi7e8r8e1FmqY0xkXEFmmNyPAI7V+eL
clients: {}
links: {}
...
"""


def test_what_was_saved_opens_again(path: Path) -> None:
    first = fill(path)
    again = opened(path)
    assert secrets_of(again) == secrets_of(first)
    assert len(set(secrets_of(again).values())) == 6
    assert again.public_keys() == {
        name: public_key_of(decode(again.private_key(name).reveal())) for name in ("cloud", "root")
    }
    assert again.clients() == (
        Client("laptop", (LAPTOP, ip_address("fd00::64"))),
        Client("phone", (PHONE,), "root"),
    )
    again.verify_all()


def test_keys_are_made_once(path: Path) -> None:
    registry = fill(path)
    before = secrets_of(registry)
    assert registry.ensure_hosts(["root", "backup", "cloud"]) == ["backup"]
    assert registry.ensure_links(["cloud|root", "backup|root"]) == ["backup|root"]
    assert before.items() <= secrets_of(registry).items()


def test_an_earlier_registry_opens_and_stays_what_it_is(path: Path) -> None:
    path.write_text(EARLIER)
    registry = Registry.load(path)
    registry.unlock(Secret("four words"))
    assert registry.private_key("root").reveal() == "WP07LJ/Bkg3RXC+hMRRF4g27+m02V3Y2gotGbFfmZEo="
    registry.ensure_hosts(["cloud"])
    registry.save()
    assert path.read_text().split("hosts:")[0].endswith(EARLIER.split("hosts:")[0])


@pytest.mark.parametrize("cost", [seal.COST, Cost(2**16, 2)])
def test_a_new_registry_says_what_its_key_takes(
    path: Path, cost: Cost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keystore, "COST", cost)
    fill(path)
    passphrase = yaml.safe_load(path.read_text())["passphrase"]
    assert (passphrase["n"], passphrase["r"], passphrase["p"]) == (cost.n, 8, cost.p)
    # the same by other means: Python's own Scrypt, of the system's OpenSSL
    salt, check = (base64.b64decode(passphrase[name]) for name in ("salt", "check"))
    key = hashlib.scrypt(WORD.reveal().encode(), salt=salt, n=cost.n, r=8, p=cost.p, maxmem=2**28, dklen=32)
    AESGCM(key).decrypt(check[:12], check[12:], b"\0".join((b"wgcluster 1", b"check", b"", b"")))


def test_a_key_that_was_forgotten_is_known_and_nothing_else_of_it_kept(path: Path) -> None:
    registry = fill(path)
    keys = {registry.public_keys()["cloud"]: "cloud", registry.client_keys()["phone"]: "phone"}
    assert "former" not in path.read_text()  # programs from before there was one read it
    registry.prune(["root"], [])
    registry.remove_client("phone")
    registry.save()
    again = opened(path)
    assert yaml.safe_load(path.read_text())["former"] == keys
    now = {again.public_keys()["root"]: "root", again.client_keys()["laptop"]: "laptop"}
    assert again.names() == {**keys, **now}
    again.ensure_hosts(["cloud"])
    assert again.public_keys()["cloud"] not in keys


def test_a_gateway_that_was_noted_stays(path: Path) -> None:
    registry = fill(path)
    registry.keep_gateways({"laptop": "cloud", "phone": "root"})
    registry.save()
    again = opened(path)
    assert {client.name: client.gateway for client in again.clients()} == {"laptop": "cloud", "phone": "root"}
    again.keep_gateways({"laptop": "cloud"})
    assert not again.dirty


def test_no_secret_stands_in_the_file(path: Path) -> None:
    registry = fill(path)
    data = path.read_bytes()
    for secret in [*secrets_of(registry).values(), WORD.reveal()]:
        assert secret.encode() not in data
    for secret in secrets_of(registry).values():
        raw = decode(secret)
        assert raw not in data
        assert raw.hex().encode() not in data
        assert not any(raw in decode(word) for word in re.findall(r"[\w+/]{40,}={0,2}", data.decode()))


def test_names_and_public_keys_stand_in_clear_and_in_order(path: Path) -> None:
    registry = fill(path)
    data = yaml.safe_load(path.read_text())
    assert list(data) == ["version", "passphrase", "hosts", "clients", "links"]
    assert list(data["hosts"]) == ["cloud", "root"]
    assert data["hosts"]["root"]["public_key"] == registry.public_keys()["root"]
    assert data["clients"]["phone"]["addresses"] == ["10.0.0.101"]


def test_one_new_entry_changes_no_other_line(path: Path) -> None:
    registry = fill(path)
    before = path.read_text().splitlines()
    registry.ensure_hosts(["backup"])
    registry.save()
    after = path.read_text().splitlines()
    assert [line for line in after if line in before] == before
    assert len(after) == len(before) + 3


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_its_owner_reads_it(path: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        fill(path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(p.name for p in path.parent.iterdir()) == ["keys.yml", "keys.yml.lock"]


def test_a_widened_mode_is_narrowed_by_the_next_save(path: Path) -> None:
    registry = fill(path)
    path.chmod(0o644)  # as git checks it out
    registry.ensure_hosts(["backup"])
    registry.save()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_absent_file_is_an_empty_registry(path: Path) -> None:
    registry = Registry.load(path)
    assert (registry.public_keys(), registry.client_keys(), registry.clients()) == ({}, {}, ())
    registry.unlock(WORD)
    registry.save()
    assert not registry.dirty
    assert list(path.parent.iterdir()) == []  # what holds nothing is not written: a dry run leaves no trace


def test_dirty_says_whether_something_is_unsaved(path: Path) -> None:
    registry = fill(path)
    assert not registry.dirty
    registry.ensure_hosts(["root"])
    registry.ensure_links(["cloud|root"])
    registry.prune(["root", "cloud"], ["cloud|root", "laptop|root"])
    assert not registry.dirty
    changes: list[Callable[[], object]] = [
        lambda: registry.ensure_hosts(["backup"]),
        lambda: registry.ensure_links(["backup|root"]),
        lambda: registry.add_client("tablet", [ip_address("10.0.0.102")]),
        lambda: registry.remove_client("tablet"),
        lambda: registry.prune(["root"], []),
    ]
    for change in changes:
        change()
        assert registry.dirty
        registry.save()
        assert not registry.dirty
        assert Registry.load(path).public_keys() == registry.public_keys()


def test_a_wrong_passphrase_opens_nothing(path: Path) -> None:
    fill(path)
    registry = Registry.load(path)
    with pytest.raises(KeystoreError, match=r"taken from the terminal  \[keystore\.wrong-passphrase\]"):
        registry.unlock(Secret("correct horsf"))
    with pytest.raises(KeystoreError, match=r"\[keystore\.locked\]"):
        registry.private_key("root")


def test_the_same_letters_in_another_form_are_the_same_passphrase(path: Path) -> None:
    registry = Registry.load(path)
    registry.unlock(Secret("Schlu\u0308ssel"))
    registry.ensure_hosts(["root"])
    registry.save()
    Registry.load(path).unlock(Secret("Schl\u00fcssel"))


@pytest.mark.parametrize(
    "act",
    [
        lambda r: r.private_key("root"),
        lambda r: r.client_private_key("laptop"),
        lambda r: r.preshared_key("cloud|root"),
        lambda r: r.ensure_hosts(["backup"]),
        lambda r: r.ensure_links(["backup|root"]),
        lambda r: r.add_client("tablet", [ip_address("10.0.0.102")]),
        lambda r: r.verify_all(),
    ],
)
def test_a_locked_registry_opens_and_makes_no_key(path: Path, act: Callable[[Registry], object]) -> None:
    fill(path)
    registry = Registry.load(path)
    with pytest.raises(KeystoreError, match=r"\[keystore\.locked\]"):
        act(registry)
    assert not registry.dirty


def test_asking_for_what_is_not_there_lists_what_is(path: Path) -> None:
    registry = fill(path)
    with pytest.raises(KeystoreError, match=r"host rot; .*: cloud, root  \[keystore\.unknown-entry\]"):
        registry.private_key("rot")
    with pytest.raises(KeystoreError, match=r"client tablet; .*: laptop, phone  \[keystore\.unknown-entry\]"):
        registry.remove_client("tablet")
    with pytest.raises(KeystoreError, match=r"link root\|cloud; .*\[keystore\.unknown-entry\]"):
        registry.preshared_key("root|cloud")


# -- clients


@pytest.mark.parametrize(
    ("name", "address", "wrong"),
    [
        ("laptop", "10.0.0.102", "client laptop .*keystore.name-taken"),
        ("root", "10.0.0.102", "host root .*keystore.name-taken"),
        ("tablet", "10.0.0.100", "10.0.0.100 .*client laptop;.*keystore.address-taken"),
        ("my tablet", "10.0.0.102", "client = 'my tablet': .*name.invalid"),
        ("", "10.0.0.102", "client = '': .*name.invalid"),
    ],
)
def test_a_client_needs_a_name_and_an_address_of_its_own(
    path: Path, name: str, address: str, wrong: str
) -> None:
    registry = fill(path)
    with pytest.raises(KeystoreError, match=wrong):
        registry.add_client(name, [ip_address(address)])
    assert not registry.dirty


def test_every_reason_against_a_client_is_given_at_once(path: Path) -> None:
    with pytest.raises(KeystoreError) as caught:
        fill(path).add_client("laptop", [LAPTOP, PHONE])
    assert len(caught.value.faults) == 3


def test_a_host_may_not_take_a_clients_name(path: Path) -> None:
    registry = fill(path)
    with pytest.raises(KeystoreError, match=r"phone: .*\[keystore\.client-has-name\]") as caught:
        registry.ensure_hosts(["laptop", "phone", "backup"])
    assert len(caught.value.faults) == 2
    assert "backup" not in registry.public_keys()


def test_a_removed_client_takes_the_keys_of_its_links_along(path: Path) -> None:
    registry = fill(path)
    registry.remove_client("laptop")
    registry.save()
    again = opened(path)
    assert list(again.client_keys()) == ["phone"]
    assert again.links() == ("cloud|root",)


def test_keys_of_hosts_that_left_stay_until_pruned(path: Path) -> None:
    registry = fill(path)
    assert registry.unused(["root"], ["laptop|root"]) == (["cloud"], ["cloud|root"])
    registry.prune(["root"], ["laptop|root"])
    registry.save()
    again = opened(path)
    assert list(again.public_keys()) == ["root"]
    assert again.links() == ("laptop|root",)
    assert again.unused(["root"], ["laptop|root"]) == ([], [])
