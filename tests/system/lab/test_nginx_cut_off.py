"""A replacement of nginx's files that is killed at any moment: the next run completes it, with nobody's help.

Replayed is what a real run sends to the host, by a shell that kills itself before one of its commands.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from lab.host import Host
from lab.spec import SITE
from tests.support.lab.cluster import PASSPHRASE, Cluster
from tests.support.lab.web import FILE, GITLAB, Entry, Web, web

NGINX = "nginx | Guard the sites that only the VPN may reach"
WORK = "/etc/nginx/wgcluster/.work"
OTHER = "/etc/nginx/sites-available/other"
OTHER_ENTRY: Entry = {"file": OTHER, "server_name": "other.example.org"}
OTHER_TEXT = "server { listen 80; server_name other.example.org; location / { root /srv/other; } }\n"
# Every file, how far the folder of the replacement has come, and whether nginx has begun new workers.
STATE = (
    "cd /etc/nginx && find . -path ./wgcluster/.work -prune -o -printf '%p %y %m\\n' | sort;"
    " find . -path ./wgcluster/.work -prune -o -type f -print | sort | xargs sha256sum;"
    " ls -d wgcluster/.work wgcluster/.work/all 2>/dev/null; ls wgcluster/.work 2>/dev/null | grep -c old;"
    " echo $(pgrep -P $(cat /run/nginx.pid) -f 'worker process *$')"
)


@pytest.fixture(scope="module")
def made(prefix: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    for one in web(f"{prefix}cut-", tmp_path_factory.mktemp("workspace"), PASSPHRASE):
        one.root.write(OTHER, OTHER_TEXT)
        one.root.run(f"ln -s {OTHER} /etc/nginx/sites-enabled/other", check=True)
        keep(one.root, "came")
        yield one


@pytest.fixture
def site(made: Web) -> Web:
    """nginx runs with two sites, and no line of ours is in them."""
    restore(made.root, "came")
    return made


def keep(host: Host, name: str) -> None:
    host.run(f"tar -C /etc -cpf /root/{name}.tar nginx", check=True)


def restore(host: Host, name: str, *, restart: bool = True) -> None:
    host.run(f"rm -rf /etc/nginx && tar -C /etc -xpf /root/{name}.tar", check=True)
    if not restart:
        return
    # systemd counts starts, five in ten seconds (systemd.unit(5)), and the tests go faster than that
    host.run("systemctl reset-failed nginx; systemctl restart nginx", check=True)


def record(site: Web, *entries: Entry) -> None:
    """Keep on the host what a run gives the script that would bring it to ``entries``; it changes nothing."""
    file = site.workspace.folder / "files" / "nginx-replace.sh"
    text = file.read_text()
    file.write_text("cat >/root/rows; exit 1\n")
    site.root.run("rm -f /root/rows", check=True)
    try:
        site.refused(*entries)
        assert site.root.read("/root/rows")
    finally:
        file.write_text(text)


def script(site: Web) -> list[str]:
    return (site.workspace.folder / "files" / "nginx-replace.sh").read_text().split("\n")


def replay(site: Web, kill_at: tuple[int, int] | None, undo: str = "") -> tuple[str, str]:
    """Status of the script and the state it leaves, killed before a line when it is there for the n-th time.

    Without ``kill_at`` each line that it comes to is kept in /root/lines.
    """
    lines = []
    for number, line in enumerate(
        (site.workspace.folder / "files" / "nginx-replace.sh").read_text().split("\n")
    ):
        if line.strip() and not line.lstrip().startswith("#"):
            if kill_at is None:
                lines.append(f"echo {number} >>/root/lines")
            elif kill_at[0] == number:
                lines.append(f"hits=$((${{hits:-0}} + 1)); [ $hits -lt {kill_at[1]} ] || kill -9 $$")
        lines.append(line)
    # what the killed shell has begun ends before anybody looks
    command = (
        f"rm -f /root/lines; cat >/root/moment; undo={undo} sh /root/moment </root/rows >/dev/null 2>&1;"
        f" status=$?; sleep 0.1; echo $status; {STATE}"
    )
    status, _, state = site.root.run(command, stdin="\n".join(lines)).stdout.partition("\n")
    return status, state


def cut_off(site: Web, name: str, undo: str = "") -> Iterator[str]:
    """Each state once that a kill can leave of the one that is kept as ``name``, and where it was.

    In a loop a command is tried when it comes for the first time, for the second and for the last.
    """
    restore(site.root, name)
    replay(site, None, undo)
    counts = Counter(map(int, site.root.read("/root/lines").split()))
    restore(site.root, name)
    begun, workers = fresh(site)
    seen = {begun.removesuffix(workers)}
    for number in sorted(counts):
        for time in sorted({1, min(2, counts[number]), counts[number]}):
            status, state = replay(site, (number, time), undo)
            if state == begun:
                continue
            # the new ones differ each time, and mean the same: nginx has read its files again
            files, _, last = state.rstrip("\n").rpartition("\n")
            key = files + ("" if last == workers else "\nnew workers")
            # else it has not come there: how often nginx is asked for its old workers depends on the time
            if status == "137" and key not in seen:
                seen.add(key)
                yield f"line {number + 1}, time {time}"
                last = ""
            restore(site.root, name, restart=last != workers)
            begun, workers = fresh(site)


def fresh(site: Web) -> tuple[str, str]:
    """The state, and its last line: nginx's workers."""
    state = site.root.run(STATE).stdout
    return state, state.splitlines()[-1]


