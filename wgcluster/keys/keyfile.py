"""The text of keys.yml: parsed with every fault at once, and written in a stable order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from wgcluster.inventory import schema
from wgcluster.inventory.faults import Fault, KeystoreError, fault
from wgcluster.keys.seal import KEY, NONCE, SALT, TAG, Cost, decode

CHECK = b"wgcluster"  # the plain text of the sealed check value

_HEAD = """\
# Keys of the cluster, written by wgcluster; made to be committed: what is secret is sealed.
# To look into it: python -m wgcluster keys list
"""


def _holds(length: int) -> Callable[[str], str]:
    def check(text: str) -> str:
        try:
            fits = len(decode(text)) == length
        except ValueError:
            fits = False
        if not fits:
            raise schema.wrong("keystore.not-bytes", length=str(length))
        return text

    return check


_PAIR: TypeAdapter[tuple[str, str]] = TypeAdapter(tuple[schema.NameField, schema.NameField])


def _link(name: str) -> str:
    try:
        first, second = _PAIR.validate_python(tuple(name.split("|")))
    except ValidationError:
        first = second = ""
    if first == second:
        raise schema.wrong("keystore.link-name")
    return name


PublicKey = Annotated[str, AfterValidator(_holds(KEY))]
Sealed = Annotated[str, AfterValidator(_holds(NONCE + KEY + TAG))]
_LinkName = Annotated[str, AfterValidator(_link)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PassphraseEntry(_Entry):
    """How the key is derived from the passphrase. Bounded: a forged file must not take more than 128 MiB."""

    kdf: Literal["scrypt"] = "scrypt"
    n: Literal[32768, 65536, 131072]
    r: Literal[8] = 8
    p: Literal[1, 2, 3] = 1
    salt: Annotated[str, AfterValidator(_holds(SALT))]
    check: Annotated[str, AfterValidator(_holds(NONCE + len(CHECK) + TAG))]

    @property
    def cost(self) -> Cost:
        return Cost(self.n, self.p)


class HostEntry(_Entry):
    public_key: PublicKey
    sealed: Sealed


class ClientEntry(_Entry):
    addresses: Annotated[tuple[schema.AddressField, ...], Field(min_length=1, max_length=2)]
    gateway: schema.NameField | None
    public_key: PublicKey
    sealed: Sealed


class LinkEntry(_Entry):
    sealed: Sealed


class KeyFile(_Entry):
    """The content of keys.yml. ``passphrase`` is None as long as nothing is sealed."""

    version: Literal[1]
    passphrase: PassphraseEntry | None
    hosts: dict[schema.NameField, HostEntry]
    clients: dict[schema.NameField, ClientEntry]
    links: dict[_LinkName, LinkEntry]
    # Public keys that were removed here and may still be on hosts, with their former owners.
    former: dict[PublicKey, schema.NameField] = {}


EMPTY = KeyFile(version=1, passphrase=None, hosts={}, clients={}, links={})


class _Loader(yaml.CSafeLoader):
    """Refuses duplicate keys in a mapping, which YAML forbids and PyYAML accepts."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        seen: set[object] = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if name in seen:
                problem = f"{name} stands there twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


def read(text: str, where: str) -> KeyFile:
    """Parse the text of a registry file.

    Args:
        where: the path, for messages.

    Raises:
        KeystoreError: it is incomplete, of another version, or invalid.
    """
    # The last line, "...", ends the YAML document: without it the file may be incomplete.
    if not text.rstrip().endswith("\n..."):
        raise KeystoreError.of("keystore.incomplete", where)
    try:
        data = yaml.load(text, _Loader)  # noqa: S506 - a safe loader, made stricter
    except (yaml.YAMLError, TypeError, ValueError) as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or error
        line = f":{mark.line + 1}" if mark else ""
        raise KeystoreError.of("keystore.invalid-yaml", f"{where}{line}", problem=problem) from None
    if not isinstance(data, dict) or "version" not in data:
        raise KeystoreError.of("keystore.not-a-registry", where)
    if data["version"] != 1:
        raise KeystoreError.of("keystore.version", where, version=data["version"])
    try:
        file = KeyFile.model_validate(data)
    except ValidationError as error:
        raise KeystoreError(_invalid(error, where)) from None
    if faults := list(_clashes(file, where)):
        raise KeystoreError(faults)
    return file


def write(file: KeyFile) -> str:
    """The text of ``file``; the same for equal content in any order."""
    data = file.model_dump(mode="json")
    if not file.former:
        del data["former"]  # earlier versions, which do not know it, can read the file then
    for part in data.keys() & {"hosts", "clients", "links", "former"}:
        data[part] = dict(sorted(data[part].items()))
    body: str = yaml.dump(
        data, Dumper=yaml.CSafeDumper, sort_keys=False, explicit_end=True, width=200, allow_unicode=True
    )
    return _HEAD + body


def _invalid(error: ValidationError, where: str) -> Iterator[Fault]:
    for one in error.errors():
        # pydantic locates an invalid name as (…, name, "[key]")
        at = schema.path(part for part in one["loc"] if part != "[key]")
        problem = schema.fault_of(one).message
        yield fault("keystore.invalid-entry", key=where, entry=at, problem=problem)


def _clashes(file: KeyFile, where: str) -> Iterator[Fault]:
    if file.passphrase is None and (file.hosts or file.clients or file.links):
        yield fault("keystore.no-passphrase", key=where)
    for name in sorted(file.hosts.keys() & file.clients.keys()):
        yield fault("keystore.host-and-client", key=where, name=name)
    owners: dict[str, str] = {}
    entries: list[Mapping[str, HostEntry | ClientEntry]] = [file.hosts, file.clients]
    for name, entry in ((name, entry) for part in entries for name, entry in part.items()):
        if entry.public_key in owners:
            other = owners[entry.public_key]
            yield fault("keystore.duplicate-key", key=where, name=name, other=other)
        owners.setdefault(entry.public_key, name)
