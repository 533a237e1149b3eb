"""Plain servers with an inventory of the test's own: what the files on firewalls and SSH begin with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from lab.host import Host
from lab.lab import Lab
from lab.spec import HostSpec
from lab.workspace import Workspace
from tests.support.lab.cluster import Cluster

BACKENDS = ("nft", "legacy")
FAMILIES = {4: "iptables", 6: "ip6tables"}
TOOLS = [f"{name}-{backend}" for name in FAMILIES.values() for backend in BACKENDS]
PASSPHRASE = "four words at random"


@contextmanager
def cluster_of(specs: Sequence[HostSpec], prefix: str, folder: Path) -> Iterator[Cluster]:
    """A lab of ``specs``, which goes with the block, and a workspace that waits for ``describe``."""
    lab = Lab(specs, prefix=prefix, subnet="free")
    lab.down()  # what a run that was killed left behind
    try:
        lab.up()
        yield Cluster(lab, Workspace.make(lab, folder, {"WGCLUSTER_PASSPHRASE": PASSPHRASE}))
    finally:
        lab.down()


def docker(host: Host) -> tuple[str, dict[str, object]]:
    """A host's name in the inventory and what pyinfra has to know to reach it."""
    return f"@docker/{host.name}", {"docker_identifier": host.identifier}


def describe(cluster: Cluster, hosts: Sequence[tuple[str, Mapping[str, object]]], **shared: object) -> None:
    """Write the operator's files: who exists, and what is wanted of every server."""
    folder = cluster.workspace.folder
    rows = "".join(f"    {(name, dict(data))!r},\n" for name, data in hosts)
    (folder / "inventory.py").write_text(f"servers = [\n{rows}]\n")
    (folder / "group_data" / "gateways.py").unlink(missing_ok=True)
    (folder / "group_data" / "all.py").write_text("".join(f"{k} = {v!r}\n" for k, v in shared.items()))


def each(hosts: Sequence[Host], *commands: str) -> None:
    """Run commands on hosts, a few at a time; "restart" is a boot."""

    def one(host: Host) -> None:
        for command in commands:
            if command == "restart":
                host.restart()
            else:
                host.run(command, check=True)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(one, hosts))


def saved(host: Host, *options: str) -> dict[str, list[str]]:
    """What each of ``TOOLS`` with ``-save`` prints, by program, in lines."""
    command = f'for tool in {" ".join(TOOLS)}; do echo "@$tool"; $tool-save {" ".join(options)} || exit; done'
    printed = host.run(command, check=True).stdout.split("@")[1:]
    return {lines[0]: lines[1:] for lines in (part.splitlines() for part in printed)}


def rules(host: Host) -> dict[str, list[str]]:
    """All rules there are, by the program that shows them: ``table -A CHAIN …``, with a user's own chains and
    the policies that are not ACCEPT, without those for Docker's resolver, which differ at each start."""
    found: dict[str, list[str]] = {}
    for tool, lines in saved(host).items():
        table, found[tool] = "", []
        for line in lines:
            if line.startswith("*"):
                table = line[1:]
            elif re.match("-A|:(?!.* ACCEPT )", line) and "DOCKER_" not in line:
                found[tool].append(f"{table} {line.split(' [')[0]}")
    return found


def chain(found: Sequence[str], name: str, table: str = "filter") -> list[str]:
    """One chain of what ``rules`` gives for a program."""
    begin = f"{table} -A {name} "
    return [line.removeprefix(begin) for line in found if line.startswith(begin)]


def foreign(found: Mapping[str, Sequence[str]], without: str = "") -> dict[str, list[str]]:
    """What is not of the deploy's making; ``without`` is a line that does not count either."""
    return {
        tool: [line for line in lines if "wgcluster-" not in line and line != without]
        for tool, lines in found.items()
    }
