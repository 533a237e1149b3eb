"""A full mesh rendered, against wg-meshconf on the same hosts with the same keys: program against program.

    python -m benchmarks.render [--hosts 200 1000] [--repeats 3]

Both read their own file of hosts and write one config a host. wg-meshconf reads private keys in clear and
writes them; ours reads its registry, leaves the secrets out and writes the firewall rules as well.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

from benchmarks import peers
from benchmarks.measure import Cost, machine, middle, run, spread, table
from lab.workspace import CHECKOUT
from wgcluster.keystore import Registry
from wgcluster.secret import Secret
from wgcluster.wgconf import parse

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
    """Do both configs of the first and the last host say the same of every peer?"""
    for number in (1, count):
        name = f"h{number:04}"
        texts = (folder / "ours" / "hosts" / name / "wg.conf", folder / "theirs" / f"{name}.conf")
        one, other = ({peer.public_key: peer for peer in parse(path.read_text()).peers} for path in texts)
        if one != other or len(one) != count - 1:
            sys.exit(f"{name}: the two configs differ")


def measure(count: int, repeats: int) -> tuple[list[Cost], list[Cost]]:
    """Runs of ours and of wg-meshconf, in turns."""
    theirs = peers.installed(peers.WG_MESHCONF) / "wg-meshconf"
    ours, others = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, count)
        command = [sys.executable, "-m", "wgcluster", "--inventory", f"{folder}/inventory.py", "render"]
        for _ in range(repeats):
            ours.append(run([*command, "-o", f"{folder}/ours"], CHECKOUT))
            others.append(run([theirs, "-d", folder / "database.csv", "genconfig", "-o", "theirs"], folder))
        compare(folder, count)
    return ours, others


def row(count: int, ours: Sequence[Cost], theirs: Sequence[Cost]) -> list[str]:
    seconds = [middle(cost.seconds for cost in costs) for costs in (theirs, ours)]
    cpu = [middle(cost.cpu for cost in costs) for costs in (theirs, ours)]
    peak = " / ".join(f"{max(cost.peak for cost in costs):.0f} MiB" for costs in (ours, theirs))
    times = [spread([cost.seconds for cost in costs]) for costs in (ours, theirs)]
    return [str(count), *times, f"{seconds[0] / seconds[1]:.0f}", f"{cpu[0] / cpu[1]:.0f}", peak]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.render")
    parser.add_argument("--hosts", type=int, nargs="+", default=[200, 1000])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    began = machine()
    rows = [row(count, *measure(count, arguments.repeats)) for count in arguments.hosts]
    head = ["hosts", "wgcluster", "wg-meshconf", "times faster", "times less CPU", "peak memory"]
    print(f"{table(head, rows)}\n\n{arguments.repeats} runs each, in turns: median (least to most).")
    print(f"Began {began}.\nEnded {machine()}.")


if __name__ == "__main__":
    main()
