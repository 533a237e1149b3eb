"""Configuration files as a deploy will leave them, for an audit before it."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from wgcluster.inventory.schema import GuardedSite
from wgcluster.nginx.config.find import find_servers
from wgcluster.nginx.config.site import allow_list, list_path
from wgcluster.nginx.edit.guard import splice
from wgcluster.nginx.syntax.errors import Fault, NginxError
from wgcluster.nginx.syntax.splice import Spliced
from wgcluster.nginx.syntax.tree import parse


class Deployed(NamedTuple):
    """All files by path, those that will change, and why some cannot be guarded."""

    files: dict[str, str]
    changed: dict[str, Spliced]
    refused: tuple[Fault, ...]


def as_deployed(files: Mapping[str, str], sites: Sequence[GuardedSite]) -> Deployed:
    """Guard ``sites`` in ``files``; a file that cannot be guarded stays as it is.

    Args:
        files: texts by path.

    Raises:
        NginxSyntaxError: nginx would refuse a file.
    """
    trees = {path: parse(text, path) for path, text in files.items()}
    named: dict[str, list[GuardedSite]] = {}
    for site in sites:
        there = [path for path in files if find_servers(trees[path], site.server_name)]
        path = _file_of(site, files, there)
        if path is not None:
            named.setdefault(path, []).append(site)
    lists = {list_path(site): allow_list(site) for site in sites}
    after = {path: lists.get(path, text) for path, text in files.items()}
    changed: dict[str, Spliced] = {}
    refused: list[Fault] = []
    for path, of_file in named.items():
        try:
            spliced = splice(files[path], of_file, files=files)
        except NginxError as error:
            refused += [replace(fault, file=path) for fault in error.faults]
        else:
            after[path] = spliced.text
            if spliced.text != files[path]:
                changed[path] = spliced
    return Deployed(after, changed, tuple(refused))


def _file_of(site: GuardedSite, files: Mapping[str, str], there: Sequence[str]) -> str | None:
    """The file of the site: the one with its path or its name, else the only one with the server."""
    if site.file in files:
        return site.file
    same = [path for path in files if posixpath.basename(path) == posixpath.basename(site.file)]
    found = [path for path in same if path in there] or same or list(there)
    return found[0] if len(found) == 1 else None
