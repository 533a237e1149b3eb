"""Access lists: whom they let in (ngx_http_access_module.c), and whose word on an address is trusted."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from heapq import heappop, heappush
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Literal

from wgcluster.nginx.syntax.tree import Directive
from wgcluster.prefixes import Network

Client = IPv4Address | IPv6Address | Literal["unix:"]  # the address that nginx sees


@dataclass(frozen=True, slots=True)
class Families:
    """The address families of a server's clients, by its ``listen`` addresses."""

    v4: bool = True
    v6: bool = True
    unix: bool = False

    @classmethod
    def of(cls, listens: Iterable[str]) -> Families:
        listens = tuple(listens)
        unix = [x.startswith("unix:") for x in listens]
        v6 = [x.startswith("[") for x in listens]
        # A v6 socket may accept v4 clients (ipv6only=off).
        return cls(not all(unix), any(v6), any(unix))


def opening(
    rules: Sequence[Directive], allowed: Sequence[Network], families: Families
) -> Directive | str | None:
    """What lets in a client that is not in ``allowed``.

    The first matching rule decides; a client that none matches is let in.

    Returns:
        The rule, or why the list as a whole does; None: every other client is denied.
    """
    if not rules:
        return "no list is in effect"
    left = {kind for kind in ("v4", "v6", "unix") if getattr(families, kind)}
    for rule in rules:
        word = rule.args[0] if rule.args else ""
        hit = {"v4", "v6", "unix"} if word == "all" else {"unix"} if word == "unix:" else set()
        network = _network(word)
        if network is not None:
            hit = {f"v{network.version}"}
        if not hit & left:
            continue
        if rule.name == "allow":
            if network is None or not _within(network, allowed):
                return rule
        elif network is None or network.prefixlen == 0:
            left -= hit
        if not left:
            return None
    return "the list does not end in deny all"


class _Decisions:
    """An access list as address ranges of each family, with the decision for each."""

    def __init__(self, rules: Sequence[Directive]) -> None:
        kinds = [(rule, _network(rule.args[0]) if rule.args else None) for rule in rules]
        unix = (r.name == "allow" for r, _ in kinds if r.args[:1] in (("all",), ("unix:",)))
        self.unix = next(unix, True)
        self.v4 = self._of([(r, n) for r, n in kinds if n is None or n.version == 4], 32)
        self.v6 = self._of([(r, n) for r, n in kinds if n is None or n.version == 6], 128)

    @staticmethod
    def _of(kinds: Sequence[tuple[Directive, Network | None]], bits: int) -> tuple[list[int], list[bool]]:
        """The first address of each range, and whether the range is let in; the first match decides."""
        spans: list[tuple[int, int, bool]] = []  # in their order
        for rule, network in kinds:
            if network is not None:
                start, last = int(network[0]), int(network[-1])
                spans.append((start, last + 1, rule.name == "allow"))
            elif rule.args[:1] == ("all",):
                spans.append((0, 1 << bits, rule.name == "allow"))
        opened: dict[int, list[int]] = {}
        for number, (start, _, _) in enumerate(spans):
            opened.setdefault(start, []).append(number)
        starts, decided, active = [], [], list[int]()
        for at in sorted({0, *opened, *(end for _, end, _ in spans if end < 1 << bits)}):
            for number in opened.get(at, ()):
                heappush(active, number)
            while active and spans[active[0]][1] <= at:
                heappop(active)
            starts.append(at)
            decided.append(spans[active[0]][2] if active else True)
        return starts, decided

    def lets_in(self, client: Client) -> bool:
        if client == "unix:":
            return self.unix
        starts, decided = self.v4 if client.version == 4 else self.v6
        return decided[bisect_right(starts, int(client)) - 1]


@lru_cache(maxsize=4096)
def _decisions(rules: tuple[Directive, ...]) -> _Decisions:
    return _Decisions(rules)


def admits(rules: Sequence[Directive], client: Client) -> bool:
    """Does the list let ``client`` in (ngx_http_access_handler)?"""
    return _decisions(tuple(rules)).lets_in(client)


def common_client(
    lists: Sequence[Sequence[Directive]],
    barred: Sequence[Network],
    families: Families,
    *,
    denied_by: Sequence[Sequence[Directive]] = (),
    within: Network | None = None,
) -> Client | None:
    """A client outside ``barred`` that all ``lists`` let in and all of ``denied_by`` deny, if there is one.

    Args:
        lists: access rules, in their order.
        within: look at clients of this network alone.
    """
    return _common_client(
        frozenset(map(tuple, lists)), tuple(barred), families, frozenset(map(tuple, denied_by)), within
    )


