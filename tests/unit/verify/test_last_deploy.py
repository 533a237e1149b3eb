"""What an earlier deploy left on a host, held against the registry and the plan of this one."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.support.small_clusters import article, cluster, host, planned, two_sites
from wgcluster.host import paths
from wgcluster.host.observed import File, Link, Observed
from wgcluster.plan.plan import HostPlan, Plan
from wgcluster.verify.last_deploy import announced, last_deploy, unknown_keys
from wgcluster.wireguard import config as wgconf

PLAN = planned(article(preshared_keys=True))
ROOT = PLAN.host("root")
KEYS = {f"key-{name}" for name in ("root", "cloud", "backup", "laptop")}


def deployed(part: HostPlan, live: str | None = None, told: str = "", text: str = "") -> Observed:
    """A host with the config file of ``part``, whose interface is down where no ``live`` key is given."""
    path = paths.config(part.interface)
    file = File("file", "600", "root:root", data=(text or wgconf.render(part)).encode())
    link = None if live is None else Link(1420, public_key=live)
    return Observed(files={path: file}, link=link, config_key=told)


def unknown(observed: Observed, known: set[str] = KEYS, *made: str, part: HostPlan = ROOT) -> str:
    fault = unknown_keys(last_deploy(part, observed, wgconf.RenderCache()), known, set(made), "keys.yml")
    return str(fault or "").removesuffix("  [keystore.unknown-keys]")


@pytest.mark.parametrize(
    "observed",
    [
        Observed(),
        deployed(ROOT, "key-root"),
        deployed(ROOT, None, "key-root"),
        deployed(ROOT),  # no wg there that could tell its key
        deployed(ROOT, "other", text="[Interface]\n# host strange\nPublicKey = other\nAllowedIPs = ::/0\n"),
        deployed(
            ROOT, "key-root", text=f"{wgconf.render(ROOT)}\n[Peer]\n# x\nPublicKey = x\nAllowedIPs = ::/0\n"
        ),
    ],
)
def test_nothing_is_unknown(observed: Observed) -> None:
    assert unknown(observed) == ""


@pytest.mark.parametrize("observed", [deployed(ROOT, "other"), deployed(ROOT, None, "other")])
def test_a_host_with_another_key(observed: Observed) -> None:
    assert unknown(observed) == "root: has keys that keys.yml does not know: its own"


def test_a_host_whose_key_nobody_can_tell_and_the_registry_lacks() -> None:
    assert unknown(deployed(ROOT), KEYS, "root") == "root: has keys that keys.yml does not know: its own"


def test_each_peer_that_it_does_not_know_is_named() -> None:
    words = unknown(deployed(replace(ROOT, mtu=1380), "key-root"), {"key-root", "key-cloud"}, part=ROOT)
    assert words == "root: has keys that keys.yml does not know: its own".replace(
        "its own", "that of backup, that of laptop"
    )


def test_a_link_that_lost_its_preshared_key() -> None:
    had = "root: has keys that keys.yml does not know: the preshared one with laptop"
    assert unknown(deployed(ROOT, "key-root"), KEYS, "laptop|root") == had
    without = planned(article()).host("root")
    assert unknown(deployed(without, "key-root"), KEYS, "laptop|root") == ""  # it is new on both ends
    assert unknown(deployed(ROOT, "key-root"), KEYS, "backup|root", "backup") == ""


def test_the_configs_of_earlier_and_later_versions_have_the_same_peers() -> None:
    text = wgconf.render(ROOT)
    earlier = re.sub(r"# friendly_name = .*\n", "", text)
    later = text.replace("\nPublicKey", "\n# something = new\nPublicKey")
    read = [
        last_deploy(ROOT, deployed(ROOT, text=one), wgconf.RenderCache()) for one in (text, earlier, later)
    ]
    assert [peer.name for peer in read[0].peers] == [peer.name for peer in ROOT.peers]
    assert read[0].peers == read[1].peers == read[2].peers
    assert [one.same for one in read] == [True, False, False]


def changes(before: Plan, after: Plan, *clients: tuple[str, str, str]) -> list[str]:
    names = {part.name for part in before.hosts}
    found = [
        last_deploy(part, deployed(before.host(part.name)), wgconf.RenderCache())
        for part in after.hosts
        if part.name in names
    ]
    return list(announced(after, found, set(clients)))


def test_a_host_that_joins_moves_nothing() -> None:
    after = planned(replace(article(), hosts=(*article().hosts, host("zeta", 9))))
    assert changes(planned(article()), after) == []


def test_ways_that_move_between_two_gateways() -> None:
    """Not counted: what comes to be written as another prefix and leads the same way."""
    inside = [host("n4", 4, False), host("n5", 5, False), host("n6", 6, False)]
    before = planned(cluster(host("root", 2, gateway=True), *inside))
    after = planned(cluster(host("root", 2, gateway=True), host("alpha", 3, gateway=True), *inside))
    assert changes(before, after) == [
        "the way of n4, n5, n6 to 10.0.0.4/31, 10.0.0.6/32 leads through alpha, no longer through root"
    ]
    split = planned(cluster(host("root", 2, gateway=True), *inside[:2], host("n7", 7, False)))
    assert changes(before, split) == []


def test_a_way_that_lost_its_link() -> None:
    direct = planned(two_sites())
    hosts = tuple(replace(one, site="x") if one.name == "a2" else one for one in two_sites().hosts)
    hosts = tuple(replace(one, gateway=True) if one.name == "a2" else one for one in hosts)
    assert changes(direct, planned(replace(two_sites(), hosts=hosts))) == [
        "the way of b1 to 10.0.0.2/32 leads through a2, no longer through a1",
        "the way of a2 to 10.0.0.11/32, 10.0.0.12/32 leads through b1, no longer through a1",
    ]


def test_each_laptop_is_told_once() -> None:
    before = planned(article())
    hosts = (replace(article().hosts[1], gateway=True), *article().hosts[::2])
    after = planned(replace(article(), hosts=tuple(sorted(hosts, key=lambda one: one.name))))
    told = "laptop comes in through cloud, no longer through root: it is cut off until it has its config anew"
    for registry in ((), (("laptop", "root", "cloud"),)):
        lines = [line.partition(" (")[0] for line in changes(before, after, *registry)]
        assert lines == [
            told,
            "the way of backup to 10.0.0.100/32 leads through cloud, no longer through root",
        ]


def test_what_someone_wrote_into_the_file_is_read_or_passed_over() -> None:
    text = wgconf.render(ROOT).replace("AllowedIPs = 10.0.0.3/32", "AllowedIPs = 10.0.0.4/24, nonsense,")
    found = last_deploy(ROOT, deployed(ROOT, "key-root", text=text), wgconf.RenderCache())
    assert list(announced(PLAN, [found], set())) == []
