"""The deploy against an Ansible playbook that does the same job on the same containers, in turns.

    python -m benchmarks.deploy [--rounds 3] [--repeats 3]

Each round makes the servers anew for one contestant, times its first run and then its runs that change
nothing; then the same for the other one. Standard output gets the table in Markdown.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import stat
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import peers
from benchmarks.measure import Cost, machine, middle, run, spread, table
from lab.lab import Lab
from lab.spec import article
from lab.workspace import CHECKOUT, Workspace

PREFIX = "wgcluster-bench-"
SERVERS = ("root", "cloud", "backup")
PASSPHRASE = {"WGCLUSTER_PASSPHRASE": "benchmark"}
# Ansible's apt module needs it on the host; nobody's clock runs while it is installed.
PREPARE = "apt-get install -y -q --no-install-recommends python3 python3-apt"


@dataclass
class Contestant:
    """One way to deploy, and its runs so far."""

    name: str
    go: Callable[[Mapping[str, str]], Cost]  # runs it once
    unchanged: Callable[[str], bool]  # does its output say that nothing was changed?
    first: list[Cost] = field(default_factory=list)
    again: list[Cost] = field(default_factory=list)
    commands: Counter[str] = field(default_factory=Counter)  # by host, of a run that changes nothing


def ours(folder: Path) -> Contestant:
    def go(env: Mapping[str, str]) -> Cost:
        command = [sys.executable, "-m", "pyinfra", "inventory.py", "deploy.py", "-y"]
        return run(command, folder, {**PASSPHRASE, **env})

    def unchanged(output: str) -> bool:
        total = re.search(r"Grand total +(\d+) +- +- +(\d+)", output)
        return total is not None and total[1] == total[2]

    return Contestant("wgcluster", go, unchanged)


def ansible(folder: Path) -> Contestant:
    program = peers.installed(peers.ANSIBLE) / "ansible-playbook"

    def go(env: Mapping[str, str]) -> Cost:
        files = ["-i", "hosts.json", "-e", "@vault.json", "--vault-password-file", "password"]
        return run([program, *files, "cluster.yml"], folder, env)

    def unchanged(output: str) -> bool:
        return len(re.findall(r"changed=0 +unreachable=0 +failed=0", output)) == len(SERVERS)

    return Contestant("Ansible", go, unchanged)


def counting(folder: Path) -> tuple[dict[str, str], Path]:
    """An environment in which every call of docker leaves a line, and the file that gets it."""
    folder.mkdir()
    log, shim = folder / "calls", folder / "docker"
    shim.write_text(
        f"#!/bin/sh\nfor word; do case $word in {PREFIX}*) host=${{word%%:*}} ;; esac; done\n"
        f'echo "$1 $host" >>{log}\nexec {shutil.which("docker")} "$@"\n'
    )
    shim.chmod(stat.S_IRWXU)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}, log


def live(lab: Lab) -> dict[str, list[str]]:
    """What counts on each server: peers and whom they stand for, forwarding, rules, what nginx answers."""
    # the article's rules: the playbook has no guard of the overlay, and forwards what we narrow down
    left_out = "grep -v 'PREROUTING\\|! -i wg\\|FORWARD -o wg'"
    article = f"{left_out} | sed 's/-i wg -o wg/-i wg/; s/-s [0-9./]* -o wg/-o wg/'"
    looks = (
        "wg show wg allowed-ips; systemctl is-enabled wg-quick@wg; stat -c %a /etc/wireguard/wg.conf",
        "cat /proc/sys/net/ipv4/ip_forward",
        "{ iptables-save; ip6tables-save; } | grep -- ^-A | grep -v DOCKER"
        f" | sed 's/ -m comment --comment [^ ]*//; s/ -m udp//' | {article}",
        "curl -s -o /dev/null -o /dev/null -w '%{http_code} %{url}\\n' -H 'Host: git.example.org'"
        " 127.0.0.1 127.0.0.1/.well-known/acme-challenge/probe.txt || true",
    )
    return {name: sorted(lab[name].run("; ".join(looks), check=True).stdout.splitlines()) for name in SERVERS}


def a_round(lab: Lab, contestant: Contestant, repeats: int, shim: tuple[dict[str, str], Path]) -> None:
    """The servers made anew, a first run, and runs that change nothing."""
    lab.renew(*SERVERS)
    for name in SERVERS:
        lab[name].run(PREPARE, check=True, timeout=300)
    contestant.first.append(contestant.go({}))
    for _ in range(repeats):
        cost = contestant.go({})
        if not contestant.unchanged(cost.output):
            sys.exit(f"{contestant.name}: the run changed something:\n{cost.output[-4000:]}")
        contestant.again.append(cost)
    if not contestant.commands:
        env, log = shim
        log.unlink(missing_ok=True)
        contestant.go(env)
        calls = (line.split() for line in log.read_text().splitlines())
        on_hosts = (words[-1] for words in calls if words[0] in ("exec", "cp"))
        contestant.commands = Counter(name.removeprefix(PREFIX) for name in on_hosts)


def report(contestants: Sequence[Contestant]) -> str:
    rows = [
        [
            one.name,
            spread([cost.seconds for cost in one.again]),
            f"{middle(cost.cpu for cost in one.again):.2f} s",
            ", ".join(f"{name} {one.commands[name]}" for name in SERVERS),
            spread([cost.seconds for cost in one.first]),
        ]
        for one in contestants
    ]
    we, they = contestants

    def ratio(of: Callable[[Contestant], list[float]]) -> str:
        return f"1 / {middle(of(they)) / middle(of(we)):.1f}"

    rows.append(
        [
            "ratio",
            ratio(lambda one: [cost.seconds for cost in one.again]),
            ratio(lambda one: [cost.cpu for cost in one.again]),
            ratio(lambda one: list(map(float, one.commands.values()))),
            ratio(lambda one: [cost.seconds for cost in one.first]),
        ]
    )
    head = ["", "no change", "CPU of that", "commands on each host", "first run"]
    runs = (
        f"{len(we.again)} runs each that changed nothing, {len(we.first)} first runs: median (least to most)"
    )
    return f"{table(head, rows)}\n\n{runs}."


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.deploy", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=3, help="first runs of each (default: 3)")
    parser.add_argument(
        "--repeats", type=int, default=3, help="runs a round that change nothing (default: 3)"
    )
    arguments = parser.parse_args()
    began = machine()
    specs = [spec for spec in article() if spec.name in (*SERVERS, "router")]
    lab = Lab(specs, prefix=PREFIX, subnet="free", say=lambda _: None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            workspace = Workspace.make(lab.up(), folder / "ours", PASSPHRASE)
            run([sys.executable, "-m", "wgcluster", "client", "add", "laptop"], workspace.folder, PASSPHRASE)
            we = ours(workspace.folder)
            we.go({})  # makes the keys
            inventory = workspace.folder / "inventory.py"
            project = ["-m", "benchmarks.project", str(inventory), str(folder / "ansible")]
            run([sys.executable, *project], CHECKOUT, PASSPHRASE)
            they = ansible(folder / "ansible")
            shim, left = counting(folder / "shim"), {}
            for number in range(arguments.rounds):
                for contestant in (we, they):
                    print(f"round {number + 1}: {contestant.name}", file=sys.stderr, flush=True)
                    a_round(lab, contestant, arguments.repeats, shim)
                    left[contestant.name] = live(lab)
                if left[we.name] != left[they.name]:
                    sys.exit(f"not the same job:\n{left[we.name]}\nwith Ansible:\n{left[they.name]}")
        finally:
            lab.down()
    print(f"{report((we, they))}\n\nBegan {began}.\nEnded {machine()}.")


if __name__ == "__main__":
    main()
