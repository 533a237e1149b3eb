"""A road warrior from its first command to its last."""

from __future__ import annotations

import re
import stat

import pytest
import segno

from tests.support.operator_folder import HOSTS, WORD, Cluster, process
from wgcluster.keys.registry import Registry
from wgcluster.keys.seal import decode, public_key_of
from wgcluster.keys.secret import Secret
from wgcluster.wireguard.client import qr
from wgcluster.wireguard.config import parse


def test_a_client_from_the_first_to_the_last(cluster: Cluster) -> None:
    registry = cluster.deployed()
    added = cluster.run("client", "add", "laptop")
    assert added.status == 0
    assert added.out.startswith("laptop has 10.0.0.100 and comes in through root\n")
    assert "python -m wgcluster client show laptop -o laptop.conf" in added.out
    assert "with the next deploy" in added.out
    listed = cluster.run("client", "list", "--json").json
    assert [(one["name"], one["addresses"], one["gateway"]) for one in listed] == [
        ("laptop", ["10.0.0.100"], "root")
    ]
    shown = parse(cluster.run("client", "show", "laptop").out)
    assert shown.addresses == ("10.0.0.100/32",)
    assert shown.private_key in cluster.secrets()
    (peer,) = shown.peers
    assert peer.public_key == registry.public_keys()["root"]
    assert (peer.endpoint, peer.allowed_ips, peer.keepalive) == ("198.51.100.2:51820", ("10.0.0.0/24",), 25)
    # what the gateway is told fits
    theirs = next(p for p in cluster.run("plan", "root", "--json").json["peers"] if p["name"] == "laptop")
    assert theirs["public_key"] == listed[0]["public_key"]
    assert theirs["public_key"] == public_key_of(_bytes(shown.private_key))
    assert theirs["allowed_ips"] == ["10.0.0.100/32"]
    assert cluster.run("client", "remove", "laptop").status == 0
    assert cluster.run("client", "list").out.startswith("there are no clients")


def _bytes(key: str | None) -> bytes:
    assert key is not None
    return decode(key)


def test_addresses_are_given_in_turn_and_kept(cluster: Cluster) -> None:
    for name in ("one", "two", "three"):
        cluster.run("client", "add", name)
    cluster.run("client", "remove", "two")
    cluster.run("client", "add", "four")
    cluster.run("client", "add", "five", "--address", "10.0.0.200")
    rows = [line.split()[:2] for line in cluster.run("client", "list").out.splitlines()[2:]]
    assert rows == [
        ["five", "10.0.0.200"],
        ["four", "10.0.0.101"],
        ["one", "10.0.0.100"],
        ["three", "10.0.0.102"],
    ]


def test_with_two_families_the_one_not_chosen_is_given(cluster: Cluster) -> None:
    hosts = {"root": {**HOSTS["root"], "wg_address": ["10.0.0.2", "fd00::2"]}}
    cluster.write(hosts, wg_networks=["10.0.0.0/24", "fd00::/64"])
    assert cluster.run("client", "add", "laptop").out.startswith("laptop has 10.0.0.100, fd00::64 and")
    added = cluster.run("client", "add", "phone", "--address", "fd00::7")
    assert added.out.startswith("phone has fd00::7, 10.0.0.101 and")


def test_road_warriors_follow_the_overlay_and_keep_their_keys(cluster: Cluster) -> None:
    cluster.deployed()
    for name in ("laptop", "phone"):
        cluster.run("client", "add", name)
    keys = Registry.load(cluster.keys).client_keys()
    assert cluster.run("client", "renumber").out.startswith("every road warrior has an address")
    both = {
        name: {**data, "wg_address": [data["wg_address"], f"fd00::{data['wg_address'][-1]}"]}
        for name, data in HOSTS.items()
    }
    cluster.write(both, wg_networks=["10.0.0.0/24", "fd00::/64"])
    refused = cluster.run("check")
    assert "laptop: wg_address = ['10.0.0.100']: needs an address in fd00::/64 as well" in refused.err
    assert "client renumber" in refused.err
    result = cluster.run("client", "renumber")
    assert result.status == 0
    assert "laptop has 10.0.0.100, fd00::64 now, and needs its config anew" in result.out
    assert cluster.run("check").status == 0
    cluster.write()  # and back
    assert "phone has 10.0.0.101 now" in cluster.run("client", "renumber").out
    assert Registry.load(cluster.keys).client_keys() == keys


