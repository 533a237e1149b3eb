"""No field of a plan is forgotten: what changes the config is told of by verification, and differs live.

A new field fails here until it has a line in ``OTHER``, and then until all who read the config know it.
"""

from __future__ import annotations

from dataclasses import fields, replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from wgcluster.host.observed import File, Link, LivePeer
from wgcluster.inventory.schema import GuardedSite, OpenPort
from wgcluster.plan.plan import HostPlan, Peer
from wgcluster.verify.boot import BootFiles, boot_faults
from wgcluster.wireguard.config import render
from wgcluster.wireguard.drift import foreign_keys, live_differences, preshared_digest, restart_reasons

KEY, CLOUD, SHARED = (letter * 42 + "A=" for letter in "KCS")
SECRETS = {"cloud|root": SHARED}
CLOCK = 1_700_000_000
PEER = Peer(
    "cloud",
    CLOUD,
    (ip_network("10.0.0.3/32"),),
    endpoint="198.18.0.9:51821",
    keepalive=25,
    preshared_key="cloud|root",
)
HOST = HostPlan("root", "wg", (ip_interface("10.0.0.2/24"),), 51820, 1420, KEY, (PEER,), forwards=(4,))

# Another value for each field. Those of HOST that the config does not depend on are there, too.
OTHER: dict[str, object] = {
    "name": "root2",
    "interface": "wg2",
    "addresses": (ip_interface("10.0.0.4/24"),),
    "port": 51821,
    "mtu": 1380,
    "public_key": CLOUD,
    "peers": (),
    "forwards": (),
    "masquerade": True,
    "listen_from": (ip_network("198.18.0.0/16"),),
    "firewall": "off",
    "firewall_allow": (OpenPort(22, "tcp", ()),),
    "masquerade_lan": True,
    "nginx": (GuardedSite("s.conf", "s.test", ("/",), (), ()),),
    "subnets": (ip_network("172.16.0.0/12"),),
    "beside": (ip_network("192.168.1.0/24"),),
    "keep": (ip_network("10.0.0.50/32"), "proto bird"),
    "site": "fra",
    "gateway": True,
    "names": ((ip_address("10.0.0.3"), ("cloud",)),),
}
OTHER_OF_PEER: dict[str, object] = {
    "name": "cloud2",
    "public_key": KEY,
    "allowed_ips": (ip_network("10.0.0.5/32"),),
    "endpoint": "198.18.0.9:51822",
    "keepalive": None,
    "preshared_key": None,
    "is_client": True,
}
CHANGED = {name: replace(HOST, **{name: value}) for name, value in OTHER.items()} | {  # type: ignore[arg-type]
    f"peer's {name}": replace(HOST, peers=(replace(PEER, **{name: value}),))  # type: ignore[arg-type]
    for name, value in OTHER_OF_PEER.items()
}
COMMENTS = {"name", "peer's name", "peer's is_client"}
HOOKS = {"forwards", "firewall"}  # they have run when the interface came up: nothing of them is left to see


def test_each_field_is_here() -> None:
    assert OTHER.keys() == {one.name for one in fields(HostPlan)}
    assert OTHER_OF_PEER.keys() == {one.name for one in fields(Peer)}


def text(host: HostPlan) -> str:
    return render(host, KEY, SECRETS)


def boot(config: str) -> list[str]:
    """What verification says of a host with this file and everything else of ``HOST``."""
    file = File("file", "600", "root:root", data=config.encode())
    files = BootFiles(file, File("absent"), File("absent"))
    return [one for one in boot_faults(HOST, files) if "config" in one]


def live(host: HostPlan) -> Link:
    """The interface as it is where a host got this plan."""
    return Link(
        mtu=host.mtu,
        addresses=frozenset(map(str, host.addresses)),
        public_key=host.public_key,
        port=host.port,
        peers={
            peer.public_key: LivePeer(
                preshared_key=peer.preshared_key is not None,
                endpoint=peer.endpoint,
                allowed_ips=frozenset(map(str, peer.allowed_ips)),
                handshake=0,
                keepalive=peer.keepalive,
            )
            for peer in host.peers
        },
        preshared_digest=preshared_digest(host.peers, SECRETS),
    )


def differs(host: HostPlan) -> list[str]:
    link = live(host)
    return [*restart_reasons(HOST, link), *live_differences(HOST, link, CLOCK, SECRETS, {})]


def test_nothing_is_said_where_all_is_as_planned() -> None:
    assert boot(text(HOST)) == differs(HOST) == []


@pytest.mark.parametrize("name", CHANGED)
def test_what_the_config_says_is_ours(name: str) -> None:
    """A key that is not known stops the tunnel when the file changes."""
    assert foreign_keys(text(CHANGED[name])) == []


@pytest.mark.parametrize("name", [one for one, host in CHANGED.items() if text(host) != text(HOST)])
def test_another_value_is_noticed(name: str) -> None:
    if name not in COMMENTS:
        assert boot(text(CHANGED[name])) != []
        assert (differs(CHANGED[name]) == []) == (name in HOOKS)
