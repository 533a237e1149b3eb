"""A full mesh rendered, against wg-meshconf on the same hosts with the same keys: program against program.

    python -m benchmarks.render [--hosts 200 1000] [--repeats 3]

Both read their own file of hosts and write one config a host. wg-meshconf reads private keys in clear and
writes them; ours reads its registry, leaves the secrets out and writes the firewall rules as well.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import peers
from benchmarks.measure import Cost, machine, middle, run, spread, table

CHECKOUT = Path(__file__).parent.parent


def measure(count: int, repeats: int) -> tuple[list[Cost], list[Cost]]:
    """Runs of ours and of wg-meshconf, in turns."""
    theirs = peers.installed(peers.WG_MESHCONF) / "wg-meshconf"
    ours, others = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hosts = [sys.executable, "-m", "benchmarks.mesh"]
        run([*hosts, "prepare", name, str(count)], CHECKOUT)
        command = [sys.executable, "-m", "wgcluster", "--inventory", f"{folder}/inventory.py", "render"]
        for number in range(repeats):
            # New folders, and nothing removed before the end: where files have just been removed, ext4 makes
            # new ones slowly, for it passes over their inodes (recently_deleted in fs/ext4/ialloc.c).
            results = [folder / f"ours-{number}", folder / f"theirs-{number}"]
            ours.append(run([*command, "-o", results[0]], CHECKOUT))
            others.append(
                run([theirs, "-d", folder / "database.csv", "genconfig", "-o", results[1]], CHECKOUT)
            )
        run([*hosts, "compare", name, str(count)], CHECKOUT)
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
