"""The WireGuard text as wg-quick and wg take it, and what stands in it line by line."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest

from wgcluster.plan.plan import HostPlan, Peer
from wgcluster.wireguard.config import ParsedPeer, WgConfError, cut, mask, parse, parse_peer, render

KEY, CLOUD, LAPTOP, SHARED = (letter * 42 + "A=" for letter in "KCLS")
ROOT = HostPlan(
    name="root",
    interface="wg",
    addresses=(ip_interface("10.0.0.2/24"), ip_interface("fd00::2/64")),
    port=51820,
    mtu=1420,
    public_key=KEY,
    peers=(
        Peer(
            "cloud",
            CLOUD,
            (ip_network("10.0.0.3/32"), ip_network("172.16.0.0/12"), ip_network("fd00::3/128")),
            endpoint="[2001:db8::3]:51821",
            keepalive=25,
            preshared_key="cloud|root",
        ),
        Peer("laptop", LAPTOP, (ip_network("10.0.0.100/32"),), is_client=True),
    ),
)
TEXT = f"""\
# wgcluster: written by the deploy, which puts back whatever is changed here
# host root

[Interface]
Address = 10.0.0.2/24
Address = fd00::2/64
PrivateKey = {KEY}
ListenPort = 51820
MTU = 1420
PreUp = /usr/local/sbin/wgcluster-firewall %i || :

[Peer]
# host cloud
# friendly_name = cloud
PublicKey = {CLOUD}
PresharedKey = {SHARED}
AllowedIPs = 10.0.0.3/32, 172.16.0.0/12, fd00::3/128
Endpoint = [2001:db8::3]:51821
PersistentKeepalive = 25

[Peer]
# client laptop
# friendly_name = laptop
PublicKey = {LAPTOP}
AllowedIPs = 10.0.0.100/32
"""


def test_the_whole_text() -> None:
    assert render(ROOT, KEY, {"cloud|root": SHARED}) == TEXT


def test_without_secrets_they_show_as_hidden() -> None:
    hidden = TEXT.replace(KEY, "(hidden)").replace(SHARED, "(hidden)")
    assert render(ROOT) == hidden
    assert mask(TEXT) == hidden


def test_a_roaming_peer_has_no_endpoint_and_no_keepalive() -> None:
    assert parse(TEXT).peers[1] == ParsedPeer(public_key=LAPTOP, allowed_ips=("10.0.0.100/32",))


@pytest.mark.skipif(not shutil.which("wg-quick"), reason="wireguard-tools are not installed")
def test_wg_quick_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "wg.conf"
    path.write_text(TEXT)
    path.chmod(0o600)
    done = subprocess.run(["wg-quick", "strip", str(path)], capture_output=True, text=True, timeout=10)
    assert (done.returncode, done.stderr) == (0, "")
    ours, theirs = parse(TEXT), parse(done.stdout)
    assert theirs.peers == ours.peers
    assert (theirs.private_key, theirs.listen_port) == (KEY, 51820)
    assert (theirs.addresses, theirs.mtu, theirs.other) == ((), None, {})  # wg-quick's own keys are gone


def test_what_a_person_wrote_is_read_too() -> None:
    config = parse(
        "[interface]\nADDRESS=10.0.0.2/24,fd00::2/64 # both\nPostUp = echo up\nPostUp = echo again\n"
        "SaveConfig = true\nDNS = 10.0.0.1\n[PEER]\npublickey=x\nAllowedIPs = 10.0.0.3/32\n"
        "AllowedIPs = 10.0.0.4/32,\nPersistentKeepalive = off\n"
    )
    assert config.addresses == ("10.0.0.2/24", "fd00::2/64")
    assert config.other == {"PostUp": ["echo up", "echo again"], "SaveConfig": ["true"], "DNS": ["10.0.0.1"]}
    assert config.peers == [ParsedPeer(public_key="x", allowed_ips=("10.0.0.3/32", "10.0.0.4/32"))]


def test_a_keepalive_of_zero_is_none() -> None:
    assert parse("[Peer]\nPersistentKeepalive = 0\n").peers[0].keepalive is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Address = 10.0.0.2/24\n", "line 1: 'Address = 10.0.0.2/24' is no 'Key = value' inside a section"),
        ("[Interface]\n\n# x\nnonsense\n", "line 4: 'nonsense' is no 'Key = value'"),
        ("[Interface]\n[Pear]\n", "line 2: [Pear] is neither [Interface] nor [Peer]"),
        ("[Interface]\nListenPort = many\n", "line 2: 'ListenPort = many': invalid literal"),
        ("[Interface]\nMTU =\n", "line 2: 'MTU =': invalid literal"),
        ("[Peer]\nColour = blue\n", "line 2: 'Colour = blue': no key of a [Peer] section"),
        ("[Peer]\nPersistentKeepalive = often\n", "line 2: 'PersistentKeepalive = often': invalid literal"),
    ],
)
def test_what_is_no_config_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(WgConfError, match=re.escape(message)):
        parse(text)


@pytest.mark.parametrize(
    "piece",
    ["PublicKey = k\n[Interface]\nMTU = 1420\n", "PublicKey = k\n[peer]\n", "Colour = blue\n", "PublicKey\n"],
)
def test_a_piece_that_is_more_or_less_than_a_peer_is_none(piece: str) -> None:
    assert parse_peer("PublicKey = k\n") == ParsedPeer("k")
    assert parse_peer(piece) is None


NAMED = replace(ROOT, peers=(replace(ROOT.peers[0], endpoint="cloud.example.net:51821"), *ROOT.peers[1:]))


def test_a_name_stands_in_a_comment_for_our_script() -> None:
    text = render(NAMED, KEY, {"cloud|root": SHARED})
    expected = TEXT.replace("Endpoint = [2001:db8::3]:51821", "# Endpoint = cloud.example.net:51821")
    hook = "PostUp = /usr/local/sbin/wgcluster-endpoints %i || :"
    assert text == expected.replace("wgcluster-firewall %i || :", f"wgcluster-firewall %i || :\n{hook}")
    found = parse(text).peers[0]
    assert (found.endpoint, found.named) == ("cloud.example.net:51821", True)
    assert parse_peer(cut(text)[1]) == found
    old = parse(text.replace("# Endpoint", "Endpoint")).peers[0]
    assert (old.endpoint, old.named) == ("cloud.example.net:51821", False)


@pytest.mark.parametrize(
    "line",
    [
        "#Endpoint = a:1",
        "# endpoint = a:1",
        "# Endpoint=a:1",
        " # Endpoint = a:1",
        "AllowedIPs = # Endpoint = a:1",
    ],
)
def test_no_other_comment_is_read(line: str) -> None:
    assert parse(f"[Peer]\nPublicKey = {CLOUD}\n{line}\n").peers[0].endpoint is None
