"""python -m wgcluster: what each command prints, writes and returns, on inventories as pyinfra reads them."""

from __future__ import annotations

import json
import os
import pprint
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import segno
from pyinfra_cli.util import PYTHON_CODES  # type: ignore[import-untyped]

from wgcluster import keystore
from wgcluster.__main__ import main
from wgcluster.client import qr
from wgcluster.keyfile import decode
from wgcluster.keystore import Registry, Secret
from wgcluster.seal import public_key_of
from wgcluster.wgconf import parse

REPOSITORY = Path(__file__).parents[2]
WORD = "correct horse"
SITE = "/etc/nginx/sites-enabled/git"
NGINX = {"file": SITE, "server_name": "git.example.org", "public": ["/.well-known/acme-challenge"]}
HOSTS: dict[str, Mapping[str, Any]] = {
    "root": {
        "wg_address": "10.0.0.2",
        "wg_endpoint": "198.51.100.2",
        "wg_gateway": True,
        "nginx_vpn_only": [NGINX],
    },
    "cloud": {"wg_address": "10.0.0.3", "wg_endpoint": "198.51.100.3:51821"},
    "backup": {"wg_address": "10.0.0.4"},
}


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Cluster:
    """A folder with an inventory, its group data and its registry."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.keys = folder / "keys.yml"
        self._capsys = capsys

    def write(self, hosts: Mapping[str, Mapping[str, Any]] = HOSTS, **shared: Any) -> None:
        listed = pprint.pformat(list(hosts.items()))
        (self.folder / "inventory.py").write_text(f"servers = {listed}\n")
        (self.folder / "group_data").mkdir(exist_ok=True)
        data = {"wg_networks": ["10.0.0.0/24"], **shared}
        lines = "".join(f"{key} = {value!r}\n" for key, value in data.items())
        (self.folder / "group_data" / "all.py").write_text(lines)
        PYTHON_CODES.clear()  # pyinfra compiles each file once a process

    def run(self, *words: str) -> Result:
        self._capsys.readouterr()
        status = main([*words, "--inventory", str(self.folder / "inventory.py")])
        out, err = self._capsys.readouterr()
        return Result(status, out, err)

    def deployed(self, *hosts: str, links: tuple[str, ...] = ()) -> Registry:
        """As after a deploy: every host has its keys."""
        registry = Registry.load(self.keys)
        registry.unlock(Secret(WORD))
        registry.ensure_hosts(hosts or HOSTS)
        registry.ensure_links(links)
        registry.save()
        return registry

    def secrets(self) -> list[str]:
        registry = Registry.load(self.keys)
        registry.unlock(Secret(WORD))
        return [
            *(registry.private_key(name).reveal() for name in registry.public_keys()),
            *(registry.client_private_key(name).reveal() for name in registry.client_keys()),
            *(registry.preshared_key(name).reveal() for name in registry.links()),
        ]

    def content(self) -> dict[str, bytes]:
        return {
            str(p.relative_to(self.folder)): p.read_bytes() for p in self.folder.rglob("*") if p.is_file()
        }


@pytest.fixture
def cluster(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setattr(keystore, "COST", 2**15)
    monkeypatch.setenv("WGCLUSTER_PASSPHRASE", WORD)
    made = Cluster(tmp_path, capsys)
    made.write()
    return made


@pytest.fixture
def locked(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A cluster without a passphrase anywhere."""
    monkeypatch.delenv("WGCLUSTER_PASSPHRASE")
    monkeypatch.setattr(sys, "stdin", open(os.devnull))  # noqa: SIM115 - lives as long as the test
    return cluster


# -- without a passphrase, without a trace


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


def test_check_proves_a_sound_cluster(cluster: Cluster) -> None:
    result = cluster.run("check")
    assert (result.status, result.err) == (0, "")
    assert "6 pairs: 6 reach each other" in result.out
    rows = [line.split() for line in result.out.splitlines()]
    assert ["hops", "from,", "to", "backup", "cloud", "root"] in rows
    assert ["root", "1", "1"] in rows


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


