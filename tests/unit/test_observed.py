"""observe.sh run for real, and its answer read."""

from __future__ import annotations

import base64
import hashlib
import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from wgcluster.iptables import Chain
from wgcluster.observed import File, LivePeer, Observed, Rules, Ssh, Unit, parse

ROOT = Path(__file__).parent.parent.parent
SCRIPT = (ROOT / "files" / "observe.sh").read_text()
SHELLS = [shell for shell in ("dash", "busybox", "bash") if shutil.which(shell)]

with_shell = pytest.mark.parametrize("shell", SHELLS)


def observe(shell: str, files: str = "", variables: dict[str, str] | None = None, **values: str) -> list[str]:
    """The lines that the script prints here, sent as the deploy sends it: as one argument of ``sh -c``."""
    given = {"interface": "wgc-none", "files": files, "sites": "", "dump": "0", **values}
    head = "".join(f"{name}={shlex.quote(value)}\n" for name, value in given.items())
    argv = [shell, "sh"] if shell == "busybox" else [shell]
    done = subprocess.run(
        [*argv, "-c", head + SCRIPT],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": os.environ["PATH"], **(variables or {})},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@with_shell
def test_this_machine(shell: str) -> None:
    seen = parse(observe(shell))
    assert {"wg", "nginx", "iptables"} & seen.tools == {
        tool
        for tool in ("wg", "nginx", "iptables")
        if shutil.which(tool, path=os.environ["PATH"] + ":/usr/local/sbin:/usr/sbin:/sbin")
    }
    assert abs(seen.clock - time.time()) < 60
    assert seen.link is None
    assert seen.ssh is None
    assert seen.file("/etc/wireguard/wgc-none.conf") == File()
    assert seen.unit("wg-quick@wgc-none.service") == Unit()
    assert seen.forwarding[4] == Path("/proc/sys/net/ipv4/ip_forward").read_text().strip()


@with_shell
def test_files(shell: str, tmp_path: Path) -> None:
    data = b"caf\xc3\xa9\n@ end\n\x00\xff'\"$(touch /nowhere)\r\nno end of line"
    plain, link, loose = tmp_path / "plain", tmp_path / "link", tmp_path / "loose"
    plain.write_bytes(data)
    plain.chmod(0o640)
    (tmp_path / "empty").touch()
    link.symlink_to("plain")
    loose.symlink_to("nowhere")
    names = ("plain", "link", "loose", "empty", "gone", ".")
    seen = parse(observe(shell, " ".join(str(tmp_path / name) for name in names)))
    owner = f"{plain.owner()}:{plain.group()}"
    digest = hashlib.sha256(data).hexdigest()
    assert seen.file(str(plain)) == File("file", "640", owner, digest, str(plain.resolve()), data)
    assert seen.file(str(link)) == seen.file(str(plain))
    assert seen.file(str(plain)).text.encode("utf-8", "surrogateescape") == data
    assert seen.file(str(loose)) == File("dangling")
    assert seen.file(str(tmp_path / "empty")).data == b""
    assert seen.file(str(tmp_path / "empty")).kind == "file"
    assert seen.file(str(tmp_path / "gone")) == File("absent")
    assert seen.file(str(tmp_path)) == File("other")


@with_shell
def test_the_connection_that_manages_it(shell: str) -> None:
    given = {"SSH_CONNECTION": "127.0.0.9 40000 127.0.0.1 2222"}
    assert parse(observe(shell, variables=given)).ssh == Ssh("127.0.0.9", 2222, "lo")


@with_shell
def test_a_parent_still_knows_the_connection(shell: str) -> None:
    """sudo leaves the variable out."""
    argv = ["busybox", "sh"] if shell == "busybox" else [shell]
    head = "interface=wgc-none files= sites= dump=0\n"
    # the colon keeps the outer shell from making way for the inner one
    outer = f"env -u SSH_CONNECTION {shlex.join([*argv, '-c', head + SCRIPT])}; :"
    done = subprocess.run(
        ["sh", "-c", outer],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": os.environ["PATH"], "SSH_CONNECTION": "::1 40000 ::1 22"},
    )
    assert parse(done.stdout.splitlines()).ssh == Ssh("::1", 22, "lo")


ANSWER = """\
@ tools
 wg
 iptables
@ module
 missing
 container
@ directory 700 root:root
@ unit wg-quick@wg.service enabled / active
@ unit nginx.service disabled / inactive
@ unit ufw.service  / inactive
@ ufw
 ENABLED=yes
@ link 1420 0x91
 10.0.0.2/24
 fd00::2/64
@ routes
 10.0.0.0/24 proto kernel scope link src 10.0.0.2
 172.16.0.0/12 scope link
@ dump
 PUBLIC=\t51820
 ONE=\tpsk\t198.18.0.2:51820\t10.0.0.3/32,172.16.0.0/12\t1700000000\t25
 TWO=\t-\t(none)\t(none)\t0\toff
@ preshared
 abcd
@ addresses
 198.18.0.1
 2001:db8::1
@ clock 1700000100
@ forwarding 1 -
@ sysctls
 net/ipv6/conf/eth0/accept_ra 2
 net/ipv4/conf/all/send_redirects 1
@ rules 4 iptables primary
 *filter
 :INPUT DROP [0:0]
 -A INPUT -i lo -j ACCEPT
@ rules 6 ip6tables-legacy other
 *filter
 :INPUT ACCEPT [0:0]
@ ssh 198.18.0.9 40000 198.18.0.1 22
 eth0@if7
@ guarded
 /etc/nginx/sites-enabled/git
@ folders
 /etc/wgcluster
@ lists
 /etc/nginx/wgcluster/git.conf
@ nginx
 NGINX
@ end
"""


def nginx(answer: bytes) -> Observed:
    return parse(ANSWER.replace("NGINX", base64.b64encode(answer).decode()).splitlines())


def test_every_section() -> None:
    seen = nginx(b"\n0\n")
    assert seen.tools == {"wg", "iptables"}
    assert (seen.module, seen.container, seen.directory) == ("missing", True, ("700", "root:root"))
    assert seen.unit("wg-quick@wg.service") == Unit(True, True)
    assert seen.unit("nginx.service") == seen.unit("ufw.service") == Unit()
    assert seen.ufw
    link = seen.link
    assert link is not None
    assert (link.mtu, link.up, link.addresses) == (1420, True, frozenset({"10.0.0.2/24", "fd00::2/64"}))
    assert link.routes == ("10.0.0.0/24 proto kernel scope link src 10.0.0.2", "172.16.0.0/12 scope link")
    assert (link.public_key, link.port, link.preshared_digest) == ("PUBLIC=", 51820, "abcd")
    assert link.peers == {
        "ONE=": LivePeer(
            True, "198.18.0.2:51820", frozenset({"10.0.0.3/32", "172.16.0.0/12"}), 1700000000, 25
        ),
        "TWO=": LivePeer(False, None, frozenset(), 0, None),
    }
    assert seen.addresses == ("198.18.0.1", "2001:db8::1")
    assert (seen.clock, seen.forwarding) == (1700000100, {4: "1", 6: "-"})
    assert seen.sysctls == {"net/ipv6/conf/eth0/accept_ra": "2", "net/ipv4/conf/all/send_redirects": "1"}
    assert seen.rules == (
        Rules(4, "iptables", True, {"filter": {"INPUT": Chain("DROP", [("-i", "lo", "-j", "ACCEPT")])}}),
        Rules(6, "ip6tables-legacy", False, {"filter": {"INPUT": Chain("ACCEPT")}}),
    )
    assert seen.ssh == Ssh("198.18.0.9", 22, "eth0")
    assert (seen.guarded, seen.folders) == (("/etc/nginx/sites-enabled/git",), ("/etc/wgcluster",))
    assert seen.lists == ("/etc/nginx/wgcluster/git.conf",)


def test_what_nginx_says_of_its_configuration() -> None:
    seen = nginx(b"nginx: [emerg] unknown directive\nnginx: test failed\n\n1\n")
    assert seen.nginx_error == "nginx: [emerg] unknown directive\nnginx: test failed"
    assert seen.nginx_dump == ""
    dump = "# configuration file /etc/nginx/nginx.conf:\nevents {}\n# configuration file a:\n# \udcff\n\n"
    said = b"nginx: [warn] conflicting\nnginx: configuration file /etc/nginx/nginx.conf test is successful\n"
    seen = nginx(said + dump.encode("utf-8", "surrogateescape") + b"\n0\n")
    assert (seen.nginx_error, seen.nginx_dump) == (None, dump)


def test_an_interface_that_is_down() -> None:
    link = parse(ANSWER.replace("NGINX", "").replace("0x91", "0x90").splitlines()).link
    assert link is not None
    assert not link.up


@pytest.mark.parametrize("lines", [0, 1, 20, -1])
def test_an_answer_that_is_cut_off_is_no_answer(lines: int) -> None:
    with pytest.raises(ValueError, match="cut off"):
        parse(ANSWER.replace("NGINX", "").splitlines()[:lines])


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_shellcheck_finds_nothing() -> None:
    scripts = [
        *(ROOT / "files").glob("*.sh"),
        ROOT / "files" / "wgcluster-firewall",
        *(ROOT / "script").iterdir(),
    ]
    # SC2154: what is set by whoever sends the script; SC2034: set for whom it is sourced by
    # SC2016, SC2015: single quotes on purpose, and A && B || C where B cannot fail
    done = subprocess.run(
        ["shellcheck", "-x", "-s", "sh", "-e", "SC2154,SC2034,SC2016,SC2015", *map(str, scripts)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
    )
    assert done.stdout == ""
    assert done.returncode == 0
