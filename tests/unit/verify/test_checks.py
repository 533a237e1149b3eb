"""What verify.py reports of a host, check by check."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from tests.support.chains import REJECT, filter_table
from wgcluster.firewall.placement import after, changes
from wgcluster.firewall.rules import desired_rules, tunnel_rules
from wgcluster.firewall.tables import Chain, Tables, parse_save
from wgcluster.host.boot_rules import boot_text
from wgcluster.host.kernel_routes import parse_routes
from wgcluster.host.observed import File, Link, LivePeer, Observed, Rules, Unit
from wgcluster.inventory.schema import OpenPort
from wgcluster.plan.plan import HostPlan, Peer, Plan
from wgcluster.prefixes import FAMILIES, Family
from wgcluster.verify.boot import BootFiles
from wgcluster.verify.checks import Check, checks, ping_targets
from wgcluster.verify.report import table
from wgcluster.wireguard.drift import SESSION

OWN, CLOUD, LAPTOP = (letter * 42 + "A=" for letter in "KCL")
CLOCK = 1_700_000_000
EVERYWHERE = (ip_network("0.0.0.0/0"), ip_network("::/0"))
ROOT = HostPlan(
    name="root",
    interface="wg",
    addresses=(ip_interface("10.0.0.2/24"), ip_interface("fd00::2/64")),
    port=51820,
    mtu=1420,
    public_key=OWN,
    peers=(
        Peer("cloud", CLOUD, (ip_network("10.0.0.3/32"), ip_network("fd00::3/128"))),
        Peer("laptop", LAPTOP, (ip_network("10.0.0.100/32"),), is_client=True),
    ),
    forwards=(4, 6),
    listen_from=EVERYWHERE,
)
OTHER = replace(
    ROOT, name="cloud", public_key=CLOUD, addresses=(ip_interface("10.0.0.3/24"), ip_interface("fd00::3/64"))
)
FOUR_ONLY = replace(OTHER, name="old", addresses=(ip_interface("10.0.0.4/24"),))
PLAN = Plan("wg", (ip_network("10.0.0.0/24"), ip_network("fd00::/64")), "mesh", (OTHER, FOUR_ONLY, ROOT))
ANSWERED = {"10.0.0.3": True, "fd00::3": True, "10.0.0.4": True}
LIVE = LivePeer(False, "198.18.0.9:51820", frozenset({"10.0.0.3/32"}), CLOCK - SESSION, None)
LINK = Link(1420, public_key=OWN, port=51820, peers={CLOUD: LIVE})
TUNNEL: dict[Family, Tables] = {
    family: after({}, changes({}, [rule for rule in tunnel_rules(ROOT) if rule.family == family], "wg"))
    for family in FAMILIES
}


def beside(family: Family, *rules: str) -> Tables:
    """Ours of one family, and these behind them."""
    tables = after(TUNNEL[family], [])
    for name, chain in filter_table(*rules)["filter"].items():
        tables["filter"].setdefault(name, Chain()).rules.extend(chain.rules)
    return tables


OPEN = (Rules(4, "iptables", True, beside(4)), Rules(6, "ip6tables", True, beside(6)))
RIGHT = Observed(
    units={
        "wg-quick@wg.service": Unit(True, True),
        "wgcluster-firewall@wg.service": Unit(True, True),
        "wgcluster-firewall-early@wg.service": Unit(True, False),
        "wgcluster-firewall-again@wg.service": Unit(True, False),
    },
    link=LINK,
    clock=CLOCK,
    forwarding={4: "1", 6: "1"},
    interface_addresses=(("lo", ip_interface("127.0.0.1/8")), ("eth0", ip_interface("198.18.0.2/24"))),
    rules=OPEN,
)
CONFIG = f"""\
# wgcluster: written by the deploy
[Interface]
Address = 10.0.0.2/24
Address = fd00::2/64
PrivateKey = (hidden)
ListenPort = 51820
MTU = 1420
PreUp = /usr/local/sbin/wgcluster-firewall %i || :
PostUp = cd /proc/sys/net/ipv4/conf/%i && echo 0 >send_redirects && echo 1 >forwarding || :

