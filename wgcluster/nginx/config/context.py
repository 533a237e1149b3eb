"""Which directives are in effect in each block of a configuration.

After the merge functions of the modules named below: a block with access rules has only these; one without
inherits those of the block around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from wgcluster.nginx.config.harmless import is_harmless
from wgcluster.nginx.syntax.tree import Directive

_LUA_ACCESS = ("access_by_lua", "access_by_lua_block", "access_by_lua_file")
# Directives that make subrequests, which no access list applies to.
_FETCHES = frozenset({"add_before_body", "add_after_body", "post_action", "ssi"})
_CACHES = frozenset(f"{m}_cache{end}" for m in ("proxy", "fastcgi", "uwsgi", "scgi") for end in ("", "_key"))
_LIMIT_STATUSES = ("limit_req_status", "limit_conn_status")


@dataclass(frozen=True, slots=True)
class Context:
    """The directives in effect in one block: http, a server, a location, an ``if`` or a ``limit_except``."""

    rules: tuple[Directive, ...] = ()
    satisfy: Directive | None = None
    auth: tuple[
        Directive, ...
    ] = ()  # one per access checker beside the list, or what may be one; none that is off
    trusted: tuple[Directive, ...] = ()  # set_real_ip_from
    real_ip_header: str = "X-Real-IP"
    error_pages: tuple[Directive, ...] = ()
    root: Directive | None = None  # root or alias
    mirrors: tuple[Directive, ...] = ()
    fetches: tuple[Directive, ...] = ()  # what makes subrequests, one of each kind; none that is off
    lua_rewrite: Directive | None = None  # may answer before the access phase
    lua_first: Directive | None = None  # access_by_lua_no_postpone: access_by_lua runs before the list
    pages_recurse: bool = False  # recursive_error_pages
    limits: tuple[Directive, ...] = ()  # limit_req and limit_conn
    intercepts: tuple[Directive, ...] = ()  # proxy_intercept_errors and its like
    limit_statuses: tuple[Directive, ...] = ()  # the statuses of limits
    splits_slashes: Directive | None = None  # merge_slashes off
    sent: tuple[Directive, ...] = ()  # proxy_set_header
    bind: Directive | None = None  # proxy_bind
    caches: tuple[Directive, ...] = ()  # one of each kind: proxy_cache, proxy_cache_key and their like
    script: str | None = None  # fastcgi_param SCRIPT_FILENAME

    def enter(self, body: Sequence[Directive]) -> Context:
        """The context of a block inside this one, by the directives in the block."""
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
    def satisfying_checker(self) -> Directive | None:
        """The checker that can let a client in instead of the list, by ``satisfy any``."""
        if self.satisfy is not None and self.satisfy.args == ("any",) and self.auth:
            return self.auth[0]
        return None

    @property
    def denials(self) -> tuple[str, ...]:
        """The statuses that denied clients get (ngx_http_core_access_phase)."""
        if self.satisfying_checker is None:
            return ("403",) if any(rule.name == "deny" for rule in self.rules) else ()
        # the last checker asked is auth_basic
        return ("401",) if all(checker.name == "auth_basic" for checker in self.auth) else ("401", "403")


def runs_lua_early(directive: Directive) -> bool:
    """Does it run Lua in a rewrite phase?"""
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
