"""files/wgcluster-firewall on tables as a boot leaves them: the deploy then finds nothing to do."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.chains import BASELINE, DOCKER, EVERYWHERE, GATEWAY, PEERS, REJECT, filter_text, of, six
from tests.support.net import BACKENDS, Filter, Namespace
from tests.support.rulesets import drifted, ours, tables
from wgcluster.firewall.placement import changes, is_ours, restore_text
from wgcluster.firewall.rules import Rule, desired_rules
from wgcluster.firewall.tables import Tables, parse_save
from wgcluster.host.boot_rules import boot_text
from wgcluster.host.observed import Observed, Rules
from wgcluster.plan.plan import HostPlan
from wgcluster.prefixes import FAMILIES, Family

TOOLS: dict[Family, str] = {4: "iptables", 6: "ip6tables"}
SCRIPT = Path(__file__).parents[3] / "files" / "wgcluster-firewall"
SHELLS = ("dash", "bash", "busybox")  # Debian's, Fedora's, Alpine's, each with what else the script needs

INSTALLED = [shell for shell in SHELLS if shutil.which(shell)]

in_all = pytest.mark.parametrize(
    ("family", "backend"), [(family, backend) for family in FAMILIES for backend in BACKENDS]
)
with_shell = pytest.mark.parametrize("shell", INSTALLED)


class Boot:
    """Runs the script as the unit does, with its rules file in an /etc of its own."""

    def __init__(self, namespace: Namespace, folder: Path) -> None:
        self.namespace = namespace
        self.folder = folder
        self.rules = folder / "rules"

    def run(
        self,
        rules: list[Rule],
        backend: str,
        shell: str = "dash",
        interface: str = "wg",
        policies: dict[Family, str] | None = None,
    ) -> None:
        """What the deploy decides of the tables that are there, and the script then does."""
        there = tuple(
            Rules(family, tool, True, observed(Filter(self.namespace, family, backend).text()))
            for family, tool in TOOLS.items()
        )
        self.rules.write_text(boot_text(rules, interface, Observed(rules=there), policies or {}))
        self.again(backend, shell, interface)

    def again(self, backend: str, shell: str = "dash", interface: str = "wg") -> None:
        """The script alone, on whatever is there now."""
        tools = self.folder / f"{backend}-{shell}"
        if not tools.exists():
            tools.mkdir()
            if shell == "busybox":
                for name in ("sh", "sed", "grep", "cut", "sort", "head", "tr"):
                    (tools / name).symlink_to(shutil.which(shell) or shell)
            else:
                (tools / "sh").symlink_to(shutil.which(shell) or shell)
            for name in TOOLS.values():
                for part in ("", "-save", "-restore"):
                    program = shutil.which(f"{name}-{backend}{part}", path="/usr/sbin:/sbin:/usr/local/sbin")
                    (tools / f"{name}{part}").symlink_to(program or "/nowhere")
        file = f"/etc/wgcluster/{interface}.rules"
        inside = (
            f"exec 3<{self.rules} && mount -t tmpfs none /etc && mkdir /etc/wgcluster &&"
            f" cat <&3 >{shlex.quote(file)} && exec {tools}/sh {SCRIPT} {shlex.quote(interface)}"
        )
        path = f"{tools}:{os.environ['PATH']}:/usr/sbin:/sbin"
        self.namespace.run("unshare", "-m", "sh", "-c", inside, variables={"PATH": path})


@pytest.fixture(scope="module")
def boot(namespace: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Boot:
    return Boot(namespace, tmp_path_factory.mktemp("boot"))


def observed(text: str) -> Tables:
    """As observe.sh hands them over: every byte that is not ASCII as a question mark."""
    return parse_save(re.sub(rb"[\x80-\xff]", b"?", text.encode()).decode())


def foreign(text: str) -> list[str]:
    return [line for line in text.splitlines() if "--comment wgcluster-wg " not in line]


IMAGE = (
    "-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT",
    "-A INPUT -p icmp -j ACCEPT",
    "-A INPUT -i lo -j ACCEPT",
    "-A INPUT -p tcp -m state --state NEW -m tcp --dport 22 -j ACCEPT",
    f"-A INPUT {REJECT}",
    f"-A FORWARD {REJECT}",
)
LOGDROP = (
    "-A INPUT -p tcp -m tcp --dport 22 -j bans",
    "-A INPUT -s 198.18.0.0/16 -p udp -j LOGDROP",
    '-A INPUT -m comment --comment "the rest -j ACCEPT" -j LOGDROP',
    "-A FORWARD -i w+ -g LOGDROP",
    "-A LOGDROP -m limit --limit 5/min -j LOG",
    "-A LOGDROP -i eth9 -j RETURN",
    "-A LOGDROP -j DROP",
    "-A bans -s 198.18.0.66/32 -j DROP",
    "-A bans -j RETURN",
)
CHAINS = ":INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:LOGDROP - [0:0]\n:bans - [0:0]"
LISTEN = "-p udp -m udp --dport 51820 -m comment --comment wgcluster-wg -j ACCEPT"
FORWARD = "-i wg -o wg -m comment --comment wgcluster-wg -j ACCEPT"
TABLES = {
    "empty": filter_text(),
    "reject": filter_text(f"-A FORWARD {REJECT}"),
    "one and reject": filter_text("-A FORWARD -i docker0 -o eth0 -j ACCEPT", f"-A FORWARD {REJECT}"),
    "docker": DOCKER,
    "image": filter_text(*IMAGE),
    "logdrop": filter_text(*LOGDROP, heads=CHAINS),
    "doubled": filter_text(*[f"-A INPUT {LISTEN}", f"-A FORWARD {FORWARD}"] * 2),
    "behind": filter_text(
        f"-A INPUT {REJECT}", f"-A INPUT {LISTEN}", f"-A FORWARD {REJECT}", f"-A FORWARD {FORWARD}"
    ),
    "stale": filter_text(f"-A OUTPUT {FORWARD.replace('-i wg ', '')}"),
    "accept": filter_text("-A INPUT -j ACCEPT", "-A FORWARD -j ACCEPT"),
    "return": filter_text("-A INPUT -j RETURN", "-A FORWARD -j RETURN"),
    "words": filter_text(
        "-A INPUT -i lo -j ACCEPT",
        """-A INPUT -m comment --comment "Rest verwerfen f\u00fcr alle, don't ask \\\"why?\\\"" -j DROP""",
        """-A FORWARD -m comment --comment "f\u00fcr Docker" -j LOG""",
        f"-A FORWARD {REJECT}",
    ),
    "raw": '*raw\n-A PREROUTING -p tcp -m comment --comment "a \\"word\\"" -j ACCEPT\nCOMMIT\n',
}


def text_of(name: str, family: Family) -> str:
    if family == 4:
        return TABLES[name]
    text = six(TABLES[name]).replace("-p icmp ", "-p ipv6-icmp ")
    return text.replace("198.18.0.0/16", "2001:db8::/32").replace("198.18.0.66/32", "2001:db8::66/128")


def without_ours(tables: Tables) -> Tables:
    return {
        table: {
            name: replace(chain, rules=[spec for spec in chain.rules if not is_ours(spec, "wg")])
            for name, chain in chains.items()
        }
        for table, chains in tables.items()
    }


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", TABLES)
def test_the_deploy_finds_nothing_to_do(boot: Boot, name: str, backend: str) -> None:
    judges = {family: Filter(boot.namespace, family, backend) for family in FAMILIES}
    for turn, host in enumerate((replace(PEERS, listen_from=EVERYWHERE), GATEWAY, BASELINE)):
        shell = INSTALLED[turn % len(INSTALLED)]
        before = {}
        for family, judge in judges.items():
            judge.load(parse_save(text_of(name, family)))
            before[family] = foreign(judge.text())
        boot.run(list(desired_rules(host)), backend, shell)
        once = {family: judge.text() for family, judge in judges.items()}
        for family, kept in before.items():
            assert changes(parse_save(once[family]), of(host, family), "wg") == []
            assert [line for line in foreign(once[family]) if line in set(kept)] == kept
    boot.run(list(desired_rules(BASELINE)), backend, INSTALLED[0])
    assert {family: judge.text() for family, judge in judges.items()} == once


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", TABLES)
def test_a_boot_leaves_what_the_deploy_has_left(boot: Boot, name: str, backend: str) -> None:
    """The same rules at the same places, once the host's own are there again."""
    judges = {family: Filter(boot.namespace, family, backend) for family in FAMILIES}
    for turn, host in enumerate((PEERS, GATEWAY, BASELINE)):
        bare, deployed = {}, {}
        for family, judge in judges.items():
            judge.load(without_ours(parse_save(text_of(name, family))))
            bare[family] = judge.tables()
            if made := changes(bare[family], of(host, family), "wg"):
                judge.restore(restore_text(made))
            deployed[family] = judge.text()
        boot.run(list(desired_rules(host)), backend, INSTALLED[turn % len(INSTALLED)])
        for family, judge in judges.items():
            judge.load(bare[family])
        boot.again(backend, INSTALLED[turn % len(INSTALLED)])
        for family, judge in judges.items():
            # a quote in a comment is written with one backslash more each time it is loaded
            assert judge.text().replace("\\", "") == deployed[family].replace("\\", "")


