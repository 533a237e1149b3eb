"""A program run once: how long, how much CPU, how much memory; and the tables that are printed."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took."""

    seconds: float  # of wall clock
    cpu: float  # seconds, user and system, of the program and all its children on this machine
    peak: float  # MiB, the largest of its processes
    output: str  # standard output and error


def run(
    command: Sequence[str | Path],
    cwd: Path,
    env: Mapping[str, str] | None = None,
    status: int = 0,
) -> Cost:
    """Run a program to its end; it may prompt nobody.

    Raises:
        SystemExit: it ended with another status than ``status``; shows the end of its output.
    """
    with tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            env={**_environment(), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, ended, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(ended)
        output.seek(0)
        text = output.read().decode(errors="replace")
    if process.returncode != status:
        words = " ".join(map(str, command))
        sys.exit(f"{words}: status {process.returncode}\n{text[-4000:]}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / _maxrss_unit(), text)


def _environment() -> dict[str, str]:
    """Ours, but programs may keep their bytecode, as on any machine that was not told otherwise."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _maxrss_unit() -> int:
    """How many units of ru_maxrss are a MiB: getrusage(2) has KiB, macOS bytes."""
    return 2**20 if sys.platform == "darwin" else 2**10


def here() -> tuple[float, float, float]:
    """Wall clock and CPU seconds of this process so far, and its peak memory in MiB."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / _maxrss_unit()


def middle(values: Iterable[float]) -> float:
    return median(list(values))


def spread(values: Sequence[float]) -> str:
    """Median, and least to most, in seconds."""
    return f"{median(values):.2f} s ({min(values):.2f} to {max(values):.2f})"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """In Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def machine() -> str:
    """What this was measured on, and how busy it was."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2] for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0].strip() if names else cpu
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    today = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return (
        f"{today}; {cpu}, {os.cpu_count()} cores, {memory:.0f} GiB; Linux {platform.release()}, "
        f"Python {platform.python_version()}; load {load}"
    )
