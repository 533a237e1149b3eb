"""Whatever a run would change it says in words, with the reason, before it is asked to do it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.fake.cluster import LAPTOP, SITE_PATH, FakeCluster, article, json_of
from tests.support.fake.host import FakeHost

CONFIG = "/etc/wireguard/wg.conf"
PORT = "-p udp -m udp --dport 51820 -m comment --comment wgcluster-wg -j ACCEPT"
Damage = Callable[[FakeHost], object]


def edit(path: str, old: bytes, new: bytes) -> Damage:
    def damage(host: FakeHost) -> None:
        entry = host.files[path]
        assert old in entry.data
        entry.data = entry.data.replace(old, new)

    return damage


def another_key(host: FakeHost) -> None:
    entry = host.files[CONFIG]
    entry.data = re.sub(rb"(?<=PrivateKey = )....", b"AAAA", entry.data)


def set_mode(path: str, mode: str) -> Damage:
    return lambda host: setattr(host.files[path], "mode", mode)


# what happened on root, the line that tells of it, the operation that would mend it
DAMAGE: list[tuple[Damage, str, str]] = [
    (another_key, f"{CONFIG}: the private key differs", f"WireGuard | Write {CONFIG}"),
    (
        set_mode(CONFIG, "644"),
        f"{CONFIG}: mode 644 of root:root becomes 600 of root:root",
        f"WireGuard | Write {CONFIG}",
    ),
    (lambda host: host.files.pop(CONFIG), f"{CONFIG}: is not there yet", f"WireGuard | Write {CONFIG}"),
    (
        edit(CONFIG, b"MTU = 1420", b"MTU = 1300"),
        f"{CONFIG}: differs in its text",
        f"WireGuard | Write {CONFIG}",
    ),
    (
        lambda host: host.folders.update({"/etc/wireguard": "755"}),
        "/etc/wireguard: mode 755 becomes 700",
        f"WireGuard | Write {CONFIG}",
    ),
    (
        lambda host: host.enabled.discard("wg-quick@wg.service"),
        "wg-quick@wg.service is not enabled",
        "WireGuard | Enable and start wg-quick@wg.service",
    ),
    (
        lambda host: host.active.discard("wg-quick@wg.service"),
        "start: wg-quick@wg.service is not active",
        "WireGuard | Enable and start wg-quick@wg.service",
    ),
    (
        lambda host: host.enabled.discard("wgcluster-firewall@wg.service"),
        "wgcluster-firewall@wg.service is not enabled",
        "Firewall | Enable wgcluster-firewall@wg.service",
    ),
    (
        lambda host: host.enabled.discard("wgcluster-firewall-early@wg.service"),
        "wgcluster-firewall-early@wg.service is not enabled",
        "Firewall | Enable wgcluster-firewall@wg.service",
    ),
    (
        set_mode("/usr/local/sbin/wgcluster-firewall", "700"),
        "/usr/local/sbin/wgcluster-firewall: mode 700 of root:root becomes 755 of root:root",
        "Firewall | Enable wgcluster-firewall@wg.service",
    ),
    (
        edit("/etc/wgcluster/wg.rules", b"51820", b"51821"),
        "/etc/wgcluster/wg.rules: differs in its text",
        "Firewall | Write /etc/wgcluster/wg.rules",
    ),
    (
        lambda host: setattr(host, "module", "available"),
        "the WireGuard module is not loaded",
        "Kernel | Load the WireGuard module",
    ),
    (
        lambda host: host.files.pop("/etc/modules-load.d/wgcluster.conf"),
        "/etc/modules-load.d/wgcluster.conf: is not there yet",
        "Kernel | Load it at boot: /etc/modules-load.d/wgcluster.conf",
    ),
    (
        lambda host: host.sysctls.update({"net/ipv4/ip_forward": "0"}),
        "net.ipv4.ip_forward is 0 and will be 1",
        "Kernel | Forwarding, now and at boot: /etc/sysctl.d/zz-wgcluster.conf",
    ),
    (
        lambda host: host.tools.discard("wg-quick"),
        "lacks wireguard-tools; apt-get will install",
        "Packages | Install wireguard-tools",
    ),
    (
        edit(SITE_PATH, b"allow all;", b""),
        f"{SITE_PATH}: differs in its text",
        "nginx | Guard the sites that only the VPN may reach",
    ),
]


@pytest.fixture
def world(tmp_path: Path) -> FakeCluster:
    world = article(tmp_path)
    world.add_clients(LAPTOP)
    return world


@pytest.mark.parametrize(("damage", "line", "operation"), DAMAGE, ids=[row[1] for row in DAMAGE])
def test_a_dry_run_says_why(world: FakeCluster, damage: Damage, line: str, operation: str) -> None:
    world.deploy()
    damage(world.hosts["root"])
    world.forget()
    done = world.run("deploy.py", "--dry", "--json")
    assert f"[@fake/root]   {line}\n" in done.err
    changed = {
        one["name"]: one["hosts_with_change"] for one in json_of(done)["plan"] if one["hosts_with_change"]
    }
    assert changed == {operation: ["@fake/root"]}
    assert world.changes() == []


def test_a_preshared_key_may_be_what_differs(world: FakeCluster) -> None:
    world.shared["wg_preshared_keys"] = True
    world.deploy()
    entry = world.hosts["root"].files[CONFIG]
    entry.data = re.sub(rb"(?<=PresharedKey = )....", b"AAAA", entry.data, count=1)
    done = world.run("deploy.py", "--dry")
    assert f"[@fake/root]   {CONFIG}: the private key differs, or a preshared key\n" in done.err


def test_new_preshared_keys_are_told_of(world: FakeCluster) -> None:
    world.deploy()
    world.shared["wg_preshared_keys"] = True
    assert "4 new preshared keys, one a link, kept in keys.yml" in world.run("deploy.py", "--dry").err


def test_a_first_dry_run_tells_of_all_that_an_operation_does(world: FakeCluster) -> None:
    """pyinfra predicts an operation from its first command; what comes behind it is to be told as well."""
    said = world.run("deploy.py", "--dry").err
    for line in (
        "net.ipv4.ip_forward is 0 and will be 1",
        f"ip6tables: + -t filter -A INPUT {PORT}",
        "/etc/systemd/system/wgcluster-firewall@.service: is not there yet; Firewall rules of the WireGuard"
        " cluster on %i",
        "wgcluster-firewall@wg.service is not enabled",
        "start: wg-quick@wg.service is not active",
    ):
        assert f"[@fake/root]   {line}\n" in said
    assert world.changes() == []


def test_a_dry_teardown_tells_what_it_takes_away(world: FakeCluster) -> None:
    world.deploy()
    world.forget()
    said = world.run("teardown.py", "--dry", "--data", "remove_packages=True").err
    for line in (
        "wg-quick@wg.service is enabled and active, and will be neither",
        f"{CONFIG} is not wanted and is taken away",
        "wgcluster-firewall@wg.service is enabled and active, and will be neither",
        "/etc/wgcluster/wg.rules is not wanted and is taken away",
        f"{SITE_PATH}: differs in its text",
        "/etc/nginx/wgcluster/guarded: guards nothing any more and is taken away",
        "wireguard-tools: installed by the deploy; apt-get removes it",
    ):
        assert f"[@fake/root]   {line}\n" in said
    assert world.changes() == []
