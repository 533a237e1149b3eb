"""How the run that changes nothing grows: with real containers, and with hosts that only answer.

    python -m benchmarks.scale [--containers 3 12 24] [--fake 100 300 1000] [--repeats 3] [--profile]

Containers are a full mesh. The others are pyinfra's @fake hosts, six links each, which take 20 ms a command
and answer as hosts on which all is as planned. ``--profile`` adds what the run with most of them spends its
time on.
"""

from __future__ import annotations

import argparse
import pstats
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import Cost, machine, middle, run, spread, table
from lab.lab import Lab
from lab.spec import plain
from lab.workspace import CHECKOUT, Workspace

PREFIX = "wgcluster-bench-scale-"
PASSPHRASE = {"WGCLUSTER_PASSPHRASE": "benchmark"}
FAKE = {"PYINFRA_FAKE_DELAY": "0.02", "PYINFRA_FAKE_DELAY_JITTER": "0", **PASSPHRASE}
DEPLOY = [sys.executable, "-m", "pyinfra", "inventory.py", "deploy.py", "-y"]


def unchanged(cost: Cost) -> Cost:
    """
    Raises:
        SystemExit: the run changed something, or a host was left out.
    """
    total = re.search(r"Grand total +(\d+) +- +- +(\d+)", cost.output)
    if total is None or total[1] != total[2]:
        sys.exit(f"the run changed something:\n{cost.output[-4000:]}")
    return cost


def row(what: str, count: int, costs: Sequence[Cost]) -> list[str]:
    cpu = middle(cost.cpu for cost in costs)
    peak = max(cost.peak for cost in costs)
    each = f"{cpu / count * 1000:.0f} ms"
    return [
        f"{count} {what}",
        spread([cost.seconds for cost in costs]),
        f"{cpu:.2f} s",
        each,
        f"{peak:.0f} MiB",
    ]


def containers(counts: Sequence[int], repeats: int) -> Iterator[list[str]]:
    """A row a size; the lab holds as many containers as the largest."""
    lab = Lab(plain(max(counts), has_tools=True), prefix=PREFIX, subnet="free", say=lambda _: None)
    with tempfile.TemporaryDirectory() as folder:
        try:
            workspace = Workspace.make(lab.up(), Path(folder))
            settings = workspace.folder / "group_data" / "all.py"
            settings.write_text(settings.read_text().replace("10.0.0.0/24", "10.0.0.0/16"))
            for count in sorted(counts):
                servers = []
                for number, host in enumerate(list(lab)[:count], 1):
                    data = {"docker_identifier": host.identifier, "wg_endpoint": host.address}
                    servers.append((f"@docker/{host.name}", data | {"wg_address": f"10.0.1.{number}"}))
                (workspace.folder / "inventory.py").write_text(f"servers = {servers!r}\n")
                run(DEPLOY, workspace.folder, PASSPHRASE)
                costs = [unchanged(run(DEPLOY, workspace.folder, PASSPHRASE)) for _ in range(repeats)]
                yield row("containers", count, costs)
        finally:
            lab.down()


@contextmanager
def fakes(count: int) -> Iterator[Path]:
    """A folder whose inventory has ``count`` @fake hosts, all as planned."""
    with tempfile.TemporaryDirectory() as folder:
        run([sys.executable, "-m", "benchmarks.deployed", folder, str(count)], CHECKOUT, FAKE)
        yield Path(folder)


def profile(folder: Path) -> str:
    """Seconds by owner of the code, then the functions that take most, of one run under cProfile."""
    output = folder / "profile"
    unchanged(run([sys.executable, "-m", "cProfile", "-o", str(output), "-m", *DEPLOY[2:]], folder, FAKE))
    stats = pstats.Stats(str(output))
    owners: defaultdict[str, float] = defaultdict(float)
    functions: defaultdict[str, float] = defaultdict(float)
    entries: dict[tuple[str, int, str], tuple[int, int, float, float, object]] = stats.stats  # type: ignore[attr-defined]
    for (file, line, name), (_, _, own, _, _) in entries.items():
        place = re.sub(r".*/(site-packages|lib/python3\.\d+)/", "", file).removeprefix(f"{folder}/")
        owner = place.split("/")[0] if "/" in place else place
        owners["Python" if owner.endswith(".py") or owner in ("~", "asyncio", "json") else owner] += own
        functions[f"{place}:{line} {name}"] += own
    listed = [f"{seconds:7.2f} s  {name}" for name, seconds in _most(owners, 8)]
    listed += ["", *(f"{seconds:7.2f} s  {name}" for name, seconds in _most(functions, 16))]
    return "\n".join(listed)


def _most(seconds: Mapping[str, float], count: int) -> list[tuple[str, float]]:
    return sorted(seconds.items(), key=lambda item: -item[1])[:count]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale")
    parser.add_argument("--containers", type=int, nargs="*", default=[3, 12, 24])
    parser.add_argument("--fake", type=int, nargs="*", default=[100, 300, 1000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    began, rows, spent = machine(), [], ""
    if arguments.containers:
        rows += list(containers(arguments.containers, arguments.repeats))
    for count in sorted(arguments.fake):
        with fakes(count) as folder:
            costs = [unchanged(run(DEPLOY, folder, FAKE)) for _ in range(arguments.repeats)]
            rows.append(row("@fake hosts", count, costs))
            if arguments.profile and count == max(arguments.fake):
                spent = f"\nWhere {count} @fake hosts spend it:\n\n{profile(folder)}\n"
    head = ["", "no change", "controller's CPU", "CPU a host", "peak memory"]
    print(f"{table(head, rows)}\n\n{arguments.repeats} runs each: median (least to most).\n{spent}")
    print(f"Began {began}.\nEnded {machine()}.")


if __name__ == "__main__":
    main()
