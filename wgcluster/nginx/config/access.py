"""Who passes an access list, and what each level hands down to the next.

After ngx_http_access_module.c and the merge functions of the modules named below: a level with rules of
its own has only these; one without has those of the level around it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from heapq import heappop, heappush
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Literal

from wgcluster.nginx.config.harmless import is_harmless
from wgcluster.nginx.syntax.tree import Directive
from wgcluster.prefixes import Network

_LUA_ACCESS = ("access_by_lua", "access_by_lua_block", "access_by_lua_file")
# What makes nginx fetch other locations into an answer or beside it: subrequests, which pass every list.
_FETCHES = frozenset({"add_before_body", "add_after_body", "post_action", "ssi"})
_CACHES = frozenset(f"{m}_cache{end}" for m in ("proxy", "fastcgi", "uwsgi", "scgi") for end in ("", "_key"))
_LIMIT_STATUSES = ("limit_req_status", "limit_conn_status")
Client = IPv4Address | IPv6Address | Literal["unix:"]  # as nginx sees who connects


@dataclass(frozen=True, slots=True)
class Context:
    """What is in effect at one level: http, a server, a location, an ``if`` or ``limit_except`` in it."""

    rules: tuple[Directive, ...] = ()
    satisfy: Directive | None = None
    auth: tuple[Directive, ...] = ()  # one per checker beside the list, and what may be one; none that is off
    trusted: tuple[Directive, ...] = ()  # set_real_ip_from
    real_ip_header: str = "X-Real-IP"
    error_pages: tuple[Directive, ...] = ()
    root: Directive | None = None  # root or alias
    mirrors: tuple[Directive, ...] = ()
    fetches: tuple[Directive, ...] = ()  # one of each kind, those switched off left out
    lua_rewrite: Directive | None = None  # answers before the access phase
    lua_first: Directive | None = None  # access_by_lua_no_postpone: access_by_lua is asked before the list
    pages_recurse: bool = False  # recursive_error_pages
    limits: tuple[Directive, ...] = ()  # limit_req and limit_conn
    intercepts: tuple[Directive, ...] = ()  # proxy_intercept_errors and its like
    limit_statuses: tuple[Directive, ...] = ()  # what they answer
    splits_slashes: Directive | None = None  # merge_slashes off
    sent: tuple[Directive, ...] = ()  # proxy_set_header
    bind: Directive | None = None  # proxy_bind
    caches: tuple[Directive, ...] = ()  # one of each kind: proxy_cache, proxy_cache_key and their like
    script: str | None = None  # fastcgi_param SCRIPT_FILENAME

    def enter(self, body: Sequence[Directive]) -> Context:
        """The level of a block with this ``body`` inside this one."""
        own: dict[str, list[Directive]] = {}
        for child in body:
            own.setdefault(child.name, []).append(child)
        rules = tuple(c for c in body if c.name in ("allow", "deny"))
        auth = {_checker(d): d for d in self.auth}
        for child in body:
            if not is_harmless(child.name):
                auth[_checker(child)] = child
        fetches = {d.name: d for d in self.fetches} | {c.name: c for c in body if c.name in _FETCHES}
        early = [c for c in body if runs_lua_early(c)]
        roots = [c for c in body if c.name in ("root", "alias")]
        return replace(
            self,
            rules=rules or self.rules,
            satisfy=own["satisfy"][-1] if "satisfy" in own else self.satisfy,
            auth=tuple(d for d in auth.values() if d.args[:1] != ("off",)),
            trusted=tuple(own.get("set_real_ip_from", ())) or self.trusted,
            real_ip_header=own["real_ip_header"][-1].args[0]
            if "real_ip_header" in own
            else self.real_ip_header,
            error_pages=tuple(own.get("error_page", ())) or self.error_pages,
            root=roots[-1] if roots else self.root,
            mirrors=tuple(own.get("mirror", ())) or self.mirrors,
            fetches=tuple(d for d in fetches.values() if d.args not in (("off",), ("",))),
            lua_rewrite=early[-1] if early else self.lua_rewrite,
            lua_first=_switched(own.get("access_by_lua_no_postpone"), self.lua_first),
            pages_recurse=own["recursive_error_pages"][-1].args == ("on",)
            if "recursive_error_pages" in own
            else self.pages_recurse,
            limits=tuple(c for c in body if c.name in ("limit_req", "limit_conn")) or self.limits,
            intercepts=(
                *(c for c in body if c.name.endswith("_intercept_errors")),
                *(d for d in self.intercepts if d.name not in own),
            ),
            limit_statuses=(
                *(own[name][-1] for name in _LIMIT_STATUSES if name in own),
                *(d for d in self.limit_statuses if d.name not in own),
            ),
            splits_slashes=_switched(own.get("merge_slashes"), self.splits_slashes, "off"),
            sent=tuple(own.get("proxy_set_header", ())) or self.sent,
            bind=own["proxy_bind"][-1] if "proxy_bind" in own else self.bind,
            caches=(
                *(own[name][-1] for name in sorted(_CACHES & own.keys())),
                *(d for d in self.caches if d.name not in own),
            ),
            script=_script(own["fastcgi_param"]) if "fastcgi_param" in own else self.script,
        )

    @property
    def any_will_do(self) -> Directive | None:
        """What lets a client in past the list: a checker, where ``satisfy any`` is in effect."""
        if self.satisfy is not None and self.satisfy.args == ("any",) and self.auth:
            return self.auth[0]
        return None

    @property
    def denials(self) -> tuple[str, ...]:
        """The statuses with which clients are kept out (ngx_http_core_access_phase)."""
        if self.any_will_do is None:
            return ("403",) if any(rule.name == "deny" for rule in self.rules) else ()
        # the last word is that of the password
        return ("401",) if all(checker.name == "auth_basic" for checker in self.auth) else ("401", "403")


def runs_lua_early(directive: Directive) -> bool:
    """Does it run code in a rewrite phase?"""
    runs = directive.name.startswith(("rewrite_by_lua", "server_rewrite_by_lua"))
    return runs and not directive.name.endswith("_no_postpone")


def _switched(own: Sequence[Directive] | None, outer: Directive | None, to: str = "on") -> Directive | None:
    return (own[-1] if own[-1].args == (to,) else None) if own else outer


def _script(params: Sequence[Directive]) -> str | None:
    return next(
        (d.args[1] for d in reversed(params) if d.args[:1] == ("SCRIPT_FILENAME",) and d.args[1:]), None
    )


def _checker(directive: Directive) -> str:
    return "lua" if directive.name in _LUA_ACCESS else directive.name


@dataclass(frozen=True, slots=True)
class Families:
    """The kinds of clients a server can have, by its ``listen`` addresses."""

    v4: bool = True
    v6: bool = True
    unix: bool = False

    @classmethod
    def of(cls, listens: Iterable[str]) -> Families:
        listens = tuple(listens)
        unix = [x.startswith("unix:") for x in listens]
        v6 = [x.startswith("[") for x in listens]
        # A v6 socket may take v4 clients too (ipv6only=off), so v4 is always asked for beside it.
        return cls(not all(unix), any(v6), any(unix))


def opening(
    rules: Sequence[Directive], allowed: Sequence[Network], families: Families
) -> Directive | str | None:
    """What lets a client in that is not in ``allowed``: a rule, or why the list as a whole does; or None.

    First match wins, a client that matches no rule is let in.
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


