"""The registry keeps what it is given, gives it to nobody else, and loses nothing to a crash or a rival."""

from __future__ import annotations

import fcntl
import os
import pickle
import re
import signal
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml

from wgcluster import keystore
from wgcluster.keyfile import decode, encode
from wgcluster.keystore import KeystoreError, Registry, Secret, passphrase
from wgcluster.model import Client
from wgcluster.seal import new_private_key, public_key_of

WORD = Secret("correct horse")
LAPTOP, PHONE = ip_address("10.0.0.100"), ip_address("10.0.0.101")
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keystore, "COST", 2**15)  # the least that is read: the tests derive many keys
    for name in ("WGCLUSTER_PASSPHRASE", "WGCLUSTER_PASSPHRASE_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.yml"


def fill(path: Path) -> Registry:
    """A registry of two hosts, two clients and two links, saved at ``path``, unlocked."""
    registry = Registry.load(path)
    registry.unlock(WORD)
    registry.ensure_hosts(["root", "cloud"])
    registry.ensure_links(["cloud|root", "laptop|root"])
    registry.add_client("laptop", [LAPTOP, ip_address("fd00::64")])
    registry.add_client("phone", [PHONE], "root")
    registry.save()
    return registry


def opened(path: Path) -> Registry:
    registry = Registry.load(path)
    registry.unlock(WORD)
    return registry


def secrets_of(registry: Registry) -> dict[str, str]:
    return {
        **{f"host {name}": registry.private_key(name).reveal() for name in registry.public_keys()},
        **{f"client {name}": registry.client_private_key(name).reveal() for name in registry.client_keys()},
        **{f"link {name}": registry.preshared_key(name).reveal() for name in registry.links()},
    }


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
    wrong = r"^wrong passphrase for keys\.yml: it was made with another one; taken from the terminal"
    with pytest.raises(KeystoreError, match=wrong):
        registry.unlock(Secret("correct horsf"))
    with pytest.raises(KeystoreError, match="is locked"):
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
    with pytest.raises(KeystoreError, match="is locked; this needs the passphrase"):
        act(registry)
    assert not registry.dirty


def test_asking_for_what_is_not_there_lists_what_is(path: Path) -> None:
    registry = fill(path)
    with pytest.raises(KeystoreError, match="no key of host rot; there are: cloud, root"):
        registry.private_key("rot")
    with pytest.raises(KeystoreError, match="no key of client tablet; there are: laptop, phone"):
        registry.remove_client("tablet")
    with pytest.raises(KeystoreError, match=r"no key of link root\|cloud"):
        registry.preshared_key("root|cloud")


# -- clients


@pytest.mark.parametrize(
    ("name", "address", "message"),
    [
        ("laptop", "10.0.0.102", "there is a client laptop already"),
        ("root", "10.0.0.102", "there is a host root already"),
        ("tablet", "10.0.0.100", "10.0.0.100 belongs to the client laptop"),
        ("my tablet", "10.0.0.102", "client 'my tablet': a name is 1 to 63 letters"),
        ("", "10.0.0.102", "client '': a name is 1 to 63 letters"),
    ],
)
def test_a_client_needs_a_name_and_an_address_of_its_own(
    path: Path, name: str, address: str, message: str
) -> None:
    registry = fill(path)
    with pytest.raises(KeystoreError, match=re.escape(message)):
        registry.add_client(name, [ip_address(address)])
    assert not registry.dirty


def test_every_reason_against_a_client_is_given_at_once(path: Path) -> None:
    with pytest.raises(KeystoreError) as caught:
        fill(path).add_client("laptop", [LAPTOP, PHONE])
    assert len(caught.value.faults) == 3


def test_a_host_may_not_take_a_clients_name(path: Path) -> None:
    registry = fill(path)
    with pytest.raises(KeystoreError, match="phone: a client has this name") as caught:
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


# -- entries that are not what they were


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


def test_a_key_whose_public_key_is_anothers_is_refused(path: Path) -> None:
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
    ("a foreign key", replaced("hosts:", "guests:"), "guests: is not known here"),
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
    ("no address", replaced("- 10.0.0.101", "- ten"), r"clients\.phone\.addresses\[0\]: no IP address"),
    ("a short salt", lambda t: re.sub("salt: .*", "salt: AAAA", t), r"passphrase\.salt: must be 16 bytes"),
    ("a cheap Scrypt", replaced("n: 32768", "n: 1024"), r"passphrase\.n: must be 32768, 65536 or 131072"),
    ("a ruinous Scrypt", replaced("n: 32768", "n: 1073741824"), r"passphrase\.n: must be 32768, 65536"),
    ("ruinous blocks", replaced("r: 8", "r: 8388608"), r"passphrase\.r: must be 8"),
    ("another derivation", replaced("kdf: scrypt", "kdf: md5"), r"passphrase\.kdf: must be 'scrypt'"),
    ("no passphrase", lambda t: re.sub(r"passphrase:\n(  .*\n)+", "passphrase: null\n", t), "can be opened"),
    ("no base64", lambda t: re.sub("sealed: .", "sealed: '*'#", t, count=1), "sealed: is not base64"),
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


# -- rivals, crashes, full disks


def test_a_registry_that_another_run_changed_is_not_written_over(path: Path) -> None:
    fill(path)
    one, other = opened(path), opened(path)
    one.ensure_hosts(["from-one"])
    one.save()
    data = path.read_bytes()
    other.ensure_hosts(["from-other"])
    with pytest.raises(KeystoreError, match="another run changed it meanwhile"):
        other.save()
    assert path.read_bytes() == data
    assert other.dirty


@pytest.mark.parametrize("meanwhile", ["made", "removed"])
def test_a_registry_that_came_or_went_is_not_written_over(path: Path, meanwhile: str) -> None:
    registry = Registry.load(path) if meanwhile == "made" else fill(path)
    registry.unlock(WORD)
    registry.ensure_hosts(["backup"])
    if meanwhile == "made":
        fill(path)
    else:
        path.unlink()
    with pytest.raises(KeystoreError, match="another run changed it meanwhile"):
        registry.save()


PROGRAM = """
import sys
from pathlib import Path
from wgcluster.keystore import KeystoreError, Registry, Secret
path, word = Path(sys.argv[1]), Secret(sys.argv[2])
"""


def run(program: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM + textwrap.dedent(program), str(path), WORD.reveal()],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_runs_at_the_same_time_lose_nothing(path: Path) -> None:
    """Each of four processes removes a client of its own, again and again until its save is taken."""
    registry = fill(path)
    for number in range(4):
        registry.add_client(f"c{number}", [ip_address(f"10.0.0.{110 + number}")])
    registry.save()
    program = """
        for attempt in range(200):
            registry = Registry.load(path)
            registry.remove_client("c{}")
            try:
                registry.save()
                break
            except KeystoreError as error:
                assert "another run" in str(error)
        else:
            sys.exit("never got through")
    """
    runs = [run(program.format(number), path) for number in range(4)]
    for one in runs:
        _, errors = one.communicate(timeout=60)
        assert (one.returncode, errors) == (0, "")
    assert list(Registry.load(path).client_keys()) == ["laptop", "phone"]


def test_a_run_waits_while_another_writes(path: Path) -> None:
    fill(path)
    program = """
        registry = Registry.load(path)
        registry.remove_client("laptop")
        print("ready", flush=True)
        registry.save()
    """
    with open(f"{path}.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        one = run(program, path)
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            one.wait(timeout=0.5)
    assert one.wait(timeout=10) == 0  # the lock goes with the file that is closed
    one.communicate()
    assert list(Registry.load(path).client_keys()) == ["phone"]


def test_a_killed_run_leaves_a_whole_registry(path: Path) -> None:
    fill(path)
    program = """
        registry = Registry.load(path)
        print("ready", flush=True)
        for _ in range(100_000):
            registry.dirty = True
            registry.save()
    """
    for _ in range(3):
        one = run(program, path)
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
        time.sleep(0.05)
        one.send_signal(signal.SIGKILL)
        one.communicate(timeout=10)
        assert one.returncode == -signal.SIGKILL
        assert list(Registry.load(path).client_keys()) == ["laptop", "phone"]


def test_a_full_disk_leaves_the_old_registry_and_no_litter(path: Path) -> None:
    fill(path)
    data = path.read_bytes()
    program = """
        import resource
        registry = Registry.load(path)
        registry.remove_client("laptop")
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
        try:
            registry.save()
        except KeystoreError as error:
            print(error)
    """
    output, errors = run(program, path).communicate(timeout=30)
    assert (output, errors) == (f"{path}: cannot be written: File too large\n", "")
    assert path.read_bytes() == data
    assert sorted(p.name for p in path.parent.iterdir()) == ["keys.yml", "keys.yml.lock"]


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    fill(tmp_path / "lab" / "state" / "keys.yml")
    assert list(Registry.load(tmp_path / "lab" / "state" / "keys.yml").public_keys()) == ["cloud", "root"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    registry = Registry.load(tmp_path / "file" / "keys.yml")
    registry.unlock(WORD)
    registry.ensure_hosts(["root"])
    (tmp_path / "file").write_text("")
    with pytest.raises(KeystoreError, match=r"file/keys\.yml: cannot be written: File exists"):
        registry.save()


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    link = tmp_path / "keys.yml"
    link.symlink_to(Path("kept") / "keys.yml")
    fill(link)
    assert link.is_symlink()
    assert list(Registry.load(tmp_path / "kept" / "keys.yml").public_keys()) == ["cloud", "root"]


# -- passphrases and secrets


def test_the_passphrase_is_taken_from_the_first_place_that_has_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside, named = path.with_name("keys.yml.pass"), path.with_name("elsewhere")
    beside.write_text("beside\n")
    beside.chmod(0o600)
    named.write_text("named\r\n")
    assert passphrase(path) == Secret("beside")
    monkeypatch.setenv("WGCLUSTER_PASSPHRASE_FILE", str(named))
    assert passphrase(path) == Secret("named")
    monkeypatch.setenv("WGCLUSTER_PASSPHRASE", " from the environment ")
    assert passphrase(path) == Secret(" from the environment ")


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644, 0o620])
def test_a_passphrase_that_others_can_read_is_refused(path: Path, mode: int) -> None:
    beside = path.with_name("keys.yml.pass")
    beside.write_text("beside")
    beside.chmod(mode)
    with pytest.raises(KeystoreError, match=re.escape(f"others can read it; run: chmod 600 {beside}")):
        passphrase(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "the passphrase is empty"), (b"\n", "the passphrase is empty"), (b"\xff", "is not UTF-8")],
)
def test_a_passphrase_file_must_hold_one(path: Path, content: bytes, message: str) -> None:
    beside = path.with_name("keys.yml.pass")
    beside.write_bytes(content)
    beside.chmod(0o600)
    with pytest.raises(KeystoreError, match=message):
        passphrase(path)


