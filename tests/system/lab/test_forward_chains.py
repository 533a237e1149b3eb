"""Whatever FORWARD chain a gateway has, ours is where packets reach it, once; no other rule is touched."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from lab.reach import pings
from lab.spec import File, HostSpec
from tests.support.chains import DOCKER, REJECT, filter_text, six
from tests.support.lab.cluster import Cluster
from tests.support.lab.servers import (
    BACKENDS,
    FAMILIES,
    chain,
    cluster_of,
    describe,
    docker,
    each,
    foreign,
    rules,
    saved,
)

MARK = "-m comment --comment wgcluster-wg -j"
RELAY = f"-i wg -o wg {MARK} ACCEPT"
OURS = [RELAY, f"-o wg -m conntrack --ctstate RELATED,ESTABLISHED {MARK} ACCEPT"]
FIRST = f"-p tcp -m tcp --tcp-flags SYN,RST SYN {MARK} TCPMSS --clamp-mss-to-pmtu"
CLAMP = [f"-i wg {FIRST}", f"-o wg {FIRST}"]
CLOSED = f"! -i wg -o wg -m conntrack ! --ctstate RELATED,ESTABLISHED {MARK} DROP"
NETWORK = {4: "10.0.0.0/24", 6: "fd00::/64"}
RULES = "Firewall | Set the rules"

# What each gateway's provider sets at every boot, and where in FORWARD ours belongs, counted from 1.
CHAINS = {
    "empty": (filter_text(), 1),
    "reject": (filter_text(f"-A FORWARD {REJECT}"), 1),
    "one-reject": (
        filter_text(
            "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", f"-A FORWARD {REJECT}"
        ),
        2,
    ),
    "docker": (DOCKER, 2),
    "foreign": (
        filter_text(
            "-A FORWARD -i eth9 -j DROP", "-A FORWARD -o eth9 -j DROP", "-A FORWARD -i eth0 -o eth0 -j ACCEPT"
        ),
        2,
    ),
    "container": (filter_text("-A FORWARD -i docker0 -j ACCEPT", f"-A FORWARD {REJECT}"), 2),
    "other": (filter_text(f"-A FORWARD {REJECT}"), 1),  # in the backend that "iptables" does not stand for
}
NAMES = list(CHAINS)
PROVIDER = """\
case $(iptables -V) in *nf_tables*) other=legacy ;; *) other=nft ;; esac
for tool in iptables ip6tables; do
    sleep 0.5 # whoever does not wait for it comes in between
    restore=$tool-restore
    [ "$(hostname)" = other ] && restore=$tool-$other-restore
    # Docker closes FORWARD where it switches forwarding on itself, and only there
    policy=DROP
    [ "$(cat /proc/sys/net/ipv4/ip_forward)" = 1 ] && policy=ACCEPT
    sed "s/^:FORWARD DROP/:FORWARD $policy/" /etc/provider/$tool | $restore -w --noflush
done
"""
UNIT = """\
[Unit]
Before=network.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -eu /etc/provider/load

[Install]
WantedBy=multi-user.target
"""


# What a packet meets that comes as soon as there is a network, before any wg-quick.
WATCH = """\
[Unit]
After=network-pre.target
Before=network.target wg-quick@wg.service wgcluster-firewall@wg.service provider.service

[Service]
Type=oneshot
ExecStart=/bin/sh -c "{ iptables -S FORWARD; ip6tables -S FORWARD; sysctl net.ipv4.ip_forward; } >/run/before"