[Peer]
PublicKey = {CLOUD}
AllowedIPs = 10.0.0.3/32, fd00::3/128

[Peer]
PublicKey = {LAPTOP}
AllowedIPs = 10.0.0.100/32
"""
RULES = boot_text(
    desired_rules(ROOT),
    "wg",
    Observed(rules=(Rules(4, "iptables", True, {}), Rules(6, "ip6tables", True, {}))),
    {},
)
SYSCTL = "# ours\nnet.ipv4.ip_forward = 1\nnet/ipv6/conf/all/forwarding=1\n"


def file(text: str, mode: str = "644") -> File:
    return File("file", mode, "root:root", data=text.encode())


BOOT = BootFiles(file(CONFIG, "600"), file(RULES), file(SYSCTL))


def faults(
    observed: Observed, host: HostPlan = ROOT, answered: dict[str, bool] = ANSWERED
) -> dict[str, list[str]]:
    """The faults by the name of the check, those of the files and those without left out."""
    found = [check for check in checks(PLAN, host, observed, BOOT, answered) if check.name != "boot"]
    return {check.name: list(check.faults) for check in found if check.faults}


def test_as_planned_all_is_well() -> None:
    found = checks(PLAN, ROOT, RIGHT, BOOT, ANSWERED)
    assert [(check.name, check.count, str(check)) for check in found] == [
        ("unit", 1, "ok"),
        ("handshake", 1, "ok"),
        ("ping", 3, "ok"),
        ("forward", 2, "ok"),
        ("port", 2, "ok"),
        ("route", 2, "ok"),
        ("firewall", 1, "ok"),
        ("stranger", 2, "ok"),
        ("boot", 1, "ok"),
        ("names", 0, "-"),
    ]


def test_ping_targets() -> None:
    assert ping_targets(PLAN, ROOT) == ["10.0.0.3", "fd00::3", "10.0.0.4"]
    assert ping_targets(PLAN, FOUR_ONLY) == ["10.0.0.3", "10.0.0.2"]


def units(**changed: Unit) -> Observed:
    names = {
        "quick": "wg-quick@wg.service",
        "firewall": "wgcluster-firewall@wg.service",
        "early": "wgcluster-firewall-early@wg.service",
        "again": "wgcluster-firewall-again@wg.service",
    }
    return replace(RIGHT, units={**RIGHT.units, **{names[name]: unit for name, unit in changed.items()}})


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        (units(quick=Unit(True, False)), ["wg-quick@wg.service is not active"]),
        (
            units(quick=Unit(False, True)),
            ["wg-quick@wg.service is not enabled: it will be gone after a boot"],
        ),
        (
            units(firewall=Unit(True, False)),
            [
                "wgcluster-firewall@wg.service is not active:"
                " the reload of another firewall may take our rules away"
            ],
        ),
        (
            units(again=Unit()),
            [
                "wgcluster-firewall-again@wg.service is not enabled:"
                " the start of another firewall may take our rules away"
            ],
        ),
        (
            units(firewall=Unit(False, True)),
            ["wgcluster-firewall@wg.service is not enabled: our rules are late or gone after a boot"],
        ),
        (
            units(early=Unit()),
            ["wgcluster-firewall-early@wg.service is not enabled: our rules are late or gone after a boot"],
        ),
        (replace(RIGHT, link=replace(LINK, public_key=CLOUD)), ["wg has another key than planned"]),
        (replace(RIGHT, link=replace(LINK, port=1)), ["wg listens on 1, planned is 51820"]),
    ],
)
def test_unit(observed: Observed, expected: list[str]) -> None:
    assert faults(observed) == {"unit": expected}


def test_without_a_firewall_its_unit_is_not_missed() -> None:
    assert faults(units(firewall=Unit()), replace(ROOT, firewall="off")) == {}


def test_no_interface() -> None:
    assert faults(replace(RIGHT, link=None)) == {
        "unit": ["there is no interface wg"],
        "handshake": ["cloud is no peer of the live interface"],
    }


@pytest.mark.parametrize(
    ("handshake", "expected"),
    [
        (0, "no handshake with cloud yet"),
        (CLOCK - SESSION - 1, f"the last handshake with cloud is {SESSION + 1} s old"),
    ],
)
def test_handshake(handshake: int, expected: str) -> None:
    link = replace(LINK, peers={CLOUD: replace(LIVE, handshake=handshake)})
    assert faults(replace(RIGHT, link=link)) == {"handshake": [expected]}


def test_ping() -> None:
    assert faults(RIGHT, answered={"10.0.0.3": True, "fd00::3": False}) == {
        "ping": ["cloud (fd00::3) does not answer", "old (10.0.0.4) does not answer"]
    }


@pytest.mark.parametrize(("value", "off"), [("0", []), ("-", ["IPv6 is off: its kernel has none"])])
def test_forwarding_is_off(value: str, off: list[str]) -> None:
    seen = replace(RIGHT, forwarding={4: "1", 6: value})
    unit = {"unit": off} if off else {}
    assert faults(seen) == {"forward": ["IPv6 forwarding is off"], **unit}
    assert faults(seen, replace(ROOT, forwards=(4,))) == unit


def test_an_interface_that_does_not_forward() -> None:
    """What comes in by it is lost although forwarding is on; of others it matters where ours leads there."""
    off = {f"net/ipv4/conf/{name}/forwarding": "0" for name in ("wg", "eth1", "eth2")}
    routes = parse_routes(["172.16.5.0/24 dev eth1", "default via 198.18.0.1 dev eth2"], 4)
    seen = replace(RIGHT, sysctls=off, routes=routes)
    host = replace(ROOT, subnets=(ip_network("172.16.0.0/12"),))
    said = [fault for fault in faults(seen, host)["forward"] if "conf" in fault]
    assert said == [
        "net.ipv4.conf.wg.forwarding is 0: what comes from wg is not forwarded",
        "net.ipv4.conf.eth1.forwarding is 0: what comes from 172.16.0.0/12 is not forwarded",
    ]
    assert "forward" not in faults(seen, replace(ROOT, forwards=()))


def with_rules(*rules: str, tool: str = "iptables") -> Observed:
    return replace(RIGHT, rules=(*OPEN, Rules(4, tool, False, filter_table(*rules))))


def test_a_forward_rule_must_be_reached_not_merely_there() -> None:
    ours = "-A FORWARD -i wg -o wg -m comment --comment wgcluster-wg -j ACCEPT"
    reject = f"-A FORWARD {REJECT}"
    assert faults(with_rules(ours, reject)) == {}
    assert faults(with_rules(reject, ours, tool="iptables-legacy")) == {
        "forward": ["iptables-legacy: FORWARD does not let through what comes from wg for wg"]
    }


def test_what_mangle_drops_counts_as_well() -> None:
    tables = {"mangle": filter_table("-A FORWARD -i wg -j DROP", "-A INPUT -p udp -j DROP")["filter"]}
    seen = replace(RIGHT, rules=(*OPEN, Rules(4, "iptables", False, tables)))
    assert [name for name, found in faults(seen).items() if found] == ["forward", "port"]


@pytest.mark.parametrize(("remembered", "policy", "told"), [
    ("4 off ACCEPT", "ACCEPT", True),
    ("4 off ACCEPT", "DROP", False),
    ("4 on DROP", "ACCEPT", True),
    ("4 on ACCEPT", "ACCEPT", False),
])  # fmt: skip
def test_a_host_that_was_closed_stays_closed(remembered: str, policy: str, told: bool) -> None:
    tables = beside(4)
    tables["filter"]["FORWARD"].policy = policy
    files = {
        **RIGHT.files,
        "/etc/wgcluster/wg.before": File("file", "644", "root:root", data=remembered.encode()),
    }
    seen = replace(RIGHT, files=files, rules=(Rules(4, "iptables", True, tables), OPEN[1]))
    message = "iptables: the policy of FORWARD is ACCEPT, planned is DROP"
    assert faults(seen).get("forward", []) == ([message] if told else [])


@pytest.mark.parametrize(
    ("table", "name", "rule", "says"),
    [
        ("raw", "PREROUTING", "-i eth0 -j ACCEPT", ["for 10.0.0.2", "as if from 10.0.0.0/24"]),
        ("raw", "PREROUTING", "-s 198.18.0.0/16 -j friends", ["for 10.0.0.2"]),
        ("mangle", "FORWARD", "-i eth0 -p tcp -j ACCEPT", ["for wg"]),
        ("filter", "FORWARD", "-i eth0 -p tcp -j ACCEPT", []),
        ("mangle", "FORWARD", "-i docker0 -j ACCEPT", []),
    ],
)
def test_a_stranger_who_gets_in(table: str, name: str, rule: str, says: list[str]) -> None:
    """By a rule of somebody else's in front of ours; only where it may take what comes by a wire."""
    tables = beside(4)
    tables[table][name].rules.insert(0, tuple(rule.split()))
    seen = replace(RIGHT, rules=(Rules(4, "iptables", True, tables), OPEN[1]))
    expected = [f"lets in what comes by eth0 {words}" for words in says]
    assert faults(seen).get("stranger", []) == expected
    if name == "FORWARD":  # who does not forward lets nobody through
        assert "stranger" not in faults(replace(seen, forwarding={4: "0", 6: "0"}))


