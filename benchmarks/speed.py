"""What each trick of tasks/speed.py saves of a run that changes nothing, on the demo's three servers.

    python -m benchmarks.speed [--rounds 7]

Each trick is taken out of a copy of its own of the program. The copies run in turns, round by round, and each
round's run with all tricks is what the others of that round are held against.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.measure import Cost, machine, middle, run, table
from lab.lab import Lab
from lab.spec import article
from lab.workspace import Workspace

PREFIX = "wgcluster-speed-"
SERVERS = ("root", "cloud", "backup")
PASSPHRASE = {"WGCLUSTER_PASSPHRASE": "benchmark"}
ALL = "all of them"
# {trick: what is replaced in which file, by what}
TRICKS: Mapping[str, tuple[str, str, str]] = {
    "bytecode is written": (
        "tasks/speed.py",
        "    sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)\n",
        "",
    ),
    "no last garbage collection": ("tasks/speed.py", "    atexit.register(gc.freeze)\n", ""),
    "fewer garbage collections": ("tasks/speed.py", "    gc.set_threshold(100_000, 50, 50)\n", ""),
    "one thread for numpy": (
        "tasks/speed.py",
        '    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")\n',
        "",
    ),
    "files known to inspect": (
        "tasks/speed.py",
        "    if state.current_deploy_filename:\n",
        "    return\n    if state.current_deploy_filename:\n",
    ),
    "hosts observed while the rest is imported": (
        "tasks/start.py",
        "    from tasks.declaration import declaration\n",
        "    import tasks.controller, tasks.preflight\n    from tasks.declaration import declaration\n",
    ),
}


def copy(lab: Lab, folder: Path, trick: str) -> Path:
    """The program without ``trick``; its modules lie there compiled, as after an operator's first run."""
    Workspace.make(lab, folder, PASSPHRASE)
    if trick != ALL:
        name, old, new = TRICKS[trick]
        text = (folder / name).read_text()
        if text.count(old) != 1:
            sys.exit(f"{name} does not hold once: {old!r}")
        (folder / name).write_text(text.replace(old, new))
    return folder


def unchanging(folder: Path) -> Cost:
    return run([sys.executable, "-m", "pyinfra", "inventory.py", "deploy.py", "-y"], folder, PASSPHRASE)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="runs of each copy (default: %(default)s)")
    rounds = parser.parse_args().rounds
    specs = [spec for spec in article() if spec.name in (*SERVERS, "router")]
    lab = Lab(specs, prefix=PREFIX, subnet="free", say=lambda _: None)
    costs: dict[str, list[Cost]] = {name: [] for name in (ALL, *TRICKS)}
    with tempfile.TemporaryDirectory(prefix=PREFIX) as base:
        try:
            lab.up()
            first = copy(lab, Path(base) / "0", ALL)
            unchanging(first)  # the first run: makes the keys and all that is on the servers
            keys = next(first.rglob("keys.yml"))
            folders = {ALL: first}
            for number, name in enumerate(TRICKS, 1):
                folders[name] = copy(lab, Path(base) / str(number), name)
                (folders[name] / keys.relative_to(first)).parent.mkdir(parents=True, exist_ok=True)
                (folders[name] / keys.relative_to(first)).write_bytes(keys.read_bytes())
            for folder in folders.values():
                unchanging(folder)
            for number in range(rounds):
                print(f"round {number + 1} of {rounds}", file=sys.stderr)
                for name, folder in folders.items():
                    costs[name].append(unchanging(folder))
        finally:
            lab.down()
    rows = [[name, *_more(costs[name], costs[ALL])] for name in TRICKS]
    print(f"A run that changes nothing: {middle(one.seconds for one in costs[ALL]):.2f} s. {machine()}\n")
    print(table(["without", "time", "CPU"], rows))


def _more(without: list[Cost], with_all: list[Cost]) -> list[str]:
    """How much more it takes, the median of the rounds."""
    seconds = middle(one.seconds / other.seconds - 1 for one, other in zip(without, with_all, strict=True))
    cpu = middle(one.cpu / other.cpu - 1 for one, other in zip(without, with_all, strict=True))
    return [f"{seconds:+.0%}", f"{cpu:+.0%}"]


if __name__ == "__main__":
    main()
