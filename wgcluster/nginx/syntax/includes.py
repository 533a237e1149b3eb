"""The effective configuration: the output of ``nginx -T``, or single files, with the includes resolved."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from wgcluster.nginx.syntax.tree import Directive, parse

_SECTION = re.compile(r"^# configuration file (.+):\n", re.MULTILINE)
_GLOB = re.compile(r"[*?\[]")


def parse_dump(text: str) -> dict[str, str]:
    """The texts in the output of ``nginx -T`` by path, the main file first.

    nginx prints ``# configuration file PATH:``, the file and one more LF (src/core/nginx.c). Messages before
    the first such line are left out.
    """
    heads = list(_SECTION.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    return {
        head[1]: text[head.end() : end].removesuffix("\n") for head, end in zip(heads, ends, strict=False)
    }


def effective(files: Mapping[str, str], lists: Mapping[str, str] | None = None) -> tuple[Directive, ...]:
    """The top-level directives, with each include of a known file replaced by what is in the file.

    Args:
        files: texts by path. The roots are the main file and those that no other file includes.
        lists: further texts by path, which are never roots.

    Raises:
        NginxSyntaxError: nginx would refuse a file.
    """
    trees = {path: parse(text, path) for path, text in {**(lists or {}), **files}.items()}
    main = _main(trees)
    folder = posixpath.dirname(main)
    included: set[str] = set()
    for tree in trees.values():
        for directive in (d for top in tree for d in top.walk()):
            if directive.name == "include" and directive.args:
                included |= set(_named(directive.args[0], folder, trees))
    roots = [path for path in files if path == main or path not in included] or list(files)[:1]
    return tuple(d for path in roots for d in _resolve(trees[path], folder, trees, (path,)))


def expanded(block: Directive, trees: Mapping[str, tuple[Directive, ...]]) -> Directive:
    """``block`` with its includes of files in ``trees`` resolved; others stay."""
    (whole,) = _resolve((block,), posixpath.dirname(_main(trees)), trees, (block.file,))
    return whole


def _main(trees: Mapping[str, Sequence[Directive]]) -> str:
    """The file that nginx starts from, whose folder relative includes start from; "": there is none."""
    return next((p for p, tree in trees.items() if any(d.name in ("http", "events") for d in tree)), "")


def _named(pattern: str, folder: str, trees: Mapping[str, object]) -> list[str]:
    """The paths that ``include PATTERN`` names, sorted, as glob(3) does.

    ``*`` and ``?`` match neither "/" nor a leading ".".
    """
    path = pattern if pattern.startswith("/") else posixpath.join(folder, pattern)
    path = posixpath.normpath(path)
    if not _GLOB.search(path):
        return [path] if path in trees else []
    regex = re.compile("/".join(_glob_segment(segment) for segment in path.split("/")), re.DOTALL)
    return sorted(p for p in trees if regex.fullmatch(p))


def _glob_segment(segment: str) -> str:
    parts = []
    for found in re.finditer(r"\*|\?|\[([!^]?)(\]?[^\]]*)\]|\\(.)|(.)", segment, re.DOTALL):
        if found[0] == "*":
            parts.append("[^/]*")
        elif found[0] == "?":
            parts.append("[^/]")
        elif found[2] is not None:
            parts.append(f"[{'^' if found[1] else ''}{found[2].replace(chr(92), chr(92) * 2)}]")
        else:
            parts.append(re.escape(found[3] or found[4]))
    hidden = "" if segment.startswith(".") else r"(?!\.)"
    return hidden + "".join(parts)


def _resolve(
    body: Sequence[Directive], folder: str, trees: Mapping[str, tuple[Directive, ...]], seen: tuple[str, ...]
) -> list[Directive]:
    resolved: list[Directive] = []
    for directive in body:
        if directive.name == "include" and directive.args:
            named = _named(directive.args[0], folder, trees)
            # nginx refuses a file that includes itself ('too many open files'); here it is ignored.
            for path in named:
                if path not in seen:
                    resolved += _resolve(trees[path], folder, trees, (*seen, path))
            if not named:
                resolved.append(directive)
        elif directive.body:
            inner = tuple(_resolve(directive.body, folder, trees, seen))
            resolved.append(replace(directive, body=inner))
        else:
            resolved.append(directive)
    return resolved
