"""sync.sh on a real interface: what it sets, what it leaves alone, and what stays when it fails."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.net import Namespace, namespaces, no_tunnel, wireguard_go

SCRIPT = (Path(__file__).parents[3] / "files" / "sync.sh").read_text()
NAME = f"wgs{os.getpid()}"
SHELLS = [shell for shell in ("dash", "busybox") if shutil.which(shell)]


def wg(*words: str, text: str = "") -> str:
    done = subprocess.run(["wg", *words], input=text, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


OWN = wg("genkey") if shutil.which("wg") else ""
KEYS = {name: wg("pubkey", text=wg("genkey")) if OWN else "" for name in "abcd"}
SHARED = wg("genpsk") if OWN else ""

CONFIG = f"""\
[Interface]
Address = 10.0.0.1/24
PrivateKey = {OWN}
ListenPort = 51820

[Peer]
# host a
PublicKey = {KEYS["a"]}
AllowedIPs = 10.0.0.2/32, 10.9.0.0/16
Endpoint = 127.0.0.1:999

[Peer]
# host b
PublicKey = {KEYS["b"]}
PresharedKey = {SHARED}
AllowedIPs = 10.0.0.3/32
Endpoint = 127.0.0.1:998
PersistentKeepalive = 25

[Peer]
# host c
PublicKey = {KEYS["c"]}
AllowedIPs = 10.0.0.4/32
"""


class Live:
    """An interface that is not as its config says: a is dialled elsewhere, c has a's network, d is to go."""

    def __init__(self, namespace: Namespace, etc: Path) -> None:
        self.namespace, self.etc = namespace, etc
        (etc / f"{NAME}.conf").write_text(CONFIG)
        self._set("private-key", "/dev/stdin", "listen-port", "51820", text=OWN)
        self._set("peer", KEYS["a"], "allowed-ips", "10.0.0.2/32", "endpoint", "127.0.0.1:997")
        allowed = ("allowed-ips", "10.0.0.4/32,10.9.0.0/16", "persistent-keepalive", "25")
        self._set("peer", KEYS["c"], "preshared-key", "/dev/stdin", *allowed, text=wg("genpsk"))
        self._set("peer", KEYS["d"], "allowed-ips", "10.0.0.9/32")

    def _set(self, *words: str, text: str = "") -> None:
        self.namespace.run("wg", "set", NAME, *words, text=text)

    def sync(self, shell: str, **given: str) -> None:
        names = ("whole", "only", "gone", "unshared", "unkept", "anew", "missing", "surplus")
        values = {"interface": NAME, "public_key": wg("pubkey", text=OWN), "peers": "3"}
        values |= dict.fromkeys(names, "") | given
        head = "\n".join(f"{name}={shlex.quote(value)}" for name, value in values.items())
        inner = shlex.join(
            [*(["busybox", "sh"] if shell == "busybox" else [shell]), "-c", f"{head}\n{SCRIPT}"]
        )
        mounted = f"mkdir -p /etc/wireguard && mount --bind {self.etc} /etc/wireguard && {inner}"
        variables = {"WG_ENDPOINT_RESOLUTION_RETRIES": "1"}
        self.namespace.run("unshare", "-m", "sh", "-c", mounted, variables=variables)

    def peers(self) -> dict[str, tuple[str, ...]]:
        """By name: preshared key or not, endpoint, allowed IPs, keepalive."""
        lines = self.namespace.run("wg", "show", NAME, "dump").splitlines()[1:]
        names = {key: name for name, key in KEYS.items()}
        found: dict[str, tuple[str, ...]] = {}
        for key, shared, endpoint, allowed, _, _, _, keepalive in (line.split("\t") for line in lines):
            found[names[key]] = (
                "-" if shared == "(none)" else "psk",
                endpoint,
                ",".join(sorted(allowed.split(","))),
                keepalive,
            )
        return found


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    if lacking := no_tunnel():
        pytest.skip(lacking)
    with namespaces("sync") as (namespace,), wireguard_go(namespace, NAME):
        yield Live(namespace, tmp_path)


A = ("-", "127.0.0.1:999", "10.0.0.2/32,10.9.0.0/16", "off")
B = ("psk", "127.0.0.1:998", "10.0.0.3/32", "25")
C = ("-", "(none)", "10.0.0.4/32", "off")


@pytest.mark.parametrize("shell", SHELLS)
def test_what_differs_is_set_and_what_is_no_peer_goes(live: Live, shell: str) -> None:
    every = "\n".join(KEYS[name] for name in "abc")
    live.sync(shell, only=every, gone=KEYS["d"], unshared=KEYS["c"], unkept=KEYS["c"])
    assert live.peers() == {"a": A, "b": B, "c": C}
    assert not list(Path("/run").glob(f"wgcluster-{NAME}*"))


@pytest.mark.parametrize("given", [{"only": "*"}, {"whole": "1"}])
def test_all_of_them(live: Live, given: dict[str, str]) -> None:
    live.sync("dash", **given, gone=KEYS["d"], unshared=KEYS["c"], unkept=KEYS["c"])
    assert live.peers() == {"a": A, "b": B, "c": C}


