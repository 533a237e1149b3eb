"""A passphrase -> a key; and under it single entries sealed, each bound to its kind, name and public key.

Scrypt (RFC 7914) makes the key; AES-256-GCM (NIST SP 800-38D) seals with a random nonce and holds the binding
as associated data: what was put under another name, kind or public key does not open.
"""

from __future__ import annotations

import secrets
import unicodedata

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from wgcluster.keyfile import KEY, NONCE, decode, encode
from wgcluster.secret import Secret


class Seal:
    """The key that a passphrase makes with ``salt`` (base64) and Scrypt's ``cost`` (N; r = 8, p = 1)."""

    def __init__(self, passphrase: Secret, salt: str, cost: int) -> None:
        self.salt, self.cost = salt, cost
        # NFC: the same letters typed on another machine make the same key. Variables may hold any bytes.
        text = unicodedata.normalize("NFC", passphrase.reveal()).encode("utf-8", "surrogateescape")
        self._cipher = AESGCM(Scrypt(salt=decode(salt), length=KEY, n=cost, r=8, p=1).derive(text))

    def close(self, data: bytes, kind: str, name: str, public_key: str = "") -> str:
        """``data`` sealed, in base64."""
        nonce = secrets.token_bytes(NONCE)
        return encode(nonce + self._cipher.encrypt(nonce, data, _binding(kind, name, public_key)))

    def open(self, sealed: str, kind: str, name: str, public_key: str = "") -> bytes | None:
        """What was sealed; None where the key or the binding is another, or a bit was changed."""
        data = decode(sealed)
        try:
            return self._cipher.decrypt(data[:NONCE], data[NONCE:], _binding(kind, name, public_key))
        except InvalidTag:
            return None


def _binding(kind: str, name: str, public_key: str) -> bytes:
    return "\0".join(("wgcluster 1", kind, name, public_key)).encode()


def new_private_key() -> bytes:
    """32 bytes, clamped as "wg genkey" does (RFC 7748, 5), so that wg shows the key just as it was given."""
    raw = bytearray(secrets.token_bytes(KEY))
    raw[0] &= 248
    raw[31] = raw[31] & 127 | 64
    return bytes(raw)


def public_key_of(private_key: bytes) -> str:
    """Base64 of the X25519 public key."""
    return encode(X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw())
