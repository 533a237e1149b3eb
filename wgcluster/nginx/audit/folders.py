"""The folders that a place serves files of: by root and alias, and by what its paths can be made to name.

After ngx_http_map_uri_to_path: a path as it has been rewritten is put behind the folder as it is, and only
the path that a client asks for has been tidied.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from wgcluster.nginx.config.context import Context
from wgcluster.nginx.config.locations import PASSES, Location, answers_itself, resolve
from wgcluster.nginx.config.pcre import beginning
from wgcluster.nginx.config.rewrite import named_children, rewrites
from wgcluster.nginx.config.upstreams import may_be, written_out
from wgcluster.nginx.syntax.tree import Directive

_PREFIX = "/usr/share/nginx"  # of Debian's nginx
_OF_CLIENT = re.compile(r"\$\{?(?:arg|http|cookie)_(?!host\b)")
_ANYTHING = re.compile(r"\((?:\?<\w+>)?\.[*+]\)")
_OF_PATH = ("$uri", "$document_uri", "$request_uri")


def file_contexts(place: Location) -> list[Context]:
    """Where files answer: at the place itself, and in each ``if`` that names another folder for some."""
    if place.passes_all() or (place.context.root is None and answers_itself(place)):
        return []
    bodies = [child.body for child in named_children(place.directive.body, "if")]
    own = [body for body in bodies if any(d.name in ("root", "alias") for d in body)]
    contexts = [place.context.enter(body) for body in own if not any(d.name in PASSES for d in body)]
    return [place.context, *contexts]


def folder_of(context: Context) -> str:
    """The ``root`` or ``alias`` in effect; relative ones, and nginx's default, lie in its prefix."""
    root = context.root.args[0] if context.root and context.root.args else "html"
    if root.startswith("$"):
        return root
    return "/" + posixpath.normpath(posixpath.join(_PREFIX, root)).lstrip("/")  # of "//x", too


def served_folder(place: Location, context: Context) -> str:
    """With ``root`` the location's own path comes behind it; with ``alias`` and for regexes it does not."""
    folder, root = folder_of(context), context.root
    plain = place.key is not None and place.key.modifier in ("", "^~", "=")
    if not plain or place.key is None or (root is not None and root.name == "alias"):
        return folder
    return posixpath.normpath(f"{folder}/{place.key.pattern}")


def climbs(place: Location) -> Directive | None:
    """The alias by which a request leaves its folder: where "/pub" is "/srv/pub/", "/pub../x" is "/srv/x"."""
    alias = place.context.root
    holder = next((p for p in place.outward() if alias is not None and alias in p.directive.body), None)
    if alias is None or holder is None or alias.name != "alias" or not alias.args or place.passes_all():
        return None
    if holder is not place and (place.key is None or place.key.modifier not in ("~", "~*")):
        return None  # its own path leaves nothing for ".."
    prefix = holder.key.pattern if holder.key and holder.key.modifier in ("", "^~") else "/"
    return alias if alias.args[0].endswith("/") and not prefix.endswith("/") else None


def moved_to(place: Location, values: Mapping[str, frozenset[str]]) -> Iterator[str]:
    """The folders that its paths can be made to name, by a rewrite, a captured part, a variable, or ".."."""
    if (alias := climbs(place)) is not None:
        yield posixpath.dirname(posixpath.normpath(alias.args[0]))
    for context in file_contexts(place):
        folder = folder_of(context)
        tries = [d.args[:-1] for d in named_children(place.directive.body, "try_files")]
        if any(_OF_CLIENT.search(text) for text in (folder, *(arg for args in tries for arg in args))):
            yield "/"
            continue
        is_root = context.root is None or context.root.name == "root"
        leads = [_lead(arg) for args in tries for arg in args if is_root and not arg.startswith(_OF_PATH)]
        if is_root:
            leads += rewritten(place)
        elif "$" in folder and place.key is not None:
            lead = folder.partition("$")[0]
            if _ANYTHING.search(place.key.pattern):
                yield climbing(lead, place.key.pattern) or posixpath.dirname(lead)
        for lead in leads:
            yield from (posixpath.normpath(f"{each}/{lead}") for each in written_out(folder, values))


