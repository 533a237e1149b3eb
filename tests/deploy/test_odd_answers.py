"""An odd or hostile answer ends its own host with one line; the others go on, and the status is not 0."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.support.damages import KINDS, assert_refused_or_read_right
from tests.support.fake.cluster import LAPTOP, SITE_PATH, FakeCluster, article
from tests.support.fake.observation import answer
from wgcluster.cli.reading import read
from wgcluster.host import paths
from wgcluster.host.observed import Query

_OWN = {"family": "inet", "table": "own"}
NFT = json.dumps(
    {
        "nftables": [
            {"table": {"family": "inet", "name": "own"}},
            {"chain": {**_OWN, "name": "in", "hook": "input", "policy": "drop"}},
            *(
                {"rule": {**_OWN, "chain": "in", "handle": number, "expr": [{"accept": None}]}}
                for number in range(2, 40)
            ),
        ]
    }
)
BYTE = "\udcff"  # one that is no UTF-8
ESCAPE = "\x1b]0;owned\x07\x1b[2J"


@pytest.fixture
def world(tmp_path: Path) -> FakeCluster:
    return article(tmp_path)


@dataclass
class Replaced:
    """``old`` becomes ``new`` in the answer, wherever it stands, from the ``since``-th look on."""

    old: str
    new: str
    since: int = 1
    looks: int = 0

    def __call__(self, lines: list[str]) -> list[str]:
        self.looks += 1
        if self.looks < self.since:
            return lines
        text = "\n".join(lines)
        assert re.search(self.old, text, re.MULTILINE), self.old
        changed = re.sub(self.old, lambda _: self.new, text, count=1, flags=re.MULTILINE)
        return changed.split("\n") if changed else []


# what of the answer becomes what, and what is said of it
ODD = [
    ("nothing at all", r"[\s\S]*", "", "it is empty"),
    ("an empty line", r"^@ tools$", "@ tools\n", "tools has an empty line"),
    ("a byte 0xff", r"^@ tools$", f"@ tools\n{BYTE}", r'"\\xff" is no tool'),
    ("a byte 0xff in a name", r"^@ clock", f"@ cl{BYTE}ock", r'a section "cl\\xffock" too many'),
    ("an escape sequence", r"^@ tools$", f"@ tools\n{ESCAPE}", r'"\\x1b]0;owned\\x07\\x1b[2J" is no tool'),
    ("a section missing", r"^@ forwarding .*\n", "", "it lacks the section forwarding"),
    (
        "the rules missing",
        r"^@ rules 4 iptables primary\n(?:.*\n)*?(?=@ )",
        "",
        "it has not the rules of each",
    ),
    ("a section twice", r"^@ ufw$", "@ ufw\n@ ufw", 'a section "ufw" too many'),
    ("a file missing", r"^@ file /etc/wireguard/wg.conf .*\n", "", 'lacks the file "/etc/wireguard/wg.conf"'),
    ("a unit missing", r"^@ unit ufw.service .*\n", "", "it lacks the unit ufw.service"),
    ("a number out of range", r"^@ clock .*", "@ clock 99999999999999999999", "is no time"),
    ("letters for a port", r"^@ ssh.*", "@ ssh 198.18.0.1 1 198.18.0.2 ssh", '"ssh" is no port'),
    ("no address", r"inet 198.18.2.2/32", "inet 198.18.2.256/32", '"198.18.2.256/32" is no address'),
    ("a huge line", r"^@ tools$", "@ tools\n" + "A" * 3_000_000, "is no tool"),
    (
        "a table without an end",
        r"^@ rules 4 .*",
        "@ rules 4 iptables primary\n*nat",
        "a table of rules has no end",
    ),
    ("no base64", r"^@ guarded$", "@ guarded\nx", '"x" is no path'),
]


@pytest.mark.parametrize(("old", "new", "said"), [row[1:] for row in ODD], ids=[row[0] for row in ODD])
def test_its_own_host_is_left_alone_and_the_others_go_on(
    world: FakeCluster, old: str, new: str, said: str
) -> None:
    world.hosts["cloud"].odd = Replaced(old, new)
    before = world.before()["cloud"].files
    done = world.run("deploy.py", "-y")
    assert done.code == 1
    lines = [line for line in done.err.splitlines() if "its answer cannot be read" in line]
    assert len(lines) == 1, done.err
    assert re.search(r"\[@fake/cloud\].* its answer cannot be read: .*; run again, and if", lines[0])
    assert said.replace("\\\\", "\\") in lines[0]
    assert len(lines[0]) < 400
    assert "Traceback" not in done.err
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", re.sub(r"\x1b\[\d+m", "", done.err))
    assert not [line for line in done.err.splitlines() if "cloud" in line and "is not there yet" in line]
    assert world.hosts["cloud"].changes == []
    assert world.hosts["cloud"].files == before
    assert world.hosts["root"].links
    assert world.hosts["backup"].links


def test_one_that_turns_odd_after_a_change_gets_no_other(world: FakeCluster) -> None:
    """Its looks were sound, the one under the lock too; what is seen once the packages are there is not."""
    world.hosts["cloud"].odd = Replaced(r"^@ link .*", "@ link wg 1420", since=3)
    done = world.run("deploy.py", "-y")
    assert done.code == 1
    assert done.err.count("its answer cannot be read") == 1
    assert "Traceback" not in done.err
    assert len(world.hosts["cloud"].changes) == 1
    assert "apt-get" in world.hosts["cloud"].changes[0]
    assert world.hosts["root"].links


@pytest.mark.parametrize(
    "arguments", [("deploy.py", "-y", "--json"), ("teardown.py", "-y"), ("verify.py", "-y")]
)
def test_every_run_goes_on_with_the_others(world: FakeCluster, arguments: tuple[str, ...]) -> None:
    del world.rows["root"]["nginx_vpn_only"]  # the model has no nginx to ask
    world.deploy()
    world.forget()
    world.hosts["cloud"].odd = Replaced(r"^@ clock .*", "@ clock")
    done = world.run(*arguments)
    assert done.code == 1
    assert done.err.count("its answer cannot be read: clock has 0 words") == 1
    assert "Traceback" not in done.err
    assert world.hosts["cloud"].changes == []
    if arguments[0] == "verify.py":
        assert re.search(r"^ *root +ok", done.err, re.MULTILINE)
        assert not re.search(r"^ *cloud +ok", done.err, re.MULTILINE)
    if arguments[0] == "teardown.py":
        assert not world.hosts["root"].links


def test_where_nobody_can_say_whether_to_go_on_the_run_ends(world: FakeCluster) -> None:
    world.hosts["cloud"].odd = Replaced(r"[\s\S]*", "")
    done = world.run("deploy.py", "--dry")
    assert done.code == 1
    assert done.err.count("its answer cannot be read: it is empty") == 1
    assert "a host has failed; with -y the run goes on without it" in done.err
    assert "Traceback" not in done.err


def test_where_no_host_is_left_the_run_says_so(world: FakeCluster) -> None:
    for host in world.hosts.values():
        host.odd = Replaced(r"[\s\S]*", "")
    done = world.run("deploy.py", "-y")
    assert done.code == 1
    assert done.err.count("its answer cannot be read: it is empty") == 3
    assert "No hosts remaining" in done.err
    assert "Traceback" not in done.err
    assert world.changes() == []


def test_what_others_wrote_is_shown_as_text(world: FakeCluster) -> None:
    """A rule's comment, which comes as it is, and a site's text, which comes in base64."""
    root = world.hosts["root"]
    comment = f'-m comment --comment "{ESCAPE}{BYTE}" -j REJECT --reject-with icmp-host-prohibited'
    root.tables["iptables"]["filter"]["FORWARD"] = [comment]
    site = root.files[SITE_PATH]
    site.data = site.data.replace(b"proxy_pass", f"# {ESCAPE}".encode() + b"\xff\n        proxy_pass")
    world.add_clients(LAPTOP)
    world.deploy()
    root = world.hosts["root"]
    ours = root.tables["iptables"]["filter"]["FORWARD"].pop(0)
    root.tables["iptables"]["filter"]["FORWARD"].append(ours)  # it stands behind now, and that is told
    site = root.files[SITE_PATH]
    site.data = site.data.replace(b"include /etc/nginx/wgcluster", b"# include /etc/nginx/wgcluster")
    done = world.run("deploy.py", "-y", "--diff")
    assert done.code == 0, done.err
    # as iptables-restore would read it, which doubles each backslash; and as it is
    assert r'stood behind: -m comment --comment "\\x1b]0;owned\\x07\\x1b[2J\\xff"' in done.err
    assert r" # \x1b]0;owned\x07\x1b[2J\xff" in done.err
    assert "\x07" not in done.err
    assert "\x1b[2J" not in done.err


@pytest.mark.parametrize("deployed", [True, False])
def test_a_thousand_damages(world: FakeCluster, deployed: bool) -> None:
    """Each is refused, or read as it says, and nothing that is built on it fails."""
    if deployed:
        world.add_clients(LAPTOP)
        world.deploy()
        link = world.hosts["root"].links["wg"]
        next(iter(link.peers.values())).preshared_key = "a"
        world.hosts["root"].tools.add("nft")
        world.hosts["root"].nft = NFT
        link.routes += [ip_network(f"172.{n}.0.0/16") for n in range(16, 32)]
    world.hosts["root"].ssh = "198.18.0.1 40000 198.18.1.2 22"
    world.write()
    query = Query("wg", tuple(paths.managed_files("wg")), (SITE_PATH,), dump=True)
    asked = {"interface": "wg", "files": " ".join(query.files), "sites": SITE_PATH, "dump": "1", "names": ""}
    asked |= {"port": "51820", "towards": "198.18.2.2"}
    lines = [line.encode() for line in answer(world.hosts["root"], asked)]
    plan = read(world.folder / "inventory.py").plan()
    refused = assert_refused_or_read_right(lines, query, plan, "root", 1000)
    for kind in ("section renamed", "section dropped", "section doubled"):
        assert refused[kind] == len(range(list(KINDS).index(kind), 1000, len(KINDS))), kind


def test_what_login_shells_print_is_no_answer(world: FakeCluster) -> None:
    world.deploy()
    world.forget()
    for host in world.hosts.values():
        host.noise = ["Welcome back", "@ user 1000", "@ end", "", "@ tools"]
    said = world.deploy().err
    assert "Welcome" not in said
    assert world.changes() == []
    world.hosts["cloud"].links.clear()
    world.hosts["cloud"].fails = "systemctl restart"
    said = world.run("deploy.py", "-y").err
    assert re.search(r"\[@fake/cloud\].*Input/output error\n", said)
    assert not re.search("Welcome|@ tools|wgcluster-[0-9a-f]{16}", said)


def test_a_look_that_fails_tells_its_own_words(world: FakeCluster) -> None:
    world.hosts["cloud"].fails = 'section "clock'
    done = world.run("deploy.py", "-y", "-vv")
    assert done.code == 1
    lines = [line for line in done.err.splitlines() if "Input/output error" in line]
    assert len(lines) == 1
    assert re.search(r"\[@fake/cloud\].* the look at the host failed: Input/output error", lines[0])
    assert not re.search("newline=|could not load|Query", done.err)
    assert world.hosts["cloud"].changes == []
    assert world.hosts["root"].links
