"""The article's INPUT list on a host: what is allowed answers, what is not is refused, in both families."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.host import Host
from lab.lab import Lab
from lab.reach import pings
from lab.spec import HostSpec
from tests.support.lab.cluster import Cluster
from tests.support.lab.servers import chain, cluster_of, describe, docker, rules

RULES = "Firewall | Set the rules"
FILE = "Firewall | Write /etc/wgcluster/wg.rules"
MARK = "-m comment --comment wgcluster-wg -j"
OVERLAY = {"fort": ["10.0.0.1", "fd00::1"], "four": ["10.0.0.2", "fd00::2"], "six": ["10.0.0.3", "fd00::3"]}
# What a provider left there: it stays in front, for it does not end the chain.
OWN = "-p tcp -m tcp --dport 25 -j DROP"


def wanted(lab: Lab) -> dict[str, list[str]]:
    """The article's list as iptables -S prints it, then its equal for IPv6."""
    four, six, friend, friend6 = (
        f"{lab['four'].address}/32",
        f"{lab['six'].address6}/128",
        f"{lab['friend'].address}/32",
        f"{lab['friend'].address6}/128",
    )
    return {
        "iptables-nft": [
            OWN,
            f"-m conntrack --ctstate RELATED,ESTABLISHED {MARK} ACCEPT",
            f"-i lo {MARK} ACCEPT",
            f"-p icmp -m icmp --icmp-type 8 {MARK} ACCEPT",
            f"-s {four} -p udp -m udp --dport 51820 {MARK} ACCEPT",
            f"-p tcp -m tcp --dport 7001 {MARK} ACCEPT",
            f"-s {friend} -p tcp -m tcp --dport 7002 {MARK} ACCEPT",
            f"-p udp -m udp --dport 7003 {MARK} ACCEPT",
            f"{MARK} REJECT --reject-with icmp-host-prohibited",
        ],
        "ip6tables-nft": [
            OWN,
            f"-m conntrack --ctstate RELATED,ESTABLISHED {MARK} ACCEPT",
            f"-i lo {MARK} ACCEPT",
            # ping, then what RFC 4890 (4.4.1) says must not be dropped: listeners, routers, neighbours
            *(
                f"-p ipv6-icmp -m icmp6 --icmpv6-type {kind} {MARK} ACCEPT"
                for kind in (128, 130, 131, 132, 133, 134, 135, 136, 143)
            ),
            f"-s fe80::/10 -p udp -m udp --dport 546 {MARK} ACCEPT",
            f"-s {six} -p udp -m udp --dport 51820 {MARK} ACCEPT",
            f"-p tcp -m tcp --dport 7001 {MARK} ACCEPT",
            f"-s {friend6} -p tcp -m tcp --dport 7002 {MARK} ACCEPT",
            f"-p udp -m udp --dport 7003 {MARK} ACCEPT",
            f"{MARK} REJECT --reject-with icmp6-adm-prohibited",
        ],
    }


def tell(cluster: Cluster, firewall: str) -> None:
    """The operator's files, with ``firewall`` for the host in question."""
    lab = cluster.lab
    friend = [lab["friend"].address, lab["friend"].address6]
    data: dict[str, dict[str, object]] = {
        # dialled by one at its IPv4 address, by the other, of its own site, at its IPv6 address
        "fort": {
            "wg_endpoint": lab["fort"].address,
            "wg_site_endpoint": f"[{lab['fort'].address6}]",
            "wg_site": "here",
            "firewall": firewall,
            "firewall_allow": [
                {"port": 7001},
                {"port": 7002, "from": friend},
                {"port": 7003, "protocol": "udp"},
            ],
        },
        "four": {"wg_endpoint": lab["four"].address, "wg_site": "there"},
        "six": {"wg_endpoint": f"[{lab['six'].address6}]", "wg_site": "here"},
    }
    hosts = []
    for name, keys in data.items():
        key, how = docker(lab[name])
        hosts.append((key, {**how, "wg_address": OVERLAY[name], **keys}))
    describe(cluster, hosts, wg_networks=["10.0.0.0/24", "fd00::/64"], wg_keystore="lab/.state/keys.yml")


