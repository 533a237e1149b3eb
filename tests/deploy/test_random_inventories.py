"""Any inventory without a fault deploys to hosts of any state, and a second run has nothing to do."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support.clusters import clusters, rows_of
from tests.support.fake.cluster import FakeCluster, Rows, json_of, with_nginx
from tests.support.fake.host import Chains, FakeHost
from wgcluster.inventory.cluster import Cluster

DOCKER = "-j DOCKER-USER"
FORWARD = st.lists(
    st.sampled_from(
        [
            DOCKER,
            "-j REJECT --reject-with icmp-host-prohibited",
            "-i wg -j DROP",
            "-o wg -m comment --comment mine -j ACCEPT",
            "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "-m comment --comment wgcluster-other -j ACCEPT",
        ]
    ),
    max_size=4,
    unique=True,
)
INPUT = st.lists(
    st.sampled_from(
        ["-i lo -j ACCEPT", "-p tcp -m tcp --dport 22 -j ACCEPT", "-j DROP", "-s 198.18.0.3/32 -j DROP"]
    ),
    max_size=3,
    unique=True,
)


@st.composite
def filters(draw: st.DrawFn) -> dict[str, Chains]:
    """The tables of one family as somebody else left them."""
    if draw(st.booleans()):
        return {}
    return {"filter": {"INPUT": draw(INPUT), "FORWARD": draw(FORWARD), "DOCKER-USER": ["-j RETURN"]}}


@st.composite
def hosts(draw: st.DrawFn) -> FakeHost:
    """A server before the first run."""
    host = FakeHost(tools={draw(st.sampled_from(["apt-get", "dnf", "pacman", "apk"])), "systemctl"})
    if draw(st.booleans()):
        host.tools |= {"iptables", "ip6tables"}
        host.tables = {"iptables": draw(filters()), "ip6tables": draw(filters())}
        if draw(st.integers(0, 2)) == 0:
            host.tables["iptables-legacy"] = draw(filters())
    host.forward_policy = draw(st.sampled_from(["ACCEPT", "DROP"]))
    host.module = draw(st.sampled_from(["loaded", "available", "missing"]))
    if host.module == "missing":
        host.tools.add("wireguard-go")
        host.container = draw(st.booleans())
    if draw(st.integers(0, 2)) == 0:
        on = {key: "1" for key in host.sysctls if "disable" not in key}
        host.sysctls = host.sysctls | on
    if draw(st.integers(0, 2)) == 0:
        host.advertised = ("eth0",)
        host.sysctls["net/ipv6/conf/eth0/accept_ra"] = draw(st.sampled_from(["0", "1", "2"]))
    if draw(st.integers(0, 2)) == 0:
        host.folders["/etc/wireguard"] = draw(st.sampled_from(["755", "700"]))
    if draw(st.integers(0, 2)) == 0:
        host.ssh = "198.51.100.7 50022 198.18.0.1 22"
    return with_nginx(host) if draw(st.integers(0, 3)) == 0 else host


@st.composite
def data(draw: st.DrawFn, host: FakeHost, masquerades: bool) -> dict[str, Any]:
    """What an inventory may say beyond the links."""
    firewall = draw(st.sampled_from(["peers", "peers", "baseline", "peers" if masquerades else "off"]))
    found: dict[str, Any] = {"firewall": firewall, "wg_mtu": draw(st.sampled_from([1420, 1380]))}
    if firewall == "baseline":
        sources = draw(st.sampled_from([[], ["198.51.100.0/24", "2001:db8::/48"], ["0.0.0.0/0"]]))
        found["firewall_allow"] = [{"port": 22, "from": sources}, {"port": 53, "protocol": "udp"}]
    if "nginx" in host.tools:
        allow = draw(st.sampled_from([[], ["198.51.100.0/24"]]))
        site = {"file": "/etc/nginx/sites-available/gitlab", "server_name": "git.example.org", "allow": allow}
        scope = draw(st.sampled_from(["location", "server"]))
        found["nginx_vpn_only"] = [{**site, "scope": scope, "public": ["/.well-known/acme-challenge"]}]
    return found


@settings(
    max_examples=12,
    phases=[Phase.reuse, Phase.generate],  # each try costs two runs: a smaller example is not worth minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(clusters(max_hosts=6), st.data())
def test_a_second_run_has_nothing_to_do(cluster: Cluster, drawn: st.DataObject) -> None:
    rows: Rows = {}
    states: dict[str, FakeHost] = {}
    for row in rows_of(cluster):
        name = row.cluster_name
        states[name] = drawn.draw(hosts(), label=name)
        # a way in that the hosts' own rules close is no fault of ours, nor to be found by chance
        blocked = any(
            "DROP" in r for t in states[name].tables.values() for r in t.get("filter", {}).get("INPUT", [])
        )
        states[name].ssh = "" if blocked else states[name].ssh
        rows[name] = {**row.data, **drawn.draw(data(states[name], row.data["wg_masquerade"]), label=name)}
    with tempfile.TemporaryDirectory() as folder:
        world = FakeCluster(Path(folder), rows, {}, states)
        world.add_clients(*cluster.clients)
        world.deploy()
        for name, host in world.hosts.items():
            link = host.links["wg"]
            assert link.private_key == world.registry().private_key(name).reveal()
            for peer in link.peers.values():  # some have been heard of since, some from elsewhere
                peer.handshake = drawn.draw(st.sampled_from([0, host.clock - 10]))
                if peer.handshake:
                    peer.endpoint = drawn.draw(st.sampled_from([peer.endpoint, "198.18.77.7:40000"]))
        before = {name: host.there() for name, host in world.before().items()}
        world.forget()
        result = json_of(world.deploy("--json"))["results"]["totals"]
        assert (result["success"], result["error"]) == (0, 0)
        assert world.changes() == []
        assert {len(host.commands) for host in world.hosts.values()} == {1}
        after = {
            name: {**host.there(), "changes": before[name]["changes"]} for name, host in world.hosts.items()
        }
        assert after == before
