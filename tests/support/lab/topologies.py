"""One cluster of each topology, with where its machines stand; and what can be planted in its texts."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from tests.support.chains import DOCKER
from tests.support.lab.overlay import Overlay, Station, Texts, key_pair, overlay
from wgcluster.firewall import placement
from wgcluster.firewall import rules as firewall
from wgcluster.firewall.tables import Chain, Spec, Tables, parse_save
from wgcluster.inventory.cluster import Client
from wgcluster.inventory.reading import read_cluster
from wgcluster.inventory.row import Row
from wgcluster.keys.secret import Secret
from wgcluster.plan.plan import ClientPlan, HostPlan, Plan
from wgcluster.plan.planner import make_plan
from wgcluster.prefixes import FAMILIES, Family, Network
from wgcluster.prove.texts import MachineText, texts_of
from wgcluster.wireguard import client
from wgcluster.wireguard import config as wgconf

_NAME = "wg"  # of the interface

Edit = Callable[[dict[str, MachineText]], None]

_ANSWERS = ("-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT")
_NAT: Tables = {
    "filter": {"FORWARD": Chain("DROP", [("-i", "eth1", "-j", "ACCEPT"), _ANSWERS])},
    "nat": {"POSTROUTING": Chain("ACCEPT", [("-o", "eth0", "-j", "MASQUERADE")])},
}
# what a provider leaves: UDP closed, and one of these
_INPUT = Chain("ACCEPT", [_ANSWERS, ("-p", "udp", "-j", "DROP")])
# what Docker leaves: closed where it switched forwarding on itself; open after a boot of a host that forwards
_DOCKER = parse_save(DOCKER)["filter"]
_FORWARDS: tuple[dict[str, Chain], ...] = (
    {"FORWARD": Chain("ACCEPT", [("-i", "docker0", "-j", "ACCEPT"), ("-j", "REJECT")])},
    {"FORWARD": Chain("DROP")},
    {"FORWARD": Chain("ACCEPT")},
    _DOCKER,
    {**_DOCKER, "FORWARD": Chain("ACCEPT", _DOCKER["FORWARD"].rules)},
)
STRANGER = "stranger-"  # begins the name of one who stands on the wire that follows


@dataclass(frozen=True)
class Case:
    """An inventory, its road warriors, and the networks behind routers: {router: who stands there}.

    Whoever has an endpoint, and a road warrior that no router hides, stands on the internet.
    """

    shared: Mapping[str, Any]
    hosts: Mapping[str, Mapping[str, Any]]
    clients: Sequence[Client]
    behind: Mapping[str, Sequence[str]]
    backend: str = "nft"


def _host(number: int, networks: Sequence[str], **keys: Any) -> dict[str, Any]:
    return {"wg_address": [str(ip_network(net)[number]) for net in networks], **keys}


def _client(name: str, number: int, networks: Sequence[str], gateway: str) -> Client:
    return Client(name, tuple(ip_address(ip_network(net)[number]) for net in networks), gateway)


_BOTH, _FOUR, _SIX = ("10.0.0.0/24", "fd00::/64"), ("10.0.0.0/24",), ("fd00::/64",)

CASES = {
    # backup and store meet through a gateway; hub hides what it forwards, its own network too
    "mesh": Case(
        {"wg_networks": list(_BOTH), "wg_topology": "mesh"},
        {
            "root": _host(1, _BOTH, wg_endpoint="198.18.0.1", wg_gateway=True),
            "hub": _host(
                2,
                _BOTH,
                wg_endpoint="[fd57::2]:51999",
                wg_port=51999,
                wg_gateway=True,
                wg_masquerade=True,
                wg_subnets=["172.16.2.0/24"],
            ),
            "cloud": _host(3, _BOTH, wg_endpoint="198.18.0.3", wg_port=51821),
            "edge": _host(
                4, _BOTH, wg_endpoint="198.18.0.4", wg_subnets=["172.16.1.0/24", "fd01:0:0:1::/64"]
            ),
            "web": _host(5, _BOTH, wg_endpoint="[fd57::5]"),
            "backup": _host(6, _BOTH),
            "store": _host(7, _BOTH),
        },
        [_client("laptop", 100, _BOTH, "root"), _client("phone", 101, _BOTH, "hub")],
        {"router": ["backup", "store", "phone"]},
    ),
    # ams has two gateways and a network of its own; home stands behind NAT with its gateway
    "sites": Case(
        {"wg_networks": list(_FOUR), "wg_topology": "sites", "wg_preshared_keys": True},
        {
            "ams1": _host(1, _FOUR, wg_site="ams", wg_endpoint="198.18.0.1", wg_gateway=True),
            "ams2": _host(2, _FOUR, wg_site="ams", wg_endpoint="198.18.0.2", wg_gateway=True),
            "amsdb": _host(
                3, _FOUR, wg_site="ams", wg_endpoint="198.18.0.3", wg_site_endpoint="192.168.70.3"
            ),
            "fra1": _host(
                11, _FOUR, wg_site="fra", wg_endpoint="198.18.0.11", wg_gateway=True, wg_masquerade=True
            ),
            "fraapp": _host(
                12, _FOUR, wg_site="fra", wg_endpoint="198.18.0.12", wg_subnets=["172.16.9.0/24"]
            ),
            "home1": _host(21, _FOUR, wg_site="home", wg_site_endpoint="192.168.80.21", wg_gateway=True),
            "homenas": _host(
                22,
                _FOUR,
                wg_site="home",
                wg_site_endpoint="192.168.80.22:51900",
                wg_port=51900,
                wg_subnets=["172.16.8.0/24"],
            ),
        },
        [_client("laptop", 100, _FOUR, "ams1"), _client("phone", 101, _FOUR, "fra1")],
        {"router": ["home1", "homenas"], "cafe": ["laptop"]},
        "legacy",
    ),
    # a ring of five, which carry for each other, and two more behind NAT
    "partial": Case(
        {"wg_networks": list(_SIX), "wg_topology": "partial"},
        {
            "a": _host(1, _SIX, wg_endpoint="[fd57::1]", wg_links=["b", "e"], wg_gateway=True),
            "b": _host(2, _SIX, wg_endpoint="198.18.0.2", wg_links=["c"]),
            "c": _host(
                3, _SIX, wg_endpoint="[fd57::3]", wg_links=["d"], wg_subnets=["fd01::/64", "fd01:0:0:1::/64"]
            ),
            "d": _host(
                4, _SIX, wg_endpoint="198.18.0.4", wg_links=["e"], wg_gateway=True, wg_masquerade=True
            ),
            "e": _host(5, _SIX, wg_endpoint="[fd57::5]", wg_keepalive=20),
            "f": _host(6, _SIX, wg_links=["b", "c"]),
            "g": _host(7, _SIX, wg_links=["e"]),
        },
        [_client("laptop", 100, _SIX, "a"), _client("phone", 101, _SIX, "d")],
        {"router": ["f"], "cafe": ["g", "laptop"]},
    ),
}


@dataclass
class Live:
    """A cluster that is up as planned, and what ``prove`` is told of it."""

    plan: Plan
    overlay: Overlay
    texts: Texts
    nodes: dict[str, list[tuple[str, str]]] = field(default_factory=dict)  # (machine, address) each


@contextmanager
def live(name: str) -> Iterator[Live]:
    """The cluster of one topology: planned, rendered, its rules set as the deploy sets them."""
    case = CASES[name]
    cluster = read_cluster(
        [Row(one, {**case.shared, **data}) for one, data in case.hosts.items()], case.clients
    )
    keys = {one: key_pair() for one in (*case.hosts, *_names(case))}
    public = {one: pair[1] for one, pair in keys.items()}
    plan = make_plan(cluster, public, public)
    with overlay(_stations(case, plan), case.backend) as made:
        texts = {}
        shared: dict[str, str] = {}
        for text in texts_of(plan):
            texts[text.name] = replace(text, config=_config(plan, text.name, keys[text.name][0], shared))
        for host in plan.hosts:
            texts[host.name] = replace(texts[host.name], tables=_set_rules(made, host))
        made.tell(texts)
        yield Live(plan, made, texts, _nodes(plan))


def _names(case: Case) -> list[str]:
    return [one.name for one in case.clients]


def _config(plan: Plan, name: str, key: str, shared: dict[str, str]) -> str:
    """As the deploy writes it, secrets and all; ``shared`` collects the preshared keys."""

    def secret(link: str | None) -> str | None:
        return link and shared.setdefault(link, base64.b64encode(os.urandom(32)).decode())

    for warrior in plan.clients:
        if warrior.name == name:
            psk = secret(warrior.gateway.preshared_key)
            return client.config(warrior, key, Secret(psk) if psk else None)
    host = plan.host(name)
    for peer in host.peers:
        secret(peer.preshared_key)
    return wgconf.render(host, key, shared)


def _set_rules(made: Overlay, host: HostPlan) -> dict[Family, Tables]:
    """Ours, put among the provider's by the core's own changes; what the tables then say."""
    for family in FAMILIES:
        rules = [rule for rule in firewall.desired_rules(host) if rule.family == family]
        changes = placement.changes(made.tables(host.name, family), rules, host.interface)
        judge = made.machines[host.name].filter(family, made.backend)
        judge.restore(placement.restore_text(changes))
    return {family: made.tables(host.name, family) for family in FAMILIES}


def _ends(plan: Plan) -> list[HostPlan | ClientPlan]:
    return [*plan.hosts, *plan.clients]


def _stations(case: Case, plan: Plan) -> dict[str, Station]:
    """Who is plugged in where, with what a provider leaves in the filter of each host."""
    stations: dict[str, Station] = {}
    hidden = {name: router for router, names in case.behind.items() for name in names}
    numbers = {one.name: int(one.addresses[0]) & 0xFF for one in _ends(plan)}
    for i, (router, names) in enumerate(case.behind.items()):
        lan = f"192.168.{80 + i}"
        stations[router] = Station(
            {
                "eth0": ("internet", [f"198.18.1.{1 + i}/16", f"fd57::1:{1 + i}/64"]),
                "eth1": (f"lan-{router}", [f"{lan}.254/24", f"fd57:0:0:{80 + i}::fe/64"]),
            },
            forwards=True,
            tables=dict.fromkeys(FAMILIES, _NAT),
        )
        for name in names:
            own = [f"{lan}.{numbers[name]}/24", f"fd57:0:0:{80 + i}::{numbers[name]}/64"]
            via = [f"{lan}.254", f"fd57:0:0:{80 + i}::fe"]
            stations[name] = Station({"eth0": (f"lan-{router}", own)}, via)
    for i, one in enumerate(_ends(plan)):
        if one.name not in hidden:
            own = [f"198.18.0.{numbers[one.name]}/16", f"fd57::{numbers[one.name]}/64"]
            stations[one.name] = Station({"eth0": ("internet", own)})
        ends = dict(stations[one.name].ends)
        if case.hosts.get(one.name, {}).get("wg_site") == "ams":
            ends["eth1"] = ("lan-ams", [f"192.168.70.{numbers[one.name]}/24"])
        subnets = one.subnets if isinstance(one, HostPlan) else ()
        for j, net in enumerate(subnets):
            switch = f"net{i}-{j}"
            ends[f"net{j}"] = (switch, [f"{net[1]}/{net.prefixlen}"])
            members = [f"{member}/{net.prefixlen}" for member in _members(net)]
            stations[f"in{i}-{j}"] = Station({"eth0": (switch, members)}, [str(net[1])])
        chains = _FORWARDS[i % len(_FORWARDS)]
        provider: dict[Family, Tables] = {
            family: {"filter": {**(chains if family == 4 else _six(chains)), "INPUT": _INPUT}}
            for family in FAMILIES
        }
        tables = provider if isinstance(one, HostPlan) else {}
        stations[one.name] = replace(stations[one.name], ends=ends, tables=tables)
    return stations | _strangers(stations)


def _six(chains: Mapping[str, Chain]) -> dict[str, Chain]:
    return {
        name: replace(one, rules=[spec for spec in one.rules if "-d" not in spec])
        for name, one in chains.items()
    }


def _strangers(stations: Mapping[str, Station]) -> dict[str, Station]:
    """One on each wire, with an address of its networks that nobody has."""
    wires = {switch: own for one in stations.values() for switch, own in one.ends.values()}
    return {
        f"{STRANGER}{switch}": Station({"eth0": (switch, [*dict.fromkeys(map(_spare, own))])})
        for switch, own in wires.items()
    }


def _spare(address: str) -> str:
    network = ip_interface(address).network
    return f"{network[0x4242 % network.num_addresses]}/{network.prefixlen}"


def _members(network: Network) -> list[str]:
    """One in each half, so that both are asked when the halves go different ways."""
    return [str(network[10]), str(network[-10])]


def _nodes(plan: Plan) -> dict[str, list[tuple[str, str]]]:
    nodes = {one.name: [(one.name, str(address.ip)) for address in one.addresses] for one in _ends(plan)}
    for i, host in enumerate(plan.hosts):
        for j, network in enumerate(host.subnets):
            nodes[str(network)] = [(f"in{i}-{j}", member) for member in _members(network)]
    return nodes


def take(host: str, peer: str, *networks: str) -> Edit:
    """AllowedIPs lose these."""
    return _allowed(host, peer, lambda found: [one for one in found if one not in networks], -len(networks))


def give(host: str, peer: str, *networks: str) -> Edit:
    """AllowedIPs end with these."""
    return _allowed(host, peer, lambda found: [*found, *networks], len(networks))


def move(host: str, network: str, old: str, new: str) -> Edit:
    """From one peer's AllowedIPs to another's."""
    return both(take(host, old, network), give(host, new, network))


def both(*edits: Edit) -> Edit:
    def edit(texts: dict[str, MachineText]) -> None:
        for one in edits:
            one(texts)

    return edit


def _allowed(host: str, peer: str, change: Callable[[list[str]], list[str]], more: int) -> Edit:
    def changed(section: str) -> str:
        begin, line = section.split("AllowedIPs = ")
        line, rest = line.split("\n", 1)
        before = line.split(", ")
        after = change(before)
        assert len(after) == len(before) + more, (host, peer, before)
        return f"{begin}AllowedIPs = {', '.join(after)}\n{rest}"

    return _section(host, peer, changed)


def without(host: str, peer: str, key: str) -> Edit:
    """A line of a peer's section, gone."""
    return _section(host, peer, lambda section: re.sub(rf"^{key} = .*\n", "", section, flags=re.M))


