"""What a place serves: servers behind it, or files. Two places that serve the same leak for each other."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from wgcluster.nginx.audit.folders import file_contexts, folder_of, moved_to, nested, served_folder
from wgcluster.nginx.config.locations import Location
from wgcluster.nginx.config.upstreams import Routing, may_be, upstreams_at, values_at, written_out
from wgcluster.nginx.syntax.tree import Directive


class Target(NamedTuple):
    """An address behind a proxy ("address"), a folder ("files"), or a FastCGI socket with its folder."""

    kind: str
    where: str
    folder: str = ""

    def __str__(self) -> str:
        if self.kind == "files":
            return f"the files in {self.where}"
        return f"{self.where} with the files in {self.folder}" if self.folder else self.where


def targets_at(place: Location, server: Directive, routing: Routing) -> set[Target]:
    """What a request that is let in at ``place`` is served from."""
    values = values_at(place, server, routing)
    served = [served_folder(place, context) for context in file_contexts(place)]
    written = {folder for each in served for folder in written_out(each, values)}
    found = {Target("files", posixpath.normpath(folder)) for folder in written}  # one may say nothing
    for upstream in upstreams_at(place, server, routing):
        address = routing.normalized(upstream.address)
        # Sites share one PHP socket; what they serve through it is told apart by their folders.
        shared = upstream.directive.name == "fastcgi_pass"
        folders = _script_folders(place, server, values) if shared else ("",)
        found |= {Target("address", address, folder) for folder in folders}
    return found


def _script_folders(
    place: Location, server: Directive, values: Mapping[str, frozenset[str]]
) -> Iterator[str]:
    """Where PHP's scripts lie; "": the service is not PHP, and its socket alone tells which it is."""
    script = place.context.script
    if script is None:  # it may stand in a file that is not at hand
        around = [server.body, *(body for p in place.outward() for body in p.bodies())]
        unread = any(d.name == "include" for body in around for d in body)
        script = "$document_root" if unread else ""
    for written in written_out(script, values) if script else ():
        lead, dollar, _ = written.partition("$")
        if dollar and not lead:  # $document_root$fastcgi_script_name
            yield from written_out(folder_of(place.context), values)
        else:
            yield posixpath.normpath(lead if dollar else posixpath.dirname(lead))
    if not script:
        yield ""


def opened_at(place: Location, server: Directive, routing: Routing) -> set[Target]:
    """The same where anyone is let in, with what its paths can be made to name besides."""
    values = values_at(place, server, routing)
    return targets_at(place, server, routing) | {Target("files", f) for f in moved_to(place, values)}


class Folders:
    """A set of folders that is asked for those that hold, or lie in, another."""

    def __init__(self) -> None:
        self._plain: set[str] = set()
        self._above: dict[str, str] = {}  # by each folder around: one of those in it
        self._varied: dict[str, None] = {}  # with variables in them

    def add(self, folder: str) -> None:
        if "$" in folder:
            self._varied[folder] = None
        elif folder not in self._plain:
            self._plain.add(folder)
            for around in _around(folder):
                self._above.setdefault(around, folder)

    def hold(self, folder: str) -> bool:
        """Does ``folder`` lie in one of them, or is it one?"""
        return folder in self._plain or any(around in self._plain for around in _around(folder))

    def meets(self, folder: str, may_name: Callable[[str], bool]) -> str | None:
        """The first that is ``folder`` or lies in it or around it, in whatever its variables may say."""
        if "$" in folder:
            plain = (other for other in sorted(self._plain) if nested(folder, other, may_name))
            if (found := next(plain, None)) is not None:
                return found
        elif folder in self._plain:
            return folder
        elif folder in self._above:
            return self._above[folder]
        elif (found := next((a for a in _around(folder) if a in self._plain), None)) is not None:
            return found
        return next((other for other in self._varied if nested(folder, other, may_name)), None)


def _around(folder: str) -> Iterator[str]:
    while (outer := posixpath.dirname(folder)) != folder:
        folder = outer
        yield folder


class Served:
    """What many places serve, for other places to be held against: each is found without a look at all."""

    def __init__(self, targets: Iterable[Target] = ()) -> None:
        self.folders = Folders()
        self._scripts: dict[str, Folders] = {}  # by address: what is served from there
        self._whole: set[str] = set()  # addresses that are not told apart by folders
        self.add(targets)

    def add(self, targets: Iterable[Target]) -> None:
        for target in targets:
            if target.kind == "files":
                self.folders.add(target.where)
                continue
            self._scripts.setdefault(target.where, Folders()).add(target.folder)
            if not target.folder:
                self._whole.add(target.where)

    def shares(
        self,
        targets: Iterable[Target],
        shown: Folders | None = None,
        may_name: Callable[[str], bool] = lambda host: True,
    ) -> Target | None:
        """The first of ``targets`` that serves something of these; folders one in the other do.

        What lies in a folder of ``shown`` is no secret. ``may_name``: can $host in a target be this name?
        """
        for target in sorted(targets):
            if target.kind == "address":
                found = self._behind(target)
            elif shown is not None and shown.hold(target.where):
                continue
            else:
                folder = self.folders.meets(target.where, may_name)
                named = folder if "$" in target.where else target.where
                found = None if folder is None else Target("files", named or folder)
            if found is not None:
                return found
        return None

    def _behind(self, target: Target) -> Target | None:
        there = self._scripts.get(target.where)
        whole = target.where in self._whole or not target.folder
        if there is not None and (whole or there.meets(target.folder, lambda host: True) is not None):
            return target
        if "$" not in target.where:
            return None
        named = next((where for where in sorted(self._scripts) if may_be(target.where, where)), None)
        return None if named is None else Target("address", f"{named}, which {target.where} may name,")
