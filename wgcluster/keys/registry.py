"""The key registry on disk; no other module reads or writes it."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from wgcluster.inventory import schema
from wgcluster.inventory.cluster import Client
from wgcluster.inventory.faults import Fault, KeystoreError, fault
from wgcluster.keys import keyfile
from wgcluster.keys.keyfile import ClientEntry, HostEntry, KeyFile, LinkEntry, PassphraseEntry
from wgcluster.keys.seal import COST, KEY, SALT, Seal, encode, new_private_key, public_key_of
from wgcluster.keys.secret import Secret, passphrase_source
from wgcluster.prefixes import Address
from wgcluster.text import abbreviated

_NAME: TypeAdapter[str] = TypeAdapter(schema.NameField)


class Registry:
    """The keys of hosts and clients and one preshared key per link, in one file."""

    def __init__(self, path: Path, file: KeyFile, on_disk: bytes | None) -> None:
        self.path = path
        self.dirty = False  # there are unsaved changes
        self._kdf: PassphraseEntry | None = file.passphrase
        self._hosts = dict(file.hosts)
        self._clients = dict(file.clients)
        self._links = dict(file.links)
        self._former = dict(file.former)
        self._on_disk = on_disk
        self._seal: Seal | None = None

    @classmethod
    def load(cls, path: Path) -> Registry:
        """Read the registry at ``path``; an empty one if there is no file. Needs no passphrase.

        Raises:
            KeystoreError: the path leads over a link to nowhere; or the file cannot be read, is torn, of
                another version, or not as it was written.
        """
        data = _read(path)
        if data is None:
            return cls(path, keyfile.EMPTY, None)
        try:
            return cls(path, keyfile.read(data.decode(), str(path)), data)
        except UnicodeDecodeError:
            raise KeystoreError.of("keystore.not-utf8", path) from None

    def derive(self, passphrase: Secret) -> Seal:
        """Derive the key for ``unlock_with``.

        Raises:
            KeystoreError: there is not enough memory.
        """
        old = self._kdf
        salt = old.salt if old else encode(secrets.token_bytes(SALT))
        cost = old.cost if old else COST
        return Seal(passphrase, salt, cost)

    def unlock_with(self, seal: Seal) -> None:
        """Set the key, from ``derive``, that opens the entries; an empty registry adopts it.

        Raises:
            KeystoreError: the passphrase is wrong.
        """
        if self._kdf is None:
            check = seal.close(keyfile.CHECK, "check", "")
            fields = {"n": seal.cost.n, "p": seal.cost.p, "salt": seal.salt, "check": check}
            self._kdf = PassphraseEntry.model_validate(fields)
        elif seal.open(self._kdf.check, "check", "") is None:
            where = passphrase_source(self.path)
            raise KeystoreError.of("keystore.wrong-passphrase", registry=self.path.name, source=where)
        self._seal = seal

    def unlock(self, passphrase: Secret) -> None:
        """Derive the key and unlock the registry.

        Raises:
            KeystoreError: the passphrase is wrong.
        """
        self.unlock_with(self.derive(passphrase))

    def public_keys(self) -> dict[str, str]:
        """Base64 public keys by host name."""
        return {name: entry.public_key for name, entry in sorted(self._hosts.items())}

    def client_keys(self) -> dict[str, str]:
        """Base64 public keys by client name."""
        return {name: entry.public_key for name, entry in sorted(self._clients.items())}

    def names(self) -> dict[str, str]:
        """The names of all present and former hosts and clients by base64 public key."""
        present = {**self.public_keys(), **self.client_keys()}
        return self._former | {key: name for name, key in present.items()}

    def clients(self) -> tuple[Client, ...]:
        """The road warriors, sorted by name."""
        return tuple(Client(n, entry.addresses, entry.gateway) for n, entry in sorted(self._clients.items()))

    def links(self) -> tuple[str, ...]:
        """The names of the links that have a preshared key, sorted."""
        return tuple(sorted(self._links))

    def ensure_hosts(self, names: Iterable[str]) -> list[str]:
        """Make a key pair for each host without one.

        Returns:
            The names of these hosts, sorted.
        """
        new = sorted(set(names) - self._hosts.keys())
        if taken := [name for name in new if name in self._clients]:
            path = str(self.path)
            raise KeystoreError(fault("keystore.client-has-name", key=path, name=name) for name in taken)
        for name in new:
            public, sealed = self._key_pair("host", name)
            self._hosts[name] = HostEntry(public_key=public, sealed=sealed)
        self.dirty |= bool(new)
        return new

    def ensure_links(self, names: Iterable[str]) -> list[str]:
        """Make a preshared key for each link ("cloud|root") without one.

        Returns:
            The names of these links, sorted.
        """
        new = sorted(set(names) - self._links.keys())
        for name in new:
            sealed = self._unlocked().close(secrets.token_bytes(KEY), "link", name)
            self._links[name] = LinkEntry(sealed=sealed)
        self.dirty |= bool(new)
        return new

    def add_client(self, name: str, addresses: Sequence[Address], gateway: str | None = None) -> None:
        """Add a road warrior with a new key pair.

        Raises:
            KeystoreError: the name is invalid, or the name or an address is taken.
        """
        faults, path = [], str(self.path)
        try:
            _NAME.validate_python(name)
        except ValidationError as error:
            faults.append(replace(schema.fault_of(error.errors()[0]), key="client"))
        if name in self._clients or name in self._hosts:
            kind = "client" if name in self._clients else "host"
            faults.append(fault("keystore.name-taken", key=path, kind=kind, name=name))
        for other, entry in self._clients.items():
            for address in set(addresses) & set(entry.addresses):
                faults.append(fault("keystore.address-taken", key=path, address=address, other=other))
        if faults:
            raise KeystoreError(faults)
        public, sealed = self._key_pair("client", name)
        self._clients[name] = ClientEntry(
            addresses=tuple(sorted(addresses, key=lambda address: address.version)),
            gateway=gateway,
            public_key=public,
            sealed=sealed,
        )
        self.dirty = True

    def keep_gateways(self, gateways: Mapping[str, str]) -> None:
        """Record the gateway of each client, by client name, so that it stays."""
        for name, gateway in gateways.items():
            if self._clients[name].gateway != gateway:
                self._clients[name] = self._clients[name].model_copy(update={"gateway": gateway})
                self.dirty = True

    def renumber_client(self, name: str, addresses: Sequence[Address]) -> None:
        """Change the addresses of a client; its keys stay."""
        self._has("client", name, self._clients)
        chosen = tuple(sorted(addresses, key=lambda address: address.version))
        self._clients[name] = self._clients[name].model_copy(update={"addresses": chosen})
        self.dirty = True

    def remove_client(self, name: str) -> None:
        """Remove a client and the preshared keys of its links."""
        self._has("client", name, self._clients)
        self._former[self._clients.pop(name).public_key] = name
        self._links = {link: entry for link, entry in self._links.items() if name not in link.split("|")}
        self.dirty = True

    def unused(self, hosts: Collection[str], links: Collection[str]) -> tuple[list[str], list[str]]:
        """The names of hosts and links with keys that are not among ``hosts`` and ``links``, sorted."""
        return sorted(self._hosts.keys() - set(hosts)), sorted(self._links.keys() - set(links))

    def prune(self, hosts: Collection[str], links: Collection[str]) -> None:
        """Remove the keys that ``unused`` lists."""
        old_hosts, old_links = self.unused(hosts, links)
        for name in old_hosts:
            self._former[self._hosts.pop(name).public_key] = name
        for name in old_links:
            del self._links[name]
        self.dirty |= bool(old_hosts or old_links)

    def private_key(self, host: str) -> Secret:
        """The base64 private key of a host.

        Raises:
            KeystoreError: there is none, it does not open, or it does not fit the public key.
        """
        self._has("host", host, self._hosts)
        return self._private_key("host", host, self._hosts[host])

    def client_private_key(self, client: str) -> Secret:
        """The base64 private key of a client; raises as ``private_key``."""
        self._has("client", client, self._clients)
        return self._private_key("client", client, self._clients[client])

    def preshared_key(self, link: str) -> Secret:
        """The base64 preshared key of a link; raises as ``private_key``."""
        self._has("link", link, self._links)
        return Secret(encode(self._opened("link", link, self._links[link].sealed)))

    def verify_all(self) -> None:
        """Open every entry.

        Raises:
            KeystoreError: with each entry that does not open or does not fit its public key.
        """
        faults: list[Fault] = []
        for read, names in (
            (self.private_key, self._hosts),
            (self.client_private_key, self._clients),
            (self.preshared_key, self._links),
        ):
            for name in sorted(names):
                try:
                    read(name)
                except KeystoreError as error:
                    faults += error.faults
        if faults:
            raise KeystoreError(faults)

    def save(self) -> None:
        """Write changes atomically, with mode 0600, and sync them to the disk.

        Raises:
            KeystoreError: the file changed since it was loaded, or cannot be written.
        """
        if not self.dirty:
            return
        text = keyfile.write(
            KeyFile(
                version=1,
                passphrase=self._kdf,
                hosts=self._hosts,
                clients=self._clients,
                links=self._links,
                former=self._former,
            )
        ).encode()
        target = Path(os.path.realpath(self.path))  # keep a symbolic link
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with _locked(target):
                if _read(target) != self._on_disk:
                    raise KeystoreError.of("keystore.changed", self.path)
                write_private(target, text)
        except OSError as error:
            raise KeystoreError.of("keystore.unwritable", self.path, why=error.strerror) from None
        self._on_disk = text
        self.dirty = False

    def _has(self, kind: str, name: str, entries: Collection[str]) -> None:
        if name not in entries:
            there = abbreviated(sorted(entries)) or "none"
            raise KeystoreError.of("keystore.unknown-entry", self.path, kind=kind, name=name, names=there)

    def _unlocked(self) -> Seal:
        if self._seal is None:
            raise KeystoreError.of("keystore.locked", self.path)
        return self._seal

    def _key_pair(self, kind: str, name: str) -> tuple[str, str]:
        private = new_private_key()
        public = public_key_of(private)
        return public, self._unlocked().close(private, kind, name, public)

    def _opened(self, kind: str, name: str, sealed: str, public_key: str = "") -> bytes:
        data = self._unlocked().open(sealed, kind, name, public_key)
        if data is None:
            raise KeystoreError.of("keystore.does-not-open", self.path, kind=kind, name=name)
        return data

    def _private_key(self, kind: str, name: str, entry: HostEntry | ClientEntry) -> Secret:
        data = self._opened(kind, name, entry.sealed, entry.public_key)
        if public_key_of(data) != entry.public_key:
            raise KeystoreError.of("keystore.wrong-public-key", self.path, kind=kind, name=name)
        return Secret(encode(data))


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        # Such as to a disk that is not mounted: do not create a second registry.
        for link in (path, *path.parents):
            if link.is_symlink() and not link.exists():
                target = link.readlink()
                raise KeystoreError.of(
                    "keystore.link-to-nowhere", path, link=link.name, target=target
                ) from None
        return None
    except IsADirectoryError:
        raise KeystoreError.of("keystore.folder", path) from None
    except OSError as error:
        raise KeystoreError.of("keystore.unreadable", path, why=error.strerror) from None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of all writers of ``path``. Its file stays: removing it would be a race."""
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def write_private(path: Path, data: bytes) -> None:
    """Put ``data`` in the place of ``path``, mode 0600: the old content or the new, never a part. OSError."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