def test_rules_of_ours_that_are_gone_let_strangers_in() -> None:
    bare = Rules(4, "iptables", True, filter_table("-A INPUT -j ACCEPT", "-A FORWARD -j ACCEPT"))
    assert len(faults(replace(RIGHT, rules=(bare, OPEN[1])))["stranger"]) == 3
    assert "stranger" not in faults(replace(RIGHT, rules=()), replace(ROOT, firewall="off"))


def test_a_port_that_is_shut_for_one_who_dials() -> None:
    host = replace(ROOT, listen_from=(ip_network("198.18.0.2/32"), ip_network("198.18.0.3/32")))
    rules = ("-A INPUT -s 198.18.0.2/32 -p udp -m udp --dport 51820 -j ACCEPT", f"-A INPUT {REJECT}")
    assert faults(with_rules(*rules), host) == {
        "port": ["iptables: INPUT does not let 198.18.0.3/32 reach UDP port 51820"]
    }
    assert faults(with_rules(*rules)) == {
        "port": ["iptables: INPUT does not let 0.0.0.0/0 reach UDP port 51820"]
    }


MASKS = replace(ROOT, masquerade=True, subnets=(ip_network("172.16.0.0/12"),), masquerade_lan=True)
KUBE = ["-A POSTROUTING -j kube", "-A kube -m mark ! --mark 0x4/0x4 -j RETURN", "-A kube -j MASQUERADE"]
TO_WG = "-A POSTROUTING -s 10.0.0.0/24 -o wg -j MASQUERADE"
TO_LAN = "-A POSTROUTING -s 10.0.0.0/24 -d 172.16.0.0/12 ! -o wg -j MASQUERADE"


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        ([], ["10.0.0.0/24 to wg", "10.0.0.0/24 to 172.16.0.0/12"]),
        ([TO_WG, TO_LAN], []),
        # somebody else's will do, in a chain of his, too
        (["-A POSTROUTING -j SNAT --to-source 198.18.0.9"], []),
        (["-A POSTROUTING -o wg -j theirs", "-A theirs -s 10.0.0.0/8 -j MASQUERADE", TO_LAN], []),
        # Kubernetes: what has its mark
        (
            KUBE,
            ["10.0.0.0/24 to wg", "10.0.0.0/24 to 172.16.0.0/12"],
        ),
        (
            [*KUBE, TO_WG, TO_LAN],
            [],
        ),
        (["-A POSTROUTING -o wg -p udp -j RETURN", TO_WG, TO_LAN], ["10.0.0.0/24 to wg"]),
        # in front of ours they are let by, or some of them
        (["-A POSTROUTING -j ACCEPT", TO_WG, TO_LAN], ["10.0.0.0/24 to wg", "10.0.0.0/24 to 172.16.0.0/12"]),
        (["-A POSTROUTING -o wg -p tcp -j ACCEPT", TO_WG, TO_LAN], ["10.0.0.0/24 to wg"]),
        (["-A POSTROUTING -s 10.0.0.64/26 -o wg -j MASQUERADE", TO_LAN], ["10.0.0.0/24 to wg"]),
        ([TO_WG, TO_LAN.replace("! -o wg", "-o eth1")], ["10.0.0.0/24 to 172.16.0.0/12"]),
    ],
)
def test_what_is_to_get_another_address(rules: list[str], kept: list[str]) -> None:
    tables = {
        **beside(4),
        "nat": parse_save("\n".join(["*nat", ":POSTROUTING ACCEPT", *rules, "COMMIT"]))["nat"],
    }
    seen = replace(RIGHT, rules=(Rules(4, "iptables", True, tables), OPEN[1]))
    host = replace(MASKS, forwards=(4,), addresses=ROOT.addresses[:1])
    assert faults(seen, host).get("forward", []) == [
        f"nat: what goes from {one} keeps its address" for one in kept
    ]


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (
            "-A INPUT -i wg -p tcp -m tcp --dport 1:9000 -j DROP",
            ["INPUT does not let all by wg reach TCP port 8000-8100"],
        ),
        ("-A INPUT -i wg -p tcp -m tcp --dport 8050 -j DROP", []),  # one of them
        ("-A INPUT -i wg -j DROP", ["INPUT does not let all by wg reach TCP port 8000-8100"]),
        ("-A INPUT -i eth0 -p tcp -j DROP", []),
        (
            "-A OUTPUT -p udp -m udp --dport 51821 -j REJECT",
            ["OUTPUT does not let out UDP from port 51820 for port 51821 of 198.18.0.9/32"],
        ),
        ("-A OUTPUT -o wg -j REJECT", []),
        (
            "-A OUTPUT ! -o wg -j REJECT",
            ["OUTPUT does not let out UDP from port 51820 for port 51821 of 198.18.0.9/32"],
        ),
    ],
)
def test_what_is_opened_and_what_is_dialled(rule: str, says: list[str]) -> None:
    cloud = replace(ROOT.peers[0], endpoint="198.18.0.9:51821")
    host = replace(ROOT, firewall_allow=(OpenPort("8000-8100"),), peers=(cloud,))
    seen = replace(RIGHT, rules=(Rules(4, "iptables", True, beside(4, rule)), OPEN[1]))
    assert faults(seen, host).get("port", []) == [f"iptables: {one}" for one in says]