@lru_cache(maxsize=4096)
def _common_client(
    lists: frozenset[tuple[Directive, ...]],
    barred: tuple[Network, ...],
    families: Families,
    denied_by: frozenset[tuple[Directive, ...]],
    within: Network | None,
) -> Client | None:
    let_in, denied = [_decisions(rules) for rules in lists], [_decisions(rules) for rules in denied_by]
    # All clients between two ends of networks are treated alike: one of each range is enough.
    edges: list[Network] = [*barred, *([within] if within else [])]
    clients: list[Client] = []
    for version, make, bits in ((4, IPv4Address, 32), (6, IPv6Address, 128)):
        if version == 6 and not families.v6:
            continue
        points = {0}
        for each in (*let_in, *denied):
            points |= set((each.v4 if version == 4 else each.v6)[0])
        for network in edges:
            if network.version == version:
                points |= {int(network[0]), int(network[-1]) + 1}
        clients += [make(point) for point in sorted(points) if point < 1 << bits]
    if families.unix:
        clients.append("unix:")
    for client in clients:
        if client == "unix:":
            if within is not None:
                continue
        elif (within is not None and client not in within) or _within(ip_network(client), barred):
            continue
        if all(a.lets_in(client) for a in let_in) and not any(a.lets_in(client) for a in denied):
            return client
    return None


def trusts(trusted: Sequence[Directive], client: Client) -> bool:
    """Is ``client`` a trusted proxy, whose word on the client address counts (ngx_http_realip_module)?"""
    words = [d.args[0] for d in trusted if d.args]
    networks = [network for word in words if (network := _network(word)) is not None]
    return client in words or (client != "unix:" and any(client in network for network in networks))


def is_within(trusted: Directive, others: Sequence[Directive]) -> bool:
    """Does this ``set_real_ip_from`` name only addresses that ``others`` name too?"""
    word = trusted.args[0] if trusted.args else ""
    network = _network(word)
    words = [d.args[0] for d in others if d.args]
    wide = [n for w in words if (n := _network(w)) is not None]
    return word in words or (network is not None and _within(network, wide))


def allows_only(rule: Directive, allowed: Sequence[Network]) -> bool:
    """Is it an ``allow`` for addresses that are all in ``allowed``?"""
    network = _network(rule.args[0]) if rule.name == "allow" and rule.args else None
    return network is not None and _within(network, allowed)


@lru_cache(maxsize=65536)
def _network(word: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(word, strict=False)
    except ValueError:
        return None


def _within(network: Network, allowed: Sequence[Network]) -> bool:
    """Is ``network`` covered by the union of ``allowed``?"""
    starts, ends = _spans(tuple(n for n in allowed if n.version == network.version))
    at = bisect_right(starts, int(network[0])) - 1
    return at >= 0 and int(network[-1]) <= ends[at]


@lru_cache(maxsize=4096)
def _spans(networks: tuple[Network, ...]) -> tuple[list[int], list[int]]:
    """The first and the last address of each range that ``networks``, of one family, cover together."""
    starts: list[int] = []
    ends: list[int] = []
    for network in sorted(networks, key=lambda n: (int(n[0]), -n.num_addresses)):
        first, last = int(network[0]), int(network[-1])
        if ends and first <= ends[-1] + 1:
            ends[-1] = max(ends[-1], last)
        else:
            starts.append(first)
            ends.append(last)
    return starts, ends


def may_spoof(
    trusted: Directive,
    allowed: Sequence[Network],
    lists: Sequence[Sequence[Directive]],
    denied_by: Sequence[Sequence[Directive]],
) -> bool:
    """Can a denied client use any address as its own, because this ``set_real_ip_from`` trusts it?

    A client at a trusted address names its own address (ngx_http_realip_module), so every trusted address
    must be allowed anyway.

    Args:
        allowed: networks of the allowed clients.
        lists: access rules that have let the client in earlier.
        denied_by: access rules that have denied it earlier.
    """
    word = trusted.args[0] if trusted.args else ""
    if word == "unix:":
        return False
    network = _network(word)
    if network is None:
        return True
    both = Families(v4=True, v6=True)
    return common_client(lists, allowed, both, denied_by=denied_by, within=network) is not None
