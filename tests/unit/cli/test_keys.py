"""What the keys commands print, and what they do to the registry."""

from __future__ import annotations

import re

import pytest

from tests.support.operator_folder import HOSTS, Cluster
from wgcluster.keys.registry import Registry


def test_keys_list_shows_who_has_keys_and_who_needs_none(cluster: Cluster) -> None:
    assert cluster.run("keys", "list").out == f"{cluster.keys} has no keys yet; the first deploy makes them\n"
    registry = cluster.deployed("root", "gone", links=("gone|root",))
    shown = cluster.run("keys", "list").out
    assert re.search(rf"host +gone +{re.escape(registry.public_keys()['gone'])} +not in the inventory", shown)
    assert re.search(rf"host +root +{re.escape(registry.public_keys()['root'])} *\n", shown)
    assert re.search(r"link +gone\|root +no such link", shown)
    assert "keys prune" in shown
    listed = cluster.run("keys", "list", "--json").json
    assert [(host["name"], host["used"]) for host in listed["hosts"]] == [("gone", False), ("root", True)]
    assert listed["links"] == [{"name": "gone|root", "used": False}]


def test_keys_prune_forgets_what_nobody_needs(locked: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    locked.write(wg_preshared_keys=True)
    locked.deployed(*HOSTS, "gone", links=("gone|root", "cloud|root"))
    result = locked.run("keys", "prune")
    assert result.out == "removed the key of host gone\nremoved the key of link gone|root\n"
    registry = Registry.load(locked.keys)
    assert (list(registry.public_keys()), registry.links()) == (["backup", "cloud", "root"], ("cloud|root",))
    assert locked.run("keys", "prune").out == "nothing is unused\n"


def test_keys_verify_opens_each(cluster: Cluster) -> None:
    cluster.deployed()
    assert cluster.run("keys", "verify").out == f"{cluster.keys}: each of 3 keys opens and is its owner's\n"
    text = cluster.keys.read_text()
    first, second = re.findall("sealed: (.*)", text)[:2]
    swapped = {first: second, second: first}
    cluster.keys.write_text(re.sub("sealed: (.*)", lambda m: f"sealed: {swapped.get(m[1], m[1])}", text))
    result = cluster.run("keys", "verify")
    assert result.status == 1
    assert [line.split(": ")[1] for line in result.err.splitlines()] == ["host backup", "host cloud"]


def test_a_wrong_passphrase_is_told(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.deployed()
    monkeypatch.setenv("WGCLUSTER_PASSPHRASE", "wrong")
    result = cluster.run("keys", "verify")
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith(
        "wrong passphrase for keys.yml: it was made with another one; taken from WGCLUSTER"
    )


def test_a_torn_registry_stops_every_command(cluster: Cluster) -> None:
    cluster.deployed()
    cluster.keys.write_bytes(cluster.keys.read_bytes()[:-20])
    for words in (("check",), ("plan",), ("keys", "list"), ("client", "add", "laptop")):
        result = cluster.run(*words)
        assert result.status == 1
        assert result.err.startswith(f"{cluster.keys}: is incomplete")
