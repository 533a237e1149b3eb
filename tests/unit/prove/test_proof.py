"""The proof finds every planted fault and names the pair, the hop and the rule."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network
from itertools import product

import pytest

from tests.support.packets import World
from tests.support.small_clusters import article, client, cluster, host, line, planned, two_sites
from wgcluster.firewall.tables import Chain, Spec, Tables, parse_save
from wgcluster.inventory.cluster import Cluster, Endpoint
from wgcluster.prefixes import Address, Family
from wgcluster.prove.proof import Proof, prove, prove_texts
from wgcluster.prove.texts import MachineText, texts_of


def texts(of: Cluster) -> dict[str, MachineText]:
    return {text.name: text for text in texts_of(planned(of))}


def edited(of: Cluster, name: str, *changes: tuple[str, str]) -> Proof:
    """The proof after lines of one config were replaced; each must be there exactly once."""
    found = texts(of)
    config = found[name].config
    for old, new in changes:
        assert config.count(old) == 1, (old, config)
        config = config.replace(old, new)
    return prove_texts([*(found | {name: replace(found[name], config=config)}).values()])


def messages(proof: Proof) -> str:
    return "\n".join(fault.message for fault in proof.faults)


def broken(proof: Proof) -> set[tuple[str, str]]:
    return {(source, to) for source, to, verdict, _ in proof.rows() if verdict == "lost"}


def test_the_article_s_cluster_holds() -> None:
    proof = prove(planned(article()))
    assert proof.ok
    assert proof.counts() == {"reached": 12, "lost": 0, "hidden": 0, "none": 0}
    assert proof.hops("laptop", "cloud") == 2
    assert proof.hops("backup", "cloud") == 1
    assert proof.warnings == ("if root is lost, laptop is cut off",)


def test_a_masqueraded_client_reaches_all_and_is_reached_by_its_gateway_alone() -> None:
    proof = prove(planned(article(masquerade=True)))
    assert proof.ok
    assert {to: proof.verdict("laptop", to) for to in ("root", "cloud", "backup")} == dict.fromkeys(
        ("root", "cloud", "backup"), "reached"
    )
    assert proof.verdict("cloud", "laptop") == "hidden"
    assert proof.verdict("root", "laptop") == "reached"


def test_an_entry_removed_from_allowed_ips() -> None:
    proof = edited(
        article(), "cloud", ("AllowedIPs = 10.0.0.2/32, 10.0.0.100/32", "AllowedIPs = 10.0.0.2/32")
    )
    assert broken(proof) == {("cloud", "laptop"), ("laptop", "cloud")}
    assert "cloud -> laptop: hop 1, cloud: no peer has 10.0.0.100 in its AllowedIPs" in messages(proof)
    assert (
        "laptop -> cloud: hop 2, cloud: drops it, as 10.0.0.100 is not in the AllowedIPs of its peer root"
        " (no peer has it)" in messages(proof)
    )
    one = next(fault for fault in proof.faults if fault.source == "laptop")
    assert (one.destination, one.at, one.rule, one.pairs) == ("cloud", "cloud", "source", 1)


def test_an_entry_widened_over_addresses_of_nobody() -> None:
    proof = edited(article(), "cloud", ("10.0.0.4/32", "10.0.0.4/31"))
    assert not broken(proof)  # everything arrives, and still it is no plan of ours
    assert messages(proof) == (
        "cloud: AllowedIPs of backup hold 10.0.0.4/31, in which addresses belong to nobody"
    )


def test_an_entry_widened_over_another_peer_s_address() -> None:
    proof = edited(article(), "backup", ("10.0.0.2/32, 10.0.0.100/32", "10.0.0.2/31, 10.0.0.100/32"))
    assert not broken(proof)  # the longer prefix still wins
    assert (
        "backup: 10.0.0.3 stands in the AllowedIPs of cloud, root; the longest prefix takes it"
        in messages(proof)
    )


def test_an_entry_moved_to_another_peer() -> None:
    proof = edited(
        article(),
        "backup",
        ("AllowedIPs = 10.0.0.3/32\n", "AllowedIPs = 10.0.0.3/32, 10.0.0.2/32\n"),
        ("AllowedIPs = 10.0.0.2/32, 10.0.0.100/32", "AllowedIPs = 10.0.0.100/32"),
    )
    assert ("backup", "root") in broken(proof)
    assert "backup -> root: hop 1, cloud: drops it" not in messages(proof)  # cloud takes it and is no relay
    assert "backup -> root: hop 1, cloud: ip_forward is off for IPv4" in messages(proof)
    assert "root -> backup: hop 1, backup: drops it, as 10.0.0.2 is not in" in messages(proof)


def test_an_address_stolen_by_a_later_peer() -> None:
    proof = edited(
        article(), "cloud", ("10.0.0.2/32, 10.0.0.100/32", "10.0.0.2/32, 10.0.0.100/32, 10.0.0.4/32")
    )
    assert (
        "cloud: 10.0.0.4 stands in the AllowedIPs of backup, root; the longest prefix takes it, of equal ones"
        " the last" in messages(proof)
    )
    assert ("cloud", "backup") in broken(proof)


def test_a_host_s_own_address_given_to_a_peer() -> None:
    proof = edited(article(), "cloud", ("AllowedIPs = 10.0.0.4/32", "AllowedIPs = 10.0.0.4/32, 10.0.0.3/32"))
    assert "cloud: its own 10.0.0.3 is in the AllowedIPs of backup" in messages(proof)


def test_forwarding_off() -> None:
    found = texts(two_sites())
    proof = prove_texts((found | {"b1": replace(found["b1"], forwards=())}).values())
    assert messages(proof) == (
        "a1 -> b2 (and 1 more pair): hop 1, b1: ip_forward is off for IPv4\n"
        "b2 -> a1 (and 1 more pair): hop 1, b1: ip_forward is off for IPv4"
    )
    assert broken(proof) == {(a, b) for one in ("a1", "a2") for a, b in ((one, "b2"), ("b2", one))}


@pytest.mark.parametrize(
    "chain",
    [
        pytest.param("*filter\n:FORWARD DROP [0:0]\n", id="no rule of ours"),
        pytest.param(
            "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -j REJECT\n-A FORWARD -i wg -j ACCEPT\n",
            id="ours behind a rule that ends the chain",
        ),
    ],
)
def test_a_forward_chain_that_stops_it(chain: str) -> None:
    found = texts(article())
    root = replace(found["root"], tables={4: parse_save(f"{chain}COMMIT\n")})
    proof = prove_texts((found | {"root": root}).values())
    assert broken(proof) == {
        (a, b) for one in ("cloud", "backup") for a, b in ((one, "laptop"), ("laptop", one))
    }
    assert (
        "root: its FORWARD chain does not let through what goes from the tunnel into the tunnel"
        in messages(proof)
    )


def test_a_route_made_asymmetric() -> None:
    """h00 - h01 - h02 - h03 and back, a circle of four: one end of the diagonal takes the other way."""
    of = cluster(
        *(host(f"h{i:02}", i + 1, links=(f"h{(i + 1) % 4:02}",)) for i in range(4)), topology="partial"
    )
    plan = planned(of)
    assert prove(plan).ok
    peers = plan.host("h00").peers
    via = next(peer for peer in peers if ip_network("10.0.0.3/32") in peer.allowed_ips)
    other = next(peer for peer in peers if peer is not via)
    less = replace(via, allowed_ips=tuple(n for n in via.allowed_ips if n != ip_network("10.0.0.3/32")))
    more = replace(other, allowed_ips=(*other.allowed_ips, ip_network("10.0.0.3/32")))
    swapped = replace(plan.host("h00"), peers=(less, more))
    hosts = (replace(one, forwards=(4,)) for one in (swapped, *plan.hosts[1:]))
    proof = prove(replace(plan, hosts=tuple(hosts)))
    assert broken(proof) == {("h00", "h02"), ("h02", "h00")}
    drops = "drops it, as {} is not in the AllowedIPs of its peer {} ({} has it)"
    there = f"h00 -> h02: hop 2, h02: {drops.format('10.0.0.1', other.name, via.name)}"
    back = f"h02 -> h00: hop 2, h00: {drops.format('10.0.0.3', via.name, other.name)}"
    assert messages(proof).split("\n") == ([there, back] if via.name == "h03" else [back, there])


def test_a_keepalive_missing_where_nobody_could_open_the_link() -> None:
    found = texts(article())
    config = (
        found["backup"]
        .config.replace("PersistentKeepalive = 25\n", "")
        .replace("PersistentKeepalive = 25", "")
    )
    proof = prove_texts((found | {"backup": replace(found["backup"], config=config)}).values())
    assert broken(proof) == {("cloud", "backup"), ("root", "backup"), ("laptop", "backup")}
    assert (
        "cloud -> backup: hop 1, cloud: has no Endpoint for backup, and backup has no PersistentKeepalive for"
        " cloud: the link is down until the other side sends something" in messages(proof)
    )


def test_a_link_that_neither_side_can_open() -> None:
    proof = edited(article(), "backup", ("Endpoint = 198.18.0.3:51820\n", ""))
    assert "neither backup nor cloud has an Endpoint for the other, so nobody can open the link" in messages(
        proof
    )
    assert broken(proof) == {("cloud", "backup"), ("backup", "cloud")}


def test_a_peer_known_on_one_side_only() -> None:
    found = texts(article())
    config = found["cloud"].config.split("\n[Peer]\n# host backup")[0]
    proof = prove_texts((found | {"cloud": replace(found["cloud"], config=config)}).values())
    assert "backup -> cloud: hop 1, backup: cloud has no peer with the key of backup" in messages(proof)


def test_a_peer_whose_key_no_machine_has() -> None:
    proof = edited(article(), "cloud", ("PublicKey = key-root", "PublicKey = someone"))
    assert "cloud: no machine has the key someone of a peer" in messages(proof)
    assert (
        "cloud -> root (and 1 more pair): hop 1, cloud: AllowedIPs give 10.0.0.2 to a peer whose key"
        in messages(proof)
    )


def test_two_machines_with_one_key() -> None:
    found = texts(article())
    proof = prove_texts((found | {"cloud": replace(found["cloud"], public_key="key-root")}).values())
    assert "cloud and root have the same key key-root" in messages(proof)


def test_a_preshared_key_on_one_side_only() -> None:
    proof = edited(
        article(preshared_keys=True),
        "backup",
        ("PublicKey = key-cloud\nPresharedKey = (hidden)\n", "PublicKey = key-cloud\n"),
    )
    assert broken(proof) == {("cloud", "backup"), ("backup", "cloud")}
    assert "the link to cloud has a PresharedKey that differs or stands on one side only" in messages(proof)


def test_the_masquerade_rule_missing_where_the_client_is_routed_to_nobody() -> None:
    found = texts(article(masquerade=True))
    tables: dict[Family, Tables] = {4: {**found["root"].tables[4], "nat": {"POSTROUTING": Chain()}}}
    proof = prove_texts((found | {"root": replace(found["root"], tables=tables)}).values())
    assert "hop 2, cloud: drops it, as 10.0.0.100 is not in the AllowedIPs of its peer root" in messages(
        proof
    )


def test_a_masquerading_gateway_without_a_firewall_of_ours_does_not_masquerade() -> None:
    of = article()
    root = replace(of.hosts[2], masquerade=True, firewall="off")
    proof = prove(planned(replace(of, hosts=(*of.hosts[:2], root))))
    assert {("laptop", "cloud"), ("laptop", "backup")} <= {(f.source, f.destination) for f in proof.faults}


def test_masquerade_towards_a_network_hides_nothing_from_the_tunnel() -> None:
    """Every pair is as without it, both ways: what comes out of the network keeps its address."""
    of = article()
    behind = replace(of.hosts[2], subnets=(ip_network("172.16.0.0/12"),))
    without, hidden = (
        prove_texts(texts(replace(of, hosts=(*of.hosts[:2], replace(behind, masquerade_lan=lan)))).values())
        for lan in (False, True)
    )
    assert hidden.ok
    assert list(hidden.rows()) == list(without.rows())
    rules = texts(replace(of, hosts=(*of.hosts[:2], replace(behind, masquerade_lan=True))))["root"].tables[4]
    assert any("MASQUERADE" in spec for spec in rules["nat"]["POSTROUTING"].rules)


def test_a_network_whose_host_does_not_forward() -> None:
    of = article()
    root = replace(of.hosts[2], subnets=(ip_network("172.16.0.0/12"),))
    found = texts(replace(of, hosts=(*of.hosts[:2], root)))
    assert prove_texts(found.values()).ok
    rules = found["root"].tables[4]["filter"]["FORWARD"].rules
    lost = {}
    for missing in ("-d", "-s"):
        left = [spec for spec in rules if missing not in spec]
        chains = {**found["root"].tables[4], "filter": {"FORWARD": Chain("DROP", left)}}
        proof = prove_texts((found | {"root": replace(found["root"], tables={4: chains})}).values())
        lost[missing] = {pair for pair in broken(proof) if "cloud" in pair}, messages(proof)
    guard = found["root"].tables[4]["mangle"]["FORWARD"].rules[-1]
    assert guard[:3] == ("!", "-s", "172.16.0.0/12")
    chains = {**found["root"].tables[4], "mangle": {"FORWARD": Chain("ACCEPT", [guard[3:]])}}
    proof = prove_texts((found | {"root": replace(found["root"], tables={4: chains})}).values())
    assert {pair for pair in broken(proof) if "cloud" in pair} == {("172.16.0.0/12", "cloud")}
    assert lost["-d"][0] == {("cloud", "172.16.0.0/12"), ("172.16.0.0/12", "cloud")}
    assert "what goes from the tunnel to 172.16.0.0, or not the answers" in lost["-d"][1]
    assert lost["-s"][0] == {("172.16.0.0/12", "cloud")}
    assert "what goes from the network behind it into the tunnel, or not the answers" in lost["-s"][1]


@pytest.mark.parametrize("masquerade", [False, True])
@pytest.mark.parametrize(
    ("table", "name", "plant", "says"),
    [
        ("raw", "PREROUTING", lambda rules: rules[:1] + rules[2:], "what comes by a wire for 10.0.0.2"),
        ("raw", "PREROUTING", lambda rules: rules[:-1], "what comes by a wire as if from 10.0.0.0/24"),
        ("raw", "PREROUTING", lambda rules: [("-j", "ACCEPT"), *rules], "what comes by a wire for 10.0.0.2"),
        ("mangle", "FORWARD", lambda rules: rules[:-1], "what comes by a wire for wg"),
        ("mangle", "FORWARD", lambda rules: [("-s", "198.51.100.0/24", "-j", "ACCEPT"), *rules],
         "what comes by a wire for wg"),
    ],
)  # fmt: skip
def test_a_stranger_who_gets_in(
    masquerade: bool, table: str, name: str, plant: Callable[[list[Spec]], list[Spec]], says: str
) -> None:
    found = texts(article(masquerade=masquerade))
    tables = found["root"].tables[4]
    chain = replace(tables[table][name], rules=plant(tables[table][name].rules))
    root = replace(found["root"], tables={4: {**tables, table: {name: chain}}})
    proof = prove_texts((found | {"root": root}).values())
    faults = [fault for fault in proof.faults if fault.rule == "stranger"]
    assert f"root lets in {says}" in [fault.message for fault in faults]
    assert {fault.at for fault in faults} == {"root"}


def test_a_gateway_hides_road_warriors_but_no_network_of_its_own() -> None:
    of = article(masquerade=True)
    root = replace(of.hosts[2], subnets=(ip_network("172.16.0.0/12"),))
    proof = prove(planned(replace(of, hosts=(*of.hosts[:2], root))))
    assert proof.ok
    assert proof.verdict("cloud", "laptop") == "hidden"
    assert proof.verdict("cloud", "172.16.0.0/12") == proof.verdict("172.16.0.0/12", "cloud") == "reached"


def test_half_a_network_is_not_the_network() -> None:
    of = article()
    root = replace(of.hosts[2], subnets=(ip_network("172.16.0.0/12"),))
    of = replace(of, hosts=(*of.hosts[:2], root))
    proof = edited(of, "cloud", ("172.16.0.0/12", "172.16.0.0/13"))
    assert proof.verdict("cloud", "172.16.0.0/12") == "lost"
    assert "no peer has 172.24.0.0 in its AllowedIPs" in messages(proof)


def test_one_address_and_port_for_two_hosts() -> None:
    of = article()
    same = of.hosts[2].endpoint
    proof = prove(planned(replace(of, hosts=(of.hosts[0], replace(of.hosts[1], endpoint=same), of.hosts[2]))))
    assert "198.18.0.2:51820 is the endpoint of cloud and root: give each a port of its own" in messages(
        proof
    )
    another = Endpoint(same.host, 51999) if same else None
    assert prove(
        planned(replace(of, hosts=(of.hosts[0], replace(of.hosts[1], endpoint=another), of.hosts[2])))
    ).ok


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("web.example:51820", "Web.Example:51820"),
        ("web.example:51820", "web.example.:51820"),
        ("WEB.example.:51820", "web.EXAMPLE:51820"),
        ("[2001:db8::1]:51820", "[2001:DB8:0::1]:51820"),
    ],
)
def test_one_endpoint_spelled_in_two_ways_is_one(one: str, other: str) -> None:
    found = texts(article())
    config = found["backup"].config
    for old, new in (("198.18.0.2:51820", one), ("198.18.0.3:51820", other)):
        config = config.replace(old, new)
    plain = one.lower().replace(".:", ":")
    proof = prove_texts((found | {"backup": replace(found["backup"], config=config)}).values())
    assert f"{plain} is the endpoint of cloud and root: give each a port of its own" in messages(proof)
    config = config.replace(other, other.replace("51820", "51821"))
    assert prove_texts((found | {"backup": replace(found["backup"], config=config)}).values()).ok


def test_one_private_address_in_two_sites_is_no_fault() -> None:
    of = two_sites()
    private: Address = ip_network("10.9.0.1/32").network_address
    hosts = [replace(one, site_endpoint=Endpoint(private, 51820)) if one.gateway else one for one in of.hosts]
    assert prove(planned(replace(of, hosts=tuple(hosts)))).ok
    one_site = [replace(one, site="ams") for one in hosts]
    proof = prove(planned(replace(of, hosts=tuple(one_site), topology="mesh")))
    assert "10.9.0.1:51820 is the endpoint of a1 and b1" in messages(proof)


def test_one_address_for_two_machines() -> None:
    found = texts(article())
    config = found["cloud"].config.replace("Address = 10.0.0.3/24", "Address = 10.0.0.4/24")
    proof = prove_texts((found | {"cloud": replace(found["cloud"], config=config)}).values())
    assert "10.0.0.4 is the address of backup and of cloud" in messages(proof)


def test_a_text_that_cannot_be_read() -> None:
    proof = edited(article(), "cloud", ("ListenPort = 51821", "ListenPort = 51821x"))
    assert "cloud: its config cannot be read: line 7" in messages(proof)


@pytest.mark.parametrize("header", ["[peer]", "[Peer] # by hand", "\t[PEER]"])
def test_a_text_written_in_another_way_is_read_all_the_same(header: str) -> None:
    found = texts(article())
    head, one, other = found["root"].config.split("[Peer]\n")[:3]
    for config in (
        found["root"].config.replace("[Peer]", header),
        found["root"].config.replace("[Peer]", header, 1),
        found["root"].config.replace("[Peer]\n" + other, f"{header}\n{other}"),
    ):
        assert config != found["root"].config
        assert prove_texts((found | {"root": replace(found["root"], config=config)}).values()).ok
    swapped = f"{head}[Peer]\n{other}{header}\n{one}"  # the laptop is missing
    proof = prove_texts((found | {"root": replace(found["root"], config=swapped)}).values())
    assert {pair for pair in broken(proof) if "laptop" not in pair} == set()
    assert ("root", "laptop") in broken(proof)


def test_a_machine_alone_with_a_peer_that_nobody_is() -> None:
    alone = MachineText("root", "key-root", texts(article())["root"].config)
    proof = prove_texts([alone])
    assert messages(proof).count("root: no machine has the key") == 3


def test_a_way_too_long_for_a_packet() -> None:
    assert prove(planned(line(65))).ok
    proof = prove(planned(line(67)))
    assert broken(proof) == {
        pair for a, b in (("h00", "h65"), ("h01", "h66"), ("h00", "h66")) for pair in ((a, b), (b, a))
    }
    assert "still under way when its time to live ends" in messages(proof)


@pytest.mark.parametrize(
    ("links", "lost"),
    [
        (62, set()),
        (63, {("a", "z")}),
        (64, {("a", "z"), ("h00", "z"), ("a", "last")}),
        (65, {("a", "z"), ("h00", "z"), ("a", "last"), ("h00", "last")}),
    ],
)
def test_the_way_from_and_into_a_network_behind_a_host_counts(links: int, lost: set[tuple[str, str]]) -> None:
    """A packet lives for 63 hosts that forward it; whoever has the network behind it is one of them."""
    first, *between, last = line(links + 1).hosts
    ends = {"a": ip_network("172.16.0.0/24"), "z": ip_network("172.17.0.0/24")}
    first, last = replace(first, subnets=(ends["a"],)), replace(last, subnets=(ends["z"],))
    found = list(texts_of(planned(replace(line(links + 1), hosts=(first, *between, last)))))
    proof, world = prove_texts(found), World(found)
    by_name = {name: (name, machine, addresses[0]) for name, machine, addresses in world.nodes()}
    nodes = {
        "h00": by_name["h00"],
        "last": by_name[last.name],
        **{name: by_name[str(network)] for name, network in ends.items()},
    }
    for a, z in product(("h00", "a"), ("last", "z")):
        for one, other in ((a, z), (z, a)):
            source, sender, origin = nodes[one]
            destination, receiver, goal = nodes[other]
            assert (proof.verdict(source, destination) == "lost") == ((a, z) in lost)
            assert world.reaches(sender, origin, receiver, goal) == ((a, z) not in lost)
    if links == 63:
        assert (
            f"172.16.0.0/24 -> 172.17.0.0/24: hop 63, {last.name}: still under way when its time to live"
            in messages(proof)
        )


def test_a_circle() -> None:
    """h01 hands back to h00 what h00 hands to it."""
    plan = planned(line(3))
    end = ip_network("10.0.0.3/32")
    peers = tuple(
        replace(peer, allowed_ips=(*peer.allowed_ips, end) if peer.name == "h00" else ())
        for peer in plan.host("h01").peers
    )
    proof = prove(replace(plan, hosts=(plan.hosts[0], replace(plan.hosts[1], peers=peers), plan.hosts[2])))
    assert {("h00", "h02"), ("h02", "h00"), ("h01", "h02")} <= broken(proof)


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        ("laptop -> cloud", None),
        ("laptop !-> cloud", "wg_expect 'laptop !-> cloud' does not hold: it does arrive, in 2 hops"),
        ("guest -> cloud", "wg_expect 'guest -> cloud': guest is no host, client or network"),
        ("laptop cloud", "wg_expect 'laptop cloud': write it like"),
    ],
)
def test_what_is_expected(expect: str, said: str | None) -> None:
    proof = prove_texts(texts(article()).values(), [expect])
    assert proof.ok == (said is None)
    if said:
        assert said in messages(proof)


def test_a_hidden_client_that_must_be_reached_is_a_fault() -> None:
    found = texts(article(masquerade=True)).values()
    assert prove_texts(found, ["cloud !-> laptop"]).ok
    proof = prove_texts(found, ["cloud -> laptop"])
    assert (
        "wg_expect 'cloud -> laptop' does not hold: cloud: no peer has 10.0.0.100 in its AllowedIPs"
        in messages(proof)
    )


def test_only_who_cannot_know_a_hidden_client_may_fail_to_reach_it() -> None:
    """Its gateway and the gateway's other clients must, whatever the gateway masquerades."""
    of = article(masquerade=True)
    found = texts(replace(of, clients=(*of.clients, client("phone", 101))))
    config = found["laptop"].config.replace("PersistentKeepalive = 25\n", "")
    proof = prove_texts((found | {"laptop": replace(found["laptop"], config=config)}).values())
    assert broken(proof) == {("root", "laptop"), ("phone", "laptop")}
    assert proof.verdict("cloud", "laptop") == "hidden"


