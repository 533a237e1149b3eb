"""The live checks, run on all hosts at the same time, with a request for each location of nginx."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address

from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.controller import Run
from tasks.facts import CheckedFact, ask
from tasks.lock import Commands
from tasks.observations import Questions
from tasks.once import once
from tasks.operations import failure, host_operation
from tasks.scripts import script, with_input
from wgcluster.host import paths
from wgcluster.nginx.audit.audit import audit
from wgcluster.nginx.edit.on_host import unread
from wgcluster.nginx.probe.curl import answers, curl_config
from wgcluster.nginx.probe.probe import Answer, Probe, allowed_client_fault, denied_client_fault, probes
from wgcluster.nginx.syntax.errors import NginxError
from wgcluster.nginx.syntax.includes import parse_dump
from wgcluster.plan.plan import HostPlan
from wgcluster.text import abbreviated, counted, printable
from wgcluster.verify.boot import BootFiles
from wgcluster.verify.checks import Check, checks, ping_targets, pings, table
from wgcluster.verify.last_deploy import last_deploy, restore
from wgcluster.wireguard.config import RenderCache


class Pings(CheckedFact[dict[str, bool]]):
    """Which addresses answer to pings from the host."""

    title = "pings"

    def command(self, targets: Sequence[str]) -> str:
        return script("ping.sh", targets=" ".join(targets))

    def read(self, output: list[str]) -> dict[str, bool]:
        return pings(output)


class Answers(CheckedFact[list[Answer]]):
    """The answers that the host gets to the requests of a curl configuration."""

    title = "requests to nginx"

    def command(self, config: str) -> str:
        return with_input(script("request.sh"), config)

    def read(self, output: list[str]) -> list[Answer]:
        return answers("\n".join(output))


@once
def verify(state: State, run: Run) -> Mapping[str, Sequence[Check]]:
    """Check all hosts of this run concurrently and print the table of results.

    Returns:
        The checks by pyinfra's host name.
    """
    found = Questions(state, lambda host: _checks(run, host)).answers()
    rows = {run.part_of(host).name: checked for host, checked in found.items()}
    logger.info("")
    for line in printable(table(rows)).split("\n"):
        logger.info(line)
    logger.info("")
    _tell_unknown(run, found)
    return {host.name: checked for host, checked in found.items()}


def _tell_unknown(run: Run, found: Iterable[Host]) -> None:
    """If the hosts were deployed with another registry, every check fails: say so."""
    hosts = ((run.part_of(host), run.observe(host)) for host in found)
    lines = [
        str(unknown)
        for part, observed in hosts
        if (unknown := run.unknown_keys(last_deploy(part, observed, RenderCache())))
    ]
    for line in [*lines, restore(run.registry.path.name)] if lines else ():
        logger.warning(f"--> {printable(line)}")


def _checks(run: Run, host: Host) -> list[Check]:
    part = run.part_of(host)
    targets = ping_targets(run.plan, part)
    # Pings first: they cause the handshakes that are checked next.
    answered = ask(host, Pings, targets=targets) if targets else {}
    observed = run.observe(host)
    files = BootFiles(
        config=observed.file(paths.config(part.interface)),
        rules=observed.file(paths.rules(part.interface)),
        sysctl=observed.file(paths.SYSCTL),
    )
    found = checks(run.plan, part, observed, files, answered)
    return [*found, _nginx(run, host)]


def _nginx(run: Run, host: Host) -> Check:
    """Request each location from the host itself, as a denied and as an allowed client.

    A request to one of the host's own addresses comes from that address (RFC 6724, 5, rule 1).
    """
    part, observed = run.part_of(host), run.observe(host)
    if not part.nginx:
        return Check("nginx", 0)
    if observed.nginx_error is not None or not observed.unit("nginx.service").active:
        return Check("nginx", 1, (observed.nginx_error or "nginx is not running",))
    addresses = [ip_address(address) for address in observed.addresses]
    dump = parse_dump(observed.nginx_dump)
    try:
        found, unprobed = probes(dump, part.nginx, addresses)
        leaks = [leak for leak in audit(dump, part.nginx) if leak.kind == "leaks"]
    except NginxError as error:
        return Check("nginx", 1, (str(error),))
    got: list[Answer] = ask(host, Answers, config=curl_config(found)) if found else []
    if len(got) != len(found):
        return Check("nginx", len(found), (f"{len(got)} answers to {len(found)} requests",))
    strangers = {
        (p.port, p.host, p.path, p.headers): a
        for p, a in zip(found, got, strict=True)
        if not _is_inside(part, p)
    }
    # nginx may not have read files that were changed since
    faults = [
        f"{f.file}:{f.line}: {f.location} leaks, at the latest when nginx reads its files again: {f.reason}"
        for f in leaks
    ]
    if observed.nginx_cut_off:
        faults.append("a replacement of its files was cut off, or is under way; deploy to this host again")
    if older := unread(observed):
        faults.append(f"it has not read its files again since a change of {abbreviated(older)}")
    for probe, answer in zip(found, got, strict=True):
        if _is_inside(part, probe):
            stranger = strangers.get((probe.port, probe.host, probe.path, probe.headers))
            fault = allowed_client_fault(probe, answer, stranger)
        else:
            fault = denied_client_fault(probe, answer)
        faults += [fault] if fault else []
    if not strangers:
        faults.append("no address of this host is off the list, so nobody could be refused")
    unasked = (f"not asked: {one.file}:{one.line}: {one.location}: {one.reason}" for one in unprobed)
    return Check("nginx", len(found), tuple(faults), tuple(unasked))


def _is_inside(part: HostPlan, probe: Probe) -> bool:
    address = ip_address(probe.address)
    return any(address in network for site in part.nginx for network in site.allow)


@host_operation
def fail_on_faults(found: Sequence[Check]) -> Commands:
    """Fail if a check of this host failed; the faults are printed below the table."""
    if count := sum(len(check.faults) for check in found):
        yield failure(f"{counted(count, 'fault')}, told below the table")