class _Answers:
    """What a list says to each client: what it begins to say from which address on, of either family."""

    def __init__(self, rules: Sequence[Directive]) -> None:
        kinds = [(rule, _network(rule.args[0]) if rule.args else None) for rule in rules]
        unix = (r.name == "allow" for r, _ in kinds if r.args[:1] in (("all",), ("unix:",)))
        self.unix = next(unix, True)
        self.v4 = self._of([(r, n) for r, n in kinds if n is None or n.version == 4], 32)
        self.v6 = self._of([(r, n) for r, n in kinds if n is None or n.version == 6], 128)

    @staticmethod
    def _of(kinds: Sequence[tuple[Directive, Network | None]], bits: int) -> tuple[list[int], list[bool]]:
        """The first address of each stretch and whether it is let in; the first match wins."""
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
        starts, said, active = [], [], list[int]()
        for at in sorted({0, *opened, *(end for _, end, _ in spans if end < 1 << bits)}):
            for number in opened.get(at, ()):
                heappush(active, number)
            while active and spans[active[0]][1] <= at:
                heappop(active)
            starts.append(at)
            said.append(spans[active[0]][2] if active else True)
        return starts, said

    def lets_in(self, client: Client) -> bool:
        if client == "unix:":
            return self.unix
        starts, said = self.v4 if client.version == 4 else self.v6
        return said[bisect_right(starts, int(client)) - 1]


