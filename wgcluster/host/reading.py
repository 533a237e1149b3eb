"""What ``files/observe.sh`` prints -> Observed. docs/architecture.md says what each section means."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from ipaddress import ip_interface

from wgcluster.firewall.nft import parse_ruleset
from wgcluster.host import answer, entries, paths
from wgcluster.host.kernel_routes import PolicyRule, Route
from wgcluster.host.observed import (
    File,
    Link,
    LivePeer,
    Observed,
    Query,
    Rules,
    Unit,
)

_Words = Sequence[str]

_OTHER_UNITS = ("nginx.service", "ufw.service", "firewalld.service")
_SECONDS = re.compile(r"[0-9]{1,12}\.\S*")  # date(1) of some systems prints %N as it is
_RULES = (
    ("4", "primary"),
    ("4", "other"),
    ("6", "primary"),
    ("6", "other"),
)  # in this order; or "none" for the second word


def parse(output: Sequence[str], query: Query | None = None) -> Observed:
    """Read the output of ``observe.sh``.

    Args:
        look: what it was asked for; None: only what every answer has must be there.

    Raises:
        ValueError: it is not what the script prints: what is odd, in words that may be shown.
    """
    reader = _Reader(query)
    for (name, *words), lines in answer.sections(output):
        reader.seen.add(name)
        read = _SECTIONS.get(name)
        if read is not None:
            read(reader, words, lines)
    return reader.observed()


class _Reader:
    """Collects what is read. One method per section gets the words of its first line and the lines below."""

    def __init__(self, query: Query | None) -> None:
        self.query = query
        self.seen: set[str] = set()
        self.values: dict[str, object] = {}
        self.files: dict[str, File] = {}
        self.sizes: dict[str, int] = {}  # of the files whose texts follow each other, in bytes
        self.units: dict[str, Unit] = {}
        self.rules: list[Rules] = []
        self.rules_errors: dict[int, str] = {}
        self.backends: list[tuple[str, str]] = []
        self.routes: list[Route] = []
        self.routed: list[str] = []
        self.policy: list[PolicyRule] = []
        self.ruled: list[str] = []
        self.link: dict[str, object] = {}
        self.peers: dict[str, LivePeer] = {}
        self.interface = self.config = ""

    def observed(self) -> Observed:
        """The result, after a check that nothing is missing."""
        link = self.link
        if link:
            main = (one for one in self.routes if one.table == "main")
            own = (one for one in main if one.devices == {self.interface})
            link["routes"] = tuple(one.without_device() for one in own)
        if self.routed != ["4", "6"]:
            raise ValueError("it has not the routes of each family once")
        if self.ruled != ["4", "6"]:
            raise ValueError("it has not the routing policy of each family once")
        observed = Observed(
            files=self.files,
            units=self.units,
            rules=tuple(self.rules),
            rules_errors=self.rules_errors,
            routes=tuple(self.routes),
            policy=tuple(self.policy),
            link=Link(**link) if link else None,  # type: ignore[arg-type]
            **self.values,  # type: ignore[arg-type]
        )
        shared = any(peer.preshared_key for peer in self.peers.values())
        _check_dependent_sections(observed, self.config, self.seen, self.backends, shared)
        if self.query is not None:
            _check_complete(observed, self.seen, self.query)
        return observed

    def read_user(self, words: _Words, lines: _Words) -> None:
        self.values["user"] = answer.number(words[0], "user")

    def read_tools(self, words: _Words, lines: _Words) -> None:
        self.values["tools"] = frozenset(answer.matching(answer.TOOL, line, "tool") for line in lines)

    def read_module(self, words: _Words, lines: _Words) -> None:
        states = ("loaded", "available", "missing")
        self.values["module"] = answer.one_of(states, lines[0] if lines else "", "state of the module")
        self.values["container"] = lines[1:] == ["container"]
        if lines[1:] and lines != ["missing", "container"]:
            raise ValueError(f"module has {answer.shown(lines[1])}")

    def read_directory(self, words: _Words, lines: _Words) -> None:
        self.values["directory"] = entries.owned(words) if words else ("", "")

    def read_file(self, words: _Words, lines: _Words) -> None:
        path = answer.matching(answer.PATH, words[0], "path")
        if path in self.files:
            raise ValueError(f"{answer.shown(path)} is there twice")
        self.files[path] = entries.file(words[1:])
        if self.config:  # its text would be taken for the end of the config
            raise ValueError(f"the file {answer.shown(path)} stands behind the texts")
        if self.files[path].kind == "file":
            self.sizes[path] = answer.number(words[4], "size", high=2**40)

    def read_texts(self, words: _Words, lines: _Words) -> None:
        self.config = words[0]
        self.files |= dict(entries.with_texts(self.files, self.sizes, answer.data(lines), self.config))

    def read_unit(self, words: _Words, lines: _Words) -> None:
        if words[0] in self.units:
            raise ValueError(f"the unit {answer.shown(words[0])} is there twice")
        self.units[words[0]] = entries.unit(words)

    def read_names(self, words: _Words, lines: _Words) -> None:
        found = {}
        for line in lines:
            name, _, word = line.partition(" ")
            found[answer.matching(answer.NAME, name, "name")] = (
                answer.one_of(("yes", "no"), word, "result") == "yes"
            )
        self.values["names"] = found

    def read_ufw(self, words: _Words, lines: _Words) -> None:
        self.values["ufw"] = any(line.lower() == "enabled=yes" for line in lines)

    def read_link(self, words: _Words, lines: _Words) -> None:
        self.interface = answer.interface(words[0])
        if self.query is not None and self.interface != self.query.interface:
            raise ValueError(f"it is about {answer.shown(self.interface)}")
        if words[1:] != ["absent"]:
            flags = answer.matching(answer.HEX, words[2] if words[2:] else "", "flags of an interface")
            mtu = answer.number(words[1], "MTU", 1)
            self.link |= {"mtu": mtu, "up": bool(int(flags, 16) & 1)}

    def read_config_key(self, words: _Words, lines: _Words) -> None:
        if lines:
            self.values["config_key"] = answer.matching(answer.KEY, lines[0], "key")

    def read_routes(self, words: _Words, lines: _Words) -> None:
        self.routed.append(words[0])
        self.routes += entries.routes(lines, words[0])

    def read_policy(self, words: _Words, lines: _Words) -> None:
        self.ruled.append(words[0])
        self.policy += entries.policy(lines, words[0])

    def read_dump(self, words: _Words, lines: _Words) -> None:
        if lines:  # also of wireguard-go in another network namespace
            own_key, own_port, self.peers = entries.dump(lines)
            if self.link:
                self.link |= {"public_key": own_key, "port": own_port, "peers": self.peers}

    def read_preshared(self, words: _Words, lines: _Words) -> None:
        digest = answer.matching(answer.DIGEST, "".join(lines), "digest")
        if self.link:
            self.link["preshared_digest"] = digest

    def read_interfaces(self, words: _Words, lines: _Words) -> None:
        self.values["interfaces"] = tuple(entries.interface(line) for line in lines)

    def read_addresses(self, words: _Words, lines: _Words) -> None:
        found = list(entries.addresses(lines))
        self.values["addresses"] = tuple(
            text.partition("/")[0] for _, text, scope in found if scope == "global"
        )
        self.values["interface_addresses"] = tuple((by, ip_interface(text)) for by, text, _ in found)
        if self.link:
            self.link["addresses"] = frozenset(text for by, text, _ in found if by == self.interface)

    def read_port(self, words: _Words, lines: _Words) -> None:
        state = answer.one_of(("bound", "free"), words[0], "state of a port")
        if state == "free" and lines:
            raise ValueError(f"port has {answer.shown(lines[0])} although it is free")
        self.values |= {"port_bound": state == "bound", "port_users": tuple(lines)}

    def read_sysctl_files(self, words: _Words, lines: _Words) -> None:
        self.values["sysctl_files"] = entries.sysctl_files(lines)

    def read_sources(self, words: _Words, lines: _Words) -> None:
        self.values["sources"] = dict(entries.sources(lines))

    def read_clock(self, words: _Words, lines: _Words) -> None:
        self.values["clock"] = answer.number(words[0], "time", 1, 2**40)

    def read_forwarding(self, words: _Words, lines: _Words) -> None:
        four, six = (answer.matching(answer.VALUE, word, "value") for word in words[:2])
        state = answer.one_of(("writable", "read-only"), words[2], "state of /proc/sys")
        self.values["sysctls_writable"] = state == "writable"
        self.values["forwarding"] = {4: four, 6: six}

    def read_sysctls(self, words: _Words, lines: _Words) -> None:
        self.values["sysctls"] = dict(entries.sysctl(line) for line in lines)

    def read_rules(self, words: _Words, lines: _Words) -> None:
        self.backends.append((words[0], words[2]))
        if words[2] != "none":
            self.rules.append(entries.rules(words, lines))
        elif len(lines) > 1 or (lines and len(self.backends) % 2 == 0):
            raise ValueError(f"rules has {answer.shown(lines[-1])} where there are none")
        elif lines:
            self.rules_errors[4 if words[0] == "4" else 6] = lines[0]

    def read_nft(self, words: _Words, lines: _Words) -> None:
        if words == ["absent"]:
            return
        # nft may print warnings, too
        shown = next((line for line in lines if line.startswith("{")), None)
        if shown is None:
            self.values["nft_error"] = " ".join(lines) or "it prints nothing"
        else:
            self.values["nft"] = parse_ruleset(shown)

    def read_ssh(self, words: _Words, lines: _Words) -> None:
        self.values["ssh"] = entries.ssh(words, lines)

    def read_guarded(self, words: _Words, lines: _Words) -> None:
        self.values["guarded"] = _paths(lines)

    def read_folders(self, words: _Words, lines: _Words) -> None:
        self.values["folders"] = _paths(lines)

    def read_lists(self, words: _Words, lines: _Words) -> None:
        self.values["lists"] = _paths(lines)

    def read_replacement(self, words: _Words, lines: _Words) -> None:
        self.values["nginx_cut_off"] = bool(lines)

    def read_workers(self, words: _Words, lines: _Words) -> None:
        self.values["nginx_started"] = entries.oldest(answer.matching(_SECONDS, words[0], "time"), lines)

    def read_changed(self, words: _Words, lines: _Words) -> None:
        self.values["nginx_changed"] = dict(entries.changed(line) for line in lines)

    def read_nginx(self, words: _Words, lines: _Words) -> None:
        self.values["nginx_error"], self.values["nginx_dump"] = entries.nginx(answer.data(lines))

    def read_nginx_links(self, words: _Words, lines: _Words) -> None:
        # no managed path has a blank (schema.py)
        self.values["nginx_links"] = dict(pair for line in lines if len(pair := line.split(" ")) == 2)


_SECTIONS: dict[str, Callable[[_Reader, _Words, _Words], None]] = {
    name.removeprefix("read_").replace("_", "-"): read
    for name, read in vars(_Reader).items()
    if name.startswith("read_")
}


def _paths(lines: _Words) -> tuple[str, ...]:
    return tuple(answer.matching(answer.PATH, line, "path") for line in lines)


def _check_dependent_sections(
    observed: Observed,
    config: str,
    seen: set[str],
    backends: Sequence[tuple[str, str]],
    shared: bool,
) -> None:
    """Check the sections that must be there exactly if others say so."""
    lone = observed.link is None and observed.file(config).kind == "file"
    for name, due in (
        ("texts", any(file.kind == "file" for file in observed.files.values())),
        ("config-key", lone and "wg" in observed.tools),
        ("dump", "wg" in observed.tools),
        ("interfaces", "wg" in observed.tools),
        ("preshared", shared),
        ("nginx-links", "nginx" in seen),
        ("workers", "nginx" in seen),
        ("changed", "nginx" in seen),
    ):
        if due != (name in seen):
            raise ValueError(f"it {'lacks the' if due else 'has a'} section {name}")
    if len(backends) != len(_RULES) or any(
        one[0] != wanted[0] or one[1] not in (wanted[1], "none")
        for one, wanted in zip(backends, _RULES, strict=True)
    ):
        raise ValueError("it has not the rules of each family once")


def _check_complete(observed: Observed, seen: set[str], query: Query) -> None:
    wanted = (f"/etc/wireguard/{query.interface}.conf", *query.files, *query.sites)
    for path in (*wanted, *observed.guarded, *observed.lists):
        if path not in observed.files:
            raise ValueError(f"it lacks the file {answer.shown(path)}")
    for name in (
        paths.wireguard_unit(query.interface),
        *paths.firewall_units(query.interface),
        paths.endpoints_timer(query.interface),
        *_OTHER_UNITS,
    ):
        if name not in observed.units:
            raise ValueError(f"it lacks the unit {name}")
    if observed.names.keys() != set(query.names):
        raise ValueError("it lacks a name that was to be resolved, or has one unasked")
    if (query.dump and "nginx" in observed.tools) != ("nginx" in seen):
        raise ValueError("it lacks what nginx says, or has it unasked")