def test_plan_of_nobody_lists_who_there_is(cluster: Cluster) -> None:
    result = cluster.run("plan", "rot")
    assert (result.status, result.out) == (1, "")
    assert result.err == "no host is called rot; there are: backup, cloud, root\n"


# -- render


def test_render_writes_every_config_and_its_rules_without_secrets(cluster: Cluster) -> None:
    cluster.write(wg_preshared_keys=True)
    cluster.deployed(links=("backup|cloud", "backup|root", "cloud|root"))
    cluster.run("client", "add", "laptop")
    folder = cluster.folder / "out"
    result = cluster.run("render", "-o", str(folder))
    assert (result.status, result.out) == (0, f"7 files for 3 hosts and 1 clients in {folder}\n")
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
    assert "iptables -t filter -A FORWARD -i wg" in files["hosts/root/firewall.rules"]
    assert "FORWARD" not in files["hosts/cloud/firewall.rules"]


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


# -- keys


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
        assert result.err.startswith(f"{cluster.keys}: is torn")


# -- client


def test_a_client_from_the_first_to_the_last(cluster: Cluster) -> None:
    registry = cluster.deployed()
    added = cluster.run("client", "add", "laptop")
    assert added.status == 0
    assert added.out.startswith("laptop has 10.0.0.100 and comes in through root\n")
    assert "python -m wgcluster client show laptop -o laptop.conf" in added.out
    assert "with the next deploy" in added.out
    listed = cluster.run("client", "list", "--json").json
    assert [(one["name"], one["addresses"], one["gateway"]) for one in listed] == [
        ("laptop", ["10.0.0.100"], "root")
    ]
    shown = parse(cluster.run("client", "show", "laptop").out)
    assert shown.addresses == ("10.0.0.100/32",)
    assert shown.private_key in cluster.secrets()
    (peer,) = shown.peers
    assert peer.public_key == registry.public_keys()["root"]
    assert (peer.endpoint, peer.allowed_ips, peer.keepalive) == ("198.51.100.2:51820", ("10.0.0.0/24",), 25)
    # what the gateway is told fits
    theirs = next(p for p in cluster.run("plan", "root", "--json").json["peers"] if p["name"] == "laptop")
    assert theirs["public_key"] == listed[0]["public_key"]
    assert theirs["public_key"] == public_key_of(_bytes(shown.private_key))
    assert theirs["allowed_ips"] == ["10.0.0.100/32"]
    assert cluster.run("client", "remove", "laptop").status == 0
    assert cluster.run("client", "list").out.startswith("there are no clients")


def _bytes(key: str | None) -> bytes:
    assert key is not None
    return decode(key)


def test_addresses_are_given_in_turn_and_kept(cluster: Cluster) -> None:
    for name in ("one", "two", "three"):
        cluster.run("client", "add", name)
    cluster.run("client", "remove", "two")
    cluster.run("client", "add", "four")
    cluster.run("client", "add", "five", "--address", "10.0.0.200")
    rows = [line.split()[:2] for line in cluster.run("client", "list").out.splitlines()[2:]]
    assert rows == [
        ["five", "10.0.0.200"],
        ["four", "10.0.0.101"],
        ["one", "10.0.0.100"],
        ["three", "10.0.0.102"],
    ]


def test_with_two_families_the_one_not_chosen_is_given(cluster: Cluster) -> None:
    hosts = {"root": {**HOSTS["root"], "wg_address": ["10.0.0.2", "fd00::2"]}}
    cluster.write(hosts, wg_networks=["10.0.0.0/24", "fd00::/64"])
    assert cluster.run("client", "add", "laptop").out.startswith("laptop has 10.0.0.100, fd00::64 and")
    added = cluster.run("client", "add", "phone", "--address", "fd00::7")
    assert added.out.startswith("phone has fd00::7, 10.0.0.101 and")


