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
    assert [fault.split(": ")[1] for fault in caught.value.faults] == wrong
    for entry in wrong:
        kind, name = entry.split()
        read = {"host": registry.private_key, "client": registry.client_private_key}.get(
            kind, registry.preshared_key
        )
        with pytest.raises(KeystoreError, match=re.escape(f"{entry}: does not open")):
            read(name)


def test_a_key_with_the_public_key_of_another_is_refused(path: Path) -> None:
    """Sealed by who has the passphrase, yet wrong: the public key would never match what the host answers."""
    registry = fill(path)
    other = public_key_of(new_private_key())
    assert registry._seal is not None
    sealed = registry._seal.close(new_private_key(), "host", "root", other)
    edit(path, lambda data: data["hosts"].update(root={"public_key": other, "sealed": sealed}))
    with pytest.raises(KeystoreError, match="host root: its public key is not that of its private key"):
        opened(path).private_key("root")


def replaced(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


KEY = encode(bytes(32))
BAD_FILES: list[tuple[str, Callable[[str], str], str]] = [
    ("empty", lambda text: "", 'is torn, its last line "..." is missing'),
    ("cut at half", lambda text: text[: len(text) // 2], "is torn"),
    ("cut before the end", lambda text: text.removesuffix("...\n"), "is torn"),
    ("not YAML", replaced("hosts:", "hosts: ]"), r"keys\.yml:\d+: "),
    ("a conflict of git", replaced("hosts:", "<<<<<<< HEAD\nhosts:"), r"keys\.yml:\d+: "),
    ("another file", lambda text: "- a\n...\n", "is no key registry"),
    ("no version", replaced("version: 1\n", ""), "is no key registry"),
    (
        "a later version",
        replaced("version: 1", "version: 2"),
        "is of version 2, this program reads version 1",
    ),
    ("a version in quotes", replaced("version: 1", "version: '1'"), "is of version '1'"),
    ("no hosts", replaced("hosts:", "guests:"), "hosts: is required"),
    ("a foreign key", replaced("hosts:", "guests:"), "guests: unknown field"),
    ("a host twice", replaced("  root:", "  cloud:"), r"keys\.yml:\d+: cloud stands there twice"),
    ("links twice", lambda text: text.replace("...\n", "links: {}\n...\n"), "links stands there twice"),
    ("hosts as a list", replaced("hosts:", "hosts: []\nold:"), "hosts: must be a mapping"),
    (
        "a host that is a text",
        replaced("  root:", "  backup: x\n  root:"),
        r"hosts\.backup: must be a mapping",
    ),
    ("a name that is none", replaced("  root:", "  'ro ot':"), r"hosts\.ro ot: a name is 1 to 63 letters"),
    ("a name that is a number", replaced("  root:", "  12:"), r"hosts\[12\]: a name is 1 to 63 letters"),
    ("a name that is a list", replaced("  root:", "  [1]:"), r"keys\.yml"),
    (
        "a link that is none",
        replaced("cloud|root:", "cloud:"),
        r"links\.cloud: a link is called by its two ends",
    ),
    ("a link to itself", replaced("cloud|root:", "root|root:"), r"a link is called by its two ends"),
    ("no address", replaced("- 10.0.0.101", "- ten"), r"clients\.phone\.addresses\[0\]: not an IP address"),
    ("a short salt", lambda t: re.sub("salt: .*", "salt: AAAA", t), r"passphrase\.salt: must be 16 bytes"),
    ("a cheap Scrypt", replaced("n: 32768", "n: 1024"), r"passphrase\.n: must be 32768, 65536 or 131072"),
    ("a ruinous Scrypt", replaced("n: 32768", "n: 1073741824"), r"passphrase\.n: must be 32768, 65536"),
    ("ruinous rounds", replaced("p: 1", "p: 4"), r"passphrase\.p: must be 1, 2 or 3"),
    ("ruinous blocks", replaced("r: 8", "r: 8388608"), r"passphrase\.r: must be 8"),
    ("another derivation", replaced("kdf: scrypt", "kdf: md5"), r"passphrase\.kdf: must be 'scrypt'"),
    ("no passphrase", lambda t: re.sub(r"passphrase:\n(  .*\n)+", "passphrase: null\n", t), "can be opened"),
    (
        "no base64",
        lambda t: re.sub("sealed: .", "sealed: '*'#", t, count=1),
        r"sealed: must be \d+ bytes in base64",
    ),
    ("a short key", lambda t: re.sub("public_key: .*", "public_key: AAAA", t, count=1), "must be 32 bytes"),
    (
        "one key twice",
        lambda text: re.sub("public_key: .*", f"public_key: {KEY}", text),
        r"root: has the public key of cloud",
    ),
    ("host and client", replaced("  phone:", "  root:"), "root: is a host and a client"),
]


@pytest.mark.parametrize(("change", "message"), [c[1:] for c in BAD_FILES], ids=[c[0] for c in BAD_FILES])
def test_a_file_that_is_not_as_it_was_written_is_refused(
    path: Path, change: Callable[[str], str], message: str
) -> None:
    fill(path)
    path.write_text(change(path.read_text()))
    data = path.read_bytes()
    with pytest.raises(KeystoreError, match=message) as caught:
        Registry.load(path)
    assert all(str(path) in fault for fault in caught.value.faults)
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
    with pytest.raises(KeystoreError, match="is no UTF-8"):
        Registry.load(path)


def test_a_folder_in_its_place_is_refused(path: Path) -> None:
    path.mkdir()
    with pytest.raises(KeystoreError, match="is a folder; wg_keystore names a file in one"):
        Registry.load(path)
