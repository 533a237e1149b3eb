"""Random damages of an answer of observe.sh, and what must hold of each: refused, or read as it says."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from io import BytesIO
from itertools import groupby
from queue import Queue

from pyinfra.connectors.util import OutputLine

from tasks.output import read_buffer
from wgcluster.firewall.rules import desired_rules
from wgcluster.host import module, sysctl
from wgcluster.host.backends import changes_by_tool
from wgcluster.host.observed import Observed, Query
from wgcluster.host.reading import parse
from wgcluster.nginx.edit.on_host import desired_files, old_files
from wgcluster.nginx.syntax.errors import NginxError
from wgcluster.plan.plan import Plan
from wgcluster.text import printable
from wgcluster.verify.boot import BootFiles
from wgcluster.verify.checks import checks
from wgcluster.verify.last_deploy import announced, last_deploy, unknown_keys
from wgcluster.verify.preflight import preflight_faults
from wgcluster.verify.report import table
from wgcluster.wireguard import drift
from wgcluster.wireguard.config import RenderCache

Lines = list[bytes]

# The fields of Observed that each section is about; a section speaks of these and of no others.
SPEAKS_OF = {
    "user": {"user"},
    "tools": {"tools"},
    "module": {"module", "container"},
    "directory": {"directory"},
    "file": {"files"},
    "texts": {"files"},
    "unit": {"units"},
    "ufw": {"ufw"},
    "link": {"link"},
    "routes": {"link", "routes"},
    "policy": {"policy"},
    "nft": {"nft", "nft_error"},
    "config-key": {"config_key"},
    "dump": {"link"},
    "preshared": {"link"},
    "interfaces": {"interfaces"},
    "addresses": {"addresses", "interface_addresses", "link"},
    "port": {"port_bound", "port_users"},
    "sysctl-files": {"sysctl_files"},
    "sources": {"sources"},
    "clock": {"clock"},
    "forwarding": {"forwarding", "sysctls_writable"},
    "sysctls": {"sysctls"},
    "rules": {"rules"},
    "ssh": {"ssh"},
    "guarded": {"guarded"},
    "folders": {"folders"},
    "lists": {"lists"},
    "replacement": {"nginx_cut_off"},
    "workers": {"nginx_started"},
    "changed": {"nginx_changed"},
    "nginx": {"nginx_error", "nginx_dump"},
    "nginx-links": {"nginx_links"},
    "names": {"names"},
    "end": set[str](),
}


def heard(answer: Lines) -> list[str]:
    """The lines as they come out of pyinfra's reader, which is ours."""
    queue: Queue[OutputLine] = Queue()
    read_buffer("stdout", BytesIO(b"".join(line + b"\n" for line in answer)), queue)
    return [line.line for line in queue.queue]


def _cut(r: random.Random, lines: Lines, at: int) -> Lines:
    return [*lines[:at], lines[at][: r.randrange(len(lines[at]) + 1)]]


def _cut_line(r: random.Random, lines: Lines, at: int) -> Lines:
    return [*lines[:at], lines[at][: r.randrange(len(lines[at]) + 1)], *lines[at + 1 :]]


def _drop(r: random.Random, lines: Lines, at: int) -> Lines:
    return lines[:at] + lines[at + 1 :]


def _double(r: random.Random, lines: Lines, at: int) -> Lines:
    return [*lines[: at + 1], *lines[at:]]


def _swap(r: random.Random, lines: Lines, at: int) -> Lines:
    other = r.randrange(len(lines))
    swapped = list(lines)
    swapped[at], swapped[other] = lines[other], lines[at]
    return swapped


def _flip(*to: bytes) -> Callable[[random.Random, Lines, int], Lines]:
    def flip(r: random.Random, lines: Lines, at: int) -> Lines:
        place = r.randrange(len(lines[at]) or 1)
        return [*lines[:at], lines[at][:place] + r.choice(to) + lines[at][place + 1 :], *lines[at + 1 :]]

    return flip


def _empty(r: random.Random, lines: Lines, at: int) -> Lines:
    return [*lines[:at], b"", *lines[at:]]


def _huge(r: random.Random, lines: Lines, at: int) -> Lines:
    return [*lines[:at], lines[at] + r.choice((b"x", b"9", b" ")) * 1_000_000, *lines[at + 1 :]]


def _number(r: random.Random, lines: Lines, at: int) -> Lines:
    words = lines[at].split(b" ")
    words[r.randrange(len(words))] = r.choice((b"-1", b"99999999999999999999", b"0x", b"1e9", b"\xd9\xa3"))
    return [*lines[:at], b" ".join(words), *lines[at + 1 :]]


def _word(r: random.Random, lines: Lines, at: int) -> Lines:
    words = lines[at].split(b" ")
    del words[r.randrange(len(words))]
    return [*lines[:at], b" ".join(words), *lines[at + 1 :]]


def _section(r: random.Random, lines: Lines, at: int) -> tuple[int, int]:
    heads = [i for i, line in enumerate(lines) if line.startswith(b"@ ")]
    begin = max(head for head in heads if head <= at)
    return begin, min((head for head in heads if head > at), default=len(lines))


def _rename(r: random.Random, lines: Lines, at: int) -> Lines:
    begin, _ = _section(r, lines, at)
    name = lines[begin].split(b" ")[1]
    return [*lines[:begin], lines[begin].replace(name, name[::-1] + b"x", 1), *lines[begin + 1 :]]


