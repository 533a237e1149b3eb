"""The Ansible project for the cluster of a workspace, with the same keys, the private ones in a vault.

python -m benchmarks.project INVENTORY FOLDER: a process of its own, for pyinfra patches what loads it.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.measure import run
from wgcluster.cli.reading import LoadedInventory, read
from wgcluster.keys.secret import passphrase

PLAYBOOK = Path(__file__).parent / "ansible"


def hosts(reading: LoadedInventory) -> dict[str, dict[str, Any]]:
    """What an Ansible user declares of each server."""
    declared = {host.name: host for host in reading.cluster().hosts}
    containers = {row.cluster_name: row.data["docker_identifier"] for row in reading.rows}
    found: dict[str, dict[str, Any]] = {}
    for host in reading.plan().hosts:
        endpoint = declared[host.name].endpoint
        listen = [
            {"family": f"ipv{source.version}"} | ({"source": str(source)} if source.prefixlen else {})
            for source in host.listen_from
        ]
        found[host.name] = {
            "ansible_connection": "community.docker.docker",
            "ansible_host": containers[host.name],
            "wg_address": str(host.addresses[0].ip),
            "wg_port": host.port,
            "wg_public_key": host.public_key,
            "wg_gateway": host.gateway,
            "wg_listen_from": listen,
            **({"wg_endpoint": str(endpoint.host)} if endpoint else {}),
            **({"nginx_site": host.nginx[0].file} if host.nginx else {}),
        }
    return found


def make(inventory: Path, folder: Path) -> None:
    """Write playbook, inventory and vault into ``folder``; the vault's password is the passphrase."""
    shutil.copytree(PLAYBOOK, folder)
    reading = read(inventory)
    reading.unlock()
    plan, secret = reading.plan(), passphrase(reading.registry.path).reveal()
    clients = [
        {"name": c.name, "public_key": c.public_key, "address": str(c.addresses[0].ip)} for c in plan.clients
    ]
    keys = {host.name: reading.registry.private_key(host.name).reveal() for host in plan.hosts}
    servers = {"servers": {"hosts": hosts(reading), "vars": {"clients": clients}}}
    for name, value in {"hosts.json": servers, "vault.json": {"private_keys": keys}}.items():
        (folder / name).write_text(json.dumps(value, indent=1))
    (folder / "password").write_text(secret)
    vault = peers.installed(peers.ANSIBLE) / "ansible-vault"
    run([vault, "encrypt", "--vault-password-file", "password", "vault.json"], folder)


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]))
