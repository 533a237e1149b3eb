"""Whole deploys through pyinfra's command line against the model of a host."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.fake.cluster import LAPTOP, SITE_PATH, FakeCluster, article, json_of, with_nginx
from tests.support.fake.host import FILES, LOCK, Entry, FakeHost, variables, without
from tests.support.fake.observation import answer


@pytest.fixture
def world(tmp_path: Path) -> FakeCluster:
    return article(tmp_path)


def test_first_run_brings_every_host_to_the_plan(world: FakeCluster) -> None:
    world.add_clients(LAPTOP)
    world.deploy()
    registry = world.registry()
    keys = registry.public_keys()
    for name, host in world.hosts.items():
        link = host.links["wg"]
        assert link.private_key == registry.private_key(name).reveal()
        clients = {registry.client_keys()["laptop"]} if name == "root" else set()
        assert set(link.peers) == {key for other, key in keys.items() if other != name} | clients
        assert {"wg-quick@wg.service", "wgcluster-firewall@wg.service"} <= host.enabled
        assert "wg-quick@wg.service" in host.active
        config = host.files["/etc/wireguard/wg.conf"]
        assert (config.mode, config.owner, host.folders["/etc/wireguard"]) == ("600", "root:root", "700")
        assert host.module == "loaded"
        assert host.sysctls["net/ipv4/ip_forward"] == ("1" if name == "root" else "0")
    root = world.hosts["root"]
    chain = root.tables["iptables"]["filter"]["FORWARD"]
    assert [rule.split()[-1] for rule in chain] == [
        "DOCKER-USER",
        "ACCEPT",
        "ACCEPT",
        "icmp-host-prohibited",
    ]
    assert root.policies == {"iptables": "DROP"}
    assert root.tables["iptables"]["nat"]["POSTROUTING"] == [
        "-s 10.0.0.0/24 -o wg -m comment --comment wgcluster-wg -j MASQUERADE"
    ]
    site = root.text(SITE_PATH)
    assert re.search(r"location / \{\s+include /etc/nginx/wgcluster/\S+\.conf;", site)
    assert re.search(r"acme-challenge \{\s+allow all;", site)


def test_second_run_changes_nothing_and_costs_one_command_a_host(world: FakeCluster) -> None:
    world.add_clients(LAPTOP)
    world.deploy()
    before, keys = world.before(), world.keystore.read_bytes()
    world.forget()
    totals = json_of(world.deploy("--json"))["results"]["totals"]
    assert (totals["success"], totals["error"]) == (0, 0)
    assert world.changes() == []
    assert {name: host.files for name, host in world.hosts.items()} == {n: h.files for n, h in before.items()}
    assert world.keystore.read_bytes() == keys
    # The look before anything is changed serves every operation.
    assert {len(host.commands) for host in world.hosts.values()} == {1}


def test_every_change_is_made_by_the_run_that_holds_the_host(world: FakeCluster) -> None:
    world.deploy()
    changing = [command for host in world.hosts.values() for command in host.commands if LOCK in command]
    changes = [command for command in world.changes() if " ping " not in command]
    sessions = "\n) 2>&1 >/dev/null; true"  # made in a fact
    assert [command.rpartition(LOCK)[2].removesuffix(sessions) for command in changing] == changes
    assert len(changing) > 20
    for host in world.hosts.values():
        verbs = [
            variables(head)["verb"] for c in host.commands if (head := without(c, "lock.sh")) is not None
        ]
        assert verbs == ["take", "release"]
        assert host.lock == ""


def test_a_host_that_another_run_holds_is_looked_at_and_left_alone(world: FakeCluster) -> None:
    world.hosts["cloud"].lock = "another"
    done = world.run("deploy.py", "-y")
    assert done.code == 1
    assert "waits up to 30 s: somebody is changing this host" in done.err
    assert "somebody is changing this host; run again when it is done" in done.err
    assert not world.hosts["cloud"].links
    assert world.hosts["cloud"].lock == "another"
    assert world.hosts["root"].links
    world.hosts["cloud"].lock = ""
    world.deploy()
    assert world.hosts["cloud"].links


def test_a_failed_operation_gives_the_host_back(world: FakeCluster) -> None:
    world.hosts["cloud"].fails = "/etc/wireguard"
    assert world.run("deploy.py", "-y").code == 1
    assert {host.lock for host in world.hosts.values()} == {""}


def test_what_nginx_has_not_read_is_a_difference(world: FakeCluster) -> None:
    world.deploy()
    for name, value in (("cut_off", True), ("nginx_age", 15)):
        setattr(world.hosts["root"], name, value)
        result = json_of(world.run("deploy.py", "--dry", "--json"))
        (one,) = (one for one in result["plan"] if one["hosts_with_change"])
        assert one["name"] == "nginx | Guard the sites that only the VPN may reach"
        assert json_of(world.deploy("--json"))["results"]["totals"]["success"] == 1
        assert (world.hosts["root"].cut_off, world.hosts["root"].nginx_age) == (False, 5)
        assert json_of(world.deploy("--json"))["results"]["totals"]["success"] == 0


def test_other_comments_in_the_config_are_a_new_file_and_nothing_else(world: FakeCluster) -> None:
    """As after an update of this program from a version that did not write ``friendly_name``."""
    world.deploy()
    path = "/etc/wireguard/wg.conf"
    texts = {name: host.text(path) for name, host in world.hosts.items()}
    for host in world.hosts.values():
        host.files[path].data = re.sub(r"# friendly_name = .*\n", "", host.text(path)).encode()
        assert host.text(path) not in texts.values()
    world.forget()
    world.deploy()
    assert {name: host.text(path) for name, host in world.hosts.items()} == texts
    assert [len(host.changes) for host in world.hosts.values()] == [1, 1, 1]
    assert all(f"mv -f {path}.wgcluster-$$ {path}" in command for command in world.changes())


def test_a_dry_run_after_it_predicts_nothing(world: FakeCluster) -> None:
    world.deploy()
    result = json_of(world.run("deploy.py", "--dry", "--json"))
    assert result["plan"]
    assert not any(one["hosts_with_change"] for one in result["plan"])


def test_teardown_leaves_the_host_as_it_was(world: FakeCluster) -> None:
    before = world.before()
    world.deploy()
    done = world.run("teardown.py", "-y")
    assert done.code == 0, done.err
    for name, host in world.hosts.items():
        assert host.files == before[name].files
        assert host.links == {}
        assert host.enabled == before[name].enabled
        ours = [r for t in host.tables.values() for c in t.values() for rules in c.values() for r in rules]
        assert not any("wgcluster" in rule for rule in ours)
    assert (
        world.hosts["root"].tables["iptables"]["filter"]["FORWARD"]
        == before["root"].tables["iptables"]["filter"]["FORWARD"]
    )
    world.forget()
    assert world.run("teardown.py", "-y").code == 0
    assert world.changes() == []


def test_a_site_that_can_no_longer_be_read_stops_its_own_host_alone(world: FakeCluster) -> None:
    world.deploy()
    root = world.hosts["root"]
    root.write(SITE_PATH, root.text(SITE_PATH) + "}\n")
    before = root.there()
    done = world.run("teardown.py", "-y")
    assert done.code == 1
    assert f'{SITE_PATH}:{len(root.text(SITE_PATH).splitlines())}:1: unexpected "}}"' in done.err
    assert "Traceback" not in done.err
    assert {k: v for k, v in root.there().items() if k != "changes"} == {
        k: v for k, v in before.items() if k != "changes"
    }
    assert not world.hosts["cloud"].links


def test_a_host_that_cannot_be_reached_does_not_keep_the_others_from_their_part(world: FakeCluster) -> None:
    first = world.run("deploy.py", "-y", unreachable=("cloud",))
    assert first.code == 1
    assert re.search(r"\[@fake/cloud\].*no route to host", first.err)
    assert world.hosts["cloud"].commands == []
    assert world.hosts["root"].links
    assert world.hosts["backup"].links
    world.deploy()
    assert world.hosts["cloud"].links


def half(lines: list[str]) -> list[str]:
    return lines[: len(lines) // 2]


def test_a_host_whose_answer_is_cut_off_is_left_alone(world: FakeCluster) -> None:
    world.hosts["cloud"].odd = half
    done = world.run("deploy.py", "-y")
    assert done.code == 1
    assert "its answer cannot be read: it is cut off" in done.err
    assert world.hosts["cloud"].changes == []
    assert world.hosts["root"].links


@pytest.mark.parametrize("what", ["deploy.py", "teardown.py"])
def test_a_host_seen_by_an_ordinary_user_is_left_alone(world: FakeCluster, what: str) -> None:
    world.deploy()
    world.forget()
    world.hosts["cloud"].user = 1000
    done = world.run(what, "-y")
    assert done.code == 1
    assert 'only root can look; set "_sudo": True for this host' in done.err
    assert "Traceback" not in done.err
    assert world.hosts["cloud"].changes == []


def test_the_model_answers_with_the_sections_of_the_script(world: FakeCluster) -> None:
    world.deploy()
    root = world.hosts["root"]
    root.tables["iptables-legacy"] = {}
    root.tools.add("nft")
    next(iter(root.links["wg"].peers.values())).preshared_key = "a"
    head = without(root.commands[0], "observe.sh")
    assert head
    lines = answer(root, variables(head))
    root.links.clear()
    lines += answer(root, {**variables(head), "names": "root.example.net"})
    printed = {line.split()[1] for line in lines if line.startswith("@ ")}
    script = (FILES / "observe.sh").read_text()
    assert printed == set(re.findall(r"(?:\bsection \"?|\"@ )([a-z-]+)", re.sub("#.*", "", script)))
    tools = re.search(r"for tool in (.*); do", script)
    assert tools
    everything = FakeHost(tools=set(tools[1].split()))
    lines = answer(with_nginx(everything), {**variables(head), "files": ""})
    assert [line.strip() for line in lines[2 : lines.index("@ module")]] == tools[1].split()


def test_names_in_etc_hosts_come_and_go_with_the_setting(world: FakeCluster) -> None:
    text = "127.0.0.1 localhost\n10.9.9.9 printer\n"
    for host in world.hosts.values():
        host.files["/etc/hosts"] = Entry(text.encode(), "664", "root:adm")
    world.rows["cloud"]["wg_hosts_file"] = True
    world.deploy()
    cloud = world.hosts["cloud"].files["/etc/hosts"]
    assert (cloud.mode, cloud.owner) == ("664", "root:adm")
    assert cloud.data.decode().startswith(text)
    assert "\n10.0.0.2 root git.example.org\n" in cloud.data.decode()
    assert world.hosts["root"].text("/etc/hosts") == world.hosts["backup"].text("/etc/hosts") == text
    world.forget()
    world.deploy()
    assert world.changes() == []
    del world.rows["cloud"]["wg_hosts_file"]
    world.deploy()
    assert world.hosts["cloud"].text("/etc/hosts") == text
    world.shared["wg_hosts_file"] = True
    world.deploy()
    assert all("git.example.org" in host.text("/etc/hosts") for host in world.hosts.values())
    assert world.run("teardown.py", "-y").code == 0
    assert all(host.text("/etc/hosts") == text for host in world.hosts.values())
