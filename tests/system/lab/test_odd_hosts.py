"""What a real host answers, with hostile words in it, and a thousand times damaged."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from lab.lab import Lab
from lab.workspace import Workspace
from tasks.facts import HostState
from tests.support.damages import KINDS, assert_refused_or_read_right
from tests.support.lab.cluster import Cluster
from wgcluster.cli.reading import read
from wgcluster.host import paths
from wgcluster.host.observed import Query

SITE = "/etc/nginx/sites-available/gitlab"
# Clears the screen, sets the title, and is no UTF-8.
HOSTILE = r"\033[2J\033]0;owned\007\377"


@pytest.fixture(scope="module")
def cluster(lab: Lab, workspace: Workspace) -> Iterator[Cluster]:
    cluster = Cluster(lab, workspace)
    cluster.clean_up()
    cluster.deploy()
    cluster.join()
    root = lab["root"]
    root.run("tar -C /etc -cpf /root/nginx.tar nginx", check=True)
    yield cluster
    root.run(
        "iptables -D FORWARD -j REJECT; rm -rf /etc/nginx && tar -C /etc -xpf /root/nginx.tar", check=True
    )


def test_hostile_words_are_shown_as_text(cluster: Cluster) -> None:
    """In a rule's comment, in a file's name, in a site: the deploy does its work and shows what it met."""
    root = cluster.lab["root"]
    comment = f"\"$(printf '{HOSTILE}')\""
    root.run(f"iptables -I FORWARD 1 -m comment --comment {comment} -j REJECT", check=True)
    root.run(f"printf '# {HOSTILE}\\n' >/etc/nginx/conf.d/$(printf '{HOSTILE}' | tr / _).conf", check=True)
    root.run(
        f"printf '# {HOSTILE}\\n' >/root/line && sed -i -e '/wgcluster/r /root/line' -e '/wgcluster/d' {SITE}"
    )
    done = cluster.workspace.pyinfra("inventory.py", "deploy.py", "-y", "--diff")
    assert done.returncode == 0, done.stderr
    assert re.search(r"stood behind: .*x1b\[2J.*x1b\]0;owned", done.stderr)
    assert r"# \x1b[2J\x1b]0;owned\x07\xff" in done.stderr
    for raw in ("\x1b[2J", "\x1b]", "\x07"):
        assert raw not in done.stdout + done.stderr
    # by other means than the code under test: our rule is in front again, and the site is guarded
    assert "wgcluster-wg" in root.run("iptables -S FORWARD", check=True).stdout.splitlines()[1]
    assert "include /etc/nginx/wgcluster/" in root.read(SITE)
    again = cluster.workspace.pyinfra("inventory.py", "verify.py", "-y")
    assert again.returncode == 0, again.stderr
    assert cluster.changes() == {}


def test_a_thousand_damages_of_a_real_answer(cluster: Cluster) -> None:
    query = Query("wg", tuple(paths.managed_files("wg")), (SITE,), dump=True)
    answer = cluster.lab["root"].run(HostState().command(query), check=True).stdout
    lines = answer.encode("utf-8", "surrogateescape").removesuffix(b"\n").split(b"\n")
    plan = read(cluster.workspace.folder / "inventory.py").plan()
    refused = assert_refused_or_read_right(lines, query, plan, "root", 1000)
    for kind in ("section renamed", "section dropped", "section doubled"):
        assert refused[kind] == len(range(list(KINDS).index(kind), 1000, len(KINDS))), kind