def _section(host: str, peer: str, change: Callable[[str], str]) -> Edit:
    def edit(texts: dict[str, MachineText]) -> None:
        head, *sections = re.split(r"(?=^\[Peer\]\n)", texts[host].config, flags=re.M)
        mine = [i for i, one in enumerate(sections) if re.match(rf"\[Peer\]\n# \w+ {peer}\n", one)]
        assert len(mine) == 1, (host, peer)
        before = sections[mine[0]]
        sections[mine[0]] = change(before)
        assert sections[mine[0]] != before, (host, peer, before)
        texts[host] = replace(texts[host], config="".join([head, *sections]))

    return edit


def forwarding_off(host: str, family: Family) -> Edit:
    def edit(texts: dict[str, MachineText]) -> None:
        assert family in texts[host].forwards
        left = tuple(one for one in texts[host].forwards if one != family)
        texts[host] = replace(texts[host], forwards=left)

    return edit


def without_ours(host: str, family: Family, name: str, table: str = "filter") -> Edit:
    """A built-in chain without the rules that the deploy put there."""
    ours = f"wgcluster-{_NAME}"
    return _chain(host, family, table, name, lambda rules: [one for one in rules if ours not in one])


def with_first(host: str, family: Family, *rule: str, table: str = "filter") -> Edit:
    """FORWARD with one rule more, in front of all."""
    return _chain(host, family, table, "FORWARD", lambda rules: [rule, *rules])


def _chain(
    host: str, family: Family, table: str, name: str, change: Callable[[list[Spec]], list[Spec]]
) -> Edit:
    def edit(texts: dict[str, MachineText]) -> None:
        tables = deepcopy(dict(texts[host].tables[family]))
        there = tables[table][name]
        rules = change(there.rules)
        assert rules != there.rules, there
        there.rules = rules
        texts[host] = replace(texts[host], tables={**texts[host].tables, family: tables})

    return edit
