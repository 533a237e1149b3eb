"""Entries sealed with a key from a passphrase, each bound to its kind, name and public key.

Scrypt (RFC 7914) derives the key. AES-256-GCM (NIST SP 800-38D) seals with a random nonce and the binding as
associated data: an entry that was moved to another name, kind or public key does not open.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import unicodedata
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from wgcluster.inventory.faults import KeystoreError
from wgcluster.keys.secret import Secret

NONCE = 12  # bytes; NIST SP 800-38D, 5.2.1.1
TAG = 16
KEY = 32
SALT = 16


class Cost(NamedTuple):
    """Parameters of Scrypt: N KiB of memory, p passes (RFC 7914, 2; r is 8)."""

    n: int
    p: int


# OWASP Password Storage Cheat Sheet, which gives it as equal in defence to the N = 2^17, p = 1 of earlier
# registries; it takes 32 MiB instead of 128, and three fifths of the time, for which every run waits
COST = Cost(2**15, 3)


def encode(data: bytes) -> str:
    """Base64, as wg(8) writes keys."""
    return base64.b64encode(data).decode()


def decode(text: str) -> bytes:
    """Decode base64.

    Raises:
        ValueError: it is not as ``encode`` writes it.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not base64") from None
    if encode(data) != text:  # spare bits set: two texts would be one key
        raise ValueError("is not base64 as it is written")
    return data


class Seal:
    """The key derived from a passphrase, ``salt`` (base64) and ``cost``.

    The derivation is slow on purpose, and releases Python's global lock.

    Raises:
        KeystoreError: there is not the memory that Scrypt is to take.
    """

    def __init__(self, passphrase: Secret, salt: str, cost: Cost) -> None:
        self.salt, self.cost = salt, cost
        # NFC: the same letters typed on another machine make the same key. Variables may hold any bytes.
        text = unicodedata.normalize("NFC", passphrase.reveal()).encode("utf-8", "surrogateescape")
        try:
            key = Scrypt(salt=base64.b64decode(salt), length=KEY, n=cost.n, r=8, p=cost.p).derive(text)
        except MemoryError:
            # 128 r N bytes, RFC 7914, 2
            raise KeystoreError.of("keystore.memory", mib=cost.n // 1024) from None
        self._cipher = AESGCM(key)

    def close(self, data: bytes, kind: str, name: str, public_key: str = "") -> str:
        """Seal ``data``; base64."""
        nonce = secrets.token_bytes(NONCE)
        return encode(nonce + self._cipher.encrypt(nonce, data, _binding(kind, name, public_key)))

    def open(self, sealed: str, kind: str, name: str, public_key: str = "") -> bytes | None:
        """The sealed data; None: the key or the binding is another, or a bit was changed."""
        data = decode(sealed)
        try:
            return self._cipher.decrypt(data[:NONCE], data[NONCE:], _binding(kind, name, public_key))
        except InvalidTag:
            return None


def _binding(kind: str, name: str, public_key: str) -> bytes:
    return "\0".join(("wgcluster 1", kind, name, public_key)).encode()


def new_private_key() -> bytes:
    """32 bytes, clamped as by "wg genkey" (RFC 7748, 5), so that wg shows the key unchanged."""
    raw = bytearray(secrets.token_bytes(KEY))
    raw[0] &= 248
    raw[31] = raw[31] & 127 | 64
    return bytes(raw)


def public_key_of(private_key: bytes) -> str:
    """Base64 of the X25519 public key."""
    return encode(X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw())
