"""What the core makes of a chain is what the kernel then prints: both families, both backends."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.chains import BASELINE, DOCKER, GATEWAY, PEERS, REJECT, filter_text, of, six
from tests.support.net import BACKENDS, Filter, Namespace
from tests.support.rulesets import drifted, ours, tables
from wgcluster.firewall.placement import after, changes, restore_text
from wgcluster.firewall.rules import Rule
from wgcluster.firewall.tables import Tables, parse_save
from wgcluster.plan.plan import HostPlan
from wgcluster.prefixes import FAMILIES, Family

in_all = pytest.mark.parametrize(
    ("family", "backend"), [(family, backend) for family in FAMILIES for backend in BACKENDS]
)


def filled(tables: Tables) -> Tables:
    """Without chains that are empty: the two backends do not show the same of those."""
    return {
        table: found
        for table, chains in tables.items()
        if (found := {name: chain for name, chain in chains.items() if chain.rules})
    }


def foreign_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if "wgcluster-wg " not in line]


def set_right(judge: Filter, rules: list[Rule]) -> None:
    before = judge.text()
    made = changes(parse_save(before), rules, "wg")
    if made:
        judge.restore(restore_text(made))
    there = judge.tables()
    assert filled(there) == filled(after(parse_save(before), made))
    assert changes(there, rules, "wg") == []
    kept = set(foreign_lines(before))
    assert [line for line in foreign_lines(judge.text()) if line in kept] == foreign_lines(before)


@in_all
@pytest.mark.parametrize(
    "text",
    [
        filter_text(),
        filter_text(f"-A FORWARD {REJECT}"),
        filter_text("-A FORWARD -i docker0 -j ACCEPT", f"-A FORWARD {REJECT}"),
        filter_text("-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT", f"-A INPUT {REJECT}"),
        DOCKER,
    ],
    ids=["empty", "reject", "one and reject", "input", "docker"],
)
@pytest.mark.parametrize("host", [PEERS, GATEWAY, BASELINE], ids=["peers", "gateway", "baseline"])
def test_in_and_out_again(
    namespace: Namespace, family: Family, backend: str, text: str, host: HostPlan
) -> None:
    judge = Filter(namespace, family, backend)
    judge.load(parse_save(text if family == 4 else six(text)))
    before = judge.text()
    set_right(judge, of(host, family))
    judge.restore(restore_text(changes(judge.tables(), [], "wg")))
    assert foreign_lines(judge.text()) == judge.text().splitlines()
    assert filled(judge.tables()) == filled(parse_save(before))


@in_all
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_chain(namespace: Namespace, family: Family, backend: str, data: st.DataObject) -> None:
    judge = Filter(namespace, family, backend)
    judge.load(data.draw(drifted(data.draw(tables(family)), data.draw(ours(family)))))
    set_right(judge, data.draw(ours(family)))


@in_all
@pytest.mark.parametrize("name", ["wg.1", "a=b-c", "w_g", "fifteen-letters"])
def test_every_interface_name_is_printed_as_it_was_given(
    namespace: Namespace, family: Family, backend: str, name: str
) -> None:
    judge = Filter(namespace, family, backend)
    judge.load({})
    rules = of(replace(GATEWAY, interface=name), family)
    judge.restore(restore_text(changes({}, rules, name)))
    assert changes(judge.tables(), rules, name) == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_the_list_of_protocols(namespace: Namespace, backend: str) -> None:
    """A minimal container has no /etc/protocols; iptables then has names of its own."""
    judge = Filter(namespace, 6, backend)
    judge.load({})
    rules = of(BASELINE, 6)
    judge.restore(restore_text(changes({}, rules, "wg")))
    script = f"mount -t tmpfs none /etc && {judge.tool}-save"
    saved = namespace.run("unshare", "-m", "sh", "-c", script)
    assert changes(parse_save(saved), rules, "wg") == []