def _drop_section(r: random.Random, lines: Lines, at: int) -> Lines:
    begin, end = _section(r, lines, at)
    return lines[:begin] + lines[end:]


def _double_section(r: random.Random, lines: Lines, at: int) -> Lines:
    begin, end = _section(r, lines, at)
    return lines[:end] + lines[begin:end] + lines[end:]


KINDS: dict[str, Callable[[random.Random, Lines, int], Lines]] = {
    "cut": _cut,
    "line cut": _cut_line,
    "line dropped": _drop,
    "line doubled": _double,
    "lines swapped": _swap,
    "0xff": _flip(b"\xff"),
    "ESC, NUL, CR": _flip(b"\x1b", b"\0", b"\r", b"\x0c", b"\x85"),
    "line broken": _flip(b"\n"),
    "letter": _flip(b"?", b"z", b"0", b" ", b"@", b'"'),
    "empty line": _empty,
    "huge line": _huge,
    "number": _number,
    "word dropped": _word,
    "section renamed": _rename,
    "section dropped": _drop_section,
    "section doubled": _double_section,
}


def sections(lines: Sequence[str]) -> Counter[tuple[str, tuple[str, ...]]]:
    """What an answer consists of: the name of each section with its lines, its own among them."""
    heads = 0
    numbered = []
    for line in lines:
        heads += line.startswith("@ ")
        numbered.append((heads, line))
    found = [[line for _, line in group] for _, group in groupby(numbered, key=lambda pair: pair[0])]
    return Counter((one[0].split(" ")[1], tuple(one)) for one in found if one[0].startswith("@ "))


def judge_all(observed: Observed, plan: Plan, name: str) -> str:
    """Everything that a deploy or verify makes of what was observed; what would be shown of it."""
    part = plan.host(name)
    shown = [*map(str, preflight_faults(plan, part, observed)), module.boot_text(observed) or ""]
    shown += [
        str(sysctl.differences(part, observed)),
        *drift.foreign_keys(observed.file("/etc/wireguard/wg.conf").text),
    ]
    shown += [
        line
        for _, made in changes_by_tool(desired_rules(part), part.interface, observed)
        for c in made
        for line in c.diff
    ]
    before = last_deploy(part, observed, RenderCache())
    shown += [str(unknown_keys(before, set(), set(), "keys.yml")), *announced(plan, [before], set())]
    if observed.link is not None:
        secrets = {peer.preshared_key: "" for peer in part.peers if peer.preshared_key}
        shown += drift.restart_reasons(part, observed.link)
        shown += drift.live_differences(part, observed.link, observed.clock, secrets, {})
        shown += drift.routes(part, observed.link.routes).surplus
        drift.peers_to_set(part, observed.link, observed.clock, secrets)
    read = (
        observed.file(f"/etc/{path}") for path in ("wireguard/wg.conf", "wgcluster/wg.rules", "sysctl.d/x")
    )
    shown.append(table({name: checks(plan, part, observed, BootFiles(*read), {})}))
    try:
        desired_files(part.nginx, observed)
        old_files(observed)
    except NginxError as error:
        shown.append(str(error))
    return printable("\n".join(shown))


def assert_refused_or_read_right(
    answer: Lines, query: Query, plan: Plan, name: str, count: int = 1000
) -> Counter[str]:
    """Of ``count`` damages; how many of each kind were refused.

    Read right: what the damaged sections do not speak of is as it was, no control character came in but where
    base64 may hold one, and nothing that is built on it fails.
    """
    whole = heard(answer)
    before, parts = parse(whole, query), sections(whole)
    refused: Counter[str] = Counter()
    for seed in range(count):
        r = random.Random(seed)
        kind = list(KINDS)[seed % len(KINDS)]
        damaged = KINDS[kind](r, answer, r.randrange(len(answer)))
        lines = heard(damaged)
        try:
            observed = parse(lines, query)
        except ValueError as error:
            refused[kind] += 1
            fit = type(error) is ValueError and len(str(error)) < 300 and str(error).isprintable()
            if not fit:
                raise AssertionError((seed, kind)) from error
            continue
        changed = sections(lines)
        touched = {section for section, _ in (parts - changed) + (changed - parts)}
        may_differ = set().union(*(SPEAKS_OF[section] for section in touched))
        for field in fields(Observed):
            if field.name not in may_differ:
                assert getattr(observed, field.name) == getattr(before, field.name), (seed, kind, field.name)
        for text in _texts_but_base64(observed):
            assert printable(text) == text, (seed, kind, text)
        judge_all(observed, plan, name)
    return refused


def _texts_but_base64(observed: Observed) -> Iterator[str]:
    yield from (line for saved in observed.rules for chains in saved.tables.values() for line in chains)
    yield from (
        word
        for saved in observed.rules
        for chains in saved.tables.values()
        for chain in chains.values()
        for rule in chain.rules
        for word in rule
    )
    yield from (*observed.tools, *observed.addresses, *observed.guarded, *observed.lists, *observed.folders)
    yield from (text for pair in observed.sysctls.items() for text in pair)
    for path, file in observed.files.items():
        yield from (path, file.mode, file.owner, file.digest, file.target)
    if observed.link is not None:
        yield from (*observed.link.routes, *observed.link.addresses, *observed.link.peers)