def test_a_client_chooses_its_gateway(cluster: Cluster) -> None:
    cluster.write({**HOSTS, "cloud": {**HOSTS["cloud"], "wg_gateway": True}})
    cluster.deployed()
    assert "through cloud" in cluster.run("client", "add", "laptop").out
    assert "through root" in cluster.run("client", "add", "phone", "--gateway", "root").out
    assert parse(cluster.run("client", "show", "phone").out).peers[0].endpoint == "198.51.100.2:51820"


def test_a_gateway_that_comes_later_moves_no_client(cluster: Cluster) -> None:
    cluster.deployed()
    cluster.run("client", "add", "laptop")
    before = cluster.run("client", "show", "laptop").out
    assert "198.51.100.2" in before
    cluster.write({**HOSTS, "cloud": {**HOSTS["cloud"], "wg_gateway": True}})
    assert cluster.run("client", "show", "laptop").out == before
    assert "through cloud" in cluster.run("client", "add", "phone").out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("laptop",), "there is a client laptop already; choose another name"),
        (("root",), "there is a host root already"),
        (("lap top",), "client = 'lap top': a name is 1 to 63 letters"),
        (
            ("phone", "--gateway", "cloud"),
            "[gateway.unknown]",
        ),
        (
            ("phone", "--address", "10.0.0"),
            "--address: '10.0.0' does not appear to be an IPv4 or IPv6 address",
        ),
        (("phone", "--address", "10.0.0.100"), "10.0.0.100 belongs to the client laptop"),
        (("phone", "--address", "10.0.0.3"), "[wg_address.taken]"),
        (("phone", "--address", "10.1.0.3"), "[wg_address.outside-network]"),
        (("phone", "--address", "10.0.0.255"), "[wg_address.broadcast]"),
        (("phone", "--address", "10.0.0.7", "--address", "10.0.0.8"), "[wg_address.same-family]"),
    ],
)
def test_a_client_that_cannot_be_leaves_the_registry_as_it_was(
    cluster: Cluster, words: tuple[str, ...], message: str
) -> None:
    cluster.deployed()
    cluster.run("client", "add", "laptop")
    before = cluster.content()
    result = cluster.run("client", "add", *words)
    assert (result.status, result.out) == (1, "")
    assert message in result.err
    assert cluster.content() == before


def test_a_full_network_is_told(cluster: Cluster) -> None:
    cluster.write({"root": {**HOSTS["root"]}}, wg_networks=["10.0.0.0/26"])
    result = cluster.run("client", "add", "laptop")
    assert result.status == 1
    assert result.err == "10.0.0.0/26: no address is free from .100 on; choose one: --address A\n"


def test_adding_prints_and_writes_no_secret(cluster: Cluster) -> None:
    cluster.write(wg_preshared_keys=True)
    result = cluster.run("client", "add", "laptop")
    written = b"".join(cluster.content().values()).decode()
    assert len(cluster.secrets()) == 2  # its own, and that of its link
    for secret in cluster.secrets():
        assert secret not in result.out + result.err + written


def test_its_link_has_a_preshared_key_where_all_have(cluster: Cluster) -> None:
    cluster.write(wg_preshared_keys=True)
    cluster.deployed()
    cluster.run("client", "add", "laptop")
    registry = Registry.load(cluster.keys)
    registry.unlock(Secret(WORD))
    shared = parse(cluster.run("client", "show", "laptop").out).peers[0].preshared_key
    assert shared == registry.preshared_key("laptop|root").reveal()


@pytest.mark.parametrize(
    ("deployed", "message"), [((), "root, its gateway, has no key yet"), (("root",), "")]
)
def test_its_config_waits_for_the_gateways_key(
    cluster: Cluster, deployed: tuple[str, ...], message: str
) -> None:
    cluster.run("client", "add", "laptop")
    if deployed:
        cluster.deployed(*deployed)
    result = cluster.run("client", "show", "laptop")
    assert result.status == (1 if message else 0)
    assert result.err.startswith(message)


def test_its_config_waits_for_the_links_key(cluster: Cluster) -> None:
    cluster.deployed()
    cluster.run("client", "add", "laptop")
    cluster.write(wg_preshared_keys=True)
    # pyinfra reads a file once a process, so this is another
    done = process(cluster, "client", "show", "laptop")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "its link to root has no key yet; deploy first: the deploy makes it\n"


