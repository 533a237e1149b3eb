"""Random tables and random hosts: what a person, a script and Docker may have put into a chain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network

from hypothesis import strategies as st

from tests.support.chains import BASELINE, EVERYWHERE, GATEWAY, PEERS
from wgcluster.firewall.rules import Rule, desired_rules
from wgcluster.firewall.tables import Chain, Spec, Tables
from wgcluster.prefixes import Family

OWN_CHAINS = ("mine", "theirs")
_SOURCES = {
    4: ("198.18.0.0/16", "198.18.0.2/32", "198.18.0.9/32"),
    6: ("2001:db8::/32", "2001:db8::2/128", "fd00::9/128"),
}
_ENDS = {4: "icmp-host-prohibited", 6: "icmp6-adm-prohibited"}
_PORTS = ("--dport 22", "--dport 51820", "--dport 51000:52000")


def _option(name: str, values: Sequence[str]) -> st.SearchStrategy[str]:
    given_by = st.builds(
        lambda no, value: f"{no}{name} {value}", st.sampled_from(("", "! ")), st.sampled_from(values)
    )
    return st.one_of(st.just(""), given_by)


def rules(family: Family, chain: str) -> st.SearchStrategy[Spec]:
    """One foreign rule as ``-save`` prints it; a user's chain jumps only to those behind it."""
    nested = OWN_CHAINS[OWN_CHAINS.index(chain) + 1 :] if chain in OWN_CHAINS else OWN_CHAINS
    protocol = st.one_of(
        st.just(""),
        st.sampled_from(("-p tcp", "-p udp", "! -p tcp")),
        st.builds(
            lambda p, port: f"-p {p} -m {p} {port}", st.sampled_from(("tcp", "udp")), st.sampled_from(_PORTS)
        ),
    )
    state = st.sampled_from(
        ("", "", "-m conntrack --ctstate NEW", "-m conntrack ! --ctstate RELATED,ESTABLISHED")
    )
    out = _option("-o", ("wg", "eth0")) if chain == "FORWARD" else st.just("")
    ends = ("-j ACCEPT", "-j DROP", f"-j REJECT --reject-with {_ENDS[family]}", "-j RETURN", "")
    jumps = [f"-{letter} {name}" for name in nested for letter in "jg"]
    action = st.sampled_from((*ends, *jumps))
    note = st.sampled_from(("", "", "-m comment --comment theirs", "-m comment --comment wgcluster-wg2"))
    words = st.tuples(
        _option("-s", _SOURCES[family]),
        _option("-i", ("wg", "eth0", "lo", "w+")),
        out,
        protocol,
        state,
        note,
        action,
    )
    return words.map(lambda parts: tuple(" ".join(parts).split()))


def tables(family: Family) -> st.SearchStrategy[Tables]:
    """A filter table without any rule of ours."""

    def chain(name: str, policy: st.SearchStrategy[str]) -> st.SearchStrategy[Chain]:
        return st.builds(Chain, policy, st.lists(rules(family, name), max_size=5))

    built_in = st.sampled_from(("ACCEPT", "DROP"))
    return st.fixed_dictionaries(
        {name: chain(name, built_in) for name in ("INPUT", "FORWARD")}
        | {name: chain(name, st.just("-")) for name in OWN_CHAINS}
    ).map(lambda chains: {"filter": chains})


def ours(family: Family) -> st.SearchStrategy[list[Rule]]:
    """The rules of some host in one family."""
    hosts = st.sampled_from((PEERS, replace(PEERS, listen_from=EVERYWHERE), GATEWAY, BASELINE))
    allowed = st.lists(st.sampled_from(BASELINE.firewall_allow), unique=True)
    forwards = st.sampled_from(((), (4,), (6,), (4, 6)))
    sources = st.sampled_from((PEERS.listen_from, EVERYWHERE, (ip_network(_SOURCES[family][1]),)))
    return st.builds(
        lambda host, allow, forward, source: [
            rule
            for rule in desired_rules(
                replace(host, firewall_allow=tuple(allow), forwards=forward, listen_from=source)
            )
            if rule.family == family
        ],
        hosts,
        allowed,
        forwards,
        sources,
    )


def drifted(there: Tables, old: Sequence[Rule]) -> st.SearchStrategy[Tables]:
    """``there`` with rules of ours anywhere in it: some missing, some doubled, some of an older plan."""

    def scatter(places: list[tuple[int, int]]) -> Tables:
        result = {name: {c: Chain(one.policy, list(one.rules)) for c, one in chains.items()}
                  for name, chains in there.items()}  # fmt: skip
        for which, where in places:
            rule = old[which % len(old)]
            chain = result.setdefault(rule.table, {}).setdefault(rule.chain, Chain())
            chain.rules.insert(where % (len(chain.rules) + 1), rule.spec)
        return result

    if not old:
        return st.just(there)
    number = st.integers(0, 30)
    return st.lists(st.tuples(number, number), max_size=6).map(scatter)