def test_a_family_whose_program_fails() -> None:
    seen = replace(
        RIGHT, rules=OPEN[:1], rules_errors={6: "Permission denied"}, tools=frozenset({"iptables"})
    )
    (fault,) = faults(seen)["firewall"]
    assert '"ip6tables-save" fails (Permission denied), so this host can have no IPv6 rules' in fault
    assert "firewall" not in faults(seen, replace(ROOT, addresses=ROOT.addresses[:1]))


def edited(old: str, new: str) -> BootFiles:
    """The files with a line changed in the one that has it."""
    for name in ("config", "rules", "sysctl"):
        one: File = getattr(BOOT, name)
        if old in one.text:
            return replace(BOOT, **{name: replace(one, data=one.text.replace(old, new, 1).encode())})
    raise AssertionError(old)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (replace(BOOT, config=File()), ["the config file is gone"]),
        (
            replace(BOOT, config=file(CONFIG)),
            ["the config file has mode 644 of root:root: its key can be read"],
        ),
        (edited("MTU = 1420", "MTU = 9000"), ["the config file has MTU 9000, planned is 1420"]),
        (
            edited("ListenPort = 51820", "ListenPort = 1"),
            ["the config file has ListenPort 1, planned is 51820"],
        ),
        (
            edited("Address = fd00::2/64\n", ""),
            ["the config file has Address 10.0.0.2/24, planned is 10.0.0.2/24, fd00::2/64"],
        ),
        (
            edited("PostUp = cd", "PostUp = x"),
            [
                "the config file has PostUp, which is not ours",
                "the config file lacks PostUp = cd /proc/sys/net/ipv4/conf/%i && echo 0 >send_redirects"
                " && echo 1 >forwarding || :",
            ],
        ),
        (
            edited("PreUp = /usr/local/sbin/wgcluster-firewall %i || :\n", ""),
            ["the config file lacks PreUp = /usr/local/sbin/wgcluster-firewall %i || :"],
        ),
        (
            edited(CLOUD, OWN),
            ["the config file lacks the peer cloud", f"the config file has a peer too many: {OWN}"],
        ),
        (
            edited("10.0.0.3/32, ", ""),
            ["the config file has AllowedIPs fd00::3/128 for cloud, planned is 10.0.0.3/32, fd00::3/128"],
        ),
        (
            edited("[Interface]", "[Interfaces]"),
            ["the config file cannot be read: line 2: [Interfaces] is neither [Interface] nor [Peer]"],
        ),
        (replace(BOOT, rules=File()), ["the file of our firewall rules is gone"]),
        (
            edited("--dport 51820", "--dport 1"),
            ["the file of our firewall rules does not let 0.0.0.0/0 reach UDP port 51820"],
        ),
        (
            edited(
                "ip6tables filter FORWARD rule -i wg -o wg", "ip6tables filter FORWARD rule -i eth0 -o wg"
            ),
            ["the file of our firewall rules does not let through IPv6 from wg"],
        ),
        (replace(BOOT, sysctl=File()), [f"no file of ours switches IPv{n} forwarding on" for n in (4, 6)]),
        (edited("ip_forward = 1", "ip_forward = 0"), ["no file of ours switches IPv4 forwarding on"]),
    ],
)
def test_what_the_next_boot_would_change(files: BootFiles, expected: list[str]) -> None:
    found = {check.name: list(check.faults) for check in checks(PLAN, ROOT, RIGHT, files, ANSWERED)}
    assert found.pop("boot") == expected
    assert not any(found.values())


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (Check("ping", 0), "-"),
        (Check("ping", 3), "ok"),
        (Check("ping", 3, ("a",)), "2/3"),
        (Check("ping", 1, ("a", "b")), "0/1"),
    ],
)
def test_a_cell(check: Check, text: str) -> None:
    assert str(check) == text


def test_the_table() -> None:
    rows = {
        "cloud": [Check("unit", 1), Check("ping", 12, ("root (10.0.0.2) does not answer",))],
        "a-long-name": [Check("unit", 1), Check("nginx", 2)],
    }
    assert table(rows).splitlines() == [
        "host         unit  ping   nginx",
        "cloud        ok    11/12  -",
        "a-long-name  ok    -      ok",
        "",
        "cloud: ping: root (10.0.0.2) does not answer",
    ]
    assert table({"cloud": [Check("unit", 1)]}) == "host   unit\ncloud  ok"


def test_names_that_lead_elsewhere_but_for_those_of_the_host_itself() -> None:
    names = ((ip_address("10.0.0.2"), ("root", "git.example.org")), (ip_address("10.0.0.3"), ("cloud",)))
    hosts = file("127.0.1.1 root\n10.0.0.3 cloud\n")
    assert faults(replace(RIGHT, files={"/etc/hosts": hosts}), replace(ROOT, names=names)) == {}
    assert faults(RIGHT, replace(ROOT, names=names)) == {
        "names": ["/etc/hosts has no address for cloud, planned is 10.0.0.3"]
    }
