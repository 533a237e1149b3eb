"""nginx's files on one host: as observed, and as the plan wants them."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import replace

from wgcluster.host import paths
from wgcluster.host.observed import Observed
from wgcluster.inventory.schema import GuardedSite
from wgcluster.nginx.audit.audit import audit
from wgcluster.nginx.config.site import allow_list, list_path
from wgcluster.nginx.edit.guard import guard
from wgcluster.nginx.syntax.errors import Fault, NginxError, file_fault
from wgcluster.nginx.syntax.includes import parse_dump
from wgcluster.nginx.syntax.splice import unguard
from wgcluster.plan.plan import HostPlan

_NOT_A_FILE = {"absent": "nginx.absent", "dangling": "nginx.dangling", "other": "nginx.not-a-file"}


def desired_files(desired: Sequence[GuardedSite], observed: Observed) -> dict[str, str | None]:
    """What the managed files of nginx should hold.

    Returns:
        Text by path; None: the file is removed.

    Raises:
        NginxError: with every reason why a site cannot be guarded safely.
    """
    faults: list[Fault] = []
    texts: dict[str, str | None] = {}
    sites: dict[str, list[GuardedSite]] = {}
    for site in desired:
        file = observed.file(site.file)
        if file.kind == "file":
            sites.setdefault(file.target, []).append(site)
        else:
            faults.append(file_fault(_NOT_A_FILE[file.kind], site.file))
    # Judge what will be there: lists that were edited by hand are written anew.
    lists = {list_path(site): allow_list(site) for site in desired}
    dump = {path: lists.get(path, text) for path, text in parse_dump(observed.nginx_dump).items()}
    for target, named in sites.items():
        try:
            texts[target] = guard(observed.file(named[0].file).text, named, files=dump)
        except NginxError as error:
            faults += error.faults
    for path in observed.guarded:
        file = observed.file(path)
        if file.kind == "file" and file.target not in sites:
            texts[file.target] = unguard(file.text, path)
    if faults:
        raise NginxError(faults)
    texts |= dict.fromkeys(observed.lists) | lists
    texts[paths.GUARDED] = "".join(f"{target}\n" for target in sorted(sites)) if sites else None
    return texts


def unread(observed: Observed) -> list[str]:
    """Files and folders that changed after nginx's oldest worker started, which may not have read them.

    Times in the future come from a wrong clock and count for nothing.
    """
    began = observed.nginx_started
    if began is None:
        return []
    return [path for path, when in observed.nginx_changed.items() if began < when <= observed.clock + 1]


def steps(changed: Mapping[str, str | None], observed: Observed) -> list[tuple[str, str | None]]:
    """Path and new text (None: removed) of each file to replace, in an order that is safe to interrupt.

    After each step nginx would start: an access list is written before a site includes it and removed
    afterwards. The record of guarded sites gains entries first and loses them last.
    """
    texts = dict(changed)
    first, last = [], []
    if paths.GUARDED in texts:
        noted = texts.pop(paths.GUARDED)
        both = "".join(f"{path}\n" for path in sorted({*observed.guarded, *(noted or "").splitlines()}))
        if both != observed.file(paths.GUARDED).text:
            first = [(paths.GUARDED, both)]
        if both != noted:
            last = [(paths.GUARDED, noted)]
    folder = f"{posixpath.dirname(paths.GUARDED)}/"
    lists = [(path, text) for path, text in texts.items() if path.startswith(folder)]
    sites = [(path, text) for path, text in texts.items() if not path.startswith(folder)]
    written = [(path, text) for path, text in lists if text is not None]
    gone = [(path, text) for path, text in lists if text is None]
    return [*first, *written, *sites, *gone, *last]


def old_files(observed: Observed) -> dict[str, tuple[str, str | None]]:
    """Digest and text of each observed file, by its path and by the path behind its links."""
    found: dict[str, tuple[str, str | None]] = {}
    for path, file in observed.files.items():
        if file.kind == "file":
            found[file.target] = found[path] = (file.digest, file.text)
    return found


def check(part: HostPlan, observed: Observed) -> None:
    """Audit the configuration as it will be: what nginx reads now, with the new texts in it.

    Raises:
        NginxError: nginx is not installed or refuses the present configuration, or a site cannot be guarded.
    """
    if not part.nginx:
        return
    if "nginx" not in observed.tools:
        raise NginxError([file_fault("nginx.not-installed", part.nginx[0].file)])
    if observed.nginx_error is not None:
        raise NginxError([file_fault("nginx.refused", part.nginx[0].file, error=observed.nginx_error)])
    texts = desired_files(part.nginx, observed)
    files = {
        path: (observed.nginx_links.get(path, path), text)
        for path, text in parse_dump(observed.nginx_dump).items()
    }
    read = {target for target, _ in files.values()}
    faults = [
        file_fault("nginx.not-read", site.file)
        for site in part.nginx
        if observed.file(site.file).target not in read
    ]
    will_be = {path: texts.get(target, text) for path, (target, text) in files.items()}
    will_be |= {list_path(site): allow_list(site) for site in part.nginx}
    effective = {path: text for path, text in will_be.items() if text is not None}
    if not faults:
        faults = [
            replace(
                file_fault(
                    "nginx.leaks",
                    f.file,
                    server=f.server,
                    location=f.location,
                    reason=f.reason,
                    mend=f.remedy,
                ),
                line=f.line,
            )
            for f in audit(effective, part.nginx)
            if f.kind == "leaks"
        ]
    if faults:
        raise NginxError(faults)
