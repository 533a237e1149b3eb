"""observe.sh on a real interface and real tables, and what it leaves out."""

from __future__ import annotations

import base64
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest

from tests.support.chains import PEERS, filter_table, of
from tests.support.net import BACKENDS, Filter, Namespace, namespaces, no_tunnel, wireguard_go
from wgcluster.firewall.placement import changes, restore_text
from wgcluster.host.observed import Observed
from wgcluster.host.reading import parse
from wgcluster.plan.plan import HostPlan, Peer
from wgcluster.prefixes import FAMILIES
from wgcluster.wireguard.drift import Routes, in_place, live_differences, preshared_digest, routes

SCRIPT = (Path(__file__).parents[3] / "files" / "observe.sh").read_text()
NAME = f"wgc{os.getpid()}"
SHELLS = [shell for shell in ("dash", "busybox") if shutil.which(shell)]


def observe(
    namespace: Namespace, shell: str, etc: Path | None = None, path: str = ""
) -> tuple[str, Observed]:
    """The script's whole output and what is read from it; ``etc`` stands for /etc/wireguard."""
    script = f"interface={NAME} files= sites= dump=0 port=51820 towards=\n{SCRIPT}"
    inner = shlex.join([*(["busybox", "sh"] if shell == "busybox" else [shell]), "-c", script])
    if etc is not None:
        inner = f"mkdir -p /etc/wireguard && mount --bind {shlex.quote(str(etc))} /etc/wireguard && {inner}"
    inner = f"mount -t sysfs none /sys && {inner}"  # the namespace's own interfaces
    before = f"{path}:" if path else ""
    variables = {"PATH": f"{before}{os.environ['PATH']}:/usr/sbin:/sbin", "SSH_CONNECTION": ""}
    output = namespace.run("unshare", "-m", "sh", "-c", inner, variables=variables)
    return output, parse(output.splitlines())


def new_key() -> str:
    return subprocess.run(
        ["wg", "genkey"], capture_output=True, text=True, check=True, timeout=10
    ).stdout.strip()


