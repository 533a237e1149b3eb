"""The article's cluster on real hosts: everything it names is up, carried by real packets."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from subprocess import CompletedProcess

import pytest

from lab.host import Host
from lab.lab import Lab
from lab.reach import pings, status
from lab.workspace import Workspace
from tests.support.lab.cluster import KEYSTORE, OVERLAY, SERVERS, Cluster, forward_chain
from wgcluster.keys.registry import Registry
from wgcluster.keys.secret import Secret

ACME = "/.well-known/acme-challenge/probe.txt"
DRY = ("inventory.py", "deploy.py", "--dry", "--diff")
CHATTY = ("inventory.py", "deploy.py", "-y", "-vvv", "--diff", "--debug")
SITE_FILE = "/etc/nginx/sites-available/gitlab"


@dataclass
class Story(Cluster):
    """The cluster, and what was said and seen while it came to be."""

    outputs: dict[str, CompletedProcess[str]] = field(default_factory=dict)
    written_by_dry_run: list[str] = field(default_factory=list)
    keys_after_dry_run: bool = True
    processes: set[str] = field(default_factory=set)  # every command line seen on a host during the first run


class Watch(threading.Thread):
    """Notes every command line on the hosts until it is told to stop."""

    def __init__(self, hosts: list[Host]) -> None:
        super().__init__(daemon=True)
        self.hosts, self.seen, self.over = hosts, set[str](), threading.Event()

    def run(self) -> None:
        deadline = time.monotonic() + 120
        while not self.over.is_set() and time.monotonic() < deadline:
            for host in self.hosts:
                top = host.container.top(ps_args="-eo pid,args")
                self.seen |= {" ".join(row) for row in top["Processes"]}


@pytest.fixture(scope="module")
def story(lab: Lab, workspace: Workspace) -> Story:
    story = Story(lab, workspace)
    story.clean_up()
    for name in SERVERS:
        lab[name].run("touch /run/before; sleep 0.05", check=True)
    story.outputs["dry"] = workspace.pyinfra(*DRY)
    for name in SERVERS:
        find = "find /etc /usr /root /home /opt /srv /run /tmp /var/lib -xdev -type f -newer /run/before"
        story.written_by_dry_run += lab[name].run(f"{find} | grep -v /systemd/").stdout.split()
    story.keys_after_dry_run = (workspace.folder / KEYSTORE).exists()
    watch = Watch([lab[name] for name in SERVERS])
    watch.start()
    story.outputs["first"] = workspace.pyinfra(*CHATTY)
    watch.over.set()
    watch.join()
    story.processes = watch.seen
    story.join()
    return story


def test_a_dry_run_writes_nothing_anywhere(story: Story) -> None:
    assert story.outputs["dry"].returncode == 0
    assert story.written_by_dry_run == []
    assert not story.keys_after_dry_run


def test_the_dry_run_shows_each_change(story: Story) -> None:
    shown = story.outputs["dry"].stdout + story.outputs["dry"].stderr
    for line in (
        "+PrivateKey = (hidden)",
        "+Address = 10.0.0.2/24",
        "+AllowedIPs = 10.0.0.3/32",
        "iptables: + -t filter -A INPUT -p udp -m udp --dport 51820",
        f"+++ {SITE_FILE}",
        "+        allow all; # wgcluster",
    ):
        assert line in shown, line


def test_the_first_run_succeeds(story: Story) -> None:
    assert story.outputs["first"].returncode == 0, story.outputs["first"].stderr


@pytest.mark.parametrize("masquerade", [True, False])
def test_the_laptop_reaches_every_server(story: Story, masquerade: bool) -> None:
    story.set(
        "group_data/gateways.py", f"wg_masquerade = {not masquerade}", f"wg_masquerade = {masquerade}"
    ) if (not masquerade) else None
    try:
        story.deploy()
        laptop, cloud = story.lab["laptop"], story.lab["cloud"]
        assert pings(laptop, [OVERLAY[name] for name in SERVERS]) == {OVERLAY[name] for name in SERVERS}
        # Who cloud sees tells the two apart.
        listen = "import socket; s = socket.create_server(('10.0.0.3', 7000)); print(s.accept()[1][0])"
        cloud.run(f'timeout 20 python3 -c "{listen}" > /run/seen & sleep 0.7')
        laptop.run("timeout 5 bash -c 'exec 3<>/dev/tcp/10.0.0.3/7000'", check=True)
        time.sleep(0.3)
        assert cloud.read("/run/seen").strip() == (OVERLAY["root"] if masquerade else OVERLAY["laptop"])
        nat = story.lab["root"].run("iptables -t nat -S POSTROUTING", check=True).stdout
        assert nat.count("-o wg") == masquerade
    finally:
        if not masquerade:
            story.set("group_data/gateways.py", "wg_masquerade = False", "wg_masquerade = True")
            story.deploy()


def test_a_stranger_gets_no_further_than_the_wire(story: Story) -> None:
    """He sets a route to the overlay through each server that stands on his network."""
    stranger = story.lab["stranger"]
    for via in ("root", "cloud"):
        stranger.run(f"ip route replace 10.0.0.0/24 via {story.lab[via].address}", check=True)
        assert pings(stranger, list(OVERLAY.values())) == set()
        for address in OVERLAY.values():
            connect = f"timeout 1 bash -c 'exec 3<>/dev/tcp/{address}/80'"
            assert stranger.run(connect).returncode == 124, (via, address)  # no answer, not even a refusal
        guarded = story.lab[via].run("cat /proc/sys/net/ipv4/ip_forward /etc/wgcluster/wg.before").stdout
        assert ("4 off ACCEPT" in guarded) == (via == "root")
    stranger.run("ip route del 10.0.0.0/24", check=True)


def test_servers_reach_each_other_through_the_tunnel(story: Story) -> None:
    for name in SERVERS:
        others = {OVERLAY[other] for other in SERVERS if other != name}
        assert pings(story.lab[name], sorted(others)) == others, name


def test_a_stranger_reaches_nobody(story: Story) -> None:
    assert pings(story.lab["stranger"], list(OVERLAY.values())) == set()


def test_nginx_hides_the_service_from_strangers_and_keeps_the_challenge_public(story: Story) -> None:
    stranger, laptop, root = story.lab["stranger"], story.lab["laptop"], story.lab["root"]
    for address in (root.address, f"[{root.address6}]"):
        assert status(stranger, address) == "403"
        assert status(stranger, address, ACME) == "200"
    assert status(laptop, OVERLAY["root"]) == "200"
    got = laptop.run("curl --silent --header 'Host: git.example.org' http://10.0.0.2/any").stdout
    assert got == "service\n"


def test_a_second_run_changes_nothing(story: Story) -> None:
    done = story.workspace.pyinfra("inventory.py", "deploy.py", "-y", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["results"]["totals"]["success"] == 0
    assert story.plan() == {}


def test_verify_agrees(story: Story) -> None:
    done = story.workspace.pyinfra("inventory.py", "verify.py", "-y")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("host", "damage", "mended", "said"),
    [
        ("cloud", "wg-quick down wg", "wg-quick up wg", "there is no interface wg"),
        ("cloud", "systemctl disable -q wg-quick@wg", "systemctl enable -q wg-quick@wg", "is not enabled"),
        ("root", "sysctl -qw net.ipv4.ip_forward=0", "sysctl -qw net.ipv4.ip_forward=1", "forwarding is off"),
        (
            "root",
            "iptables -t raw -F PREROUTING",
            "/usr/local/sbin/wgcluster-firewall wg",
            "lets in what comes by",
        ),
        (
            "root",
            "iptables -I FORWARD -j DROP",
            "iptables -D FORWARD -j DROP",
            "FORWARD does not let through",
        ),
        (
            "root",
            "iptables -I INPUT -p udp -j DROP",
            "iptables -D INPUT -p udp -j DROP",
            "INPUT does not let",
        ),
        (
            "root",
            "sed -i 's/deny all/allow all/' /etc/nginx/wgcluster/*.conf; nginx -s reload; sleep 0.5",
            "sed -i 's/allow all/deny all/' /etc/nginx/wgcluster/*.conf; nginx -s reload; sleep 0.5",
            "is not hidden",
        ),
        ("root", "systemctl stop nginx", "systemctl start nginx", "nginx is not running"),
        (
            "root",
            "iptables -P FORWARD ACCEPT",
            "iptables -P FORWARD DROP",
            "the policy of FORWARD is ACCEPT, planned is DROP",
        ),
        # what a boot or a reload would bring out
        (
            "root",
            "mv /etc/wgcluster/wg.rules /root",
            "mv /root/wg.rules /etc/wgcluster",
            "the file of our firewall rules is gone",
        ),
        (
            "root",
            f"cp {SITE_FILE} /root; sed -i /wgcluster/d {SITE_FILE}",
            f"cp /root/gitlab {SITE_FILE}",
            "leaks, at the latest when nginx reads its files again",
        ),
    ],
)
def test_verify_finds_what_is_wrong(story: Story, host: str, damage: str, mended: str, said: str) -> None:
    story.lab[host].run(damage, check=True)
    try:
        done = story.workspace.pyinfra("inventory.py", "verify.py", "-y")
        assert done.returncode == 1
        assert said in done.stdout + done.stderr
    finally:
        story.lab[host].run(mended, check=True)


def test_forward_rule_stands_second_and_once(story: Story) -> None:
    mark = "-m comment --comment wgcluster-wg -j"
    answers = f"-o wg -m conntrack --ctstate RELATED,ESTABLISHED {mark} ACCEPT"
    first, *ours, last = forward_chain(story.lab["root"])
    assert "-j ACCEPT" in first
    assert ours == [f"-i wg -o wg {mark} ACCEPT", answers]
    assert "-j REJECT" in last
    assert forward_chain(story.lab["cloud"]) == [answers]  # it carries nobody's packets


@pytest.mark.parametrize("name", SERVERS)
def test_config_is_for_root_alone(story: Story, name: str) -> None:
    seen = story.lab[name].run("stat -c '%a %U %n' /etc/wireguard /etc/wireguard/wg.conf", check=True).stdout
    assert seen.splitlines() == ["700 root /etc/wireguard", "600 root /etc/wireguard/wg.conf"]


@pytest.mark.parametrize("way", ["restart", "wg-quick"])
def test_all_is_back_after_a_boot_and_after_down_and_up(story: Story, way: str) -> None:
    looks = (
        "iptables -S; iptables -t nat -S POSTROUTING; ip6tables -S",
        "sysctl net.ipv4.ip_forward; systemctl is-enabled wg-quick@wg; wg show wg allowed-ips | sort",
    )
    before = {name: [story.lab[name].run(look).stdout for look in looks] for name in SERVERS}
    # as hardening guides say; ours has to come after it
    story.lab["root"].write("/etc/sysctl.d/99-hardening.conf", "net.ipv4.ip_forward = 0\n")
    for name in SERVERS:
        if way == "restart":
            story.lab[name].restart()
        else:
            story.lab[name].run("systemctl restart wg-quick@wg", check=True)
    after = {name: [story.lab[name].run(look).stdout for look in looks] for name in SERVERS}
    story.lab["root"].run("rm /etc/sysctl.d/99-hardening.conf", check=True)
    assert after == before
    # The laptop first sends into sessions that the servers forgot; new ones are made within seconds.
    deadline = time.monotonic() + 40
    wanted = {OVERLAY[name] for name in SERVERS}
    while (reached := pings(story.lab["laptop"], sorted(wanted))) != wanted and time.monotonic() < deadline:
        pass
    assert reached == wanted
    assert story.changes() == {}


def _secrets(story: Story) -> dict[str, str]:
    """Every private key and preshared key there is, in clear, and the passphrase."""
    passphrase = story.workspace.env["WGCLUSTER_PASSPHRASE"]
    registry = Registry.load(story.workspace.folder / KEYSTORE)
    registry.unlock(Secret(passphrase))
    found = {name: registry.private_key(name).reveal() for name in SERVERS}
    found["laptop"] = registry.client_private_key("laptop").reveal()
    return (
        found
        | {link: registry.preshared_key(link).reveal() for link in registry.links()}
        | {"pass": passphrase}
    )


def test_no_secret_is_shown_anywhere(story: Story) -> None:
    outputs = {
        **{name: done.stdout + done.stderr for name, done in story.outputs.items()},
        "changed": "",
        "inventory": "",
    }
    # A run that changes the config, so that the old text and the new one are both at hand to be shown.
    for mtu in (1400, 1420):
        story.set("group_data/all.py", f"wg_mtu = {2820 - mtu}", f"wg_mtu = {mtu}")
        for options in (DRY, CHATTY):
            done = story.workspace.pyinfra(*options)
            assert done.returncode == 0, done.stderr
            outputs["changed"] += done.stdout + done.stderr
    for arguments in (["debug-inventory"], ["deploy.py", "--dry", "--json", "-vvv"]):
        done = story.workspace.pyinfra("inventory.py", *arguments)
        outputs["inventory"] += done.stdout + done.stderr
    log = story.workspace.folder / "pyinfra-debug.log"
    outputs["log"] = log.read_text() if log.exists() else ""
    outputs["processes"] = "\n".join(story.processes)
    for owner, secret in _secrets(story).items():
        for where, text in outputs.items():
            assert secret not in text, f"the secret of {owner} in {where}"
    assert "-MTU = 1420" in outputs["changed"]
    assert any("wg.conf.wgcluster-" in line for line in story.processes) or len(story.processes) > 20


@pytest.mark.parametrize("name", SERVERS)
def test_no_secret_is_left_in_a_file(story: Story, name: str) -> None:
    secrets = "\n".join(_secrets(story).values())
    host = story.lab[name]
    find = "grep -rlF -f - / --exclude-dir=proc --exclude-dir=sys --exclude-dir=dev 2>/dev/null"
    assert host.run(find, stdin=secrets).stdout.split() == ["/etc/wireguard/wg.conf"]
