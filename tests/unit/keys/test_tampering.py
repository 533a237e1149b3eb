"""Entries and files that are not what they were."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.registries import fill, opened
from wgcluster.inventory.faults import KeystoreError
from wgcluster.keys.registry import Registry
from wgcluster.keys.seal import encode, new_private_key, public_key_of


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    data = yaml.safe_load(path.read_text())
    change(data)
    path.write_text(yaml.safe_dump(data, sort_keys=False, explicit_end=True))


def swap(part: str, one: str, other: str, *keys: str) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        first, second = data[part][one], data[part][other]
        for key in keys:
            first[key], second[key] = second[key], first[key]

    return change


def move(data: dict[str, Any]) -> None:
    """The sealed key of a client, put in the place of a host's of the same public key."""
    data["hosts"]["root"] = {key: data["clients"]["phone"][key] for key in ("public_key", "sealed")}
    del data["clients"]["phone"]


def impostor(data: dict[str, Any]) -> None:
    data["hosts"]["root"]["public_key"] = public_key_of(new_private_key())


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (swap("hosts", "root", "cloud", "sealed"), ["host cloud", "host root"]),
        (swap("hosts", "root", "cloud", "sealed", "public_key"), ["host cloud", "host root"]),
        (swap("clients", "laptop", "phone", "sealed", "public_key"), ["client laptop", "client phone"]),
        (swap("links", "cloud|root", "laptop|root", "sealed"), ["link cloud|root", "link laptop|root"]),
        (move, ["host root"]),
        (impostor, ["host root"]),
    ],
)
def test_an_entry_opens_only_where_it_belongs(
    path: Path, change: Callable[[dict[str, Any]], None], wrong: list[str]
) -> None:
    fill(path)
    edit(path, change)
    registry = opened(path)
    with pytest.raises(KeystoreError) as caught:
        registry.verify_all()
    assert [fault.message.split(": ")[0] for fault in caught.value.faults] == wrong
    for entry in wrong:
        kind, name = entry.split()
        read = {"host": registry.private_key, "client": registry.client_private_key}.get(
            kind, registry.preshared_key
        )
        with pytest.raises(KeystoreError, match=rf"{re.escape(entry)}: .*keystore\.does-not-open"):
            read(name)


def test_a_key_with_the_public_key_of_another_is_refused(path: Path) -> None:
    """Sealed by who has the passphrase, yet wrong: the public key would never match what the host answers."""
    registry = fill(path)
    other = public_key_of(new_private_key())
    assert registry._seal is not None
    sealed = registry._seal.close(new_private_key(), "host", "root", other)
    edit(path, lambda data: data["hosts"].update(root={"public_key": other, "sealed": sealed}))
    with pytest.raises(KeystoreError, match=r"host root: .*keystore\.wrong-public-key"):
        opened(path).private_key("root")


