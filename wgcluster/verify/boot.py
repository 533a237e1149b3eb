"""The state after the next boot: a host's files, read as their programs read them, against the plan."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from wgcluster.firewall.strangers import drops, strangers
from wgcluster.firewall.tables import Chain, Packet, Tables, is_translated, verdict
from wgcluster.firewall.traffic import needed, translated
from wgcluster.host.observed import File
from wgcluster.host.sysctl import FORWARDING, dotted
from wgcluster.plan.plan import HostPlan
from wgcluster.verify.traffic import words
from wgcluster.wireguard.config import ParsedConfig, WgConfError, is_name, own_hooks, parse
from wgcluster.wireguard.drift import foreign_keys


@dataclass(frozen=True, slots=True)
class BootFiles:
    """The files of a host that the next boot reads."""

    config: File  # for wg-quick, without its secrets
    rules: File  # for wgcluster-firewall
    sysctl: File  # for systemd-sysctl


def boot_faults(host: HostPlan, files: BootFiles) -> Iterator[str]:
    """Differences from the plan after the next boot, or the next start of the interface."""
    if files.config.kind != "file":
        yield "the config file is gone"
    else:
        if (files.config.mode, files.config.owner) != ("600", "root:root"):
            yield f"the config file has mode {files.config.mode} of {files.config.owner}: its key can be read"
        yield from (
            f"the config file has {key}, which is not ours" for key in foreign_keys(files.config.text)
        )
        try:
            yield from _config_faults(host, parse(files.config.text))
        except WgConfError as error:
            yield f"the config file cannot be read: {error}"
    if host.firewall != "off":
        yield from _rules_faults(host, files.rules)
    values = _values(files.sysctl)
    for family in host.forwards:
        if values.get(dotted(FORWARDING[family])) != "1":
            yield f"no file of ours switches IPv{family} forwarding on"


def _config_faults(host: HostPlan, config: ParsedConfig) -> Iterator[str]:
    wanted = tuple(map(str, host.addresses))
    if config.addresses != wanted:
        yield f"the config file has Address {', '.join(config.addresses)}, planned is {', '.join(wanted)}"
    if config.listen_port != host.port:
        yield f"the config file has ListenPort {config.listen_port}, planned is {host.port}"
    if config.mtu != host.mtu:
        yield f"the config file has MTU {config.mtu}, planned is {host.mtu}"
    for line in own_hooks(host):
        key, _, value = line.partition(" = ")
        if value not in config.other.get(key, []):
            yield f"the config file lacks {line}"
    there = {peer.public_key: peer for peer in config.peers}
    for peer in host.peers:
        found = there.pop(peer.public_key, None)
        if found is None:
            yield f"the config file lacks the peer {peer.name}"
            continue
        for key, is_, planned in (
            ("AllowedIPs", ", ".join(found.allowed_ips), ", ".join(map(str, peer.allowed_ips))),
            ("Endpoint", found.endpoint, peer.endpoint),
            ("PersistentKeepalive", found.keepalive, peer.keepalive),
        ):
            if is_ != planned:
                yield f"the config file has {key} {is_} for {peer.name}, planned is {planned}"
        if is_name(found.endpoint) and not found.named:
            yield f"Endpoint of {peer.name} is a name: where it does not resolve no interface starts"
        if (found.preshared_key is None) != (peer.preshared_key is None):
            yield f"the config file and the plan differ in whether {peer.name} has a preshared key"
    yield from (f"the config file has a peer too many: {key}" for key in there)


def _rules_faults(host: HostPlan, file: File) -> Iterator[str]:
    """Would the rules that are put back let in what they are for, were they alone in a closed table, and
    keep strangers out, were they alone in an open one?"""
    if file.kind != "file":
        yield "the file of our firewall rules is gone"
        return
    for family, tool in ((4, "iptables"), (6, "ip6tables")):
        try:
            tables = _tables(file.text, tool)
        except ValueError as error:
            yield f"the file of our firewall rules cannot be read: {error}"
            return
        closed = {name: Chain("DROP", chain.rules) for name, chain in tables["filter"].items()}
        for one in needed(host):
            opened = one.way == "in" and one.family == family and "NEW" in (one.packet.state or ())
            if opened and verdict(closed, "INPUT", one.packet) != "ACCEPT":
                yield f"the file of our firewall rules does not let {words(host, 'in', one.packet)}"
        for of, packet, goes in translated(host):
            if of == family and not is_translated(tables.get("nat", {}), "POSTROUTING", packet):
                yield f"with the file of our firewall rules what goes from {goes} keeps its address"
        through = Packet(in_interface=host.interface, out_interface=host.interface)
        if family in host.forwards and verdict(closed, "FORWARD", through) != "ACCEPT":
            yield f"the file of our firewall rules does not let through IPv{family} from {host.interface}"
        own = [address for address in host.addresses if address.version == family]
        for stranger in strangers(host.interface, own, ["a wire"]):
            if not drops(tables, stranger, host.interface):
                yield f"the file of our firewall rules lets in {stranger.description}"


def _tables(text: str, tool: str) -> Tables:
    """What the lines of one program in our rules file make of tables in which there is nothing else."""
    tables: Tables = {
        "raw": {"PREROUTING": Chain()},
        "mangle": {"FORWARD": Chain()},
        "filter": {"INPUT": Chain(), "FORWARD": Chain()},
    }
    for line in text.split("\n"):
        words = line.split(" ", 4)
        if len(words) == 5 and (words[0], words[3]) == (tool, "rule"):
            chain = tables.setdefault(words[1], {}).setdefault(words[2], Chain())
            chain.rules.append(tuple(shlex.split(words[4])))
    return tables


def _values(file: File) -> dict[str, str]:
    """Parse a file as in sysctl.d(5): ``key = value``, dots or slashes, comments with # or ;."""
    values = {}
    for line in file.text.splitlines():
        if not line.lstrip().startswith(("#", ";")):
            key, equals, value = line.partition("=")
            if equals:
                values[key.strip().replace("/", ".")] = value.strip()
    return values
