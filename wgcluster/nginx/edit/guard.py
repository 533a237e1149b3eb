"""Guarding a site file: the smallest diff that does what the operator declared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from wgcluster.inventory.schema import GuardedSite
from wgcluster.nginx.audit.audit import judge_all
from wgcluster.nginx.config.site import allow_list, list_path
from wgcluster.nginx.edit.insertions import Insertions, Problem, line_of, problem
from wgcluster.nginx.syntax.errors import Fault, NginxError, fault_at
from wgcluster.nginx.syntax.splice import Shift, Spliced, apply, first_inside, removals
from wgcluster.nginx.syntax.tree import Directive, parse


def guard(
    text: str,
    sites: Sequence[GuardedSite],
    list_file: Callable[[GuardedSite], str] = list_path,
    files: Mapping[str, str] | None = None,
) -> str:
    """A site file with the lines that guard ``sites``, and without other lines of ours; audited.

    The lines of earlier runs are removed first, so that a second run changes nothing.

    Args:
        text: the site file.
        sites: those of this file.
        list_file: where the access list of a site lies on the host.
        files: the host's configuration as ``parse_dump`` returns it, for includes; no other file is edited.

    Raises:
        NginxSyntaxError: nginx would refuse a file.
        NginxError: with every reason why a server or location cannot be found or guarded safely.
    """
    spliced = splice(text, sites, list_file, files)
    file = sites[0].file if sites else ""
    host = {path: spliced.text if there == text else there for path, there in (files or {}).items()}
    if spliced.text not in host.values():  # not enabled, or no dump at hand
        host = {file: spliced.text}
    problems = list(_leaks(host, spliced, sites, list_file))
    if problems:
        raise NginxError(_faults(text, spliced.removed, file, problems))
    return spliced.text


def splice(
    text: str,
    sites: Sequence[GuardedSite],
    list_file: Callable[[GuardedSite], str] = list_path,
    files: Mapping[str, str] | None = None,
) -> Spliced:
    """As ``guard``, without the audit."""
    file = sites[0].file if sites else ""
    removed = removals(text, parse(text, file))
    bare = apply(text, removed)
    tree = parse(bare, file)
    others = {path: parse(there, path) for path, there in (files or {}).items()}
    lines: dict[int, tuple[Directive, list[str]]] = {}  # insertions by the offset of their block
    problems = list(_rivals(sites))
    for site in sites:
        for step in Insertions(bare, tree, site, list_file(site), files or {}, others):
            if isinstance(step, Problem):
                problems.append(step)
            elif step.line not in (ours := lines.setdefault(step.block.start, (step.block, []))[1]):
                ours.append(step.line)
    if problems:
        raise NginxError(_faults(text, Shift(removed), file, problems))
    edits = [first_inside(bare, block, ours) for block, ours in lines.values()]
    return Spliced(apply(bare, edits), text, Shift(edits), Shift(removed))


def _rivals(sites: Sequence[GuardedSite]) -> Iterator[Problem]:
    """Sites that would write different access lists to one path."""
    first: dict[str, GuardedSite] = {}
    for site in sites:
        if first.setdefault(list_path(site), site).allow != site.allow:
            yield problem(0, 0, "nginx.different-allow", site=site.server_name)


def _faults(text: str, removed: Shift, file: str, problems: Iterable[Problem]) -> Iterator[Fault]:
    """Problems of the bare text, at their positions in the file as it is."""
    for start, end, message, remedy, code in sorted(dict.fromkeys(problems)):
        if start == end:  # about the file as a whole
            yield Fault(file, 0, 0, code, message, remedy=remedy)
        else:
            at = (removed.back(start), removed.back(end))
            yield fault_at(text, *at, code, message, file=file, remedy=remedy)


def _leaks(
    host: Mapping[str, str],
    spliced: Spliced,
    sites: Sequence[GuardedSite],
    list_file: Callable[[GuardedSite], str],
) -> Iterator[Problem]:
    """Leaks that remain in the servers of the spliced file, at their positions in the bare text."""
    lists = {list_file(site): allow_list(site) for site in sites}
    for judged in judge_all(host, sites, lists):
        if judged.verdict.kind != "leaks" or host.get(judged.server.file) != spliced.text:
            continue
        block = judged.blame
        start = end = 0
        place = f"{line_of(block, host)}: "
        if host.get(block.file) == spliced.text:
            start = spliced.added.back(block.start)
            end = spliced.added.back(block.opened if block.is_block else block.end)
            place = ""
        yield problem(
            start,
            end,
            "nginx.would-leak",
            place=place,
            location=judged.location,
            reason=judged.verdict.reason,
            mend=judged.verdict.remedy,
        )
