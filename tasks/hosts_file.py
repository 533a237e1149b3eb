"""The names of the cluster in /etc/hosts."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api.deploy import deploy

from tasks.controller import Run
from tasks.lock import Commands, locked
from tasks.operations import host_operation, reasons, run_commands, show_diff, upload
from wgcluster.host import paths
from wgcluster.host.hosts_file import with_block
from wgcluster.plan.plan import Names


@host_operation
@locked
def names_block(run: Run, names: Names) -> Commands:
    """Keep our block in /etc/hosts; without names there is none.

    pyinfra's files.block shows no diff, and its files.put cannot replace a file that is mounted.
    """
    file = run.observe(host).file(paths.HOSTS)
    text = with_block(file.text, run.part_of(host).interface, names)
    if text == file.text:
        return
    mode, owner = (file.mode, file.owner) if file.kind == "file" else ("644", "root:root")
    run.log_once(host, f"{paths.HOSTS}: {'; '.join(reasons(file, False, mode, owner))}")
    show_diff(run, paths.HOSTS, file.text, text)
    path = file.target or paths.HOSTS
    yield from run_commands(run, [upload(path, text, mode, owner=owner, mounted=True)])


@deploy("Names")
def names(run: Run) -> None:
    """Write the names of the cluster into /etc/hosts, where that is wanted."""
    names_block(name=f"Names of the cluster in {paths.HOSTS}", run=run, names=run.part_of(host).names)