def test_road_warriors_follow_the_overlay_and_keep_their_keys(cluster: Cluster) -> None:
    cluster.deployed()
    for name in ("laptop", "phone"):
        cluster.run("client", "add", name)
    keys = Registry.load(cluster.keys).client_keys()
    assert cluster.run("client", "renumber").out.startswith("every road warrior has an address")
    both = {
        name: {**data, "wg_address": [data["wg_address"], f"fd00::{data['wg_address'][-1]}"]}
        for name, data in HOSTS.items()
    }
    cluster.write(both, wg_networks=["10.0.0.0/24", "fd00::/64"])
    refused = cluster.run("check")
    assert "laptop: wg_address = ['10.0.0.100']: needs an address in fd00::/64 as well" in refused.err
    assert "client renumber" in refused.err
    result = cluster.run("client", "renumber")
    assert result.status == 0
    assert "laptop has 10.0.0.100, fd00::64 now, and needs its config anew" in result.out
    assert cluster.run("check").status == 0
    cluster.write()  # and back
    assert "phone has 10.0.0.101 now" in cluster.run("client", "renumber").out
    assert Registry.load(cluster.keys).client_keys() == keys


def test_a_client_chooses_its_gateway(cluster: Cluster) -> None:
    cluster.write({**HOSTS, "cloud": {**HOSTS["cloud"], "wg_gateway": True}})
    cluster.deployed()
    assert "through cloud" in cluster.run("client", "add", "laptop").out
    assert "through root" in cluster.run("client", "add", "phone", "--gateway", "root").out
    assert parse(cluster.run("client", "show", "phone").out).peers[0].endpoint == "198.51.100.2:51820"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("laptop",), "there is a client laptop already; choose another name"),
        (("root",), "there is a host root already"),
        (("lap top",), "client 'lap top': a name is 1 to 63 letters"),
        (
            ("phone", "--gateway", "cloud"),
            "gateway = 'cloud': no gateway that clients can dial has this name",
        ),
        (
            ("phone", "--address", "10.0.0"),
            "--address: '10.0.0' does not appear to be an IPv4 or IPv6 address",
        ),
        (("phone", "--address", "10.0.0.100"), "10.0.0.100 belongs to the client laptop"),
        (("phone", "--address", "10.0.0.3"), "wg_address = '10.0.0.3': cloud has this address"),
        (("phone", "--address", "10.1.0.3"), "lies outside the overlay; take one in 10.0.0.0/24"),
        (("phone", "--address", "10.0.0.255"), "is the broadcast address of 10.0.0.0/24"),
        (("phone", "--address", "10.0.0.7", "--address", "10.0.0.8"), "one address a family"),
    ],
)
def test_a_client_that_cannot_be_leaves_the_registry_as_it_was(
    cluster: Cluster, words: tuple[str, ...], message: str
) -> None:
    cluster.deployed()
    cluster.run("client", "add", "laptop")
    before = cluster.content()
    result = cluster.run("client", "add", *words)
    assert (result.status, result.out) == (1, "")
    assert message in result.err
    assert cluster.content() == before


def test_a_full_network_is_told(cluster: Cluster) -> None:
    cluster.write({"root": {**HOSTS["root"]}}, wg_networks=["10.0.0.0/26"])
    result = cluster.run("client", "add", "laptop")
    assert result.status == 1
    assert result.err == "10.0.0.0/26: no address is free from .100 on; choose one: --address A\n"


def test_adding_prints_and_writes_no_secret(cluster: Cluster) -> None:
    cluster.write(wg_preshared_keys=True)
    result = cluster.run("client", "add", "laptop")
    written = b"".join(cluster.content().values()).decode()
    assert len(cluster.secrets()) == 2  # its own, and that of its link
    for secret in cluster.secrets():
        assert secret not in result.out + result.err + written