def replaced(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


KEY = encode(bytes(32))
BAD_FILES: list[tuple[str, Callable[[str], str], str]] = [
    ("empty", lambda text: "", "incomplete"),
    ("cut at half", lambda text: text[: len(text) // 2], "incomplete"),
    ("cut before the end", lambda text: text.removesuffix("...\n"), "incomplete"),
    ("not YAML", replaced("hosts:", "hosts: ]"), "invalid-yaml"),
    ("a conflict of git", replaced("hosts:", "<<<<<<< HEAD\nhosts:"), "invalid-yaml"),
    ("another file", lambda text: "- a\n...\n", "not-a-registry"),
    ("no version", replaced("version: 1\n", ""), "not-a-registry"),
    ("a later version", replaced("version: 1", "version: 2"), "version is of version 2"),
    ("a version in quotes", replaced("version: 1", "version: '1'"), "version is of version '1'"),
    ("no hosts", replaced("hosts:", "guests:"), "invalid-entry hosts"),
    ("a foreign key", replaced("hosts:", "guests:"), "invalid-entry guests"),
    ("a host twice", replaced("  root:", "  cloud:"), "invalid-yaml cloud"),
    ("links twice", lambda text: text.replace("...\n", "links: {}\n...\n"), "invalid-yaml links"),
    ("hosts as a list", replaced("hosts:", "hosts: []\nold:"), "invalid-entry hosts"),
    ("a host that is a text", replaced("  root:", "  backup: x\n  root:"), "invalid-entry hosts.backup"),
    ("a name that is none", replaced("  root:", "  'ro ot':"), "invalid-entry hosts.ro ot"),
    ("a name that is a number", replaced("  root:", "  12:"), "invalid-entry hosts[12]"),
    ("a name that is a list", replaced("  root:", "  [1]:"), "invalid-yaml"),
    ("a link that is none", replaced("cloud|root:", "cloud:"), "invalid-entry links.cloud"),
    ("a link to itself", replaced("cloud|root:", "root|root:"), "invalid-entry links.root|root"),
    ("no address", replaced("- 10.0.0.101", "- ten"), "invalid-entry clients.phone.addresses[0]"),
    ("a short salt", lambda t: re.sub("salt: .*", "salt: AAAA", t), "invalid-entry passphrase.salt"),
    ("a cheap Scrypt", replaced("n: 32768", "n: 1024"), "invalid-entry passphrase.n"),
    ("a ruinous Scrypt", replaced("n: 32768", "n: 1073741824"), "invalid-entry passphrase.n"),
    ("ruinous rounds", replaced("p: 1", "p: 4"), "invalid-entry passphrase.p"),
    ("ruinous blocks", replaced("r: 8", "r: 8388608"), "invalid-entry passphrase.r"),
    ("another derivation", replaced("kdf: scrypt", "kdf: md5"), "invalid-entry passphrase.kdf"),
    ("no passphrase", lambda t: re.sub(r"passphrase:\n(  .*\n)+", "passphrase: null\n", t), "no-passphrase"),
    (
        "no base64",
        lambda t: re.sub("sealed: .", "sealed: '*'#", t, count=1),
        "invalid-entry hosts.cloud.sealed",
    ),
    (
        "a short key",
        lambda t: re.sub("public_key: .*", "public_key: AAAA", t, count=1),
        "invalid-entry hosts.cloud.public_key",
    ),
    (
        "one key twice",
        lambda text: re.sub("public_key: .*", f"public_key: {KEY}", text),
        "duplicate-key root",
    ),
    ("host and client", replaced("  phone:", "  root:"), "host-and-client root"),
]


@pytest.mark.parametrize(("change", "wrong"), [c[1:] for c in BAD_FILES], ids=[c[0] for c in BAD_FILES])
def test_a_file_that_is_not_as_it_was_written_is_refused(
    path: Path, change: Callable[[str], str], wrong: str
) -> None:
    fill(path)
    path.write_text(change(path.read_text()))
    data = path.read_bytes()
    with pytest.raises(KeystoreError) as caught:
        Registry.load(path)
    code, _, entry = wrong.partition(" ")
    said = [fault.message for fault in caught.value.faults if fault.code == f"keystore.{code}"]
    assert any(message.startswith(entry) for message in said), caught.value
    assert all(fault.key.startswith(str(path)) for fault in caught.value.faults)
    assert path.read_bytes() == data


def test_every_fault_of_a_file_is_told_at_once(path: Path) -> None:
    fill(path)
    text = re.sub("public_key: .*", f"public_key: {KEY}", path.read_text())
    path.write_text(text.replace("  phone:", "  root:"))
    with pytest.raises(KeystoreError) as caught:
        Registry.load(path)
    assert len(caught.value.faults) == 4  # root twice over, and three copies of one key


def test_bytes_that_are_no_text_are_refused(path: Path) -> None:
    path.write_bytes(b"version: 1\n\xff\n...\n")
    with pytest.raises(KeystoreError, match=r"keystore\.not-utf8"):
        Registry.load(path)


def test_a_folder_in_its_place_is_refused(path: Path) -> None:
    path.mkdir()
    with pytest.raises(KeystoreError, match=r"keystore\.folder"):
        Registry.load(path)
