"""What the proof says of the rendered texts is what real packets do: each pair, with and without faults."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.lab.topologies import (
    Edit,
    Live,
    both,
    forwarding_off,
    give,
    live,
    move,
    take,
    with_first,
    without,
    without_ours,
)
from tests.support.net import missing
from wgcluster.prove.proof import Proof, prove_texts

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

TOPOLOGIES = ("mesh", "sites", "partial")

# {topology: {what is planted: how}}; each makes the proof name a fault
FAULTS: dict[str, dict[str, Edit]] = {
    "mesh": {
        "entry removed": take("cloud", "edge", "172.16.1.0/24"),
        "source no longer accepted": take("root", "laptop", "fd00::64/128"),
        "entry widened": give("cloud", "edge", "172.16.0.0/23"),
        "entry moved to another peer": move("backup", "fd00::7/128", "hub", "root"),
        "address stolen by a later peer": give("cloud", "web", "10.0.0.100/32"),
        "route made asymmetric": both(
            move("backup", "10.0.0.7/32", "hub", "root"), move("root", "10.0.0.6/32", "backup", "store")
        ),
        "forwarding off in one family": forwarding_off("hub", 4),
        "forward rule gone": without_ours("hub", 6, "FORWARD"),
        "forward rule behind a reject": with_first("hub", 4, "-j", "REJECT"),
        "network unreachable, its host does not forward": forwarding_off("edge", 6),
        "masquerade gone": without_ours("hub", 4, "POSTROUTING", "nat"),
    },
    "sites": {
        "entry removed at a gateway": take("fra1", "home1", "172.16.8.0/24"),
        "entry moved to the other gateway": move("amsdb", "10.0.0.22/32", "ams1", "ams2"),
        "longer prefix at another peer": give("amsdb", "ams2", "172.16.9.0/24"),
        "entry widened": give("homenas", "home1", "10.0.0.8/29"),
        "forwarding off": forwarding_off("ams1", 4),
        "forward rule gone": without_ours("fra1", 4, "FORWARD"),
        "forward rule behind a drop": with_first("home1", 4, "-i", "wg", "-j", "DROP"),
        "masquerade gone": without_ours("fra1", 4, "POSTROUTING", "nat"),
        "preshared key on one side only": without("ams1", "home1", "PresharedKey"),
    },
    "partial": {
        "entry removed on the way": take("b", "c", "fd00::4/128"),
        "network removed at its end": take("d", "c", "fd01::/63"),
        "half of a network moved": give("b", "f", "fd01:0:0:1::/64"),
        "route made asymmetric": both(take("g", "e", "fd00::6/128"), take("f", "c", "fd00::7/128")),
        "way the other way round": both(
            move("a", "fd00::4/127", "e", "b"),
            give("a", "e", "fd00::5/128"),
            move("b", "fd00::4/128", "c", "a"),
        ),
        "forwarding off": forwarding_off("e", 6),
        "forward rule gone": without_ours("a", 6, "FORWARD"),
        "forward rule behind a drop": with_first("c", 6, "-i", "wg", "-j", "DROP"),
        "masquerade gone": without_ours("d", 6, "POSTROUTING", "nat"),
    },
}

# a preshared key counts when a session begins: these begin anew
ANEW = {"preshared key on one side only": ("ams1", "home1")}

# keepalives without which neither side could open the link when the wrong one begins
SILENT = {
    "mesh": ("backup", "cloud"),
    "sites": ("home1", "ams1"),
    "partial": ("g", "e"),
}


@pytest.fixture(scope="module", params=TOPOLOGIES)
def cluster(request: pytest.FixtureRequest) -> Iterator[Live]:
    with live(request.param) as made:
        yield made


def verdicts(proof: Proof) -> set[tuple[str, str]]:
    return {(a, b) for a, b, verdict, _ in proof.rows() if verdict == "reached"}


def test_as_planned_every_ping_is_answered_that_the_proof_says_is(cluster: Live) -> None:
    cluster.overlay.tell(cluster.texts)
    proof = prove_texts(cluster.texts.values())
    assert proof.ok
    assert len(cluster.plan.hosts) >= 7
    assert cluster.overlay.reached(cluster.nodes, verdicts(proof)) == verdicts(proof)


def test_with_a_fault_the_proof_and_the_pings_lose_the_same_pairs(
    cluster: Live, subtests: pytest.Subtests
) -> None:
    whole = verdicts(prove_texts(cluster.texts.values()))
    lost_by = {}
    for name, plant in FAULTS[cluster.plan.topology].items():
        with subtests.test(name):
            texts = dict(cluster.texts)
            plant(texts)
            proof = prove_texts(texts.values())
            assert not proof.ok
            cluster.overlay.tell(texts, ANEW.get(name, ()))
            assert cluster.overlay.reached(cluster.nodes, verdicts(proof)) == verdicts(proof)
            lost_by[name] = whole - verdicts(proof)
    assert {name for name, lost in lost_by.items() if not lost} <= {"entry widened"}


def test_a_link_without_keepalive_stays_down_until_the_side_behind_nat_speaks(cluster: Live) -> None:
    hidden, dialled = SILENT[cluster.plan.topology]
    texts = dict(cluster.texts)
    without(hidden, dialled, "PersistentKeepalive")(texts)
    proof = prove_texts(texts.values())
    reached = verdicts(proof)
    lost = verdicts(prove_texts(cluster.texts.values())) - reached
    assert (dialled, hidden) in lost
    assert (hidden, dialled) in reached
    cluster.overlay.tell(texts, anew=(hidden, dialled))
    assert not cluster.overlay.reached(cluster.nodes, set(), asked=lost)
    assert cluster.overlay.reached(cluster.nodes, reached, asked=reached) == reached