def test_its_link_has_a_preshared_key_where_all_have(cluster: Cluster) -> None:
    cluster.write(wg_preshared_keys=True)
    cluster.deployed()
    cluster.run("client", "add", "laptop")
    registry = Registry.load(cluster.keys)
    registry.unlock(Secret(WORD))
    shared = parse(cluster.run("client", "show", "laptop").out).peers[0].preshared_key
    assert shared == registry.preshared_key("laptop|root").reveal()


@pytest.mark.parametrize(
    ("deployed", "message"), [((), "root, its gateway, has no key yet"), (("root",), "")]
)
def test_its_config_waits_for_the_gateways_key(
    cluster: Cluster, deployed: tuple[str, ...], message: str
) -> None:
    cluster.run("client", "add", "laptop")
    if deployed:
        cluster.deployed(*deployed)
    result = cluster.run("client", "show", "laptop")
    assert result.status == (1 if message else 0)
    assert result.err.startswith(message)


def test_its_config_waits_for_the_links_key(cluster: Cluster) -> None:
    cluster.deployed()
    cluster.run("client", "add", "laptop")
    cluster.write(wg_preshared_keys=True)
    # pyinfra reads a file once a process, so this is another
    done = _process(cluster, "client", "show", "laptop")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "its link to root has no key yet; deploy first: the deploy makes it\n"


def test_its_config_goes_into_a_file_that_its_owner_alone_reads(cluster: Cluster) -> None:
    cluster.deployed()
    cluster.run("client", "add", "laptop")
    path = cluster.folder / "laptop.conf"
    path.write_text("old")
    path.chmod(0o644)
    result = cluster.run("client", "show", "laptop", "-o", str(path))
    assert result.status == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == cluster.run("client", "show", "laptop").out
    assert not any(secret in result.out for secret in cluster.secrets())


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("my laptop.conf", "wg-quick calls the interface as the file"),
        ("sixteen-letters-.conf", "wg-quick calls the interface as the file"),
        ("none/laptop.conf", "cannot be written: No such file or directory"),
        ("group_data", "is no ordinary file; without -o the config is printed"),
    ],
)
def test_a_file_that_would_not_work_is_refused(cluster: Cluster, file: str, message: str) -> None:
    cluster.deployed()
    cluster.run("client", "add", "laptop")
    before = cluster.content()
    result = cluster.run("client", "show", "laptop", "-o", str(cluster.folder / file))
    assert result.status == 1
    assert message in result.err
    assert cluster.content() == before


def test_the_file_that_add_proposes_is_one_that_works(cluster: Cluster) -> None:
    cluster.deployed()
    added = cluster.run("client", "add", "a-name-longer-than-an-interface")
    proposed = re.search(r"-o (\S+)", added.out)
    assert proposed is not None
    path = cluster.folder / proposed[1]
    assert cluster.run("client", "show", "a-name-longer-than-an-interface", "-o", str(path)).status == 0


def test_its_config_as_a_qr_code(cluster: Cluster) -> None:
    cluster.deployed()
    cluster.run("client", "add", "phone")
    text = cluster.run("client", "show", "phone").out
    assert cluster.run("client", "show", "phone", "--qr").out == qr(text)
    assert segno.make_qr(text, error="l").version != "M4"  # a phone's camera reads no micro code


def test_a_gateways_forged_public_key_is_not_handed_out(cluster: Cluster) -> None:
    """keys.yml is committed: who can change it must not get clients to dial another host."""
    registry = cluster.deployed()
    cluster.run("client", "add", "laptop")
    text = cluster.keys.read_text()
    forged = public_key_of(bytes(range(32)))
    cluster.keys.write_text(text.replace(registry.public_keys()["root"], forged))
    result = cluster.run("client", "show", "laptop")
    assert (result.status, result.out) == (1, "")
    assert "host root: does not open: it was changed" in result.err


