"""Laws of the proof: what is planned arrives, and what it says agrees with a packet sent by itself."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st

from tests.support.clusters import clusters, keys_of
from tests.support.examples import examples
from tests.support.packets import World
from wgcluster.firewall.tables import Chain
from wgcluster.inventory.cluster import Cluster
from wgcluster.plan.planner import make_plan
from wgcluster.prove.proof import prove, prove_texts
from wgcluster.prove.read import read
from wgcluster.prove.texts import MachineText, texts_of
from wgcluster.wireguard import config as wgconf


@given(clusters())
@examples(300)
def test_every_pair_of_a_plan_reaches_each_other_both_ways(cluster: Cluster) -> None:
    """All but the clients of a masquerading gateway, who reach everyone and are not reached."""
    plan = make_plan(cluster, *keys_of(cluster))
    proof = prove(plan)
    assert proof.ok, proof.faults
    masks = {host.name for host in cluster.hosts if host.masquerade}
    gateway = {client.name: client.gateway.name for client in plan.clients}
    behind = {str(net): host.name for host in cluster.hosts for net in host.subnets}
    for source, destination, verdict, _ in proof.rows():
        here = behind.get(source, gateway.get(source, source))
        if destination in gateway and gateway[destination] in masks and here != gateway[destination]:
            assert verdict == "hidden"
        elif source in behind and destination in behind and "." in source and ":" in destination:
            assert verdict in {"none", "reached"}  # one has no address of the other's family
        elif source in behind and destination in behind and ":" in source and "." in destination:
            assert verdict in {"none", "reached"}
        else:
            assert verdict == "reached", (source, destination)


@given(clusters(), st.randoms(use_true_random=False))
@examples(200)
def test_texts_read_together_say_what_each_says_alone(cluster: Cluster, chosen: random.Random) -> None:
    """Whatever the order of the machines and of their sections, and with some of these twice or gone."""
    texts = list(texts_of(make_plan(cluster, *keys_of(cluster))))
    chosen.shuffle(texts)
    for i, text in enumerate(texts):
        head, *sections = re.split(r"(?=^\[Peer\]\n)", text.config, flags=re.MULTILINE)
        if sections and chosen.random() < 0.5:
            sections.insert(chosen.randrange(len(sections)), chosen.choice(sections))
            del sections[chosen.randrange(len(sections))]
            texts[i] = replace(text, config="".join([head, *(s.rstrip("\n") + "\n\n" for s in sections)]))
    faults: list[str] = []
    reading = read(texts, faults)
    assert not faults
    for i, text in enumerate(texts):
        alone = wgconf.parse(text.config).peers
        found = reading.sections_of(i)
        prefixes, place = reading.peers.prefixes_of(found)
        assert [reading.keys[k] for k in reading.peers.key[found]] == [peer.public_key for peer in alone]
        assert [reading.endpoints[e] if e >= 0 else None for e in reading.peers.endpoint[found]] == [
            peer.endpoint for peer in alone
        ]
        assert [bool(keeps) for keeps in reading.peers.keepalive[found]] == [
            peer.keepalive is not None for peer in alone
        ]
        assert [(n, reading.prefixes[p]) for n, p in zip(place, prefixes, strict=True)] == [
            (n, ip_network(one)) for n, peer in enumerate(alone) for one in peer.allowed_ips
        ]


Draw = Callable[[st.SearchStrategy[Any]], Any]
Edit = Callable[[Draw, list[MachineText]], None]


def edit_line(key: str, change: Callable[[Draw, re.Match[str]], str]) -> Edit:
    """Change one line ``key = value`` of one config."""

    def edit(draw: Draw, texts: list[MachineText]) -> None:
        found = [
            (i, match)
            for i, text in enumerate(texts)
            for match in re.finditer(rf"^{key} = (.*)\n", text.config, re.MULTILINE)
        ]
        if found:
            i, match = draw(st.sampled_from(found))
            old = texts[i].config
            new = old[: match.start()] + change(draw, match) + old[match.end() :]
            texts[i] = replace(texts[i], config=new)

    return edit


def _drop_one(draw: Draw, match: re.Match[str]) -> str:
    entries = match[1].split(", ")
    entries.remove(draw(st.sampled_from(entries)))
    return f"AllowedIPs = {', '.join(entries)}\n" if entries else ""


def _widen_one(draw: Draw, match: re.Match[str]) -> str:
    entries = match[1].split(", ")
    i = draw(st.integers(0, len(entries) - 1))
    address, _, length = entries[i].partition("/")
    entries[i] = f"{address}/{max(1, int(length) - draw(st.integers(1, 4)))}"
    return f"AllowedIPs = {', '.join(entries)}\n"


def _narrow_one(draw: Draw, match: re.Match[str]) -> str:
    entries = match[1].split(", ")
    i = draw(st.integers(0, len(entries) - 1))
    address, _, length = entries[i].partition("/")
    entries[i] = f"{address}/{min(128 if ':' in address else 32, int(length) + draw(st.integers(1, 4)))}"
    return f"AllowedIPs = {', '.join(entries)}\n"


def move_entry(draw: Draw, texts: list[MachineText]) -> None:
    """Give one entry of AllowedIPs to another peer of the same host."""
    i = draw(st.integers(0, len(texts) - 1))
    lines = texts[i].config.split("\n")
    places = [n for n, line in enumerate(lines) if line.startswith("AllowedIPs = ")]
    if len(places) < 2:
        return
    one, other = draw(st.permutations(places))[:2]
    entries = lines[one].removeprefix("AllowedIPs = ").split(", ")
    entry = draw(st.sampled_from(entries))
    entries.remove(entry)
    lines[one] = f"AllowedIPs = {', '.join(entries)}" if entries else "# empty"
    lines[other] += f", {entry}"
    texts[i] = replace(texts[i], config="\n".join(lines))


def drop_section(draw: Draw, texts: list[MachineText]) -> None:
    i = draw(st.integers(0, len(texts) - 1))
    head, *sections = texts[i].config.split("[Peer]\n")
    if sections:
        sections.pop(draw(st.integers(0, len(sections) - 1)))
        texts[i] = replace(texts[i], config="[Peer]\n".join([head, *sections]))


def stop_forwarding(draw: Draw, texts: list[MachineText]) -> None:
    i = draw(st.integers(0, len(texts) - 1))
    kept = [family for family in texts[i].forwards if draw(st.booleans())]
    texts[i] = replace(texts[i], forwards=tuple(kept))


def drop_rule(draw: Draw, texts: list[MachineText]) -> None:
    found = [
        (i, family, table, name, n)
        for i, text in enumerate(texts)
        for family, tables in text.tables.items()
        for table, chains in tables.items()
        for name, chain in chains.items()
        for n in range(len(chain.rules))
    ]
    if found:
        i, family, table, name, n = draw(st.sampled_from(found))
        chain = texts[i].tables[family][table][name]
        left = Chain(chain.policy, chain.rules[:n] + chain.rules[n + 1 :])
        tables = dict(texts[i].tables)
        tables[family] = {**tables[family], table: {**tables[family][table], name: left}}
        texts[i] = replace(texts[i], tables=tables)


EDITS: dict[str, Edit] = {
    "an entry removed": edit_line("AllowedIPs", _drop_one),
    "an entry widened": edit_line("AllowedIPs", _widen_one),
    "an entry narrowed": edit_line("AllowedIPs", _narrow_one),
    "an entry moved": move_entry,
    "an endpoint removed": edit_line("Endpoint", lambda draw, match: ""),
    "a keepalive removed": edit_line("PersistentKeepalive", lambda draw, match: ""),
    "a preshared key removed": edit_line("PresharedKey", lambda draw, match: ""),
    "a peer removed": drop_section,
    "forwarding off": stop_forwarding,
    "a rule removed": drop_rule,
}


@given(st.data())
@examples(400)
def test_the_proof_agrees_with_packets_sent_one_by_one(data: st.DataObject) -> None:
    cluster = data.draw(clusters(max_hosts=6))
    texts = list(texts_of(make_plan(cluster, *keys_of(cluster))))
    for name in data.draw(st.lists(st.sampled_from(sorted(EDITS)), max_size=3)):
        event(name)
        EDITS[name](data.draw, texts)
    proof = prove_texts(texts)
    for source, destination, arrives in World(texts).pairs():
        event(f"arrives: {arrives}")
        assert (proof.verdict(source, destination) == "reached") == arrives, (source, destination)
    assert proof.counts()["lost"] == 0 or not proof.ok


@given(st.data())
@examples(200)
def test_what_the_proof_does_not_need_to_reach_is_hidden_only_by_masquerade(data: st.DataObject) -> None:
    cluster = data.draw(clusters(max_hosts=6, masquerade=False))
    texts = list(texts_of(make_plan(cluster, *keys_of(cluster))))
    EDITS[data.draw(st.sampled_from(sorted(EDITS)))](data.draw, texts)
    proof = prove_texts(texts)
    lost = [(a, b) for a, b, arrives in World(texts).pairs() if not arrives]
    assert proof.counts()["hidden"] == 0
    assert proof.counts()["lost"] == len(lost)
    assert not lost or not proof.ok