def test_what_is_cut_off_on_purpose_is_no_fault() -> None:
    found = texts(article())
    config = found["cloud"].config.replace(", 10.0.0.100/32", "")
    cut = (found | {"cloud": replace(found["cloud"], config=config)}).values()
    assert not prove_texts(cut).ok
    assert prove_texts(cut, ["laptop !-> cloud", "cloud !-> laptop"]).ok


def test_hosts_whose_loss_cuts_others_off() -> None:
    assert prove(planned(line(4))).warnings == (
        "if h01 is lost, h00 no longer reaches h02, h03",
        "if h02 is lost, h03 no longer reaches h00, h01",
    )
    sites = prove(planned(two_sites())).warnings
    assert sites == (
        "if a1 is lost, a2 no longer reaches b1, b2",
        "if b1 is lost, b2 no longer reaches a1, a2",
    )
    second = cluster(*two_sites().hosts, host("a3", 3, site="ams", gateway=True), topology="sites")
    assert prove(planned(second)).warnings == ("if b1 is lost, b2 no longer reaches a1, a2, a3",)


def test_two_hosts_behind_nat_depend_on_their_only_gateway() -> None:
    of = cluster(host("root", 2, gateway=True), host("cloud", 3), host("n1", 4, False), host("n2", 5, False))
    assert prove(planned(of)).warnings == ("if root is lost, n1 no longer reaches n2",)
    hosts = [replace(one, gateway=one.name in {"root", "cloud"}) for one in of.hosts]
    assert prove(planned(replace(of, hosts=tuple(hosts)))).warnings == ()


def test_two_clients_of_one_gateway() -> None:
    of = article()
    of = replace(of, clients=(*of.clients, client("phone", 101)))
    assert prove(planned(of)).warnings == ("if root is lost, laptop, phone are cut off",)


def test_plain_data_for_programs() -> None:
    proof = edited(article(), "backup", ("Endpoint = 198.18.0.3:51820\n", ""))
    data = json.loads(json.dumps(proof.as_dict()))
    assert data["ok"] is False
    assert data["pairs"] == {"reached": 10, "lost": 2, "hidden": 0, "none": 0}
    assert {(one["from"], one["to"], one["at"], one["rule"], one["pairs"]) for one in data["faults"]} == {
        ("backup", "cloud", "backup", "link", 1),
        ("cloud", "backup", "cloud", "link", 1),
    }