[Install]
WantedBy=multi-user.target
"""


def gateway(number: int, name: str) -> HostSpec:
    text = CHAINS[name][0]
    files = (
        File("/etc/provider/iptables", text),
        File("/etc/provider/ip6tables", six(text)),
        File("/etc/provider/load", PROVIDER),
        File("/etc/systemd/system/provider.service", UNIT),
        File("/etc/systemd/system/watch.service", WATCH),
    )
    return HostSpec(
        name, 0x0A01 + number, has_tools=True, files=files, units=("provider.service", "watch.service")
    )


POLICY = "filter :FORWARD DROP"
Rules = dict[str, dict[str, list[str]]]  # by gateway and by program


@dataclass
class Story:
    """What was seen on the gateways with one backend."""

    backend: str
    before: Rules
    changed: dict[str, set[str]]
    after: Rules
    reached: set[str]
    counted: dict[str, dict[str, list[int]]]  # packets that our rules in FORWARD let through
    again: dict[str, set[str]]
    booted: Rules
    at_network: dict[str, list[str]]  # lines of /run/before after the boot
    reached_booted: set[str]
    again_booted: dict[str, set[str]] = field(default_factory=dict)


def addresses(name: str) -> list[str]:
    number = NAMES.index(name) + 1
    return [f"10.0.0.{number}", f"fd00::{number}"]


def behind(name: str) -> list[str]:
    """Whom the laptop reaches through a gateway: the next one."""
    return addresses(NAMES[(NAMES.index(name) + 1) % len(NAMES)])


@pytest.fixture(scope="module")
def cluster(prefix: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    specs = [gateway(number, name) for number, name in enumerate(NAMES)]
    specs.append(HostSpec("laptop", 0x0802, has_tools=True))
    with cluster_of(specs, f"{prefix}chains-", tmp_path_factory.mktemp("chains")) as cluster:
        hosts = []
        for name in NAMES:
            key, data = docker(cluster.lab[name])
            data |= {"wg_address": addresses(name), "wg_endpoint": cluster.lab[name].address}
            data |= {"wg_gateway": True, "wg_masquerade": name == "docker"}
            hosts.append((key, data))
        describe(cluster, hosts, wg_networks=["10.0.0.0/24", "fd00::/64"], wg_keystore="lab/.state/keys.yml")
        for name in NAMES:
            added = cluster.workspace.wgcluster("client", "add", f"by-{name}", "--gateway", name)
            assert added.returncode == 0, added.stderr
        yield cluster


DIAL = """\
for i in {0}; do wg-quick down $i; done
# wireguard-go ends a moment after its interface, and until then there can be no other of its name
for n in $(seq 100); do [ -z "$(ls /run/wireguard)" ] && break; sleep 0.1; done
for i in {0}; do wg-quick up $i || exit; done
"""


def configure(cluster: Cluster, interfaces: Sequence[str]) -> None:
    """The laptop's files, one for each gateway, whose keys are there since the first run."""
    for interface, name in zip(interfaces, NAMES, strict=True):
        shown = cluster.workspace.wgcluster("client", "show", f"by-{name}")
        assert shown.returncode == 0, shown.stderr
        # six tunnels in one host: each has one destination
        text = re.sub(r"(?m)^AllowedIPs = .*", f"AllowedIPs = {', '.join(behind(name))}", shown.stdout)
        cluster.lab["laptop"].write(f"/etc/wireguard/{interface}.conf", text, 0o600)


def dial(cluster: Cluster) -> set[str]:
    """All tunnels of the laptop made anew, one through each gateway; who answers it."""
    laptop = cluster.lab["laptop"]
    names = [f"c{number}" for number in range(len(NAMES))]
    if laptop.run("ls /etc/wireguard").stdout == "":
        configure(cluster, names)
    laptop.run(DIAL.format(" ".join(names)), check=True)
    wanted = [address for name in NAMES for address in addresses(name)]
    reached: set[str] = set()
    for _ in range(4):  # two gateways that both were started may have to make a session first
        reached |= pings(laptop, [address for address in wanted if address not in reached])
        if len(reached) == len(wanted):
            break
    return reached


def counters(cluster: Cluster, name: str) -> dict[str, list[int]]:
    """Packets that each rule of ours in FORWARD has let through, by program."""
    return {
        tool: [int(line[1:].partition(":")[0]) for line in lines if f"-A FORWARD {RELAY}" in line]
        for tool, lines in saved(cluster.lab[name], "-c").items()
    }


def look(cluster: Cluster) -> Rules:
    return {name: rules(cluster.lab[name]) for name in NAMES}


