"""Road warriors: an address that is free, a config that wg-quick takes, a QR code that says the same."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest
import segno

from wgcluster.keys.secret import Secret
from wgcluster.plan.plan import ClientPlan, Peer
from wgcluster.prefixes import Network
from wgcluster.wireguard.client import config, next_addresses, qr
from wgcluster.wireguard.config import mask, parse

KEY, PUBLIC, SHARED = "AA" * 21 + "A=", "BB" * 21 + "A=", "CC" * 21 + "A="
GATEWAY = Peer(
    "root",
    PUBLIC,
    (ip_network("10.0.0.0/24"), ip_network("172.16.0.0/12"), ip_network("fd00::/64")),
    endpoint="198.51.100.2:51820",
    keepalive=25,
)
LAPTOP = ClientPlan(
    "laptop", (ip_interface("10.0.0.100/24"), ip_interface("fd00::64/64")), 1420, KEY, GATEWAY
)


@pytest.mark.parametrize(
    ("networks", "taken", "given"),
    [
        ("10.0.0.0/24", "", "10.0.0.100"),
        ("10.0.0.0/24", "10.0.0.2 10.0.0.101", "10.0.0.100"),
        ("10.0.0.0/24", "10.0.0.100 10.0.0.101 10.0.0.103", "10.0.0.102"),
        ("10.0.0.0/16", "10.0.0.100", "10.0.0.101"),
        ("10.0.0.128/25", "", "10.0.0.228"),
        ("fd00::/64", "", "fd00::64"),
        ("fd00::/120", "fd00::64", "fd00::65"),
        ("10.0.0.0/24 fd00::/64", "", "10.0.0.100 fd00::64"),
        # one offset for both families, though each has a lower one free
        ("10.0.0.0/24 fd00::/64", "10.0.0.100 fd00::65", "10.0.0.102 fd00::66"),
        # no offset is free in both: each its own
        (
            "10.0.0.0/25 fd00::/121",
            " ".join(f"10.0.0.{n}" for n in range(100, 126)) + " fd00::7e",
            "10.0.0.126 fd00::64",
        ),
        ("", "", ""),
    ],
)
def test_the_first_free_address_from_the_hundredth_on(networks: str, taken: str, given: str) -> None:
    got = next_addresses([ip_network(n) for n in networks.split()], [ip_address(a) for a in taken.split()])
    assert got == tuple(ip_address(a) for a in given.split())


@pytest.mark.parametrize("networks", ["10.0.0.0/26", "10.0.0.0/32", "fd00::/122", "10.0.0.0/26 fd00::/64"])
def test_a_network_too_small_is_told(networks: str) -> None:
    first = networks.split()[0]
    with pytest.raises(ValueError, match=f"^{first}: no address is free from .100 on; choose one: --address"):
        next_addresses([ip_network(n) for n in networks.split()], [])


def test_the_last_address_is_used_and_broadcast_is_not() -> None:
    network: Network = ip_network("10.0.0.0/25")
    taken = [ip_address(f"10.0.0.{n}") for n in range(1, 126)]
    assert next_addresses([network], taken) == (ip_address("10.0.0.126"),)
    with pytest.raises(ValueError, match="no address is free"):
        next_addresses([network], [*taken, ip_address("10.0.0.126")])


def test_a_full_network_of_many_ends_soon() -> None:
    taken = [ip_address(f"10.0.0.{n}") for n in range(1, 255)]
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/24: no address is free"):
        next_addresses([ip_network("10.0.0.0/24")], taken)


def test_the_whole_config() -> None:
    assert config(LAPTOP, Secret(KEY)) == (
        "# laptop, by way of root\n"
        "[Interface]\n"
        "Address = 10.0.0.100/32\n"
        "Address = fd00::64/128\n"
        f"PrivateKey = {KEY}\n"
        "MTU = 1420\n"
        "\n"
        "[Peer]\n"
        "# host root\n"
        "# friendly_name = root\n"
        f"PublicKey = {PUBLIC}\n"
        "AllowedIPs = 10.0.0.0/24, 172.16.0.0/12, fd00::/64\n"
        "Endpoint = 198.51.100.2:51820\n"
        "PersistentKeepalive = 25\n"
    )


def with_preshared_key() -> ClientPlan:
    peer = Peer(
        "root", PUBLIC, GATEWAY.allowed_ips, GATEWAY.endpoint, GATEWAY.keepalive, preshared_key="laptop|root"
    )
    return ClientPlan("laptop", LAPTOP.addresses, 1280, KEY, peer)


def test_the_preshared_key_is_the_links() -> None:
    parsed = parse(config(with_preshared_key(), Secret(KEY), Secret(SHARED)))
    assert parsed.peers[0].preshared_key == SHARED
    assert parsed.private_key == KEY
    assert parsed.mtu == 1280
    # a link without one gets none, even if there is one at hand
    assert parse(config(LAPTOP, KEY, Secret(SHARED))).peers[0].preshared_key is None


def test_without_keys_none_is_shown() -> None:
    text = config(with_preshared_key())
    assert text.count("(hidden)") == 2
    assert text == mask(config(with_preshared_key(), Secret(KEY), Secret(SHARED)))


def test_names_and_dns_of_a_laptop() -> None:
    known = ((ip_address("10.0.0.2"), ("root", "git.example.org")), (ip_address("fd00::2"), ("root",)))
    laptop = replace(LAPTOP, names=known, dns=(ip_address("10.0.0.2"), ip_address("fd00::53")))
    lines = config(laptop, with_names=True).split("\n")
    assert lines[1:4] == [
        '# For /etc/hosts, so that these names lead into the tunnel (README, "Names"):',
        "# 10.0.0.2 root git.example.org",
        "# fd00::2 root",
    ]
    assert lines[lines.index("[Interface]") + 5] == "DNS = 10.0.0.2, fd00::53"
    assert "example.org" not in config(laptop)


def test_a_phone_behind_nat_keeps_its_way_open() -> None:
    peer = Peer("root", PUBLIC, GATEWAY.allowed_ips, GATEWAY.endpoint)
    assert parse(config(ClientPlan("phone", LAPTOP.addresses, 1420, KEY, peer), KEY)).peers[0].keepalive == 25


@pytest.mark.skipif(not shutil.which("wg-quick"), reason="wireguard-tools are not installed")
def test_wg_quick_reads_it(tmp_path: Path) -> None:
    """strip gives what wg setconf gets: all but the keys of wg-quick itself."""
    path = tmp_path / "laptop.conf"
    path.write_text(config(with_preshared_key(), Secret(KEY), Secret(SHARED)))
    path.chmod(0o600)
    done = subprocess.run(["wg-quick", "strip", str(path)], capture_output=True, text=True, timeout=10)
    assert (done.returncode, done.stderr) == (0, "")
    kept = [line for line in done.stdout.splitlines() if line and not line.startswith("#")]
    assert kept == [
        "[Interface]",
        f"PrivateKey = {KEY}",
        "[Peer]",
        f"PublicKey = {PUBLIC}",
        f"PresharedKey = {SHARED}",
        "AllowedIPs = 10.0.0.0/24, 172.16.0.0/12, fd00::/64",
        "Endpoint = 198.51.100.2:51820",
        "PersistentKeepalive = 25",
    ]


def modules(shown: str) -> list[list[bool]]:
    """The dark modules of a code drawn with half blocks on a dark terminal, two rows a line."""
    halves = {" ": (True, True), "▀": (False, True), "▄": (True, False), "█": (False, False)}
    rows = []
    for line in shown.splitlines():
        rows += [[halves[c][0] for c in line], [halves[c][1] for c in line]]
    return rows


def test_the_qr_code_holds_the_config() -> None:
    text = config(with_preshared_key(), Secret(KEY), Secret(SHARED))
    wanted = [[bool(m) for m in row] for row in segno.make_qr(text, error="l").matrix_iter(border=4)]
    drawn = modules(qr(text))
    assert drawn[: len(wanted)] == wanted
    assert max(len(line) for line in qr(text).splitlines()) <= 80  # a terminal's width


@pytest.mark.parametrize("character", ["x", "é"])
def test_a_qr_code_holds_what_its_standard_says_and_no_more(character: str) -> None:
    fits = character * (2953 // len(character.encode()))
    segno.make_qr("x" * 2953, error="l")
    qr(fits)
    with pytest.raises(ValueError, match=r"^has 2,95[45] bytes, and a QR code holds 2,953$"):
        qr(fits + character)


def test_another_config_is_another_code() -> None:
    assert qr(config(LAPTOP, KEY)) != qr(config(LAPTOP, SHARED))


def test_a_road_warrior_resolves_the_name_of_its_gateway_itself() -> None:
    text = config(replace(LAPTOP, gateway=replace(GATEWAY, endpoint="vpn.example.org:51820")))
    assert "\nEndpoint = vpn.example.org:51820\n" in text
    assert "# Endpoint" not in text
    assert "PostUp" not in text