@in_all
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_chain(boot: Boot, family: Family, backend: str, data: st.DataObject) -> None:
    judge = Filter(boot.namespace, family, backend)
    judge.load(data.draw(drifted(data.draw(tables(family)), data.draw(ours(family)))))
    rules = data.draw(ours(family))
    before = judge.tables()
    boot.run(rules, backend, data.draw(st.sampled_from(INSTALLED)))
    there = judge.tables()
    if rules:  # a family without rules is none of its business
        assert changes(there, rules, "wg") == []
    assert without_ours(there)["filter"] == without_ours(before)["filter"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_other_rules_than_the_deploy_has_seen(boot: Boot, backend: str) -> None:
    """What lets in and keeps out still does; a rule that is gone was no more than a place."""
    judges = {family: Filter(boot.namespace, family, backend) for family in FAMILIES}
    for deployed in TABLES:
        for family, judge in judges.items():
            judge.load(without_ours(parse_save(text_of(deployed, family))))
        boot.run(list(desired_rules(GATEWAY)), backend)
        for booted in ("empty", "docker", "image"):
            for family, judge in judges.items():
                judge.load(parse_save(text_of(booted, family)))
            boot.again(backend)
            for family, judge in judges.items():
                forward = [rule for rule in of(GATEWAY, family) if rule.chain != "INPUT"]
                there = [one for one in changes(judge.tables(), forward, "wg") if one.chain != "INPUT"]
                assert there == []


@in_all
def test_a_rule_of_the_host_that_has_changed(boot: Boot, family: Family, backend: str) -> None:
    """Where the place is gone ours go in front: the port stays open, and strangers out."""
    judge = Filter(boot.namespace, family, backend)
    judge.load(parse_save(filter_text("-A INPUT -i lo -j ACCEPT", "-A INPUT -j DROP")))
    boot.run(list(desired_rules(PEERS)), backend)
    reject = f"-A INPUT {REJECT}"
    judge.load(parse_save(filter_text("-A INPUT -i lo -j ACCEPT", reject if family == 4 else six(reject))))
    boot.again(backend)
    assert changes(judge.tables(), of(PEERS, family), "wg") == []


@in_all
def test_a_file_that_is_not_whole_puts_nothing_in(boot: Boot, family: Family, backend: str) -> None:
    """As a power cut may leave it, or a version of ours that wrote it in another way."""
    judge = Filter(boot.namespace, family, backend)
    judge.load({})
    boot.run(list(desired_rules(GATEWAY)), backend)
    whole = boot.rules.read_text()
    for text in ("", whole[: len(whole) // 2], whole.removesuffix("# end\n")):
        judge.load({})
        boot.rules.write_text(text)
        with pytest.raises(AssertionError, match="is not whole: deploy again"):
            boot.again(backend)
        assert not [line for line in judge.text().splitlines() if "wgcluster" in line]


@in_all
def test_the_policy_of_forward(boot: Boot, family: Family, backend: str) -> None:
    judge = Filter(boot.namespace, family, backend)
    judge.load(parse_save(text_of("docker", family).replace(":FORWARD DROP", ":FORWARD ACCEPT")))
    boot.run(list(desired_rules(GATEWAY)), backend)
    assert judge.tables()["filter"]["FORWARD"].policy == "ACCEPT"
    boot.run(list(desired_rules(GATEWAY)), backend, policies={4: "DROP", 6: "DROP"})
    assert judge.tables()["filter"]["FORWARD"].policy == "DROP"


@with_shell
@pytest.mark.parametrize("name", ["wg.1", "a=b-c", "wg+", "fifteen-letters"])
def test_the_interface_is_no_pattern(boot: Boot, name: str, shell: str) -> None:
    """What belongs to an interface of a like name stays; what is ours does not come twice."""
    judge = Filter(boot.namespace, 4, "nft")
    others = [
        f"-A INPUT -i {other} -m comment --comment wgcluster-{other} -j ACCEPT"
        for other in ("wgx1", "wgg", "wg")
    ]
    judge.load(parse_save(filter_text(*others)))
    host: HostPlan = replace(GATEWAY, interface=name)
    boot.run(of(host), "nft", shell, name)
    boot.run(of(host), "nft", shell, name)
    there = judge.tables()
    assert changes(there, of(host), name) == []
    assert [spec for spec in there["filter"]["INPUT"].rules if not is_ours(spec, name)] == [
        tuple(shlex.split(line)[2:]) for line in others
    ]