def _lead(arg: str) -> str:
    """The folder of ``/sub$uri`` or ``/sub/$1``; a path begins with a slash, and other variables need not."""
    lead, dollar, name = arg.partition("$")
    return lead if f"{dollar}{name}".startswith(_OF_PATH) else posixpath.dirname(lead)


def rewritten(place: Location) -> Iterator[str]:
    """The folders of the paths that its rewrites make of those that end up there."""
    own = place.paths().lead
    for directive in (d for body in place.bodies() for d in body if rewrites(d) == "break"):
        lead, variable, _ = directive.args[1].partition("?")[0].partition("$")
        came = any(end.how == "stays" and end.paths.lead == lead for end in place.ends())
        if variable and lead != own and came:
            yield climbing(lead, directive.args[0]) or posixpath.dirname(lead)


def climbing(lead: str, regex: str) -> str:
    """The folder around ``lead``, if what ``regex`` captures to put behind may begin with ".."; else ""."""
    start = beginning(regex)
    if start is None or start[0].endswith("/") or not _ANYTHING.match(start[1]) or not lead.endswith("/"):
        return ""
    return posixpath.dirname(posixpath.normpath(lead)) or "/"


def served_by(
    public: Location,
    outer: Sequence[Location],
    folder: str,
    values: Mapping[str, frozenset[str]],
    *,
    one_file: bool = False,
) -> str | None:
    """A URI by which ``public`` serves what lies in ``folder``, or what it begins with; None: it does not.

    ``one_file``: it is no folder, but a file.
    """
    key = public.key
    if key is None or "$" in folder:
        return None
    if any(_inside(folder, other) is not None for other in moved_to(public, values)):
        return key.pattern
    for context in file_contexts(public):
        root = context.root
        if root is None or not root.args:
            continue
        if any(_names(written, folder) for written in written_out(served_folder(public, context), values)):
            return key.pattern
        for written in written_out(folder_of(context), values):
            inside = _inside(folder, written)
            if inside is None or (root.name == "alias" and key.modifier not in ("", "^~")):
                continue
            uri = posixpath.normpath(posixpath.join(key.pattern if root.name == "alias" else "/", inside))
            probe = uri if one_file else f"{uri.rstrip('/')}/wgcluster-probe"
            if resolve(outer, probe) is public:
                return uri
    return None


def _names(written: str, folder: str) -> bool:
    """May the variables in ``written`` name ``folder`` or one around it, and not just one that lies in it?"""
    parts = written.split("/")
    while "$" in parts[-1] and any("$" in part for part in parts[:-1]):
        parts.pop()  # what follows the first may be a file
    named = "/".join(parts)
    lead = posixpath.dirname(named.partition("$")[0])
    if "$" not in named or _inside(lead, folder) is not None or len(parts) > folder.count("/") + 1:
        return False
    return nested(named, folder, lambda host: True)


def _inside(folder: str, other: str) -> str | None:
    """Where ``folder`` lies in the ``other``; None: it does not."""
    if "$" in other:
        return None
    inside = posixpath.relpath(folder, posixpath.normpath(other))
    return None if inside.startswith("..") else inside


def nested(one: str, other: str, may_name: Callable[[str], bool]) -> bool:
    """Is one folder in the other, or the same? Where a variable stands in ``one``: can it be?"""
    for part, siblings in zip(one.split("/"), other.split("/"), strict=False):
        if part == siblings:
            continue
        if "$" not in part:
            if "$" not in siblings or not may_be(siblings, part):
                return False
            continue
        named_by_client = part in ("$host", "${host}") and "$" not in siblings
        if not may_be(part, siblings) or (named_by_client and not may_name(siblings)):
            return False
    return True
