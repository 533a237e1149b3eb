"""Packets that hosts send to each other after a deploy, and what it says that they arrive or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from wgcluster.host import answer
from wgcluster.host.observed import Observed
from wgcluster.nginx.probe.guarded_sockets import guarded_sockets
from wgcluster.nginx.syntax.errors import NginxError
from wgcluster.nginx.syntax.includes import parse_dump
from wgcluster.plan.plan import HostPlan, Plan
from wgcluster.prefixes import Address, Network
from wgcluster.prove.proof import Proof
from wgcluster.verify.checks import Check, ping_targets

# What wg_mtu may be at least: with IPv6 in the overlay (RFC 8200, 5), and without (RFC 791, 3.1).
_LEAST_MTU = {True: 1280, False: 576}  # bytes
_AT_MOST = 100  # pings that must not be answered, for each host


@dataclass(frozen=True, slots=True)
class Ping:
    """An address to ping from a host."""

    address: str
    owner: str  # name of the host or road warrior
    answers: bool = True  # the plan says that it can be reached
    size: int = 0  # bytes of the largest packet that has to pass whole; 0: not asked
    least: int = 0  # bytes, the smallest that is tried

    def __str__(self) -> str:
        """As ``ping.sh`` reads it."""
        sizes = f"={self.least}={self.size}" if self.size else ""
        return f"{'' if self.answers else '!'}{self.address}{sizes}"


@dataclass(frozen=True, slots=True)
class Pinged:
    """What came of a ping."""

    answered: bool
    passes: int | None = None  # bytes of the largest packet that does; 0: none that was tried; None: unknown


@dataclass(frozen=True, slots=True)
class Connection:
    """A TCP port of a guarded site that another host has to reach."""

    owner: str
    address: str
    port: int

    def __str__(self) -> str:
        """As ``connect.sh`` reads it."""
        return f"{self.address}={self.port}"


def pings_from(plan: Plan, proof: Proof, host: HostPlan) -> list[Ping]:
    """All pings from one host: to every other host, and to whom the plan keeps out of its reach.

    Road warriors that it can reach are not among them: they come and go.
    """
    hosts = {str(address.ip): other for other in plan.hosts for address in other.addresses}
    linked = {peer.name for peer in host.peers}
    least = _LEAST_MTU[any(address.version == 6 for address in host.addresses)]
    found = []
    for target in ping_targets(plan, host):
        other = hosts[target]
        size = min(host.mtu, other.mtu) if other.name in linked else 0
        found.append(Ping(target, other.name, size=size, least=min(least, size)))
    return [*found, *list(_kept_apart(plan, proof, host))[:_AT_MOST]]


def _kept_apart(plan: Plan, proof: Proof, host: HostPlan) -> Iterator[Ping]:
    families = {address.version for address in host.addresses}
    addresses = {one.name: one.addresses for one in plan.hosts}
    addresses |= {one.name: one.addresses for one in plan.clients}
    hidden = [name for name in addresses if proof.verdict(host.name, name) == "hidden"]
    expected = {"".join(text.split()) for text in plan.expect}
    for name in sorted(hidden, key=lambda name: f"{host.name}!->{name}" not in expected):
        for address in addresses[name]:
            if address.version in families:
                yield Ping(str(address.ip), name, answers=False)


def read_pings(lines: Sequence[str]) -> dict[str, Pinged]:
    """Read the output of ``ping.sh``, by address.

    Raises:
        ValueError: the script never prints such a line.
    """
    found = {}
    for line in lines:
        target, _, rest = line.partition(" ")
        word, _, size = rest.partition(" ")
        answered = answer.one_of(("yes", "no"), word, "answer of ping.sh") == "yes"
        found[answer.address(target)] = Pinged(answered, None if size in ("", "-") else int(size))
    return found


def apart_check(sent: Sequence[Ping], got: Mapping[str, Pinged]) -> Check:
    """Is nobody reached whom the plan says this host cannot reach?"""
    apart = [ping for ping in sent if not ping.answers]
    faults = [
        f"{ping.owner} ({ping.address}) answers, although the plan has no way there from here"
        for ping in apart
        if got.get(ping.address, Pinged(False)).answered
    ]
    return Check("apart", len(apart), tuple(faults))


def mtu_check(sent: Sequence[Ping], got: Mapping[str, Pinged]) -> Check:
    """Do packets of the planned size pass each link?"""
    faults, unknown, count = [], [], 0
    for ping in sent:
        seen = got.get(ping.address, Pinged(False))
        if not ping.size or not seen.answered:
            continue
        if seen.passes is None:
            unknown.append(ping.owner)
            continue
        count += 1
        if seen.passes >= ping.size:
            continue
        lost = f"packets of {ping.size} bytes do not get through to {ping.owner} ({ping.address})"
        if seen.passes:
            faults.append(f"{lost}, those of {seen.passes} do: set wg_mtu = {seen.passes} for both hosts")
        else:
            faults.append(
                f"{lost}, nor do those of {ping.least}, the least that wg_mtu can be: mend the path"
            )
    note = ("the ping of this host cannot send packets that must not be fragmented",) if unknown else ()
    return Check("mtu", count, tuple(faults), note)


def connections(plan: Plan, proof: Proof, host: HostPlan, seen: Mapping[str, Observed]) -> list[Connection]:
    """The ports of guarded sites that this host has to reach.

    Args:
        seen: observations of hosts, by name.
    """
    families = {address.version for address in host.addresses}
    found = []
    for name, observed in seen.items():
        part = plan.host(name)
        if name == host.name or not part.nginx or proof.verdict(host.name, name) != "reached":
            continue
        overlay = [address.ip for address in part.addresses if address.version in families]
        found += [Connection(name, str(a), port) for a, port in _sockets(part, observed, overlay)]
    return found


def _sockets(part: HostPlan, observed: Observed, addresses: Sequence[Address]) -> list[tuple[Address, int]]:
    if observed.nginx_error is not None or not observed.unit("nginx.service").active:
        return []  # the check of nginx says so
    try:
        return guarded_sockets(parse_dump(observed.nginx_dump), part.nginx, addresses)
    except NginxError:
        return []


def read_connections(lines: Sequence[str]) -> list[bool | None]:
    """Read the output of ``connect.sh``: connected, not, or nothing is there to try with.

    Raises:
        ValueError: the script never prints such a line.
    """
    words = {"yes": True, "no": False, "-": None}
    return [words[answer.one_of(tuple(words), line, "answer of connect.sh")] for line in lines]


def service_check(wanted: Sequence[Connection], got: Sequence[bool | None]) -> Check:
    """Does this host reach the guarded sites of the others?"""
    tried = list(zip(wanted, got, strict=True))
    faults = [
        f"no connection to {one.owner} ({one.address}), TCP port {one.port}, where a guarded site listens"
        for one, done in tried
        if done is False
    ]
    untried = sum(done is None for _, done in tried)
    notes = ("neither bash, curl nor nc is there to connect with",) if untried else ()
    return Check("service", len(tried) - untried, tuple(faults), notes)


@dataclass(frozen=True, slots=True)
class WayBack:
    """A ping that tells whether a network behind a host knows a way back to the overlay.

    The only machine in there that is known by address is the gateway of the host, which is likely that of the
    others, too.
    """

    network: Network
    gateway: Address
    host: str
    source: str  # the host that pings


def ways_back(plan: Plan, proof: Proof, seen: Mapping[str, Observed]) -> list[WayBack]:
    """At most one ping for each network behind a host (``wg_subnets``)."""
    found = []
    for name, observed in seen.items():
        gateways = [a for r in observed.routes if not r.network.prefixlen for a in r.gateways]
        for network in plan.host(name).subnets:
            gateway = next((one for one in gateways if one in network), None)
            sources = [
                other
                for other, there in seen.items()
                if other != name
                and proof.verdict(other, str(network)) == "reached"
                and not any(address.ip in network for _, address in there.interface_addresses)
            ]
            if gateway is not None and sources:
                found.append(WayBack(network, gateway, name, sources[0]))
    return found


def lan_check(plan: Plan, host: HostPlan, found: Mapping[WayBack, bool]) -> Check:
    """Whether networks behind the host answer; notes alone, since their machines need not answer pings."""
    here = [way for way in found if way.host == host.name]
    notes = []
    for way in here:
        if not found[way] and host.masquerade_lan:
            notes.append(
                f"{way.gateway} does not answer to {way.source}, although this host's own address asks"
            )
        elif not found[way]:
            overlay = next(n for n in plan.networks if n.version == way.network.version)
            notes.append(
                f"{way.gateway} does not answer to {way.source}: machines in {way.network} answer only if"
                f" they or their gateway send {overlay} to this host; or set wg_masquerade_lan = True"
            )
    return Check("lan", len(here), (), tuple(notes))
