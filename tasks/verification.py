"""The live checks, run on all hosts at the same time, with a request for each location of nginx."""

from __future__ import annotations

import json
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
from wgcluster.host.observed import Observed
from wgcluster.inventory.from_pyinfra import cluster_name, wants_json
from wgcluster.nginx.audit.audit import audit
from wgcluster.nginx.edit.on_host import unread
from wgcluster.nginx.probe.curl import answers, curl_config
from wgcluster.nginx.probe.probe import Answer, Probe, allowed_client_fault, denied_client_fault, probes
from wgcluster.nginx.syntax.errors import NginxError
from wgcluster.nginx.syntax.includes import parse_dump
from wgcluster.plan.plan import HostPlan
from wgcluster.prove.proof import Proof, prove
from wgcluster.text import abbreviated, counted, printable
from wgcluster.verify.boot import BootFiles
from wgcluster.verify.checks import Check, checks
from wgcluster.verify.last_deploy import last_deploy, restore
from wgcluster.verify.probes import (
    Pinged,
    WayBack,
    apart_check,
    connections,
    lan_check,
    mtu_check,
    pings_from,
    read_connections,
    read_pings,
    service_check,
    ways_back,
)
from wgcluster.verify.report import as_data, table
from wgcluster.wireguard.config import RenderCache


class Pings(CheckedFact[dict[str, Pinged]]):
    """Which addresses answer to pings from the host."""

    title = "pings"

    def command(self, targets: Sequence[str]) -> str:
        return script("ping.sh", targets=" ".join(targets))

    def read(self, output: list[str]) -> dict[str, Pinged]:
        return read_pings(output)


class Connections(CheckedFact[list[bool | None]]):
    """Which TCP ports the host can connect to."""

    title = "connections"

    def command(self, targets: Sequence[str]) -> str:
        return script("connect.sh", targets=" ".join(targets))

    def read(self, output: list[str]) -> list[bool | None]:
        return read_connections(output)


class Answers(CheckedFact[list[Answer]]):
    """The answers that the host gets to the requests of a curl configuration."""

    title = "requests to nginx"

    def command(self, config: str) -> str:
        return with_input(script("request.sh"), config)

    def read(self, output: list[str]) -> list[Answer]:
        return answers("\n".join(output))


@once
def verify(state: State, run: Run) -> Mapping[str, Sequence[Check]]:
    """Check all hosts of this run concurrently and print the results.

    Returns:
        The checks by pyinfra's host name.
    """
    proof = prove(run.plan)
    # In two rounds: what a host has to reach depends on what was observed on others.
    pinged = Questions(state, lambda host: _pinged(run, proof, host)).answers()
    seen = {run.part_of(host).name: run.observe(host) for host in pinged}
    ways = ways_back(run.plan, proof, seen)
    reached = Questions(state, lambda host: _reached(run, proof, host, seen, ways)).answers()
    answered = {way: there for _, found in reached.values() for way, there in found.items()}
    found = {
        host: [
            *_checks(run, proof, host, pinged[host]),
            lan_check(run.plan, run.part_of(host), answered),
            *services,
        ]
        for host, (services, _) in reached.items()
    }
    rows = {run.part_of(host).name: checked for host, checked in found.items()}
    _tell(state, rows)
    _tell_unknown(run, found)
    return {host.name: checked for host, checked in found.items()}


def _tell(state: State, rows: Mapping[str, Sequence[Check]]) -> None:
    logger.info("")
    for line in printable(table(rows)).split("\n"):
        logger.info(line)
    logger.info("")
    hosts = [host for host in state.inventory if state.is_host_in_limit(host)]
    if any(wants_json(host) for host in hosts):
        failed = {cluster_name(host) for host in hosts} - rows.keys()
        print(json.dumps(as_data(rows, failed)))


def _pinged(run: Run, proof: Proof, host: Host) -> dict[str, Pinged]:
    """Ping, then observe: pings cause the handshakes that are checked."""
    sent = pings_from(run.plan, proof, run.part_of(host))
    got = ask(host, Pings, targets=list(map(str, sent))) if sent else {}
    run.observe(host)
    return got


def _reached(
    run: Run, proof: Proof, host: Host, seen: Mapping[str, Observed], ways: Sequence[WayBack]
) -> tuple[list[Check], dict[WayBack, bool]]:
    """What guarded sites the host reaches, those of others and its own; and which networks answer to it."""
    part = run.part_of(host)
    wanted = connections(run.plan, proof, part, seen)
    got = ask(host, Connections, targets=list(map(str, wanted))) if wanted else []
    own = [way for way in ways if way.source == part.name]
    pinged = ask(host, Pings, targets=[f"!{way.gateway}" for way in own]) if own else {}
    answered = {way: pinged[str(way.gateway)].answered for way in own}
    return [service_check(wanted, got), _nginx(run, host)], answered


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


def _checks(run: Run, proof: Proof, host: Host, got: Mapping[str, Pinged]) -> list[Check]:
    part, observed = run.part_of(host), run.observe(host)
    sent = pings_from(run.plan, proof, part)
    files = BootFiles(
        config=observed.file(paths.config(part.interface)),
        rules=observed.file(paths.rules(part.interface)),
        sysctl=observed.file(paths.SYSCTL),
    )
    answered = {address: one.answered for address, one in got.items()}
    found = checks(run.plan, part, observed, files, answered)
    return [*found, apart_check(sent, got), mtu_check(sent, got)]


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