def test_its_config_goes_into_a_file_that_its_owner_alone_reads(cluster: Cluster) -> None:
    cluster.deployed()
    cluster.run("client", "add", "laptop")
    path = cluster.folder / "laptop.conf"
    path.write_text("old")
    path.chmod(0o644)
    result = cluster.run("client", "show", "laptop", "-o", str(path))
    assert result.status == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == cluster.run("client", "show", "laptop").out
    assert "written over what was there" in result.out
    assert not any(secret in result.out for secret in cluster.secrets())


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("my laptop.conf", "wg-quick calls the interface as the file"),
        ("sixteen-letters-.conf", "wg-quick calls the interface as the file"),
        ("none/laptop.conf", "cannot be written: No such file or directory"),
        ("keys.yml", "is the registry of all keys"),
        ("group_data", "is no ordinary file; without -o the config is printed"),
    ],
)
def test_a_file_that_would_not_work_is_refused(cluster: Cluster, file: str, message: str) -> None:
    cluster.deployed()
    cluster.run("client", "add", "laptop")
    before = cluster.content()
    result = cluster.run("client", "show", "laptop", "-o", str(cluster.folder / file))
    assert result.status == 1
    assert message in result.err
    assert cluster.content() == before


def test_the_file_that_add_proposes_is_one_that_works(cluster: Cluster) -> None:
    cluster.deployed()
    added = cluster.run("client", "add", "a-name-longer-than-an-interface")
    proposed = re.search(r"-o (\S+)", added.out)
    assert proposed is not None
    path = cluster.folder / proposed[1]
    assert cluster.run("client", "show", "a-name-longer-than-an-interface", "-o", str(path)).status == 0


def test_its_config_as_a_qr_code(cluster: Cluster) -> None:
    cluster.deployed()
    cluster.run("client", "add", "phone")
    shown = cluster.run("client", "show", "phone").out
    assert "\n# 10.0.0.2 root git.example.org\n" in shown
    # a phone has no /etc/hosts that its owner could edit
    text = re.sub(r"# (For /etc/hosts.*|[0-9].*)\n", "", shown)
    assert cluster.run("client", "show", "phone", "--qr").out == qr(text)
    assert segno.make_qr(text, error="l").version != "M4"  # a phone's camera reads no micro code


def test_a_config_that_no_qr_code_holds_goes_into_a_file(cluster: Cluster) -> None:
    root = {**HOSTS["root"], "wg_subnets": [f"172.16.{n}.0/24" for n in range(0, 256, 2)]}
    root["wg_subnets"] += [f"172.17.{n}.0/24" for n in range(0, 200, 2)]
    cluster.write({**HOSTS, "root": root})
    cluster.deployed()
    cluster.run("client", "add", "phone")
    shown = cluster.run("client", "show", "phone").out
    size = len(re.sub(r"# (For /etc/hosts.*|[0-9].*)\n", "", shown))
    refused = cluster.run("client", "show", "phone", "--qr")
    assert (refused.status, refused.out) == (1, "")
    assert refused.err == (
        f"the config of phone has {size:,} bytes, and a QR code holds 2,953;"
        " write it to a file instead, and import that: -o wg.conf\n"
    )
    path = cluster.folder / "wg.conf"
    written = cluster.run("client", "show", "phone", "-o", str(path))
    assert written.out.startswith(f"{path}: written, readable by you alone")
    assert path.read_text() == shown


def test_a_gateways_forged_public_key_is_not_handed_out(cluster: Cluster) -> None:
    """keys.yml is committed: who can change it must not get clients to dial another host."""
    registry = cluster.deployed()
    cluster.run("client", "add", "laptop")
    text = cluster.keys.read_text()
    forged = public_key_of(bytes(range(32)))
    cluster.keys.write_text(text.replace(registry.public_keys()["root"], forged))
    result = cluster.run("client", "show", "laptop")
    assert (result.status, result.out) == (1, "")
    assert "host root: does not open: it was changed" in result.err


def test_to_remove_a_client_needs_no_passphrase(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.run("client", "add", "laptop")
    monkeypatch.delenv("WGCLUSTER_PASSPHRASE")
    assert "until the next deploy" in cluster.run("client", "remove", "laptop").out
    again = cluster.run("client", "remove", "laptop")
    assert (again.status, again.err) == (
        1,
        f"{cluster.keys}: has no key of client laptop; there are: none  [keystore.unknown-entry]\n",
    )
    shown = cluster.run("client", "show", "laptop")
    assert (shown.status, shown.err) == (1, "no client is called laptop; there are: none\n")
