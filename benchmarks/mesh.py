"""The hosts of benchmarks.render as both programs want them, and their configs held against each other.

python -m benchmarks.mesh prepare|compare FOLDER COUNT: a process of its own, for the peak memory that the
kernel counts for a program begins with that of the process which starts it (getrusage(2)).
"""

from __future__ import annotations

import csv
import sys
from ipaddress import IPv4Address
from pathlib import Path

from wgcluster.keys.registry import Registry
from wgcluster.keys.secret import Secret
from wgcluster.wireguard.config import parse

ENDPOINTS, OVERLAY, LENGTH = IPv4Address("198.18.0.0"), IPv4Address("10.0.0.0"), 16
# What wg-meshconf 2.5.1 calls its columns; those that are not set stay empty.
COLUMNS = "Name Address Endpoint AllowedIPs ListenPort PersistentKeepalive FwMark PrivateKey DNS MTU Table"
HOOKS = "PreUp PostUp PreDown PostDown SaveConfig"


def prepare(folder: Path, count: int) -> None:
    """An inventory with its registry, and a database of wg-meshconf, for the same ``count`` hosts."""
    names = [f"h{number:04}" for number in range(1, count + 1)]
    registry = Registry.load(folder / "keys.yml")
    registry.unlock(Secret("benchmark"))
    registry.ensure_hosts(names)
    registry.save()
    servers, rows = [], []
    for number, name in enumerate(names, 1):
        address, endpoint = str(OVERLAY + number), str(ENDPOINTS + number)
        servers.append((name, {"wg_address": address, "wg_endpoint": endpoint}))
        # it takes the address as it stands into the others' AllowedIPs, where it has to be the host alone
        own = {"Name": name, "Address": f"{address}/32"}
        key = registry.private_key(name).reveal()
        rows.append(own | {"Endpoint": endpoint, "ListenPort": 51820, "MTU": 1420, "PrivateKey": key})
    (folder / "inventory.py").write_text(f"servers = {servers!r}\n")
    (folder / "group_data").mkdir()
    (folder / "group_data" / "all.py").write_text(f'wg_networks = ["{OVERLAY}/{LENGTH}"]\n')
    with (folder / "database.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, f"{COLUMNS} {HOOKS}".split(), restval="", quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)


def compare(folder: Path, count: int) -> None:
    """Do both configs of the first and the last host say the same of every peer, in the first runs?"""
    for number in (1, count):
        name = f"h{number:04}"
        texts = (folder / "ours-0" / "hosts" / name / "wg.conf", folder / "theirs-0" / f"{name}.conf")
        one, other = ({peer.public_key: peer for peer in parse(path.read_text()).peers} for path in texts)
        if one != other or len(one) != count - 1:
            sys.exit(f"{name}: the two configs differ")


if __name__ == "__main__":
    {"prepare": prepare, "compare": compare}[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
