"""What a place serves: servers behind it, or files. Two places that serve the same leak for each other."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from .behind import Behind, hops, may_be, values_at, written_out
from .places import Place, answers_itself
from .tree import Directive

# What the compiled-in default root and relative ones lie in: Debian's --prefix.
_PREFIX = "/usr/share/nginx"


class Target(NamedTuple):
    """An address behind a proxy ("address"), a folder ("files"), or a FastCGI socket with its folder."""

    kind: str
    where: str
    folder: str = ""

    def __str__(self) -> str:
        if self.kind == "files":
            return f"the files in {self.where}"
        return f"{self.where} with the files in {self.folder}" if self.folder else self.where


def targets_at(place: Place, server: Directive, behind: Behind) -> set[Target]:
    """What a request that is let in at ``place`` is served from."""
    values = values_at(place, server, behind)
    if not place.passes():
        if place.level.root is None and answers_itself(place):
            return set()
        return {Target("files", folder) for folder in written_out(_served_folder(place), values)}
    found = set()
    for hop in hops(place, server, behind):
        address = behind.one_spelling(hop.address)
        # Sites share one PHP socket; what they serve through it is told apart by their folders.
        shared = hop.directive.name == "fastcgi_pass"
        folders = _script_folders(place, server, values) if shared else ("",)
        found |= {Target("address", address, folder) for folder in folders}
    return found


def folder_of(place: Place) -> str:
    """The ``root`` or ``alias`` in effect; relative ones, and nginx's default, lie in its prefix."""
    root = place.level.root.args[0] if place.level.root and place.level.root.args else "html"
    return root if root.startswith("$") else posixpath.normpath(posixpath.join(_PREFIX, root))


def _served_folder(place: Place) -> str:
    """With ``root`` the location's own path comes behind it; with ``alias`` and for regexes it does not."""
    folder, root = folder_of(place), place.level.root
    plain = place.key is not None and place.key.modifier in ("", "^~", "=")
    if not plain or place.key is None or (root is not None and root.name == "alias"):
        return folder
    return posixpath.normpath(f"{folder}/{place.key.pattern}")


def _script_folders(place: Place, server: Directive, values: Mapping[str, frozenset[str]]) -> Iterator[str]:
    """Where PHP's scripts lie; "": the service is not PHP, and its socket alone tells which it is."""
    script = place.level.script
    if script is None:  # it may stand in a file that is not at hand
        around = [server.body, *(body for p in place.outward() for body in p.bodies())]
        unread = any(d.name == "include" for body in around for d in body)
        script = "$document_root" if unread else ""
    for written in written_out(script, values) if script else ():
        lead, dollar, _ = written.partition("$")
        if dollar and not lead:  # $document_root$fastcgi_script_name
            yield from written_out(folder_of(place), values)
        else:
            yield posixpath.normpath(lead if dollar else posixpath.dirname(lead))
    if not script:
        yield ""


def overlap(
    targets: Iterable[Target],
    hidden: Iterable[Target],
    shown: Iterable[Target] = (),
    may_name: Callable[[str], bool] = lambda host: True,
) -> Target | None:
    """The first of ``targets`` that serves something of ``hidden``; folders one in the other do.

    What lies in a folder of ``shown`` is no secret. ``may_name``: can $host in a target be this name?
    """
    hidden, folders = sorted(hidden), [f"{t.where}/" for t in shown if t.kind == "files"]
    for target in sorted(targets):
        if target.kind == "files" and f"{target.where}/".startswith(tuple(folders)):
            continue
        for other in hidden:
            if target.kind != other.kind:
                continue
            if target.kind == "files" and _nested(target.where, other.where, may_name):
                return other if "$" in target.where else target
            same = target.kind == "address" and target.where == other.where
            if target.kind == "address" and "$" in target.where and may_be(target.where, other.where):
                return other._replace(where=f"{other.where}, which {target.where} may name,")
            if same and (not (target.folder and other.folder) or _nested(target.folder, other.folder)):
                return target
    return None


def _nested(one: str, other: str, may_name: Callable[[str], bool] = lambda host: True) -> bool:
    """Is one folder in the other, or the same? Where a variable stands in ``one``: can it be?"""
    if not one or not other:
        return False
    for part, beside in zip(one.split("/"), other.split("/"), strict=False):
        if part == beside:
            continue
        if "$" not in part:
            if "$" not in beside or not may_be(beside, part):
                return False
            continue
        named_by_client = part in ("$host", "${host}") and "$" not in beside
        if not may_be(part, beside) or (named_by_client and not may_name(beside)):
            return False
    return True