def test_to_remove_a_client_needs_no_passphrase(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.run("client", "add", "laptop")
    monkeypatch.delenv("WGCLUSTER_PASSPHRASE")
    assert "until the next deploy" in cluster.run("client", "remove", "laptop").out
    again = cluster.run("client", "remove", "laptop")
    assert (again.status, again.err) == (1, f"{cluster.keys}: has no key of client laptop; there are: none\n")
    shown = cluster.run("client", "show", "laptop")
    assert (shown.status, shown.err) == (1, "no client is called laptop; there are: none\n")


# -- nginx-audit


GUARDED = """\
server {
    listen 443;
    server_name git.example.org;
    location / {
        allow 10.0.0.0/24;
        deny all;
        proxy_pass http://127.0.0.1:8080;
    }
    location /.well-known/acme-challenge { root /var/www; }
}
"""
PLAIN = GUARDED.replace("        allow 10.0.0.0/24;\n        deny all;\n", "")
LEAKING = GUARDED.replace("        deny all;\n", '        return 200 "hello";\n')


def test_an_audit_of_a_guarded_site(cluster: Cluster) -> None:
    file = cluster.folder / "git.conf"
    file.write_text(GUARDED)
    result = cluster.run("nginx-audit", str(file))
    assert (result.status, result.err) == (0, "")
    assert result.out.splitlines()[-1] == "1 guarded, 1 public"


def test_an_audit_of_a_leak(cluster: Cluster) -> None:
    file = cluster.folder / "git.conf"
    file.write_text(LEAKING)
    result = cluster.run("nginx-audit", str(file))
    assert result.status == 1
    assert f"{file}:6: git.example.org / leaks: " in result.out
    found = cluster.run("nginx-audit", str(file), "--json")
    assert found.status == 1
    assert [(one["line"], one["location"], one["class"]) for one in found.json] == [
        (6, "/", "leaks"),
        (9, "/.well-known/acme-challenge", "public"),
    ]
    keys = {"file", "line", "server", "listen", "location", "class", "reason"}
    assert all(keys <= one.keys() for one in found.json)


def test_a_site_of_the_inventory_is_judged_as_the_deploy_will_leave_it(cluster: Cluster) -> None:
    file = cluster.folder / "git.conf"
    file.write_text(PLAIN)
    result = cluster.run("nginx-audit", str(file))
    assert (result.status, result.err) == (0, "")
    assert "judged as the deploy will leave it" in result.out
    found = cluster.run("nginx-audit", str(file), "--json").json
    assert [(one["line"], one["class"]) for one in found] == [(4, "guarded"), (7, "public")]
    as_is = cluster.run("nginx-audit", str(file), "--as-is")
    assert as_is.status == 1
    assert "/ leaks: no list is in effect" in as_is.out


def test_what_the_deploy_would_refuse_is_a_finding(cluster: Cluster) -> None:
    file = cluster.folder / "git.conf"
    file.write_text(PLAIN.replace("location / {", "location /git {"))
    found = cluster.run("nginx-audit", str(file), "--json")
    assert found.status == 1
    (refusal,) = [one for one in found.json if one["location"] == "(deploy)"]
    assert refusal["reason"].startswith('no location "/" in this server')
    assert refusal["line"] == 1


def test_an_audit_of_what_nginx_says(cluster: Cluster) -> None:
    dump = cluster.folder / "dump"
    dump.write_text(
        "nginx: the configuration file /etc/nginx/nginx.conf syntax is ok\n"
        f"# configuration file /etc/nginx/nginx.conf:\nevents {{}}\nhttp {{ include {SITE}; }}\n\n"
        f"# configuration file {SITE}:\n{LEAKING}\n"
    )
    found = cluster.run("nginx-audit", str(dump), "--json")
    assert found.status == 1
    assert [one["file"] for one in found.json] == [SITE, SITE]


def test_an_audit_without_an_inventory(cluster: Cluster) -> None:
    (cluster.folder / "inventory.py").unlink()
    file = cluster.folder / "git.conf"
    file.write_text(GUARDED)
    words = ("nginx-audit", str(file), "--server", "git.example.org")
    assert cluster.run(*words, "--allow", "10.0.0.0/24").status == 1  # the challenge is not declared
    everything = (*words, "--allow", "10.0.0.0/24", "--public", "/.well-known/acme-challenge")
    assert cluster.run(*everything).status == 0
    assert cluster.run(*words, "--allow", "10.0.0.1/24").err.startswith("--allow: 10.0.0.1/24 has host bits")


@pytest.mark.parametrize(
    ("make", "words", "message"),
    [
        (lambda file: None, (), "cannot be read: No such file or directory"),
        (lambda file: file.write_bytes(b"server {\xff}"), (), "is not UTF-8 at byte 8"),
        (lambda file: file.write_text("server {"), (), "git.conf:1"),
        (
            lambda file: file.write_text(GUARDED),
            ("--host", "rot"),
            "no host is called rot; there are: backup",
        ),
        (lambda file: file.write_text(GUARDED), ("--host", "cloud"), "cloud has no nginx_vpn_only"),
    ],
)
def test_what_cannot_be_audited_is_told(
    cluster: Cluster, make: Callable[[Path], object], words: tuple[str, ...], message: str
) -> None:
    file = cluster.folder / "git.conf"
    make(file)
    result = cluster.run("nginx-audit", str(file), *words)
    assert (result.status, result.out) == (1, "")
    assert message in result.err


def test_whose_files_they_are_must_be_clear(cluster: Cluster) -> None:
    cluster.write({**HOSTS, "cloud": {**HOSTS["cloud"], "nginx_vpn_only": [NGINX]}})
    file = cluster.folder / "git.conf"
    file.write_text(GUARDED)
    result = cluster.run("nginx-audit", str(file))
    assert result.status == 1
    assert result.err.startswith("hosts with nginx_vpn_only: cloud, root; say whose files these are: --host")
    assert cluster.run("nginx-audit", str(file), "--host", "cloud").status == 0


# -- inventories that do not run, and the program as a program


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("inventory.py", "servers = [\n", r"inventory\.py.*SyntaxError"),
        ("inventory.py", "servers = []\n\nservers += hosts\n", r"inventory\.py:3: NameError: name 'hosts'"),
        (
            "group_data/all.py",
            "wg_port = 1 / 0\n",
            r"group_data/all\.py:1: ZeroDivisionError: division by zero",
        ),
    ],
)
def test_an_inventory_that_does_not_run_is_told_with_its_line(
    cluster: Cluster, file: str, text: str, message: str
) -> None:
    (cluster.folder / file).write_text(text)
    result = cluster.run("plan")
    assert (result.status, result.out) == (1, "")
    assert re.search(message, result.err)
    assert "Traceback" not in result.err