@lru_cache(maxsize=4096)
def _answers(rules: tuple[Directive, ...]) -> _Answers:
    return _Answers(rules)


def admits(rules: Sequence[Directive], client: Client) -> bool:
    """Does the list let ``client`` in (ngx_http_access_handler)?"""
    return _answers(tuple(rules)).lets_in(client)


def common_client(
    lists: Sequence[Sequence[Directive]],
    barred: Sequence[Network],
    families: Families,
    *,
    denied_by: Sequence[Sequence[Directive]] = (),
    within: Network | None = None,
) -> Client | None:
    """A client in none of ``barred`` that all ``lists`` let in and none of ``denied_by``; or None."""
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
    let_in, denied = [_answers(rules) for rules in lists], [_answers(rules) for rules in denied_by]
    # Between the ends of two networks all are treated alike, so one of each stretch will do.
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
    """May ``client`` say whose request it passes on (ngx_http_realip_module)?"""
    words = [d.args[0] for d in trusted if d.args]
    networks = [network for word in words if (network := _network(word)) is not None]
    return client in words or (client != "unix:" and any(client in network for network in networks))


def is_within(trusted: Directive, others: Sequence[Directive]) -> bool:
    """Does the ``set_real_ip_from`` name only what one of ``others`` names too?"""
    word = trusted.args[0] if trusted.args else ""
    network = _network(word)
    words = [d.args[0] for d in others if d.args]
    wide = [n for w in words if (n := _network(w)) is not None]
    return word in words or (network is not None and _within(network, wide))


def lets_in_only(rule: Directive, allowed: Sequence[Network]) -> bool:
    """Is it an ``allow`` of addresses that ``allowed`` holds all of?"""
    network = _network(rule.args[0]) if rule.name == "allow" and rule.args else None
    return network is not None and _within(network, allowed)


@lru_cache(maxsize=65536)
def _network(word: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(word, strict=False)
    except ValueError:
        return None


def _within(network: Network, allowed: Sequence[Network]) -> bool:
    """Does ``allowed`` as a whole hold ``network``? Two halves hold the whole."""
    starts, ends = _spans(tuple(n for n in allowed if n.version == network.version))
    at = bisect_right(starts, int(network[0])) - 1
    return at >= 0 and int(network[-1]) <= ends[at]


@lru_cache(maxsize=4096)
def _spans(networks: tuple[Network, ...]) -> tuple[list[int], list[int]]:
    """The first and the last address of each stretch that ``networks``, of one family, take up."""
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


def may_forge(
    trusted: Directive,
    allowed: Sequence[Network],
    lists: Sequence[Sequence[Directive]],
    denied_by: Sequence[Sequence[Directive]],
) -> bool:
    """May a client that may not pass itself name any address as its own, by this ``set_real_ip_from``?

    A client at a trusted address writes its own address (ngx_http_realip_module): so each such address has
    to be one that is let in anyway. ``lists`` let it in before that, and ``denied_by`` did not.
    """
    word = trusted.args[0] if trusted.args else ""
    if word == "unix:":
        return False
    network = _network(word)
    if network is None:
        return True
    both = Families(v4=True, v6=True)
    return common_client(lists, allowed, both, denied_by=denied_by, within=network) is not None
