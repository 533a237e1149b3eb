"""Network namespaces: a kernel's own filter and real packets, with nothing of this machine in reach."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from wgcluster.firewall.tables import Chain, Tables, join, parse_save
from wgcluster.prefixes import Family

_CLONE_NEWNET = 0x40000000  # sched.h
_numbers = count(1)

BACKENDS = ("nft", "legacy")


def missing() -> str:
    """What these tests lack here; "" if nothing."""
    if os.geteuid() != 0:
        return "only root makes network namespaces"
    tools = (
        "ip",
        "nsenter",
        "unshare",
        "iptables-nft",
        "iptables-legacy",
        "ip6tables-nft",
        "ip6tables-legacy",
    )
    lacking = [tool for tool in tools if shutil.which(tool, path=_path()) is None]
    return f"not installed: {', '.join(lacking)}" if lacking else ""


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"


def _run(argv: Sequence[str], text: str = "", variables: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        argv,
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PATH": _path(), "LC_ALL": "C", **(variables or {})},
    )
    if done.returncode:
        raise AssertionError(f"{' '.join(argv)}: exit {done.returncode}\n{done.stderr}{done.stdout}\n{text}")
    return done.stdout


def _enter(path: str) -> None:
    with Path(path).open() as file:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(file.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns", path)


class Namespace:
    """One network namespace with ``lo`` up."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = f"/run/netns/{name}"
        _run(["ip", "netns", "add", name])
        # a socket belongs to the namespace of the thread that opened it, whoever uses it then
        self._thread = ThreadPoolExecutor(1, initializer=_enter, initargs=(self.path,))
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *argv: str, text: str = "", variables: Mapping[str, str] | None = None) -> str:
        """What a command prints that runs in here; AssertionError with its words if it fails."""
        return _run(["nsenter", f"--net={self.path}", *argv], text, variables)

    def socket(self, family: Family, kind: socket.SocketKind, protocol: int = 0) -> socket.socket:
        """A socket in here that does not block."""
        number = socket.AF_INET if family == 4 else socket.AF_INET6
        made = self._thread.submit(socket.socket, number, kind, protocol).result(timeout=10)
        made.setblocking(False)
        return made

    def close(self) -> None:
        self._thread.shutdown()
        _run(["ip", "netns", "del", self.name])


@contextmanager
def namespaces(*names: str) -> Iterator[list[Namespace]]:
    """Namespaces of this process, which go with the block."""
    made: list[Namespace] = []
    try:
        for name in names:
            made.append(Namespace(f"wgctest-{os.getpid()}-{next(_numbers)}-{name}"))
        yield made
    finally:
        for namespace in made:
            namespace.close()


class Filter:
    """The tables of one family and backend in a namespace, by the programs themselves."""

    def __init__(self, namespace: Namespace, family: Family, backend: str) -> None:
        self.namespace = namespace
        self.family = family
        self.tool = f"{'iptables' if family == 4 else 'ip6tables'}-{backend}"

    def load(self, tables: Tables) -> None:
        """Make the tables exactly these."""
        self.namespace.run(
            f"{self.tool}-restore", text=text_of({"raw": {}, "mangle": {}, "filter": {}, "nat": {}, **tables})
        )

    def restore(self, text: str) -> None:
        """As the deploy does it."""
        self.namespace.run(f"{self.tool}-restore", "-w", "--noflush", text=text)

    def text(self) -> str:
        """All that is there, without comments, counters and dates."""
        lines = self.namespace.run(f"{self.tool}-save").splitlines()
        kept = [re.sub(r"^(:.*) \[.*", r"\1", line) for line in lines if line[:1] in "*:-C"]
        return "\n".join(kept) + "\n"

    def tables(self) -> Tables:
        return parse_save(self.text())


def text_of(tables: Tables) -> str:
    """The input of a ``-restore`` that makes ``tables``."""
    lines: list[str] = []
    for table, chains in tables.items():
        built_in = {
            "raw": ("PREROUTING", "OUTPUT"),
            "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
            "filter": ("INPUT", "FORWARD", "OUTPUT"),
            "nat": ("PREROUTING", "OUTPUT", "POSTROUTING"),
        }
        chains = {**{name: Chain() for name in built_in[table]}, **chains}
        lines.append(f"*{table}")
        lines += [f":{name} {chain.policy} [0:0]" for name, chain in chains.items()]
        lines += [
            f"-A {name} {join(spec)}".rstrip() for name, chain in chains.items() for spec in chain.rules
        ]
        lines.append("COMMIT")
    return "\n".join(lines) + "\n"


def no_tunnel() -> str:
    """What is lacking here for an interface of WireGuard; "" if nothing."""
    lacking = [tool for tool in ("wg", "wireguard-go") if shutil.which(tool) is None]
    lacking += [] if Path("/dev/net/tun").exists() else ["/dev/net/tun"]
    return f"not here: {', '.join(lacking)}" if lacking else ""


@contextmanager
def wireguard_go(namespace: Namespace, interface: str) -> Iterator[None]:
    """An interface of WireGuard in the namespace, in one process (-f), which ends with the block.

    The socket by which wg finds it is named after the interface alone, so that has to be unique.
    """
    process = subprocess.Popen(
        ["nsenter", f"--net={namespace.path}", "wireguard-go", "-f", interface],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "LOG_LEVEL": "silent"},
    )
    try:
        for _ in range(100):
            if Path(f"/var/run/wireguard/{interface}.sock").exists():
                break
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(timeout=10)
