"""What someone changes on a host the next run puts right, by the operation that owns it and no other."""

from __future__ import annotations

import pytest

from lab.lab import Lab
from lab.workspace import Workspace
from tests.support.lab.cluster import Cluster, forward_chain

RULES = "Firewall | Set the rules"
CONFIG = "WireGuard | Write /etc/wireguard/wg.conf"
UNIT = "WireGuard | Enable and start wg-quick@wg.service"
PEERS = "WireGuard | Sync the peers"
FORWARDING = "Kernel | Forwarding, now and at boot: /etc/sysctl.d/zz-wgcluster.conf"
MODULE = "Kernel | Load it at boot: /etc/modules-load.d/wgcluster.conf"
NGINX = "nginx | Guard the sites that only the VPN may reach"
BOOT = "Firewall | Enable wgcluster-firewall@wg.service"

FILE = "Firewall | Write /etc/wgcluster/wg.rules"

OURS = "-i wg -o wg -m comment --comment wgcluster-wg -j ACCEPT"
GUARD = "-d 10.0.0.3/32 ! -i wg -m comment --comment wgcluster-wg -j DROP"
PORT = "-p udp -m udp --dport 51820 -m comment --comment wgcluster-wg -j ACCEPT"
ANY_PEER = "$(wg show wg peers | head -n 1)"
SITE = "/etc/nginx/sites-available/gitlab"

# what happened, on which host, how, whose it is, and a command that succeeds once it is right again
DRIFT = [
    ("FORWARD rule deleted", "root", f"iptables -D FORWARD {OURS}", RULES, f"iptables -C FORWARD {OURS}"),
    (
        "guard of the overlay address deleted",
        "cloud",
        f"iptables -t raw -D PREROUTING {GUARD}",
        RULES,
        f"iptables -t raw -C PREROUTING {GUARD}",
    ),
    (
        "somebody lets his network into the tunnel",
        "root",
        "iptables -t mangle -I FORWARD -s 198.18.0.0/15 -j ACCEPT",
        RULES,
        # ours are in front of it; and away it goes again
        "iptables -t mangle -S FORWARD | sed -n 2p | grep wgcluster"
        " && iptables -t mangle -D FORWARD -s 198.18.0.0/15 -j ACCEPT",
    ),
    (
        "policy of FORWARD opened",
        "root",
        "iptables -P FORWARD ACCEPT",
        RULES,
        "iptables -S FORWARD | grep -qx -e '-P FORWARD DROP'",
    ),
    ("v6 port rule deleted", "root", f"ip6tables -D INPUT {PORT}", RULES, f"ip6tables -C INPUT {PORT}"),
    (
        "rule doubled",
        "root",
        f"iptables -A FORWARD {OURS}",
        RULES,
        'test "$(iptables -S | grep -c "i wg -o wg ")" = 1',
    ),
    (
        "ip_forward off",
        "root",
        "sysctl -qw net.ipv4.ip_forward=0",
        FORWARDING,
        'test "$(sysctl -n net.ipv4.ip_forward)" = 1',
    ),
    (
        "peer removed live",
        "cloud",
        f"wg set wg peer {ANY_PEER} remove",
        PEERS,
        'test "$(wg show wg peers | wc -l)" = 2',
    ),
    (
        "AllowedIPs changed live",
        "cloud",
        f"wg set wg peer {ANY_PEER} allowed-ips 10.0.0.77/32",
        PEERS,
        "! wg show wg allowed-ips | grep -q 10.0.0.77",
    ),
    (
        "a peer too many live",
        "cloud",
        "wg set wg peer $(wg genkey | wg pubkey) allowed-ips 10.0.0.9/32",
        PEERS,
        "! wg show wg allowed-ips | grep -q 10.0.0.9",
    ),
    (
        "keepalive and port changed live",
        "cloud",
        f"wg set wg listen-port 4242 peer {ANY_PEER} persistent-keepalive 99",
        PEERS,
        'test "$(wg show wg listen-port)" = 51821 && ! wg show wg persistent-keepalive | grep 99$',
    ),
    (
        "config file edited",
        "cloud",
        "sed -i 's/^AllowedIPs = .*/AllowedIPs = 10.0.0.0\\/24/' /etc/wireguard/wg.conf",
        CONFIG,
        "! grep -q 10.0.0.0/24$ /etc/wireguard/wg.conf || grep -q Address /etc/wireguard/wg.conf",
    ),
    (
        "its mode widened",
        "backup",
        "chmod 644 /etc/wireguard/wg.conf",
        CONFIG,
        'test "$(stat -c %a /etc/wireguard/wg.conf)" = 600',
    ),
    (
        "its folder's mode widened",
        "backup",
        "chmod 755 /etc/wireguard",
        CONFIG,
        'test "$(stat -c %a /etc/wireguard)" = 700',
    ),
    (
        "unit disabled",
        "backup",
        "systemctl disable -q wg-quick@wg",
        UNIT,
        "systemctl is-enabled -q wg-quick@wg",
    ),
    (
        "interface taken down",
        "cloud",
        "wg-quick down wg",
        UNIT,
        "wg show wg && systemctl is-active wg-quick@wg",
    ),
    (
        "unit stopped",
        "backup",
        "systemctl stop wg-quick@wg",
        UNIT,
        "wg show wg && systemctl is-active wg-quick@wg",
    ),
    ("link set down", "cloud", "ip link set wg down", UNIT, "ip link show up dev wg | grep -q wg"),
    (
        "address taken away",
        "cloud",
        "ip addr flush dev wg",
        UNIT,
        "ip addr show dev wg | grep -q 10.0.0.3/24",
    ),
    ("MTU changed", "cloud", "ip link set wg mtu 1300", UNIT, 'test "$(cat /sys/class/net/wg/mtu)" = 1420'),
    (
        "include edited out of the site",
        "root",
        f"sed -i '/wgcluster/d' {SITE}",
        NGINX,
        f"grep -q 'include /etc/nginx/wgcluster/' {SITE}",
    ),
    (
        "list opened",
        "root",
        "sed -i 's/deny all/allow all/' /etc/nginx/wgcluster/*.conf",
        NGINX,
        "grep -q 'deny all' /etc/nginx/wgcluster/*.conf",
    ),
    (
        "sysctl file removed",
        "root",
        "rm /etc/sysctl.d/zz-wgcluster.conf",
        FORWARDING,
        "test -e /etc/sysctl.d/zz-wgcluster.conf",
    ),
    (
        "module's boot file removed",
        "cloud",
        "rm /etc/modules-load.d/wgcluster.conf",
        MODULE,
        "grep -qx wireguard /etc/modules-load.d/wgcluster.conf",
    ),
    (
        "firewall unit disabled",
        "cloud",
        "systemctl disable -q wgcluster-firewall@wg",
        BOOT,
        "systemctl is-enabled -q wgcluster-firewall@wg",
    ),
    (
        "early firewall unit disabled",
        "cloud",
        "systemctl disable -q wgcluster-firewall-early@wg",
        BOOT,
        "systemctl is-enabled -q wgcluster-firewall-early@wg",
    ),
]


