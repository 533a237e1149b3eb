"""nginx-audit: locations that denied clients could reach."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path

from wgcluster.cli.printing import console, print_json, table
from wgcluster.cli.reading import CommandError, read
from wgcluster.inventory.schema import GuardedSite
from wgcluster.nginx.audit.audit import Finding, audit
from wgcluster.nginx.edit.deployed import Deployed, as_deployed
from wgcluster.nginx.syntax.errors import Fault
from wgcluster.nginx.syntax.includes import parse_dump

_DUMP = "# configuration file "  # how "nginx -T" begins each file


def nginx_audit(args: Namespace) -> int:
    """``nginx-audit FILE…``: each location of the guarded servers; exit status 1 if one leaks.

    Sites of the inventory are audited with the lines that the deploy would insert.
    """
    files, sites = _read_files(args.files), _sites(args)
    as_they_are = Deployed(files, {}, ())
    will_be = as_they_are if args.server or args.as_is else as_deployed(files, sites)
    findings = [*audit(will_be.files, sites, will_be.changed), *map(_refusal, will_be.refused)]
    leaks = [finding for finding in findings if finding.kind == "leaks"]
    if args.json:
        print_json([finding.as_dict() for finding in findings])
        return 1 if leaks else 0
    out = console()
    for path in will_be.changed:
        out.print(
            f"{path}: not guarded yet, or not as the inventory says; judged as the deploy will leave it"
        )
    rows = [
        (f"{one.file}:{one.line}" if one.line else one.file, one.server, one.listen, one.location, one.kind)
        for one in findings
    ]
    out.print(table(("place", "server", "listen", "location", "class"), rows))
    for leak in leaks:
        where = f"{leak.file}:{leak.line}" if leak.line else leak.file
        out.print(
            f"{where}: {leak.server} {leak.location} leaks: {leak.reason}", style="bold red", soft_wrap=True
        )
        if leak.remedy:
            out.print(f"    remedy: {leak.remedy}", soft_wrap=True)
    counts = Counter(finding.kind for finding in findings)
    out.print(", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())))
    return 1 if leaks else 0


def _refusal(fault: Fault) -> Finding:
    """A finding for a site that the deploy would refuse to guard."""
    return Finding(fault.file, fault.line, "", "", "(deploy)", "leaks", fault.message, fault.remedy)


def _read_files(paths: Sequence[Path]) -> dict[str, str]:
    """The texts by path; the output of ``nginx -T`` counts as the files in it."""
    files: dict[str, str] = {}
    faults = []
    for path in paths:
        try:
            text = path.read_bytes().decode()
        except OSError as error:
            faults.append(f"{path}: cannot be read: {error.strerror}")
        except UnicodeDecodeError as error:
            faults.append(f"{path}: is not UTF-8 at byte {error.start}; save it as UTF-8")
        else:
            files |= parse_dump(text) if f"\n{_DUMP}" in f"\n{text}" else {str(path): text}
    if faults:
        raise CommandError("\n".join(faults))
    return files


def _sites(args: Namespace) -> tuple[GuardedSite, ...]:
    """The sites of the command line, else those of one host of the inventory."""
    if args.server:
        try:
            allow = tuple(ip_network(text) for text in args.allow)
        except ValueError as error:
            raise CommandError(f"--allow: {error}") from None
        return tuple(
            GuardedSite(str(args.files[0]), name, ("/",), tuple(args.public), allow) for name in args.server
        )
    reading = read(args.inventory)
    plan = reading.plan()
    if args.host is not None:
        sites = reading.host(plan, args.host).nginx
        if not sites:
            raise CommandError(f"{args.host} has no nginx_vpn_only; set it, or name a server: --server NAME")
        return sites
    having = [host for host in plan.hosts if host.nginx]
    if len(having) != 1:
        listed = f"hosts with nginx_vpn_only: {', '.join(host.name for host in having) or 'none'}"
        raise CommandError(
            f"{listed}; say whose files these are: --host HOST, or name a server: --server NAME"
        )
    return having[0].nginx
