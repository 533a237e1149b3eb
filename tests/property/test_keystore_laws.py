"""Laws of the key registry, over any content: what is written is read, and no change goes unseen."""

from __future__ import annotations

import tempfile
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from unicodedata import normalize

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support.examples import examples
from wgcluster.inventory.faults import KeystoreError
from wgcluster.keys import keyfile
from wgcluster.keys import registry as keystore
from wgcluster.keys.keyfile import ClientEntry, HostEntry, KeyFile, LinkEntry, PassphraseEntry
from wgcluster.keys.registry import Registry
from wgcluster.keys.seal import SALT, Cost, Seal, decode, encode
from wgcluster.keys.secret import Secret

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True) | st.sampled_from(
    ["on", "no", "null", "1", "0x10", "1e3", "2001.01", "1_0", "true", "0o7", "12.5", "y"]  # YAML's traps
)
addresses = st.tuples(st.ip_addresses(v=4)) | st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=6))


def sealed(length: int) -> st.SearchStrategy[str]:
    return st.binary(min_size=length, max_size=length).map(encode)


@st.composite
def files(draw: st.DrawFn) -> KeyFile:
    called = draw(st.lists(names, unique=True, max_size=8))
    public = draw(st.lists(sealed(32), unique=True, min_size=len(called), max_size=len(called)))
    split = draw(st.integers(0, len(called)))
    hosts = {
        n: HostEntry(public_key=p, sealed=draw(sealed(60)))
        for n, p in zip(called[:split], public[:split], strict=True)
    }
    clients = {
        n: ClientEntry(
            addresses=draw(addresses),
            gateway=draw(st.none() | names),
            public_key=p,
            sealed=draw(sealed(60)),
        )
        for n, p in zip(called[split:], public[split:], strict=True)
    }
    pairs = draw(st.lists(st.tuples(names, names).filter(lambda p: p[0] != p[1]), max_size=4))
    links = {"|".join(pair): LinkEntry(sealed=draw(sealed(60))) for pair in pairs}
    passphrase = PassphraseEntry(
        n=draw(st.sampled_from([32768, 65536, 131072])),
        p=draw(st.sampled_from([1, 2, 3])),
        salt=draw(sealed(SALT)),
        check=draw(sealed(12 + len(keyfile.CHECK) + 16)),
    )
    former = draw(st.dictionaries(sealed(32), names, max_size=3))
    return KeyFile(version=1, passphrase=passphrase, hosts=hosts, clients=clients, links=links, former=former)


@given(files())
def test_what_is_written_is_read(file: KeyFile) -> None:
    assert keyfile.read(keyfile.write(file), "keys.yml") == file


@given(files())
def test_the_order_of_entries_does_not_show(file: KeyFile) -> None:
    turned = file.model_copy(
        update={
            part: dict(reversed(getattr(file, part).items()))
            for part in ("hosts", "clients", "links", "former")
        }
    )
    assert keyfile.write(turned) == keyfile.write(file)


@given(files(), st.data())
def test_what_is_cut_off_is_seen(file: KeyFile, data: st.DataObject) -> None:
    text = keyfile.write(file)
    length = data.draw(st.integers(0, len(text) - 2))  # the last line's end alone may be missing
    with pytest.raises(KeystoreError):
        keyfile.read(text[:length], "keys.yml")


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_in_our_words(text: str) -> None:
    with pytest.raises(KeystoreError, match=r"^keys\.yml"):
        keyfile.read(f"{text}\n...\n", "keys.yml")


@cache
def seal() -> Seal:
    return Seal(Secret("word"), encode(bytes(16)), Cost(2**15, 1))


bindings = st.tuples(
    st.sampled_from(["host", "client", "link"]), names, st.sampled_from(["", "A" * 43 + "="])
)


@given(st.binary(min_size=32, max_size=32), bindings, bindings)
def test_sealed_opens_where_it_was_sealed_and_nowhere_else(
    data: bytes, here: tuple[str, str, str], there: tuple[str, str, str]
) -> None:
    closed = seal().close(data, *here)
    assert seal().open(closed, *here) == data
    if here != there:
        assert seal().open(closed, *there) is None


@given(st.binary(min_size=32, max_size=32), st.integers(0, 59), st.integers(1, 255))
def test_no_bit_of_what_is_sealed_can_be_changed(data: bytes, at: int, by: int) -> None:
    closed = bytearray(decode(seal().close(data, "host", "root", "")))
    closed[at] ^= by
    assert seal().open(encode(bytes(closed)), "host", "root", "") is None


# Neither a terminal nor the environment gives a NUL; HMAC (RFC 2104) does not tell some at the end from none.
passphrases = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(passphrases, passphrases)
def test_another_passphrase_is_another_key(one: str, other: str) -> None:
    # As many derivations as examples would be slow: the key alone is looked at, with the least of costs
    assume(normalize("NFC", one) != normalize("NFC", other))
    closed = Seal(Secret(one), encode(bytes(16)), Cost(2, 1)).close(b"x", "host", "root")
    assert Seal(Secret(one), encode(bytes(16)), Cost(2, 1)).open(closed, "host", "root") == b"x"
    assert Seal(Secret(other), encode(bytes(16)), Cost(2, 1)).open(closed, "host", "root") is None


acts = st.lists(
    st.tuples(st.sampled_from(["host", "link", "client", "forget", "prune", "again"]), st.integers(0, 3)),
    max_size=12,
)


@examples(15)  # each one derives keys
@given(acts)
def test_a_registry_holds_what_it_was_told(steps: list[tuple[str, int]]) -> None:
    """Against a dictionary as model: keys once made stay the same, through saves and loads between."""
    word = Secret("word")
    kept: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(keystore, "COST", Cost(2**15, 1))
        path = Path(folder) / "keys.yml"
        registry = Registry.load(path)
        registry.unlock(word)
        for act, number in steps:
            if act == "host":
                new = registry.ensure_hosts([f"h{number}"])
                assert new == ([] if f"h{number}" in kept else [f"h{number}"])
                kept.setdefault(f"h{number}", registry.private_key(f"h{number}").reveal())
            elif act == "link":
                registry.ensure_links([f"h{number}|c{number}"])
                kept.setdefault(
                    f"h{number}|c{number}", registry.preshared_key(f"h{number}|c{number}").reveal()
                )
            elif act == "client" and f"c{number}" not in kept:
                registry.add_client(f"c{number}", [ip_address(f"10.0.0.{100 + number}")])
                kept[f"c{number}"] = registry.client_private_key(f"c{number}").reveal()
            elif act == "forget" and f"c{number}" in kept:
                registry.remove_client(f"c{number}")
                kept = {name: key for name, key in kept.items() if f"c{number}" not in name.split("|")}
            elif act == "prune":
                registry.prune([f"h{number}"], [name for name in kept if "|" in name])
                kept = {n: key for n, key in kept.items() if "|" in n or n[0] == "c" or n == f"h{number}"}
            elif act == "again":
                registry.save()
                registry = Registry.load(path)
                registry.unlock(word)
        held = {
            **{name: registry.private_key(name).reveal() for name in registry.public_keys()},
            **{name: registry.client_private_key(name).reveal() for name in registry.client_keys()},
            **{name: registry.preshared_key(name).reveal() for name in registry.links()},
        }
        assert held == kept
        registry.verify_all()