def test_an_inventory_that_is_not_there(cluster: Cluster) -> None:
    (cluster.folder / "inventory.py").unlink()
    result = cluster.run("check")
    assert result.status == 1
    assert result.err.endswith("inventory.py: no such inventory; name one with --inventory FILE\n")


def _process(cluster: Cluster, *words: str) -> subprocess.CompletedProcess[str]:
    """As a user runs it: in the folder of the inventory, which is not named."""
    return subprocess.run(
        [sys.executable, "-m", "wgcluster", *words],
        cwd=cluster.folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_it_runs_where_the_inventory_is(cluster: Cluster) -> None:
    done = _process(cluster, "client", "add", "laptop")
    assert (done.returncode, done.stderr) == (0, "")
    assert (cluster.folder / "keys.yml").exists()


@pytest.mark.parametrize(
    "words", [(), ("client",), ("client", "add"), ("plam",), ("render",), ("check", "--jsno")]
)
def test_wrong_usage_is_told_with_status_2(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: python -m wgcluster")


def test_the_inventory_may_be_named_before_the_command_or_behind_it(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(cluster.folder / "inventory.py")
    for words in (["--inventory", path, "check"], ["check", "--inventory", path]):
        assert main(words) == 0
        assert "6 pairs" in capsys.readouterr().out


def test_a_reader_that_has_seen_enough_hears_no_complaint(cluster: Cluster) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "wgcluster", "plan"],
        cwd=cluster.folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")