@pytest.fixture(scope="module")
def cluster(lab: Lab, workspace: Workspace) -> Cluster:
    cluster = Cluster(lab, workspace)
    cluster.clean_up()
    cluster.deploy()
    cluster.join()
    return cluster


@pytest.mark.parametrize(
    ("host", "damage", "owner", "right"), [row[1:] for row in DRIFT], ids=[r[0] for r in DRIFT]
)
def test_the_next_run_puts_it_right(cluster: Cluster, host: str, damage: str, owner: str, right: str) -> None:
    target = cluster.lab[host]
    target.run(damage, check=True)
    changed = cluster.changes()
    changed.pop(FILE, None)  # where ours go at the next boot, among rules of the host that have changed
    assert changed == {owner: {f"@docker/{host}"}}
    target.run(right, check=True)


@pytest.mark.parametrize(("chain", "ours"), [("FORWARD", OURS), ("INPUT", PORT)])
@pytest.mark.parametrize("tool", ["iptables", "ip6tables"])
def test_ours_go_in_front_of_a_new_reject(cluster: Cluster, tool: str, chain: str, ours: str) -> None:
    if (tool, chain) == ("ip6tables", "FORWARD"):
        return  # the article's overlay has no IPv6; test_forward_chains has
    root = cluster.lab["root"]
    before = root.run(f"{tool} -S {chain}", check=True).stdout
    root.run(f"{tool} -I {chain} 1 -j REJECT", check=True)
    try:
        assert cluster.changes() == {RULES: {"@docker/root"}, FILE: {"@docker/root"}}
        after = root.run(f"{tool} -S {chain}", check=True).stdout.splitlines()[1:]
        assert after[0] == f"-A {chain} {ours}"
        other = next(i for i, line in enumerate(after) if "wgcluster-wg" not in line)
        assert after[other].startswith(f"-A {chain} -j REJECT")
        assert not [line for line in after[other:] if "wgcluster-wg" in line]
    finally:
        root.run(f"{tool} -D {chain} -j REJECT", check=True)
    assert cluster.changes() in ({}, {FILE: {"@docker/root"}})
    assert sorted(before.split()) == sorted(root.run(f"{tool} -S {chain}").stdout.split())


def test_nothing_is_left_to_do(cluster: Cluster) -> None:
    assert cluster.changes() == {}
    assert len([rule for rule in forward_chain(cluster.lab["root"]) if "wgcluster" in rule]) == 2
    done = cluster.workspace.pyinfra("inventory.py", "verify.py", "-y")
    assert done.returncode == 0, done.stdout + done.stderr
