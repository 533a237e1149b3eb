"""A host on which the deploy would fail half-way: found on all of them before one is changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake.cluster import GUARD, SITE, SITE_PATH, FakeCluster, article
from tests.support.fake.host import Entry, FakeHost
from tests.support.fake.wireguard import Interface
from tests.support.faults import prints

CONFIG = "/etc/wireguard/wg.conf"
Change = Callable[[FakeHost], object]


def ufw(host: FakeHost) -> None:
    host.write("/etc/ufw/ufw.conf", "# /etc/ufw/ufw.conf\nENABLED=yes\nLOGLEVEL=low\n")
    host.active.add("ufw.service")


UFW_CHAINS = {"INPUT": ["-j ufw-before-input"], "ufw-before-input": ["-i lo -j ACCEPT"]}


def nft(policy: str) -> Change:
    chain = {"family": "inet", "table": "theirs", "name": "gate", "hook": "input", "policy": policy}
    found = [{"table": {"family": "inet", "name": "theirs"}}, {"chain": chain}]

    def change(host: FakeHost) -> None:
        host.tools.add("nft")
        host.nft = json.dumps({"nftables": found})

    return change


def another_vpn(host: FakeHost) -> None:
    host.routes.append("default dev tun0 table 52")
    host.policy.insert(1, "5270:\tfrom all lookup 52")


def no_table_main(host: FakeHost) -> None:
    host.policy.pop()


def foreign_interface(host: FakeHost) -> None:
    host.tools |= {"wg", "wg-quick"}
    host.links["wg"] = Interface(private_key="QO/IzTUFvY5Pn5xqLZ5YXbAmHmsAcGqgoSuTxjFDzlA=", port=51820)


def other_interface(host: FakeHost) -> None:
    foreign_interface(host)
    host.links["wg9"] = host.links.pop("wg")
    host.links["wg9"].port = 51821


BEHIND = {"wg_subnets": ["192.168.77.0/24"]}
DNAT = "-j DNAT --to-destination 172.17.0.2:51821"


def guard(**changes: object) -> dict[str, Any]:
    return {"nginx_vpn_only": [{**GUARD, **changes}]}


def site(old: str, new: str) -> Change:
    assert old in SITE
    return lambda host: host.write(SITE_PATH, SITE.replace(old, new))


def nothing(host: FakeHost) -> None:
    pass


CASES: list[tuple[str, Change, dict[str, Any], list[str]]] = [
    ("cloud", ufw, {}, ["cloud [firewall.ufw-active]"]),
    ("cloud", lambda host: host.active.add("firewalld.service"), {}, ["cloud [firewall.firewalld-active]"]),
    # ufw and firewalld without their units, and nft
    (
        "cloud",
        lambda host: host.tables["iptables"].update(filter=UFW_CHAINS),
        {},
        ["cloud [firewall.ufw-active]"],
    ),
    (
        "cloud",
        nft(policy="drop"),
        {},
        [
            "cloud [firewall.nft-drops]",
            "the policy of inet theirs gate drops UDP to port 51821",
            "'nft insert rule inet theirs gate udp dport 51821 accept'",
        ],
    ),
    (
        "cloud",
        lambda host: host.files.update({"/etc/hosts": Entry(link="/nowhere")}),
        {"wg_hosts_file": True},
        ["cloud [wg_hosts_file.not-a-file]"],
    ),
    # what it needs itself
    (
        "cloud",
        lambda host: host.routes.append("10.0.0.0/25 dev eth1 proto kernel scope link src 10.0.0.5"),
        {},
        ["cloud [wg_networks.in-use]", "cloud: 10.0.0.0/24 ", "its route 10.0.0.0/25 dev eth1"],
    ),
    (
        "cloud",
        lambda host: setattr(host, "ssh", "10.0.0.77 50022 198.18.2.2 22"),
        {},
        ["cloud [wg_networks.in-use]", "cloud: 10.0.0.0/24 ", "the way back to 10.0.0.77"],
    ),
    (
        "cloud",
        another_vpn,
        {},
        [
            "cloud [host.policy-routing]",
            'the rule "5270: from all lookup 52" sends them elsewhere first (default dev tun0 table 52)',
        ],
    ),
    ("cloud", no_table_main, {}, ["cloud [host.table-main-unused]"]),
    (
        "cloud",
        lambda host: host.write(CONFIG, "[Interface]\nPrivateKey = x\n", "600"),
        {},
        ["cloud [wg_interface.foreign-file]"],
    ),
    ("cloud", lambda host: host.folders.update({CONFIG: "755"}), {}, ["cloud [wg_interface.not-a-file]"]),
    ("cloud", other_interface, {}, ["cloud [wg_port.taken]", "port 51821 ", "interface wg9 ("]),
    ("cloud", foreign_interface, {}, ["cloud [wg_interface.foreign]"]),
    (
        "cloud",
        lambda host: host.bound.update({51821: "dnsmasq"}),
        {},
        ["cloud [wg_port.taken]", "UDP port 51821 is taken by dnsmasq ("],
    ),
    (
        "cloud",
        lambda host: host.tables["iptables"].update(nat={"PREROUTING": [f"-p udp --dport 51821 {DNAT}"]}),
        {},
        ["cloud [wg_port.redirected]", f"(iptables -t nat -A PREROUTING -p udp --dport 51821 {DNAT})"],
    ),
    (
        "cloud",
        lambda host: host.tables.pop("iptables"),
        {},
        ["cloud [host.iptables-fails]", 'cloud: "iptables-save" fails (iptables-save: no),'],
    ),
    # what its kernel lets be set; root forwards, for a network behind it
    (
        "root",
        lambda host: setattr(host, "read_only", True),
        BEHIND,
        ["root [host.sysctls-read-only]", "needs net.ipv4.ip_forward = 1;"],
    ),
    (
        "root",
        lambda host: host.write("/etc/sysctl.d/zzz.conf", "net.ipv4.ip_forward = 0\n"),
        BEHIND,
        ["root [host.sysctl-undone]", "root: /etc/sysctl.d/zzz.conf sets net.ipv4.ip_forward = 0 at"],
    ),
    (
        "root",
        lambda host: host.write("/etc/sysctl.d/10-early.conf", "net.ipv4.conf.wg.forwarding=0\n"),
        BEHIND,
        ["root [host.sysctl-undone]", "sets net.ipv4.conf.wg.forwarding = 0 at"],
    ),
    (
        "cloud",
        lambda host: host.tools.discard("apt-get"),
        {},
        ["cloud [host.cannot-install]", "cloud: wireguard-tools must", "apt-get, dnf, pacman, apk "],
    ),
    ("cloud", lambda host: host.tools.discard("systemctl"), {}, ["cloud [host.no-systemd]"]),
    ("cloud", lambda host: setattr(host, "module", "missing"), {}, ["cloud [host.no-wireguard]"]),
    # the operator's own way in
    (
        "cloud",
        lambda host: setattr(host, "ssh", "198.51.100.7 50022 198.18.2.2 2222"),
        {"firewall": "baseline"},
        [
            "cloud [firewall.locks-out]",
            "from 198.51.100.7 to TCP port 2222,",
            'add {"port": 2222, "from": ["198.51.100.7/32"]} to firewall_allow',
        ],
    ),
    (
        "cloud",
        lambda host: setattr(host, "ssh", "2001:db8::7 50022 2001:db8::2 22"),
        {"firewall": "baseline", "firewall_allow": [{"port": 22, "from": "198.51.100.0/24"}]},
        ["cloud [firewall.locks-out]", "from 2001:db8::7 to TCP port 22,"],
    ),
    # nginx
    ("root", lambda host: host.tools.discard("nginx"), {}, [f"root: {SITE_PATH} [nginx.not-installed]"]),
    (
        "root",
        lambda host: setattr(host, "nginx_error", "nginx: [emerg] unexpected end of file"),
        {},
        [f"root: {SITE_PATH} [nginx.refused]", "\nnginx: [emerg] unexpected end of file\n"],
    ),
    (
        "root",
        nothing,
        guard(file="/etc/nginx/sites-available/git"),
        ["root: /etc/nginx/sites-available/git [nginx.absent]", "    remedy: name"],
    ),
    (
        "root",
        lambda host: host.files.update({"/srv/site": Entry(link="/srv/gone")}),
        guard(file="/srv/site"),
        ["root: /srv/site [nginx.dangling]"],
    ),
    (
        "root",
        lambda host: host.folders.update({"/srv/site": "755"}),
        guard(file="/srv/site"),
        ["root: /srv/site [nginx.not-a-file]"],
    ),
    (
        "root",
        lambda host: host.files.pop("/etc/nginx/sites-enabled/gitlab"),
        {},
        [f"root: {SITE_PATH} [nginx.not-read]"],
    ),
    (
        "root",
        nothing,
        guard(server_name="gitlab.example.org"),
        [
            f"root: {SITE_PATH} [nginx.no-server]",
            'server_name "gitlab.example.org"',
            '    remedy: name one of those there are ("git.example.org" on 80, line 2)',
        ],
    ),
    (
        "root",
        nothing,
        guard(locations=["/admin"]),
        [
            f"root: {SITE_PATH}:2:1 [nginx.no-location]",
            'no location "/admin" in this server of git.example.org (listen 80)',
            'remedy: name one of those there are ("/" line 6, "/.well-known/acme-challenge" line 9)',
        ],
    ),
    (
        "root",
        nothing,
        guard(public=["/status"]),
        [f"root: {SITE_PATH}:2:1 [nginx.no-public-location]", '"/status"'],
    ),
    (
        "root",
        site("location / {", "location / {\n        return 200 ok;"),
        {},
        [f"root: {SITE_PATH}:7:9 [nginx.would-leak]", "return 200 runs before the list"],
    ),
    ("root", site("server {", "server {{"), {}, [f"root: {SITE_PATH}:2:9 [nginx.syntax]"]),
]


@pytest.mark.parametrize(("name", "change", "data", "faults"), CASES)
def test_refused_before_a_host_is_changed(
    tmp_path: Path, name: str, change: Change, data: dict[str, Any], faults: list[str]
) -> None:
    world = article(tmp_path)
    change(world.hosts[name])
    world.rows[name].update(data)
    assert_refused(world, 1, faults)


def test_all_faults_of_all_hosts_at_once(tmp_path: Path) -> None:
    world = article(tmp_path)
    ufw(world.hosts["root"])
    world.rows["root"].update(guard(locations=["/admin", "/secret"]))
    foreign_interface(world.hosts["cloud"])
    world.hosts["backup"].write(CONFIG, "[Interface]\n")
    world.hosts["backup"].tools.discard("apt-get")
    assert_refused(
        world,
        6,
        [
            "root [firewall.ufw-active]",
            f"root: {SITE_PATH}:2:1 [nginx.no-location]",
            'no location "/admin"',
            'no location "/secret"',
            "cloud [wg_interface.foreign]",
            "backup [host.cannot-install]",
            "backup: wireguard-tools and iptables must",
            "backup [wg_interface.foreign-file]",
        ],
    )


def test_an_interface_gets_no_second_name_beside_the_first(tmp_path: Path) -> None:
    world = article(tmp_path)
    world.deploy()
    world.forget()
    world.shared["wg_interface"] = "wg1"
    done = world.run("deploy.py", "-y")
    assert done.code == 1
    assert "3 faults on the hosts, nothing was changed:" in done.err
    assert prints(done.err, "cloud [wg_interface.renamed]")
    assert world.changes() == []


def test_a_fault_of_a_host_that_is_left_out_stops_nobody(tmp_path: Path) -> None:
    world = article(tmp_path)
    ufw(world.hosts["root"])
    world.deploy("--limit", "@fake/cloud")
    assert world.hosts["cloud"].links


def test_what_is_off_does_not_stand_in_the_way(tmp_path: Path) -> None:
    world = article(tmp_path)
    ufw(world.hosts["cloud"])
    world.rows["cloud"]["firewall"] = "off"
    world.hosts["cloud"].ssh = "198.51.100.7 50022 198.18.2.2 2222"
    world.deploy()
    assert world.hosts["cloud"].tables == {"iptables": {}, "ip6tables": {}}


def test_the_baseline_with_the_way_in_left_open(tmp_path: Path) -> None:
    world = article(tmp_path)
    world.hosts["cloud"].ssh = "198.51.100.7 50022 198.18.2.2 2222"
    allow = [{"port": 2222, "from": ["198.51.100.0/24"]}]
    world.rows["cloud"].update(firewall="baseline", firewall_allow=allow)
    world.deploy()
    rules = world.hosts["cloud"].tables["iptables"]["filter"]["INPUT"]
    opened = [i for i, rule in enumerate(rules) if "--dport 2222" in rule]
    assert len(opened) == 1
    assert "REJECT" in rules[-1]
    world.forget()
    world.deploy()
    assert world.changes() == []


def assert_refused(world: FakeCluster, count: int, faults: list[str]) -> None:
    before = {name: host.there() for name, host in world.before().items()}
    done = world.run("deploy.py", "-y")
    assert done.code == 1
    assert f"{count} fault{'s' if count > 1 else ''} on the hosts, nothing was changed:" in done.err
    for fault in faults:
        assert prints(done.err, fault), done.err
    assert "Traceback" not in done.err
    assert world.changes() == []
    assert {len(host.commands) for host in world.hosts.values()} == {1}  # looked at once
    assert {name: host.there() for name, host in world.hosts.items()} == before
    assert not world.keystore.exists()