def changes(site: Web) -> dict[str, set[str]]:
    return Cluster(site.lab, site.workspace).changes()


def completed(
    site: Web, where: str, entries: list[Entry], outside: dict[str, str], settled: set[str] | None = None
) -> None:
    """Asserts that one further run brings the host to ``entries``, and another one has nothing to do.

    Args:
        settled: files, as in ``STATE``, for which another run had nothing to do; they need none again.
    """
    site.root.run("nginx -t -q", check=True)  # it would start, were there a power cut
    site.want(*entries)
    first = changes(site)
    assert first in ({}, {NGINX: {"@docker/root"}}), where
    for name, status in outside.items():
        command = f"curl -s -o /dev/null -w '%{{http_code}}' -H 'Host: {name}' http://{site.root.address}/"
        assert site.stranger.run(command).stdout == status, (where, name, first)
    state, workers = fresh(site)
    files = state.removesuffix(workers + "\n")
    if settled is None or files not in settled:
        with site.untouched():
            assert changes(site) == {}, where
    if settled is not None:
        settled.add(files)
    assert site.root.run("find /etc/nginx -name '.w*'").stdout == "", where


OPEN = f"server {{ listen 80; server_name {SITE}; location / {{ proxy_pass http://127.0.0.1:8080; }} }}"
BOTH = {SITE: "403", "other.example.org": "403"}


def test_killed_at_each_step(site: Web) -> None:
    record(site, GITLAB, OTHER_ENTRY)
    states, settled = 0, set[str]()
    for where in cut_off(site, "came"):
        states += 1
        completed(site, where, [GITLAB, OTHER_ENTRY], BOTH, settled)
    assert states > 9
    assert len(settled) < states


def test_killed_at_each_step_from_one_site_to_another(site: Web) -> None:
    """What is named no longer is found again, wherever the first run has got to."""
    site.deploy(GITLAB)
    keep(site.root, "gitlab")
    opened = {SITE: "200", "other.example.org": "403"}
    record(site, OTHER_ENTRY)
    states, settled = 0, set[str]()
    for where in cut_off(site, "gitlab"):
        states += 1
        completed(site, where, [OTHER_ENTRY], opened, settled)
        assert "# wgcluster" not in site.root.read(FILE)
    assert states > 9
    assert len(settled) < states


def test_killed_while_it_is_undone(site: Web) -> None:
    record(site, GITLAB, OTHER_ENTRY)
    test = next(n for n, line in enumerate(script(site)) if line.endswith("then nginx -t -q; fi"))
    status, _ = replay(site, (test, 1))
    assert status == "137"
    assert site.outside() == "200"
    keep(site.root, "moved")
    states, settled = 0, set[str]()
    for where in cut_off(site, "moved", undo="1"):
        states += 1
        completed(site, where, [GITLAB, OTHER_ENTRY], BOTH, settled)
    assert states > 4
    assert len(settled) < states


def test_killed_while_what_nginx_refuses_is_put_back(site: Web) -> None:
    """A list of addresses has no place at the top of the configuration, where this glob takes it."""
    glob = "sed -i 's|/etc/nginx/modules-enabled/|/etc/nginx/*/|' /etc/nginx/nginx.conf"
    site.root.run(f"rm -r /etc/nginx/snippets && {glob} && nginx -t", check=True)
    keep(site.root, "glob")
    before = site.snapshot()
    record(site, GITLAB, OTHER_ENTRY)
    states = refused = 0
    for where in cut_off(site, "glob"):
        states += 1
        refused += site.root.run("nginx -t -q").returncode != 0
        site.want(GITLAB, OTHER_ENTRY)
        done = site.workspace.pyinfra("inventory.py", "deploy.py", "-y")
        output = done.stdout + done.stderr
        assert done.returncode == 1, (where, output)
        assert '"allow" directive is not allowed here in /etc/nginx/wgcluster/' in output, (where, output)
        assert site.snapshot() == before, where
        assert site.outside() == "200"
    assert states > 9
    assert refused > 2