def test_a_named_file_that_is_not_there_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WGCLUSTER_PASSPHRASE_FILE", "/nowhere/word")
    with pytest.raises(KeystoreError, match=r"/nowhere/word .*cannot be read: No such file"):
        passphrase(path)


def test_an_empty_variable_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WGCLUSTER_PASSPHRASE", "")
    with pytest.raises(KeystoreError, match="WGCLUSTER_PASSPHRASE: the passphrase is empty"):
        passphrase(path)


def test_without_a_passphrase_every_way_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        with pytest.raises(KeystoreError) as caught:
            passphrase(path)
    for way in ("WGCLUSTER_PASSPHRASE,", "WGCLUSTER_PASSPHRASE_FILE", f"{path}.pass", "terminal"):
        assert way in str(caught.value)


@pytest.mark.parametrize(
    ("confirm", "typed", "said"),
    [
        (False, ["word"], "got word"),
        (True, ["word", "word"], "got word"),
        (True, ["word", "wort"], "the two passphrases differ"),
        (False, [""], "the terminal: the passphrase is empty"),
    ],
)
def test_at_a_terminal_it_is_asked_for_and_not_shown(
    path: Path, confirm: bool, typed: list[str], said: str
) -> None:
    program = f"""
from pathlib import Path
from wgcluster.keystore import KeystoreError, passphrase
try:
    print("got", passphrase(Path("keys.yml"), confirm={confirm}).reveal())
except KeystoreError as error:
    print(error)
"""
    pid, terminal = os.forkpty()
    if pid == 0:  # the child: what runs here has the terminal as its own
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-c", program])
    shown = b""
    answers = [answer.encode() + b"\n" for answer in typed]
    try:
        while chunk := os.read(terminal, 1000):
            shown += chunk
            if answers and shown.count(b": ") == len(typed) - len(answers) + 1:
                os.write(terminal, answers.pop(0))
    except OSError:  # Linux: EIO once the child has closed its side
        pass
    finally:
        os.waitpid(pid, 0)
        os.close(terminal)
    assert said in shown.decode()
    for answer in filter(None, typed):
        assert shown.decode().replace(said, "").count(answer) == 0


@dataclass(frozen=True)
class Holder:
    key: Secret


def test_a_secret_shows_itself_to_nobody() -> None:
    secret = Secret("hunter2")
    shown = [
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret!r:>12}",
        f"{secret:>12}",
        "%s" % secret,  # noqa: UP031 - this form, too
        str([secret]),
        str(Holder(secret)),
    ]
    assert not any("hunter2" in text for text in shown)
    assert all("(hidden)" in text for text in shown)
    with pytest.raises(TypeError, match="neither pickled nor copied"):
        pickle.dumps(secret)
    assert not hasattr(secret, "__dict__")


def test_secrets_are_equal_by_value() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert Secret("a").reveal() == "a"


def test_public_keys_are_those_of_rfc_7748() -> None:
    private = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    public = bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
    assert public_key_of(private) == encode(public)  # section 6.1, Bob


def test_private_keys_are_clamped_as_wg_does() -> None:
    for _ in range(64):
        key = new_private_key()
        assert key[0] & 7 == 0
        assert key[31] & 192 == 64
