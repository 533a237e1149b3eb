"""SSH into a lab's host: a key of the lab's own, kept with its host keys inside the checkout."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lab.image import STATE
from lab.spec import File

USER = "operator"
_UID = 1000  # the first that useradd gives; the image makes the user


def folder(prefix: str) -> Path:
    """Where the key and the known hosts of the lab ``prefix`` lie."""
    return STATE / prefix.rstrip("-")


def ensure_key(prefix: str) -> str:
    """Make the lab's key unless it is there; the line for authorized_keys."""
    place = folder(prefix)
    place.mkdir(parents=True, exist_ok=True)
    private, public = place / "id_ed25519", place / "id_ed25519.pub"
    if not public.exists():
        key = Ed25519PrivateKey.generate()
        private.touch(mode=0o600)
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.OpenSSH,
                serialization.NoEncryption(),
            )
        )
        line = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        public.write_bytes(line + b"\n")
    return public.read_text()


def authorized_files(line: str) -> tuple[File, ...]:
    return (File(f"/home/{USER}/.ssh/authorized_keys", line, 0o600, owner=_UID),)


def inventory_data(prefix: str, port: int, host_key: str) -> dict[str, str | int]:
    """What pyinfra's inventory says of a host that is reached by SSH; ``host_key`` is its public key."""
    known = folder(prefix) / "known_hosts"
    entry = f"[127.0.0.1]:{port} {' '.join(host_key.split()[:2])}"
    lines = set(known.read_text().splitlines()) if known.exists() else set()
    known.write_text("\n".join(sorted({line for line in lines if f":{port} " not in line} | {entry})) + "\n")
    return {
        "ssh_hostname": "127.0.0.1",
        "ssh_port": port,
        "ssh_user": USER,
        "ssh_key": str(folder(prefix) / "id_ed25519"),
        "ssh_known_hosts_file": str(known),
        "ssh_strict_host_key_checking": "yes",
        "_sudo": True,
    }