def test_the_remote_shell_of_a_real_run_dies_before_the_reload(site: Web) -> None:
    file = site.workspace.folder / "files" / "nginx-replace.sh"
    text = file.read_text()
    assert text.count("\n    $reload\n") == 1
    file.write_text(text.replace("\n    $reload\n", "\n    kill -9 $$\n"))
    try:
        site.want(GITLAB)
        done = site.workspace.pyinfra("inventory.py", "deploy.py", "-y")
    finally:
        file.write_text(text)
    assert done.returncode == 1
    assert site.outside() == "200"
    assert "a replacement of its files was cut off, or is under way" in site.verify(succeeds=False)
    site.want(GITLAB)
    dry = site.workspace.pyinfra("inventory.py", "deploy.py", "--dry", "--json")
    plan = json.loads(dry.stdout)["plan"]
    assert {one["name"] for one in plan if one["hosts_with_change"]} == {NGINX}
    completed(site, "reload", [GITLAB], {SITE: "403"})
    site.verify()


def test_a_boot_after_a_power_cut(site: Web) -> None:
    """nginx starts with what there is; the lock is gone, and the folder is still to be cleared."""
    record(site, GITLAB, OTHER_ENTRY)
    move = next(
        n for n, line in enumerate(script(site)) if '= absent ]; then rm -f "$path"; else place' in line
    )
    status, _ = replay(site, (move, 4))
    assert status == "137"
    site.root.run("echo torn >/etc/nginx/sites-available/.wgcluster-new", check=True)
    site.root.restart()
    assert site.root.run("systemctl is-active nginx").stdout == "active\n"
    completed(site, "boot", [GITLAB, OTHER_ENTRY], BOTH)


@pytest.mark.parametrize(
    "left",
    [
        f"mkdir -p -m 700 {WORK}",
        f"mkdir -p {WORK}; cp {FILE} {WORK}/1.old; echo '1 {FILE}' | tee {WORK}/all >{WORK}/moved",
        f"mkdir -p {WORK}; : >{WORK}/all; : >{WORK}/1.old; : >{WORK}/1.new",
        f"mkdir -p {WORK}; head -c 300 /dev/urandom >{WORK}/all",
    ],
    ids=["nothing in it", "of an earlier version", "empty files", "a torn list"],
)
def test_a_folder_that_was_left_behind(site: Web, left: str) -> None:
    site.deploy(GITLAB)
    site.root.run(left, check=True)
    completed(site, left, [GITLAB], {SITE: "403"})
    site.root.run(left, check=True)
    site.teardown()
    assert site.root.run("ls -d /etc/nginx/wgcluster").returncode != 0
    assert site.outside() == "200"
    site.deploy()


@pytest.mark.parametrize(
    ("opened", "closed"),
    [  # LIST: the list file
        (f"cp {FILE} /root/guarded; sed -i '/# wgcluster/d' {FILE}", f"cp /root/guarded {FILE}"),
        ("sed -i 's/^deny all/allow all/' LIST", "sed -i 's/^allow all/deny all/' LIST"),
        (f"echo '{OPEN}' >/etc/nginx/sites-enabled/a", "rm /etc/nginx/sites-enabled/a"),
    ],
    ids=["a site file", "a list", "a file that is gone"],
)
def test_files_that_someone_has_put_right_without_a_reload(site: Web, opened: str, closed: str) -> None:
    """nginx has read them open: that its files look guarded by now is not enough."""
    site.deploy(GITLAB)
    list_file = site.root.run("ls /etc/nginx/wgcluster/*.conf", check=True).stdout.strip()
    site.root.run(opened.replace("LIST", list_file), check=True)
    site.reload()
    assert site.outside() == "200"
    site.root.run(closed.replace("LIST", list_file), check=True)
    assert site.outside() == "200"
    output = site.verify(succeeds=False)
    assert "it has not read its files again since a change of /etc/nginx/" in output
    assert changes(site) == {NGINX: {"@docker/root"}}
    assert site.outside() == "403"
    assert changes(site) == {}
    site.verify()


def test_what_a_reload_by_hand_has_made_known_is_no_difference(site: Web) -> None:
    site.deploy(GITLAB)
    site.root.run(f"touch {FILE} /etc/nginx/nginx.conf", check=True)
    site.reload()
    assert changes(site) == {}
    site.root.run("systemctl restart nginx", check=True)
    assert changes(site) == {}