@pytest.fixture(scope="module", params=BACKENDS)
def story(cluster: Cluster, request: pytest.FixtureRequest) -> Story:
    backend: str = request.param
    gateways = [cluster.lab[name] for name in NAMES]
    # Bare tables as the provider leaves them at boot: without its file our own unit does nothing.
    use = [f"update-alternatives --set {tool} /usr/sbin/{tool}-{backend}" for tool in FAMILIES.values()]
    each(gateways, *use, "rm -f /etc/wgcluster/wg.rules", "restart")
    before = look(cluster)
    changed = cluster.changes()
    after, reached = look(cluster), dial(cluster)
    counted = {name: counters(cluster, name) for name in NAMES}
    again = cluster.changes()
    each(gateways, "restart")
    booted = look(cluster)
    watched = {name: cluster.lab[name].run("cat /run/before").stdout.splitlines() for name in NAMES}
    reached_booted = dial(cluster)
    last = cluster.changes()
    return Story(
        backend, before, changed, after, reached, counted, again, booted, watched, reached_booted, last
    )


def expected(name: str, family: int) -> list[str]:
    """FORWARD as it must be, in the backend that holds the provider's rules."""
    text, place = CHAINS[name]
    begin = "-A FORWARD "
    text = text if family == 4 else six(text)
    there = [line.removeprefix(begin) for line in text.splitlines() if line.startswith(begin)]
    return [*there[: place - 1], *OURS, *there[place - 1 :]]


@pytest.mark.parametrize("when", ["after", "booted"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", NAMES)
def test_ours_stands_once_where_it_is_reached(story: Story, name: str, family: int, when: str) -> None:
    seen = (story.after if when == "after" else story.booted)[name]
    own = f"{FAMILIES[family]}-{story.backend}"
    other = next(f"{FAMILIES[family]}-{one}" for one in BACKENDS if one != story.backend)
    if name == "other":
        assert chain(seen[own], "FORWARD") == OURS
        # that backend has to let through what it would stop
        assert chain(seen[other], "FORWARD") == expected(name, family)
    else:
        assert chain(seen[own], "FORWARD") == expected(name, family)
        assert not [line for line in seen[other] if "wgcluster" in line]
    assert [line for line in chain(seen[own], "FORWARD", "mangle") if "wgcluster" in line] == [*CLAMP, CLOSED]
    nat = [line for line in chain(seen[own], "POSTROUTING", "nat") if "wgcluster" in line]
    assert nat == ([f"-s {NETWORK[family]} -o wg {MARK} MASQUERADE"] if name == "docker" else [])


@pytest.mark.parametrize("when", ["after", "booted"])
@pytest.mark.parametrize("name", NAMES)
def test_the_hosts_own_rules_are_as_they_were(story: Story, name: str, when: str) -> None:
    seen = (story.after if when == "after" else story.booted)[name]
    assert foreign(seen, without=POLICY) == foreign(story.before[name], without=POLICY)
    # forwarding was off before us: nothing passes that no rule accepts, at the next boot as well
    for tool in FAMILIES.values():
        assert POLICY in seen[f"{tool}-{story.backend}"]


@pytest.mark.parametrize("name", NAMES)
def test_packets_of_both_families_pass(story: Story, name: str) -> None:
    assert set(behind(name)) <= story.reached
    for family in FAMILIES.values():
        for backend in BACKENDS:
            if name == "other" or backend == story.backend:
                (packets,) = story.counted[name][f"{family}-{backend}"]
                assert packets > 0


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_others_is_forwarded_before_the_tunnel_is_up(story: Story, name: str) -> None:
    """The kernel forwards from early on; our rules are there before the network is."""
    lines = story.at_network[name]
    assert "net.ipv4.ip_forward = 1" in lines
    assert lines.count("-P FORWARD DROP") == 2


@pytest.mark.parametrize("name", NAMES)
def test_they_pass_after_a_boot(story: Story, name: str) -> None:
    assert set(behind(name)) <= story.reached_booted


def test_each_gateway_got_its_rules_and_a_second_run_has_nothing_to_do(story: Story) -> None:
    assert story.changed[RULES] == {f"@docker/{name}" for name in NAMES}
    assert story.again == {}
    assert story.again_booted == {}
