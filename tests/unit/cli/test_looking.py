"""What check, plan, render and draw print and write; without a passphrase, and without a trace."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.support.operator_folder import HOSTS, SITE, Cluster
from wgcluster.wireguard.config import parse


@pytest.mark.parametrize(
    "words",
    [
        ("check",),
        ("plan",),
        ("plan", "root", "--json"),
        ("keys", "list"),
        ("client", "list"),
        ("keys", "verify"),
    ],
)
def test_to_look_needs_no_passphrase_and_leaves_no_trace(locked: Cluster, words: tuple[str, ...]) -> None:
    before = locked.content()
    result = locked.run(*words)
    assert (result.status, result.err) == (0, "")
    assert locked.content() == before


@pytest.mark.parametrize(
    "words", [("client", "add", "laptop"), ("keys", "verify"), ("client", "show", "laptop")]
)
def test_to_open_a_key_needs_one(
    cluster: Cluster, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.deployed()
    if words[1] == "show":
        cluster.run("client", "add", "laptop")
    before = cluster.content()
    monkeypatch.delenv("WGCLUSTER_PASSPHRASE")
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        result = cluster.run(*words)
    assert result.status == 1
    assert result.err.startswith(f"no passphrase for {cluster.keys}: set WGCLUSTER_PASSPHRASE, or ")
    assert cluster.content() == before


# -- check


def test_an_overlay_that_is_free(locked: Cluster) -> None:
    """Of what is declared, even where that has faults, and of what this machine has."""
    before = locked.content()
    result = locked.run("check", "--suggest-overlay")
    assert (result.status, result.err) == (0, "")
    assert locked.run("check", "--suggest-overlay").out == result.out
    assert locked.content() == before
    names: dict[str, Any] = {}
    exec(result.out, names)
    (found,) = map(ip_network, names["wg_networks"])
    assert found.prefixlen == 24
    assert not found.overlaps(ip_network("10.0.0.0/16"))
    locked.write(wg_subnets=[str(found), "what"])
    assert locked.run("check").status == 1
    other = locked.run("check", "--suggest-overlay", "--json").json["wg_networks"]
    assert not found.overlaps(ip_network(other[0]))


def test_check_proves_a_sound_cluster(cluster: Cluster) -> None:
    result = cluster.run("check")
    assert (result.status, result.err) == (0, "")
    assert "6 pairs: 6 reach each other" in result.out
    rows = [line.split() for line in result.out.splitlines()]
    assert ["hops", "from,", "to", "backup", "cloud", "root"] in rows
    assert ["root", "1", "1"] in rows
    assert "\n1, 2 …: arrives over so many links\n6 pairs" in result.out  # and no word on what does not occur


def test_check_says_what_its_cells_mean(cluster: Cluster) -> None:
    masquerading = {**HOSTS["root"], "wg_masquerade": True}
    cluster.write({**HOSTS, "root": masquerading})
    cluster.deployed()
    cluster.run("client", "add", "laptop")
    result = cluster.run("check")
    assert "\n-: does not arrive and need not: hidden by masquerade or wg_expect, or nearer\n" in result.out
    assert "12 pairs: 10 reach each other, 2 are hidden\n" in result.out


def test_check_fails_where_an_expectation_does_not_hold(cluster: Cluster) -> None:
    cluster.write(wg_expect=["root -> cloud", "backup !-> cloud"])
    result = cluster.run("check")
    assert result.status == 1
    assert "wg_expect 'backup !-> cloud' does not hold" in result.out
    assert "root -> cloud" not in result.out


def test_check_for_programs(cluster: Cluster) -> None:
    cluster.write(wg_expect=["backup !-> cloud"])
    result = cluster.run("check", "--json")
    assert result.status == 1
    assert result.json["ok"] is False
    assert result.json["pairs"]["reached"] == 6
    (fault,) = result.json["faults"]
    assert (fault["from"], fault["to"], fault["rule"]) == ("backup", "cloud", "expect")


def test_check_tells_an_inventorys_faults_to_programs_too(cluster: Cluster) -> None:
    cluster.write(wg_topology="star", wg_intreface="wg0")
    result = cluster.run("check")
    assert (result.status, result.out) == (1, "")
    assert "wg_topology = 'star': must be 'mesh', 'sites' or 'partial'" in result.err


def test_check_json_of_a_cluster_that_cannot_be_planned(cluster: Cluster) -> None:
    cluster.write({"a": {"wg_address": "10.0.0.2"}, "b": {"wg_address": "10.0.0.3"}})
    result = cluster.run("check", "--json")
    assert (result.status, result.err) == (1, "")
    assert result.json["ok"] is False
    assert "pieces" in result.json["faults"][0]["message"]


def test_a_large_cluster_is_told_in_numbers(cluster: Cluster) -> None:
    cluster.write(
        {f"h{i}": {"wg_address": f"10.0.0.{i}", "wg_endpoint": f"198.51.100.{i}"} for i in range(1, 41)}
    )
    result = cluster.run("check")
    assert result.status == 0
    assert result.out.splitlines()[0] == "1560 pairs: 1560 reach each other"


# -- plan


CHAIN: dict[str, Mapping[str, Any]] = {
    "left": {"wg_address": "10.0.0.2", "wg_endpoint": "198.51.100.2", "wg_links": ["middle"]},
    "middle": {"wg_address": "10.0.0.3", "wg_endpoint": "198.51.100.3"},
    "right": {"wg_address": "10.0.0.4", "wg_endpoint": "198.51.100.4", "wg_links": ["middle"]},
}


def test_plan_shows_links_ways_and_rules(cluster: Cluster) -> None:
    cluster.write(CHAIN, wg_topology="partial")
    result = cluster.run("plan", "left")
    assert result.status == 0
    link = next(line.split() for line in result.out.splitlines() if line.startswith("middle"))
    assert link == ["middle", "198.51.100.3:51820", "10.0.0.3/32,", "10.0.0.4/32", "right"]
    assert "iptables -t filter -A INPUT -s 198.51.100.3/32 -p udp -m udp --dport 51820" in result.out
    assert "forwards" not in result.out
    assert "forwards IPv4" in cluster.run("plan", "middle").out


def test_plan_shows_every_host_by_name_and_its_site(cluster: Cluster) -> None:
    result = cluster.run("plan")
    heads = [line.split(":")[0] for line in result.out.splitlines() if ": wg 10." in line]
    assert heads == ["backup", "cloud", "root"]
    assert f"nginx git.example.org in {SITE}: guarded /, public /.well-known/acme-challenge" in result.out


def test_plan_for_programs(cluster: Cluster) -> None:
    everyone = cluster.run("plan", "--json").json["hosts"]
    assert [host["name"] for host in everyone] == ["backup", "cloud", "root"]
    one = cluster.run("plan", "backup", "--json").json
    assert one == everyone[0]
    assert one["public_key"] == "(key of backup)"
    assert one["peers"][0]["allowed_ips"] == ["10.0.0.3/32"]
    assert one["peers"][0]["keepalive"] == 25
    assert all(rule.startswith(("iptables ", "ip6tables ")) for rule in one["rules"])


def test_plan_shows_public_keys_once_there_are_some(cluster: Cluster) -> None:
    registry = cluster.deployed()
    host = cluster.run("plan", "root", "--json").json
    assert host["public_key"] == registry.public_keys()["root"]
    assert "(key of" not in json.dumps(host)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("rot", "did you mean root? There are: backup, cloud, root"),
        ("zebra", "there are: backup, cloud, root"),
        # pyinfra's names, for --limit
        ("@local", "did you mean backup? There are: backup, cloud, root"),
        ("cloud.example.org", "did you mean cloud? There are: backup, cloud, root"),
    ],
)
def test_plan_of_nobody_lists_who_there_is(cluster: Cluster, name: str, hint: str) -> None:
    here, there = {**HOSTS["backup"], "wg_name": "backup"}, {**HOSTS["cloud"], "wg_name": "cloud"}
    cluster.write({"root": HOSTS["root"], "cloud.example.org": there, "@local": here})
    result = cluster.run("plan", name)
    assert (result.status, result.out) == (1, "")
    assert result.err == f"no host is called {name}; {hint}\n"


# -- render


def test_render_writes_every_config_and_its_rules_without_secrets(cluster: Cluster) -> None:
    cluster.write(wg_preshared_keys=True)
    cluster.deployed(links=("backup|cloud", "backup|root", "cloud|root"))
    cluster.run("client", "add", "laptop")
    folder = cluster.folder / "out"
    result = cluster.run("render", "-o", str(folder))
    assert (result.status, result.out) == (0, f"7 files for 3 hosts and 1 client in {folder}\n")
    files = {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}
    assert sorted(files) == [
        "clients/laptop.conf",
        *(
            f"hosts/{name}/{kind}"
            for name in ("backup", "cloud", "root")
            for kind in ("firewall.rules", "wg.conf")
        ),
    ]
    for secret in cluster.secrets():
        assert not any(secret in text for text in files.values())
    config = parse(files["hosts/root/wg.conf"])
    assert config.private_key == "(hidden)"
    assert {peer.preshared_key for peer in config.peers} == {"(hidden)"}
    assert "iptables -t filter -A FORWARD -i wg -o wg" in files["hosts/root/firewall.rules"]
    assert "FORWARD -i wg" not in files["hosts/cloud/firewall.rules"]


def test_render_twice_is_the_same_and_names_what_is_left_over(cluster: Cluster) -> None:
    folder = cluster.folder / "out"
    cluster.run("render", "-o", str(folder))
    first = cluster.content()
    assert cluster.run("render", "-o", str(folder)).out == f"6 files for 3 hosts and 0 clients in {folder}\n"
    assert cluster.content() == first
    left = folder / "hosts" / "gone" / "wg.conf"
    left.parent.mkdir()
    left.write_text("[Interface]\n")
    assert f"{left} is of none of them" in cluster.run("render", "-o", str(folder)).out
    assert left.exists()


def test_render_where_it_cannot_write(cluster: Cluster) -> None:
    (cluster.folder / "out").write_text("")
    result = cluster.run("render", "-o", str(cluster.folder / "out"))
    assert result.status == 1
    assert "cannot be written: Not a directory" in result.err


# -- draw


def test_draw_writes_a_picture_of_the_kind_that_is_named(cluster: Cluster) -> None:
    svg, mermaid = cluster.folder / "cluster.svg", cluster.folder / "cluster.mmd"
    assert cluster.run("draw", "-o", str(svg)).out == f"{svg}: 3 hosts, 0 clients\n"
    drawn = ElementTree.fromstring(svg.read_text())
    assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
    shown = " ".join(text for text in drawn.itertext())
    assert all(name in shown for name in HOSTS)
    cluster.run("draw", "-o", str(mermaid))
    assert all(name in mermaid.read_text() for name in HOSTS)


def test_draw_knows_two_kinds(cluster: Cluster) -> None:
    before = cluster.content()
    result = cluster.run("draw", "-o", str(cluster.folder / "cluster.png"))
    assert (result.status, result.out) == (1, "")
    assert result.err.endswith("cluster.png: a picture is called .svg, or .mmd for Mermaid\n")
    assert cluster.content() == before
