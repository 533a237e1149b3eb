"""examples/: each is planned, proved and drawn by the commands of its README, and keeps its promises."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache, cached_property
from io import StringIO
from ipaddress import ip_address, ip_interface, ip_network
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from wgcluster.__main__ import main

REPOSITORY = Path(__file__).parents[1]
EXAMPLES = sorted(path.parent.name for path in REPOSITORY.glob("examples/*/inventory.py"))


@dataclass
class Example:
    """A copy of one, in which all that its README says was run."""

    name: str
    top: Path  # stands for the top folder of the repository

    @property
    def folder(self) -> Path:
        return self.top / "examples" / self.name

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "wgcluster", *words],
            cwd=self.top,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "WGCLUSTER_PASSPHRASE": "correct horse"},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def json(self, *words: str) -> Any:
        with redirect_stdout(StringIO()) as out:
            main([*words, "--inventory", str(self.folder / "inventory.py"), "--json"])
        return json.loads(out.getvalue())

    @cached_property
    def check(self) -> Any:
        return self.json("check")

    @cached_property
    def hosts(self) -> Mapping[str, Any]:
        return {host["name"]: host for host in self.json("plan")["hosts"]}

    @cached_property
    def links(self) -> set[frozenset[str]]:
        return {
            frozenset((name, peer["name"])) for name, host in self.hosts.items() for peer in host["peers"]
        }

    @cached_property
    def addresses(self) -> dict[str, str]:
        """Of each host and road warrior."""
        found = {name: str(ip_interface(host["addresses"][0]).ip) for name, host in self.hosts.items()}
        clients = self.json("client", "list")
        return found | {client["name"]: client["addresses"][0] for client in clients}

    def path(self, source: str, address: str) -> list[str]:
        """Through whom a packet gets to ``address``, by AllowedIPs alone: the longest prefix wins (wg(8))."""
        place, passed = source, [source]
        while str(self.addresses.get(place)) != address:
            found = [
                (ip_network(prefix).prefixlen, peer["name"])
                for peer in self.peers(place)
                for prefix in peer["allowed_ips"]
                if ip_address(address) in ip_network(prefix)
            ]
            if not found:
                assert any(ip_address(address) in ip_network(net) for net in self.hosts[place]["subnets"])
                return passed
            place = max(found)[1]
            assert place not in passed, "the packet goes round"
            passed.append(place)
        return passed

    def peers(self, name: str) -> Any:
        """A road warrior has one, to which it gives all that is for the overlay."""
        if name in self.hosts:
            return self.hosts[name]["peers"]
        gateway = next(one for one, host in self.hosts.items() if name in _names(host["peers"]))
        return [{"name": gateway, "allowed_ips": ["10.0.0.0/24"]}]


def _names(peers: Any) -> set[str]:
    return {peer["name"] for peer in peers}


@cache
def _used(name: str, top: Path) -> Example:
    shutil.rmtree(top, ignore_errors=True)  # left by a test that failed here
    shutil.copytree(REPOSITORY / "examples" / name, top / "examples" / name)
    (top / "examples" / name / "picture.svg").unlink()
    example = Example(name, top)
    lines = (example.folder / "README.md").read_text().splitlines()
    commands = [line.split()[3:] for line in lines if line.startswith("    python -m wgcluster ")]
    assert {words[0] for words in commands} >= {"check", "draw"}
    for words in commands:
        ran = example.run(*words)
        assert (ran.returncode, ran.stderr) == (0, ""), (words, ran.stdout, ran.stderr)
    return example


@pytest.fixture
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Example:
    name: str = request.param
    return _used(name, tmp_path_factory.getbasetemp() / f"example-{name}")


every = pytest.mark.parametrize("example", EXAMPLES, indirect=True)
three_servers = pytest.mark.parametrize("example", ["three-servers"], indirect=True)
two_sites = pytest.mark.parametrize("example", ["two-sites"], indirect=True)
partial = pytest.mark.parametrize("example", ["partial-mesh-40"], indirect=True)
gitlab = pytest.mark.parametrize("example", ["gitlab"], indirect=True)


def test_there_are_four() -> None:
    assert EXAMPLES == ["gitlab", "partial-mesh-40", "three-servers", "two-sites"]


@every
def test_everyone_reaches_everyone(example: Example) -> None:
    check = example.check
    assert (check["ok"], check["faults"]) == (True, [])
    addresses = example.addresses
    assert check["pairs"]["lost"] == check["pairs"]["hidden"] == check["pairs"]["none"] == 0
    if len(addresses) < 10:  # of the larger ones, see below
        for one, other in permutations(addresses, 2):
            way = example.path(one, addresses[other])
            assert way == example.path(other, addresses[one])[::-1]


@every
def test_the_picture_is_what_draw_makes(example: Example) -> None:
    """If not: run the commands of its README, and look at it."""
    committed = REPOSITORY / "examples" / example.name / "picture.svg"
    assert committed.read_text() == (example.folder / "picture.svg").read_text()
    assert "(picture.svg)" in (example.folder / "README.md").read_text()


@every
def test_addresses_are_for_documentation(example: Example) -> None:
    """RFC 5737, or inside a site private (RFC 1918)."""
    dialled = [
        peer["endpoint"] for host in example.hosts.values() for peer in host["peers"] if peer["endpoint"]
    ]
    assert dialled
    usual = [ip_network(text) for text in ("198.51.100.0/24", "203.0.113.0/24", "192.168.0.0/16")]
    assert all(any(ip_address(text.rpartition(":")[0]) in net for net in usual) for text in dialled)


@three_servers
def test_three_servers_and_a_laptop(example: Example) -> None:
    hosts, addresses = example.hosts, example.addresses
    pairs = [("root", "cloud"), ("root", "backup"), ("cloud", "backup"), ("root", "laptop")]
    assert example.links == set(map(frozenset, pairs))
    assert addresses["laptop"] == "10.0.0.100"
    assert example.path("laptop", addresses["cloud"]) == ["laptop", "root", "cloud"]
    assert example.path("laptop", addresses["backup"]) == ["laptop", "root", "backup"]
    dialled = {peer["name"] for host in hosts.values() for peer in host["peers"] if peer["endpoint"]}
    assert dialled == {"root", "cloud"}
    assert {peer["keepalive"] for peer in hosts["backup"]["peers"]} == {25}
    assert not any(host["masquerade"] for host in hosts.values())
    assert example.check["warnings"] == ["if root is lost, laptop is cut off"]


@two_sites
def test_two_sites(example: Example) -> None:
    hosts, addresses = example.hosts, example.addresses
    site = {name: host["site"] for name, host in hosts.items()}
    between = [link for link in example.links if len({site[name] for name in link}) == 2]
    assert between == [frozenset({"gw-berlin", "gw-paris"})]
    assert len(example.links) == 3 + 1 + 3
    way = ["web-berlin", "gw-berlin", "gw-paris", "db-paris"]
    assert example.path("web-berlin", addresses["db-paris"]) == way
    for host in hosts.values():
        for peer in host["peers"]:
            assert (site[peer["name"]] == host["site"]) == peer["endpoint"].startswith("192.168.")
    for name in hosts:
        assert example.path(name, "192.168.21.9")[-1] == "gw-paris"
    warnings = example.check["warnings"]
    assert [warning.split(",")[0] for warning in warnings] == ["if gw-berlin is lost", "if gw-paris is lost"]


@two_sites
def test_what_two_sites_expect_is_checked(example: Example, tmp_path: Path) -> None:
    copy = tmp_path / "inventory.py"
    shutil.copytree(example.folder, tmp_path, dirs_exist_ok=True)
    data = tmp_path / "group_data" / "all.py"
    data.write_text(data.read_text().replace("web-berlin -> db-paris", "web-berlin !-> db-paris"))
    ran = example.run("check", "--inventory", str(copy))
    assert ran.returncode == 1
    assert "web-berlin" in ran.stdout


@partial
def test_partial_mesh_of_40(example: Example) -> None:
    hosts, addresses, links = example.hosts, example.addresses, example.links
    degree = {name: sum(name in link for link in links) for name in hosts}
    behind_nat = [f"node{number}" for number in range(33, 41)]
    assert (len(hosts), len(links)) == (40, 94)
    assert (min(degree.values()), max(degree.values())) == (3, 7)
    assert {degree[name] for name in behind_nat} == {4}
    assert not any(link <= set(behind_nat) for link in links)
    assert example.check["longest_way"] == 4
    paths = {name: example.path("node01", addresses[name]) for name in hosts}
    assert all(len(path) <= 5 and path[-1] == name for name, path in paths.items())


@partial
def test_no_single_loss_parts_the_mesh_of_40(example: Example) -> None:
    assert example.check["warnings"] == []
    links = example.links
    for lost in example.hosts:
        left = set(example.hosts) - {lost}
        reached = {min(left)}
        for _ in left:
            reached |= {one for link in links if link & reached and lost not in link for one in link}
        assert reached == left


@gitlab
def test_gitlab_is_for_members_and_the_challenge_for_all(example: Example) -> None:
    addresses = example.addresses
    assert example.path("laptop", addresses["git"]) == ["laptop", "git"]
    assert example.path("laptop", addresses["runner"]) == ["laptop", "git", "runner"]
    file = str(example.folder / "gitlab.nginx")
    found = example.json("nginx-audit", file)
    assert [(one["listen"].split(":")[1].split(",")[0], one["location"], one["class"]) for one in found] == [
        ("80", "/.well-known/acme-challenge", "public"),
        ("80", "/", "closed"),
        ("443", "^~ /.well-known/acme-challenge", "public"),
        ("443", "/", "guarded"),
        ("443", r"~ ^/(404|422|500|502|503)\.html$", "guarded"),
    ]
    today = example.json("nginx-audit", file, "--as-is")
    assert [one["location"] for one in today if one["class"] == "leaks"] == ["/"]