@pytest.fixture(scope="module")
def bare(prefix: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    specs = [HostSpec(name, 0x0A01 + n, has_tools=True) for n, name in enumerate(OVERLAY)]
    specs += [HostSpec("friend", 0x0A08), HostSpec("stranger", 0x0A09)]
    with cluster_of(specs, f"{prefix}base-", tmp_path_factory.mktemp("baseline")) as cluster:
        for tool in ("iptables", "ip6tables"):
            cluster.lab["fort"].run(f"{tool} -A INPUT {OWN}", check=True)
        yield cluster


SERVE = """\
import socket, sys
server = socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    server.accept()[0].close()
"""


@pytest.fixture(scope="module")
def cluster(bare: Cluster) -> Cluster:
    tell(bare, "baseline")
    assert "@docker/fort" in bare.changes()[RULES]
    fort = bare.lab["fort"]
    fort.write("/run/serve", SERVE)
    for port in (7001, 7002, 7005):
        fort.run(f"systemd-run -q python3 /run/serve {port}", check=True)
        listens = f"ss -Hltn sport = :{port} | grep -q ."
        fort.run(f"for _ in $(seq 100); do {listens} && exit; sleep 0.1; done; exit 1", check=True)
    return bare


CONNECT = """\
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 3).close()
    print("open")
except OSError as error:
    print(type(error).__name__, error.errno)
"""
# What a program sees of the two kinds of REJECT: EHOSTUNREACH, EACCES. Of a DROP it would be a timeout, of a
# port that is let through and nobody listens at ECONNREFUSED.
REJECTED = {4: "OSError 113", 6: "PermissionError 13"}


def connect(host: Host, address: str, port: int) -> str:
    return host.run(f"python3 - {address} {port}", stdin=CONNECT, check=True).stdout.strip()


@pytest.mark.parametrize("tool", ["iptables-nft", "ip6tables-nft"])
def test_the_list_is_the_articles(cluster: Cluster, tool: str) -> None:
    assert chain(rules(cluster.lab["fort"])[tool], "INPUT") == wanted(cluster.lab)[tool]


@pytest.mark.parametrize("family", [4, 6])
def test_allowed_ports_answer_and_others_are_rejected(cluster: Cluster, family: int) -> None:
    fort, friend, stranger = (cluster.lab[name] for name in ("fort", "friend", "stranger"))
    address = fort.address if family == 4 else fort.address6
    assert connect(stranger, address, 7001) == "open"
    assert connect(friend, address, 7002) == "open"
    assert connect(stranger, address, 7002) == REJECTED[family]
    assert connect(stranger, address, 7005) == REJECTED[family]  # somebody listens there
    assert connect(stranger, address, 7006) == REJECTED[family]  # nobody does
    assert connect(stranger, address, 25) == "TimeoutError None"  # the provider's DROP
    assert connect(fort, address, 7005) == "open"  # from the host itself


@pytest.mark.parametrize("family", [4, 6])
def test_an_allowed_udp_port_hears_the_stranger(cluster: Cluster, family: int) -> None:
    fort, stranger = cluster.lab["fort"], cluster.lab["stranger"]
    address = fort.address if family == 4 else fort.address6
    listen = "import socket; s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind(('::', 7003))"
    unit = f"hear-{family}"
    fort.run(
        f"systemd-run -q --unit={unit} -p StandardOutput=file:/run/{unit} timeout 20"
        f' python3 -c "{listen}; print(s.recv(9).decode())"; sleep 0.5',
        check=True,
    )
    stranger.run(f"timeout 5 bash -c 'echo hello >/dev/udp/{address}/7003'", check=True)
    heard = f"for _ in $(seq 50); do grep -x hello /run/{unit} && break; sleep 0.1; done"
    assert fort.run(heard).stdout == "hello\n"


def test_ping_and_neighbour_discovery_work(cluster: Cluster) -> None:
    fort, stranger = cluster.lab["fort"], cluster.lab["stranger"]
    for host in (fort, stranger):
        host.run("ip -6 neigh flush all; ip -4 neigh flush all", check=True)
    for host, other in ((stranger, fort), (fort, stranger)):
        both = {other.address, other.address6}
        # on a busy machine the first answers take longer than the three seconds of one round
        assert any(pings(host, sorted(both)) == both for _ in range(3))


def test_wireguard_comes_up_over_both_families(cluster: Cluster) -> None:
    lab = cluster.lab
    inside = [*OVERLAY["four"], *OVERLAY["six"]]
    assert pings(lab["fort"], inside) == set(inside)
    assert pings(lab["four"], OVERLAY["fort"]) == set(OVERLAY["fort"])
    assert pings(lab["six"], OVERLAY["fort"]) == set(OVERLAY["fort"])
    endpoints = lab["fort"].run("wg show wg endpoints", check=True).stdout
    assert f"\t{lab['four'].address}:51820\n" in endpoints
    assert f"\t[{lab['six'].address6}]:51820\n" in endpoints


def test_a_second_run_has_nothing_to_do(cluster: Cluster) -> None:
    assert cluster.changes() == {}


def test_a_boot_brings_it_back(cluster: Cluster) -> None:
    fort = cluster.lab["fort"]
    before = rules(fort)
    fort.restart()
    own = {tool: [line for line in lines if OWN not in line] for tool, lines in before.items()}
    assert rules(fort) == own  # the provider of this one sets nothing at boot
    assert connect(cluster.lab["stranger"], fort.address, 7006) == REJECTED[4]
    assert cluster.changes() == {}


def test_peers_takes_the_list_away_again(cluster: Cluster) -> None:
    """But for ports that are opened: for those who come by the tunnel they stay open."""
    fort = cluster.lab["fort"]
    for tool in ("iptables", "ip6tables"):
        fort.run(f"{tool} -A INPUT {OWN}", check=True)
    tell(cluster, "peers")
    changed = cluster.changes()
    assert changed == {RULES: {"@docker/fort"}, FILE: {"@docker/fort"}}
    seen, lists = rules(fort), wanted(cluster.lab)
    for tool, lines in lists.items():
        opened = [line.replace("-p ", "-i wg -p ", 1) for line in lines if "--dport 700" in line]
        assert len(opened) == 3
        assert chain(seen[tool], "INPUT") == [OWN, *(line for line in lines if "51820" in line), *opened]
    for address in (fort.address, fort.address6):
        assert connect(cluster.lab["stranger"], address, 7006) == "ConnectionRefusedError 111"
    assert cluster.changes() == {}
