"""Guarded sites: files fetched, edited by the core, tested by nginx, restored if it refuses them."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

from pyinfra import host
from pyinfra.api.command import StringCommand
from pyinfra.api.deploy import deploy

from tasks.controller import Run
from tasks.lock import Commands, locked
from tasks.operations import failure, host_operation, show_diff
from tasks.scripts import script
from wgcluster.inventory.schema import GuardedSite
from wgcluster.nginx.edit.on_host import check, desired_files, old_files, steps, unread
from wgcluster.nginx.syntax.errors import NginxError
from wgcluster.text import abbreviated


@host_operation
@locked
def guard_sites(run: Run, sites: Sequence[GuardedSite]) -> Commands:
    """Guard these sites and no others.

    Not by pyinfra's files.line and files.put: all files change together, are tested by ``nginx -t`` in one
    command, and the old ones come back if it fails or the connection is lost.
    """
    observed = run.observe(host)
    cut_off = observed.nginx_cut_off
    if cut_off:
        run.log_once(host, "a replacement of nginx's files was cut off: undone, and done again")
        yield StringCommand(script("nginx-replace.sh", undo="1"))
        run.invalidate(host)
        observed = run.observe(host)
    try:
        if cut_off and sites:
            check(run.part_of(host), observed)
        wanted = desired_files(sites, observed)
    except NginxError as error:
        # If raised, it would end the run for all hosts.
        yield failure(str(error))
        return
    old = old_files(observed)
    changed = {path: text for path, text in wanted.items() if text != old.get(path, (None, None))[1]}
    older = unread(observed)
    if not (changed or cut_off or older):
        return
    for path, text in changed.items():
        run.log_once(host, f"{path}: {_why(path, text, old)}")
        show_diff(run, path, old.get(path, ("", ""))[1] or "", text or "")
    if older and not changed:
        run.log_once(
            host, f"nginx has not read its files again since a change of {abbreviated(older)}; it will now"
        )
    if not observed.unit("nginx.service").active:
        run.log_once(host, "nginx.service is not running: it reads the new files when it starts")
    yield StringCommand(script("nginx-replace.sh", undo=""), _stdin=_lines(steps(changed, observed), old))
    run.invalidate(host)


def _why(path: str, text: str | None, old: Mapping[str, object]) -> str:
    if text is None:
        return "guards nothing any more and is taken away"
    return "differs in its text" if path in old else "is not there yet"


def _lines(made: Sequence[tuple[str, str | None]], old: Mapping[str, tuple[str, str | None]]) -> str:
    lines = []
    digests = {path: digest for path, (digest, _) in old.items()}
    for path, text in made:
        data = "-" if text is None else base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()
        lines.append(f"{path} {digests.get(path, 'absent')} {data}\n")
        digests[path] = "-"  # a second step replaces what the first one has written
    return "".join(lines)


@deploy("nginx")
def nginx(run: Run) -> None:
    """Guard the sites of the plan."""
    sites = run.part_of(host).nginx
    guard_sites(name="Guard the sites that only the VPN may reach", run=run, sites=sites)