def public(key: str) -> str:
    done = subprocess.run(["wg", "pubkey"], input=key, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def tunnel(namespace: Namespace) -> Iterator[tuple[Namespace, HostPlan, dict[str, str]]]:
    """A live interface "wg" that is as its plan says; the secrets by name, with "" for the private key."""
    if lacking := no_tunnel():
        pytest.skip(lacking)
    key, shared = new_key(), new_key()
    one, two = public(new_key()), public(new_key())
    allowed = ("10.0.0.3/32", "172.16.0.0/12", "fd00::3/128")
    host = replace(
        PEERS,
        interface=NAME,
        port=51820,
        mtu=1380,
        public_key=public(key),
        addresses=(ip_interface("10.0.0.2/24"), ip_interface("fd00::2/64")),
        peers=(
            Peer("cloud", one, tuple(map(ip_network, allowed)), "198.18.0.9:51821", 25, "cloud|root"),
            Peer("laptop", two, (ip_network("10.0.0.100/32"),), is_client=True),
        ),
    )
    with wireguard_go(namespace, NAME):
        words = ["set", NAME, "private-key", "/dev/stdin", "listen-port", "51820"]
        namespace.run("wg", *words, text=key)
        words = ["set", NAME, "peer", one, "preshared-key", "/dev/stdin", "allowed-ips", ",".join(allowed)]
        words += ["endpoint", "198.18.0.9:51821", "persistent-keepalive", "25"]
        namespace.run("wg", *words, text=shared)
        namespace.run("wg", "set", NAME, "peer", two, "allowed-ips", "10.0.0.100/32")
        for address in host.addresses:
            namespace.run("ip", "address", "add", str(address), "dev", NAME)
        namespace.run("ip", "link", "set", NAME, "mtu", "1380", "up")
        namespace.run("ip", "route", "add", "172.16.0.0/12", "dev", NAME)
        yield namespace, host, {"cloud|root": shared, "": key}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_live_interface_as_planned(tunnel: tuple[Namespace, HostPlan, dict[str, str]], shell: str) -> None:
    namespace, host, secrets = tunnel
    output, seen = observe(namespace, shell)
    assert seen.link is not None
    assert in_place(host, seen)
    assert routes(host, seen.link.routes) == Routes((), ())
    assert seen.link.preshared_digest == preshared_digest(host.peers, secrets)
    assert list(live_differences(host, seen.link, seen.clock, secrets, {})) == []
    assert "config-key" not in output  # the live interface tells it
    assert not any(secret in output for secret in secrets.values())


def test_a_live_interface_otherwise(tunnel: tuple[Namespace, HostPlan, dict[str, str]]) -> None:
    namespace, host, secrets = tunnel
    _, seen = observe(namespace, "dash")
    assert seen.link is not None
    other = replace(host.peers[0], allowed_ips=host.peers[0].allowed_ips[:1], keepalive=None)
    planned = replace(host, peers=(other,), port=51821)
    assert list(live_differences(planned, seen.link, seen.clock, secrets, {})) == [
        "it listens on port 51820, planned is 51821",
        f"- peer {host.peers[1].public_key}",
        "~ peer cloud: AllowedIPs are 10.0.0.3/32, 172.16.0.0/12, fd00::3/128, planned are 10.0.0.3/32",
        "~ peer cloud: keepalive is 25, planned is off",
    ]
    assert list(live_differences(host, seen.link, seen.clock, {"cloud|root": "another"}, {})) == [
        "~ preshared keys differ"
    ]
    assert routes(planned, seen.link.routes).surplus == ("172.16.0.0/12",)


SPELLINGS = [
    "PrivateKey = SECRET",
    "privatekey=SECRET",
    "PRIVATEKEY\t=\tSECRET",
    " \t PrivateKey   =SECRET   # mine",
    "Private Key = SECRET",
    "PresharedKey = SECRET",
    "\tpreSharedKey=\tSECRET\r",
    "pre shared\tkey = SECRET",
    "#PrivateKey = SECRET",
    "# PresharedKey=SECRET",
    "Address = 10.0.0.2/24 # PrivateKey = SECRET",
    "PrivateKey = SECRET = SECRET",
    "PrivateKey\v= SECRET",
]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("line", SPELLINGS)
def test_no_spelling_of_a_secret_leaves_the_host(
    namespace: Namespace, tmp_path: Path, shell: str, line: str
) -> None:
    secret = new_key()
    text = f"[Interface]\nListenPort = 1\n{line.replace('SECRET', secret)}\nMTU = 1420"
    (tmp_path / f"{NAME}.conf").write_text(text)
    output, seen = observe(namespace, shell, tmp_path)
    file = seen.file(f"/etc/wireguard/{NAME}.conf")
    assert secret not in output
    assert secret not in file.text
    assert base64.b64decode(secret) not in file.data
    assert file.text.startswith("[Interface]\nListenPort = 1\n")
    assert file.text.rstrip().endswith("MTU = 1420")
    assert "(hidden)" in file.text


@pytest.mark.parametrize("shell", SHELLS)
def test_the_file_tells_its_public_key_where_the_interface_is_down(tmp_path: Path, shell: str) -> None:
    """And the private key is no argument of a program, which others could read in the process list."""
    for tool in ("wg", "sed"):
        program = shutil.which(tool)
        script = f'#!/bin/sh\necho "$0 $*" >>{tmp_path}/called\nexec {program} "$@"\n'
        (tmp_path / tool).write_text(script)
        (tmp_path / tool).chmod(0o755)
    secret = new_key()
    config = tmp_path / f"{NAME}.conf"
    config.write_text(f"# host root\n\n[Interface]\nPrivateKey = {secret}\nMTU = 1420\n")
    with namespaces("down") as (namespace,):
        output, seen = observe(namespace, shell, tmp_path, str(tmp_path))
        config.write_text("[Interface]\nPrivateKey = none\n")
        assert observe(namespace, shell, tmp_path)[1].config_key == ""
    assert (seen.link, seen.config_key) == (None, public(secret))
    assert secret not in output
    called = (tmp_path / "called").read_text()
    assert "wg pubkey" in called
    assert secret not in called


def test_what_is_no_secret_is_shown_as_it_is(namespace: Namespace, tmp_path: Path) -> None:
    text = f"# a PrivateKey is kept elsewhere\n[Peer]\nPublicKey = {new_key()}\n\nEndpoint = a:1\n"
    (tmp_path / f"{NAME}.conf").write_text(text)
    assert observe(namespace, "dash", tmp_path)[1].file(f"/etc/wireguard/{NAME}.conf").text == text


@pytest.mark.parametrize("first", BACKENDS)
def test_both_backends_are_looked_at(first: str, tmp_path: Path) -> None:
    """Whichever iptables stands for; and looking makes no table."""
    for name in ("iptables", "ip6tables"):
        for part in ("", "-save", "-restore"):
            program = shutil.which(f"{name}-{first}{part}", path="/usr/sbin:/sbin:/usr/local/sbin")
            assert program
            (tmp_path / f"{name}{part}").symlink_to(program)
    second = BACKENDS[1 - BACKENDS.index(first)]
    with namespaces("both") as (namespace,):
        _, bare = observe(namespace, "dash", path=str(tmp_path))
        assert {saved.tool for saved in bare.rules if saved.primary} == {"iptables", "ip6tables"}
        assert all(
            not chain.rules for saved in bare.rules for one in saved.tables.values() for chain in one.values()
        )
        tables = {family: filter_table("-A INPUT -p tcp -j DROP") for family in FAMILIES}
        for family in FAMILIES:
            Filter(namespace, family, first).load({})
            Filter(namespace, family, second).load(tables[family])
            Filter(namespace, family, first).restore(restore_text(changes({}, of(PEERS, family), "wg")))
        _, seen = observe(namespace, "dash", path=str(tmp_path))
        assert [(saved.family, saved.tool, saved.primary) for saved in seen.rules] == [
            (4, "iptables", True),
            (4, f"iptables-{second}", False),
            (6, "ip6tables", True),
            (6, f"ip6tables-{second}", False),
        ]
        for saved in seen.rules:
            chain = saved.tables["filter"]["INPUT"].rules
            if saved.primary:
                assert changes(saved.tables, of(PEERS, saved.family), "wg") == []
            else:
                assert chain == [("-p", "tcp", "-j", "DROP")]


def test_a_comment_in_any_encoding_is_no_hindrance() -> None:
    with namespaces("latin") as (namespace,):
        comment = b"caf\xe9".decode("utf-8", "surrogateescape")
        rule = ["-A", "INPUT", "-m", "comment", "--comment", comment, "-j", "DROP"]
        namespace.run("iptables-nft", *rule)
        _, seen = observe(namespace, "dash")
    chains = [rules.tables["filter"]["INPUT"].rules for rules in seen.rules if "filter" in rules.tables]
    assert ("-m", "comment", "--comment", "caf?", "-j", "DROP") in [
        rule for rules in chains for rule in rules
    ]


def test_a_folder_that_is_a_link_has_the_mode_of_what_it_leads_to(
    namespace: Namespace, tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir(0o700)
    (tmp_path / "wireguard").symlink_to("real")
    awk = shutil.which("awk")
    assert awk
    (tmp_path / "alternatives").mkdir()
    (tmp_path / "alternatives" / "awk").symlink_to(Path(awk).resolve())
    head = f"interface={NAME} files= sites= dump=0 port=51820 towards=\n"
    inner = f"mount --bind {shlex.quote(str(tmp_path))} /etc && {head}{SCRIPT}"
    assert parse(namespace.run("unshare", "-m", "sh", "-c", inner).splitlines()).directory[0] == "700"


def test_looking_makes_no_table() -> None:
    """The legacy programs would make one by asking for it."""
    with namespaces("bare") as (namespace,):
        names = "cat /proc/net/ip_tables_names /proc/net/ip6_tables_names"
        before = namespace.run("sh", "-c", names)
        observe(namespace, "dash")
        assert namespace.run("sh", "-c", names) == before


@pytest.mark.parametrize("first", BACKENDS)
def test_a_save_that_does_not_name_its_backend_is_not_taken_for_the_other(first: str, tmp_path: Path) -> None:
    """iptables before 1.8.8: its comment says neither, the version does."""
    for name in ("iptables", "ip6tables"):
        program = shutil.which(f"{name}-{first}", path="/usr/sbin:/sbin:/usr/local/sbin")
        (tmp_path / name).write_text(f'#!/bin/sh\nexec {program} "$@"\n')
        (tmp_path / f"{name}-save").write_text(f"#!/bin/sh\n{program}-save \"$@\" | sed 's/ (nf_tables)//'\n")
        for made in (name, f"{name}-save"):
            (tmp_path / made).chmod(0o755)
    second = BACKENDS[1 - BACKENDS.index(first)]
    with namespaces("old") as (namespace,):
        for family in FAMILIES:
            for backend in BACKENDS:
                Filter(namespace, family, backend).load(filter_table("-A INPUT -p tcp -j DROP"))
        _, seen = observe(namespace, "dash", path=str(tmp_path))
        assert [(saved.tool, saved.primary) for saved in seen.rules] == [
            ("iptables", True),
            (f"iptables-{second}", False),
            ("ip6tables", True),
            (f"ip6tables-{second}", False),
        ]
