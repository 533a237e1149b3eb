"""The lab is as its description says, before anything is deployed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from urllib.parse import urlsplit

import paramiko
import pytest

from lab import image
from lab.errors import LabError
from lab.lab import Lab
from lab.reach import pings, status
from lab.spec import HostSpec, article, plain
from lab.underlay import Underlay, check, faults, free_blocks
from lab.workspace import CHECKOUT, localized

NewLab = Callable[[Sequence[HostSpec]], Lab]
SERVERS = ("root", "cloud", "backup")


@pytest.fixture(scope="module")
def fresh(lab: Lab) -> Lab:
    """The lab with its servers made anew, whatever other tests did to them."""
    lab.renew(*SERVERS)
    return lab


def test_everyone_reaches_root_over_the_underlay(lab: Lab) -> None:
    root = lab["root"]
    for name in ("cloud", "backup", "laptop", "stranger"):
        assert pings(lab[name], [root.address, root.address6]) == {root.address, root.address6}, name


def test_backup_cannot_be_dialled_even_with_a_route(lab: Lab) -> None:
    backup, stranger, router = lab["backup"], lab["stranger"], lab["router"]
    via = f"{lab.underlay.lan(0)} via {router.address}", f"{lab.underlay.lan6(0)} via {router.address6}"
    for route in via:
        stranger.run(f"ip route replace {route}", check=True)
    try:
        assert pings(stranger, [backup.address, backup.address6, router.address]) == {router.address}
    finally:
        for route in via:
            stranger.run(f"ip route del {route}", check=True)


def test_backup_appears_as_its_router(lab: Lab) -> None:
    # root's web server writes down whom it sees
    assert status(lab["backup"], lab["root"].address, "/?who-is-this") != "-"
    seen = lab["root"].run("grep who-is-this /var/log/nginx/gitlab_access.log | tail -n 1", check=True).stdout
    assert seen.split()[0] == lab["router"].address


def test_stranger_gets_the_site_and_the_challenge(fresh: Lab) -> None:
    stranger, root = fresh["stranger"], fresh["root"]
    for address in (root.address, f"[{root.address6}]"):
        assert status(stranger, address) == "200"
        assert status(stranger, address, "/.well-known/acme-challenge/probe.txt") == "200"
        assert status(stranger, address, "/.well-known/acme-challenge/missing") == "404"
    assert stranger.run(f"curl --silent http://{root.address}/any").stdout == "service\n"


@pytest.mark.parametrize("tables", ["iptables", "ip6tables"])
def test_roots_forward_chain_ends_in_reject_after_one_rule(fresh: Lab, tables: str) -> None:
    policy, first, last = fresh["root"].run(f"{tables} -S FORWARD", check=True).stdout.splitlines()
    assert policy == "-P FORWARD ACCEPT"
    assert "-j ACCEPT" in first
    assert "-j REJECT" in last


@pytest.mark.parametrize("tables", ["iptables", "ip6tables"])
def test_clouds_forward_chain_is_empty(fresh: Lab, tables: str) -> None:
    assert fresh["cloud"].run(f"{tables} -S FORWARD", check=True).stdout == "-P FORWARD ACCEPT\n"


@pytest.mark.parametrize("name", SERVERS)
def test_servers_are_bare(fresh: Lab, name: str) -> None:
    host = fresh[name]
    assert host.run("command -v wg wg-quick").returncode != 0
    assert host.run("sysctl -n net.ipv4.ip_forward net.ipv6.conf.all.forwarding").stdout.split() == ["0", "0"]
    assert host.run("iptables-legacy -S; ip6tables-legacy -S").stdout.count("\n") == 6  # policies alone


@pytest.mark.parametrize("name", ["root", "cloud", "router", "laptop", "stranger"])
@pytest.mark.parametrize("address", ["10.255.0.1", "172.31.255.1", "192.168.255.1"])
def test_no_packet_to_a_private_address_leaves_the_lab(lab: Lab, name: str, address: str) -> None:
    assert "No route to host" in lab[name].run(f"ip route get {address}").stderr


def test_wireguard_tools_installs_without_fetching_anything(lab: Lab) -> None:
    stranger = lab["stranger"]  # of the servers' image; they stay bare for the tests beside this one
    stranger.disconnect()
    try:
        stranger.run("apt-get install --yes wireguard-tools", check=True)
    finally:
        stranger.connect()
    assert stranger.run("wg --version").returncode == 0
    stranger.run("apt-get purge --yes wireguard-tools", check=True)


def test_packages_come_from_the_distribution_alone(lab: Lab) -> None:
    used = lab["root"].run("apt-get indextargets --format '$(URI) $(ORIGIN)'", check=True).stdout
    addresses, origins = zip(*(line.split(" ", 1) for line in used.splitlines()), strict=True)
    assert set(origins) <= {"Debian", "Ubuntu"}
    assert {urlsplit(address).hostname for address in addresses} <= set(image.mirrors())


def test_laptop_has_the_tools(lab: Lab) -> None:
    assert lab["laptop"].run("wg-quick --help").returncode == 0


@pytest.mark.parametrize("name", ["root", "router", "backup"])
def test_a_restart_brings_a_host_back_as_it_was(lab: Lab, name: str) -> None:
    looks = (
        "ip -brief address | sed 's/@if[0-9]*//; s/  */ /g' | sort; ip route; ip -6 route show default",
        "iptables -S; iptables -t nat -S POSTROUTING; ip6tables -S; ip6tables -t nat -S POSTROUTING",
    )
    # Docker numbers a router's interfaces as it likes, and its own resolver's chain by a random port
    before = [re.sub(r"eth\d", "eth", lab[name].run(look, check=True).stdout) for look in looks]
    lab[name].restart()
    after = [re.sub(r"eth\d", "eth", lab[name].run(look, check=True).stdout) for look in looks]
    assert [sorted(text.splitlines()) for text in after] == [sorted(text.splitlines()) for text in before]
    assert pings(lab["backup"], [lab["root"].address]) == {lab["root"].address}


def test_cables_out_and_in(lab: Lab) -> None:
    cloud, root = lab["cloud"], lab["root"]
    cloud.disconnect()
    assert pings(root, [cloud.address]) == set()
    assert cloud.run("echo still here").stdout == "still here\n"
    cloud.connect()
    assert pings(root, [cloud.address]) == {cloud.address}


def test_a_host_over_ssh_as_an_ordinary_user_with_sudo(new_lab: NewLab) -> None:
    (spec,) = plain(1)
    host = new_lab([replace(spec, ssh=True)])["h1"]
    for _ in range(2):
        data = host.ssh_data()
        with paramiko.SSHClient() as client:
            client.load_host_keys(str(data["ssh_known_hosts_file"]))  # one that is not known is refused
            client.connect(
                str(data["ssh_hostname"]),
                int(data["ssh_port"]),
                username=str(data["ssh_user"]),
                key_filename=str(data["ssh_key"]),
                look_for_keys=False,
                allow_agent=False,
            )
            _, out, _ = client.exec_command("whoami; sudo whoami")
            assert out.read().decode().split() == ["operator", "root"]
        host.restart()  # and the port is the same after it
        assert host.ssh_data() == data


def test_plain_servers_some_of_them_behind_nat(new_lab: NewLab) -> None:
    lab = new_lab(plain(3, behind=2))
    first, second, third = lab["h1"], lab["h2"], lab["h3"]
    for hidden, router in ((second, lab["r1"]), (third, lab["r2"])):
        assert pings(hidden, [first.address, router.address]) == {first.address, router.address}
        assert pings(first, [hidden.address]) == set()
    assert pings(second, [third.address]) == set()


def test_a_file_is_read_as_it_was_written(lab: Lab) -> None:
    text = "tab\t'quote' \"$HOME\" é\r\nno newline at the end"
    lab["laptop"].write("/tmp/new folder/file", text, mode=0o640)
    assert lab["laptop"].read("/tmp/new folder/file") == text
    assert lab["laptop"].run("stat -c '%a %U' '/tmp/new folder/file'").stdout == "640 root\n"


def test_a_command_that_hangs_is_ended(lab: Lab) -> None:
    assert lab["laptop"].run("sleep 60", timeout=1).returncode == 124


def test_a_failed_command_tells_what_it_said(lab: Lab) -> None:
    with pytest.raises(LabError, match=r"laptop: .*status 3\nalas"):
        lab["laptop"].run("echo alas; exit 3", check=True)


def test_bringing_up_what_is_up_changes_nothing(lab: Lab) -> None:
    said: list[str] = []
    again = Lab(prefix=lab.prefix, subnet="free", say=said.append).up()
    assert said == []
    assert {host.container.id for host in again} == {host.container.id for host in lab}


def test_the_shipped_inventory_is_the_labs(lab: Lab) -> None:
    text = localized((CHECKOUT / "inventory.py").read_text(), lab)
    for name in SERVERS:
        assert f'"{lab[name].identifier}"' in text
    for name in ("root", "cloud"):
        assert f'"wg_endpoint": "{lab[name].address}"' in text
    assert '"wg_address": "10.0.0.2"' in text


def test_a_subnet_in_use_is_refused_and_a_free_one_named() -> None:
    foreign = [
        (IPv4Network("198.18.5.0/24"), "route dev eth9"),
        (IPv4Network("198.18.32.0/20"), "Docker network x"),
    ]
    with pytest.raises(LabError) as refused:
        check(Underlay.parse("198.18.0.0/19"), foreign)
    assert "198.18.0.0/19 overlaps 198.18.5.0/24 (route dev eth9)" in str(refused.value)
    assert "WGCLUSTER_LAB_SUBNET" in str(refused.value)
    assert "for example 198.18.64.0/19" in str(refused.value)


def test_a_free_block_clashes_with_nothing() -> None:
    blocks = list(free_blocks([]))
    assert len(blocks) == 15
    for block in blocks:
        others = [other for other in blocks if other != block]
        assert faults(block, [(net, "") for other in others for net in (other.block, other.block6)]) == []
        for number in range(16):
            assert block.lan(number).subnet_of(block.block)
            assert block.lan6(number).subnet_of(block.block6)


@pytest.mark.parametrize("text", ["198.18.0.0/24", "198.18.1.0/19", "fd00::/19", "here", "198.18.0.0"])
def test_a_wrong_subnet_is_refused(text: str) -> None:
    with pytest.raises(LabError, match=re.escape(text)):
        Underlay.parse(text)


@pytest.mark.parametrize("wanted", ["test-", "wgcluster-test", ""])
def test_a_prefix_that_is_not_ours_is_refused(wanted: str) -> None:
    with pytest.raises(LabError, match="prefix"):
        Lab(prefix=wanted)


def test_every_host_of_a_large_lab_has_an_address_of_its_own() -> None:
    place = Underlay.parse("198.18.0.0/19")
    for specs in (article(), plain(600, behind=16)):
        outside = [place.address(place.internet, spec.at) for spec in specs if not spec.behind]
        assert len(set(outside)) == len(outside)
        assert all(address in place.internet for address in outside)
        assert IPv4Address("198.18.0.1") not in outside  # Docker's bridge
