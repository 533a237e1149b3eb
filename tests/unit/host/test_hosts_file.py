"""Our block in /etc/hosts: put in, changed, taken out, and nothing else of the file touched."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgcluster.host.hosts_file import differences, with_block
from wgcluster.plan.plan import Names

NAMES: Names = (
    (ip_address("10.0.0.2"), ("root", "git.example.org")),
    (ip_address("fd00::2"), ("root", "git.example.org")),
    (ip_address("10.0.0.3"), ("cloud",)),
)
LATER: Names = ((ip_address("10.0.0.9"), ("root",)),)
DEBIAN = "127.0.0.1\tlocalhost\n127.0.1.1\troot\n\n::1 localhost ip6-localhost\n"
BLOCK = """\
# wgcluster-wg: names of the cluster, written by the deploy
10.0.0.2 root git.example.org
fd00::2 root git.example.org
10.0.0.3 cloud
# wgcluster-wg: end
"""


def test_the_block_is_the_end_of_the_file() -> None:
    assert with_block(DEBIAN, "wg", NAMES) == DEBIAN + BLOCK
    assert with_block("", "wg", NAMES) == BLOCK
    assert with_block("::1 x", "wg", NAMES) == f"::1 x\n{BLOCK}"
    assert with_block(DEBIAN, "wg", ()) == DEBIAN
    assert with_block("", "wg", ()) == ""


texts = st.lists(st.sampled_from(["", "::1 x", "# comment", "10.9.9.9 y", "# wgcluster-other: end"])).map(
    lambda lines: "".join(f"{line}\n" for line in lines)
)


@given(texts, texts)
def test_what_others_wrote_before_and_behind_it_stays(before: str, behind: str) -> None:
    for names in (NAMES, LATER, ()):
        done = with_block(before + with_block("", "wg", NAMES) + behind, "wg", names)
        assert done == before + behind + with_block("", "wg", names)
        assert with_block(done, "wg", names) == done
        assert with_block(done, "wg", ()) == before + behind


def test_a_block_whose_last_line_end_is_gone_is_ours() -> None:
    text = with_block("127.0.0.1 localhost\n", "wg", NAMES)
    assert with_block(text.removesuffix("\n"), "wg", ()) == "127.0.0.1 localhost\n"


def test_two_interfaces_have_a_block_each() -> None:
    both = with_block(with_block(DEBIAN, "wg", NAMES), "wg2", LATER)
    assert with_block(both, "wg", ()) == with_block(DEBIAN, "wg2", LATER)


def test_a_block_without_its_end_takes_no_line_of_others_with_it() -> None:
    broken = DEBIAN + BLOCK.replace("# wgcluster-wg: end\n", "") + "10.1.1.1 printer\n"
    done = with_block(broken, "wg", LATER)
    assert "10.1.1.1 printer\n" in done
    assert done.startswith(DEBIAN)
    assert done.endswith(with_block("", "wg", LATER))
    assert done.count("# wgcluster-wg: names") == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (DEBIAN.replace("root", "other") + BLOCK, []),
        (
            "10.9.9.9 GIT.example.org # old\n" + BLOCK,
            ["/etc/hosts has 10.9.9.9 for git.example.org, planned is 10.0.0.2"],
        ),
        ("# 10.9.9.9 cloud\n" + BLOCK, []),
        (BLOCK.replace("10.0.0.3", "10.0.0.4"), ["/etc/hosts has 10.0.0.4 for cloud, planned is 10.0.0.3"]),
        (BLOCK.replace("10.0.0.3 cloud\n", ""), ["/etc/hosts has no address for cloud, planned is 10.0.0.3"]),
    ],
)
def test_where_a_name_leads(text: str, told: list[str]) -> None:
    assert list(differences(text, NAMES)) == told
