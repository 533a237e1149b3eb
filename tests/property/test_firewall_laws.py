"""Whatever stands in the chains: ours end up in once, in order and reached, and nobody else's move."""

from __future__ import annotations

import shlex

from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.rulesets import drifted, ours, tables
from wgcluster.firewall.placement import after, changes, is_ours, restore_text
from wgcluster.firewall.rules import Rule
from wgcluster.firewall.tables import Spec, Tables, join, packet_of, parse_save, target, verdict
from wgcluster.prefixes import FAMILIES


@st.composite
def hosts(draw: st.DrawFn) -> tuple[Tables, list[Rule]]:
    """What a host has, ours of an older plan among it, and what it shall have."""
    family = draw(st.sampled_from(FAMILIES))
    there = draw(drifted(draw(tables(family)), draw(ours(family))))
    return there, draw(ours(family))


def rules_of(there: Tables, mine: bool) -> dict[tuple[str, str], list[Spec]]:
    found = {
        (table, name): [spec for spec in chain.rules if is_ours(spec, "wg") == mine]
        for table, chains in there.items()
        for name, chain in chains.items()
    }
    return {where: rules for where, rules in found.items() if rules}


@examples(80)
@given(hosts())
def test_ours_are_in_once_and_in_order(host: tuple[Tables, list[Rule]]) -> None:
    there, rules = host
    result = after(there, changes(there, rules, "wg"))
    expected: dict[tuple[str, str], list[Spec]] = {}
    for rule in rules:
        expected.setdefault((rule.table, rule.chain), []).append(rule.spec)
    assert rules_of(result, mine=True) == expected


@examples(80)
@given(hosts())
def test_nobody_elses_rule_moves(host: tuple[Tables, list[Rule]]) -> None:
    there, rules = host
    result = after(there, changes(there, rules, "wg"))
    assert rules_of(result, mine=False) == rules_of(there, mine=False)
    assert {n: c.policy for n, c in result["filter"].items()} == {
        n: c.policy for n, c in there["filter"].items()
    }


@examples(80)
@given(hosts())
def test_a_second_time_there_is_nothing_to_do(host: tuple[Tables, list[Rule]]) -> None:
    there, rules = host
    assert changes(after(there, changes(there, rules, "wg")), rules, "wg") == []


@examples(80)
@given(hosts())
def test_ours_are_reached(host: tuple[Tables, list[Rule]]) -> None:
    """What a rule of ours is for surely gets the verdict that the rule gives."""
    there, rules = host
    result = after(there, changes(there, rules, "wg"))
    for rule in rules:
        if rule.table != "filter":
            continue
        found = verdict(result["filter"], rule.chain, packet_of(rule.spec))
        if target(rule.spec) == "ACCEPT":
            assert found == "ACCEPT"
        else:
            assert found in ("REJECT", "DROP")


@examples(50)
@given(hosts())
def test_a_chain_that_is_right_is_not_touched(host: tuple[Tables, list[Rule]]) -> None:
    there, rules = host
    made = changes(there, rules, "wg")
    touched = {(change.table, line.split()[1]) for change in made for line in change.lines}
    assert len(touched) == len(made)
    result = after(there, made)
    for table, chains in there.items():
        for name, chain in chains.items():
            assert (result[table][name] != chain) or (table, name) not in touched


@examples(50)
@given(hosts())
def test_the_text_says_what_the_changes_do(host: tuple[Tables, list[Rule]]) -> None:
    there, rules = host
    made = changes(there, rules, "wg")
    text = restore_text(made)
    assert [line for line in text.splitlines() if line.startswith("-")] == [
        line
        for table in ("raw", "mangle", "filter", "nat")  # the guard before what it replaces
        for c in made
        if c.table == table
        for line in c.lines
    ]
    assert text.count("*") == text.count("COMMIT") == len({change.table for change in made})


@given(
    st.lists(
        st.text(st.characters(exclude_characters="\n\r", exclude_categories=("Cs", "Cc", "Z")), min_size=1)
    )
)
def test_what_join_writes_is_read_back(words: list[str]) -> None:
    text = " ".join(["-A", "INPUT", "-m", "comment", join(tuple(words))]).rstrip()
    assert shlex.split(text)[4:] == words
    assert parse_save(f"*filter\n{text}\nCOMMIT\n")["filter"]["INPUT"].rules == [("-m", "comment", *words)]
