"""Who passes an access list, and what each level hands down to the next.

After ngx_http_access_module.c and the merge functions of the modules named below: a level with rules of
its own has only these; one without has those of the level around it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses, ip_network
from typing import Literal

from ..prefixes import Network
from .tree import Directive

# Checkers of the access phase that "satisfy any" lets count instead of the list.
_LUA_ACCESS = ("access_by_lua", "access_by_lua_block", "access_by_lua_file")
# What makes nginx fetch other locations into an answer or beside it: subrequests, which pass every list.
_FETCHES = frozenset({"add_before_body", "add_after_body", "post_action", "ssi"})
_LIMIT_STATUSES = ("limit_req_status", "limit_conn_status")
Client = IPv4Address | IPv6Address | Literal["unix:"]  # as nginx sees who connects


@dataclass(frozen=True, slots=True)
class Level:
    """What is in effect at one level: http, a server, a location, an ``if`` or ``limit_except`` in it."""

    rules: tuple[Directive, ...] = ()
    satisfy: Directive | None = None
    auth: tuple[Directive, ...] = ()  # one per checker beside the list, those switched off left out
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
    script: str | None = None  # fastcgi_param SCRIPT_FILENAME

    def enter(self, body: Sequence[Directive]) -> Level:
        """The level of a block with this ``body`` inside this one."""
        own: dict[str, list[Directive]] = {}
        for child in body:
            own.setdefault(child.name, []).append(child)
        rules = tuple(c for c in body if c.name in ("allow", "deny"))
        auth = {_checker(d): d for d in self.auth}
        for child in body:
            if child.name in ("auth_basic", "auth_request", "auth_jwt", *_LUA_ACCESS):
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


def admits(rules: Sequence[Directive], client: Client) -> bool:
    """Does the list let ``client`` in (ngx_http_access_handler)?"""
    for rule in rules:
        word = rule.args[0] if rule.args else ""
        network = _network(word)
        if word in ("all", client) or (network is not None and client != "unix:" and client in network):
            return rule.name == "allow"
    return True


def common_client(
    lists: Sequence[Sequence[Directive]],
    barred: Sequence[Network],
    families: Families,
    *,
    denied_by: Sequence[Sequence[Directive]] = (),
    within: Network | None = None,
) -> Client | None:
    """A client in none of ``barred`` that all ``lists`` let in and none of ``denied_by``; or None."""
    words = [rule.args[0] for rules in (*lists, *denied_by) for rule in rules if rule.args]
    networks = [*barred, *(n for word in words if (n := _network(word)) is not None)]
    # Between the ends of two networks all are treated alike, so one of each stretch will do.
    clients: list[Client] = [IPv4Address(0), *([IPv6Address(0)] if families.v6 else [])]
    for network in (*networks, *([within] if within else [])):
        if families.v6 or network.version == 4:
            clients.append(network[0])
            if int(network[-1]) + 1 < 1 << network.max_prefixlen:
                clients.append(network[-1] + 1)
    if families.unix:
        clients.append("unix:")
    for client in clients:
        out = client == "unix:" or not any(client in network for network in barred)
        if within is not None and (client == "unix:" or client not in within):
            continue
        if out and all(admits(r, client) for r in lists) and not any(admits(r, client) for r in denied_by):
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


def _network(word: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(word, strict=False)
    except ValueError:
        return None


def _within(network: Network, allowed: Sequence[Network]) -> bool:
    """Does ``allowed`` as a whole hold ``network``? Two halves hold the whole."""
    if isinstance(network, IPv4Network):
        return any(network.subnet_of(n) for n in collapse_addresses(n for n in allowed if n.version == 4))
    return any(network.subnet_of(n) for n in collapse_addresses(n for n in allowed if n.version == 6))


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