def test_the_others_are_left_alone(live: Live) -> None:
    before = live.peers()
    live.sync("dash", only=KEYS["b"])
    assert live.peers() == {**before, "b": B}


def test_a_peer_begins_anew_as_the_file_has_it(live: Live) -> None:
    live.sync("dash", only="*", gone=KEYS["d"], unshared=KEYS["c"], unkept=KEYS["c"])
    live.sync("dash", anew=KEYS["b"])
    assert live.peers() == {"a": A, "b": B, "c": C}


@pytest.mark.parametrize("given", [{"only": "b"}, {"anew": "b"}, {"only": "a", "anew": "b"}])
def test_where_a_name_does_not_resolve_nobody_is_lost(live: Live, given: dict[str, str]) -> None:
    live.sync("dash", only="*", gone=KEYS["d"], unshared=KEYS["c"], unkept=KEYS["c"])
    (live.etc / f"{NAME}.conf").write_text(CONFIG.replace("127.0.0.1:998", "nowhere.invalid:998"))
    with pytest.raises(AssertionError, match=r"nowhere\.invalid"):
        live.sync("dash", **{word: KEYS[name] for word, name in given.items()})
    assert live.peers() == {"a": A, "b": B, "c": C}


def test_a_file_with_another_key_is_not_taken(live: Live) -> None:
    before = live.peers()
    (live.etc / f"{NAME}.conf").write_text(CONFIG.replace(OWN, wg("genkey")))
    with pytest.raises(AssertionError, match="nothing was synced"):
        live.sync("dash", only="*")
    assert live.peers() == before


def test_the_last_peer_goes(live: Live) -> None:
    (live.etc / f"{NAME}.conf").write_text(CONFIG.split("\n[Peer]")[0])
    gone = "\n".join(KEYS[name] for name in "acd")
    live.sync("dash", peers="0", gone=gone)
    assert live.peers() == {}


def table(live: Live) -> list[str]:
    """Both families' routes, as they stand."""
    return [
        line.strip()
        for family in ("-4", "-6")
        for line in live.namespace.run("ip", family, "route", "show").splitlines()
        if not line.startswith("fe80::")
    ]


@pytest.fixture
def routed(live: Live) -> Live:
    """The interface is up, beside another one with a network of its own."""
    (live.etc / f"{NAME}.conf").write_text(CONFIG.replace("10.0.0.1/24", "10.0.0.1/24, fd00::1/64"))
    for words in (
        f"link set {NAME} up",
        "link add lan0 type veth peer name lan1",
        "link set lan0 addrgenmode none up",
        "link set lan1 addrgenmode none up",
        "addr add 10.9.0.7/16 dev lan0",
        "-6 route add fd99::/48 dev lan0",
    ):
        live.namespace.run("ip", *words.split())
    return live


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("network", ["10.9.0.0/16", "fd99::/48"])
def test_a_route_of_others_is_never_replaced(routed: Live, shell: str, network: str) -> None:
    before = table(routed)
    said = rf"{network} is not routed to {NAME}; there is: {network} dev lan0"
    with pytest.raises(AssertionError, match=said):
        routed.sync(shell, missing=network, surplus="10.9.0.0/16\nfd99::/48")
    assert table(routed) == before


@pytest.mark.parametrize("shell", SHELLS)
def test_all_routes_that_can_be_are_added_and_each_that_cannot_is_named(routed: Live, shell: str) -> None:
    before = table(routed)
    with pytest.raises(AssertionError, match=r"10\.9\.0\.0/16 is not routed(.|\n)*fd99::/48 is not routed"):
        routed.sync(shell, missing="10.9.0.0/16\n10.8.0.0/16\nfd99::/48\nfd98::/48")
    added = set(table(routed)) - set(before)
    assert added == {f"10.8.0.0/16 dev {NAME} scope link", f"fd98::/48 dev {NAME} metric 1024 pref medium"}
    assert set(before) <= set(table(routed))


def test_only_ours_are_taken_away(routed: Live) -> None:
    """Of the same prefix and interface, the one that wg-quick would have added."""
    for words in (
        f"route add 10.8.0.0/16 dev {NAME} proto static metric 5",
        f"-6 route add fd98::/48 dev {NAME} proto static metric 5",
    ):
        routed.namespace.run("ip", *words.split())
    theirs = table(routed)
    routed.sync("dash", missing="10.8.0.0/16\nfd98::/48")
    assert len(table(routed)) == len(theirs) + 2
    routed.sync("dash", surplus="10.8.0.0/16\nfd98::/48")
    assert table(routed) == theirs
    for network in ("10.8.0.0/16", "fd98::/48", "10.9.0.0/16", "fd99::/48"):
        with pytest.raises(AssertionError, match="No such process"):
            routed.sync("dash", surplus=network)
    assert table(routed) == theirs
