"""HostPlan -> the rules it needs, in order. Where they go: placement.py.

A rule is written as ``iptables-save`` prints it, so that observed and desired rules compare as text. Ours
have the comment ``wgcluster-<interface>``; a rule without it is never removed nor reordered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Network, ip_network
from itertools import product
from typing import Literal

from wgcluster.firewall.tables import (
    Spec,
    join,
)
from wgcluster.plan.plan import HostPlan
from wgcluster.prefixes import FAMILIES, Family, Network

# Neighbour discovery and multicast listener discovery, which IPv6 requires, and ping (RFC 4890, 4.4.1).
# Errors such as "packet too big" belong to a flow and are RELATED.
_ICMPV6_TYPES = (128, 130, 131, 132, 133, 134, 135, 136, 143)
_LINK_LOCAL = IPv6Network("fe80::/10")
_DHCPV6_CLIENT = 546  # RFC 8415, 7.2
_STATE = ("-m", "conntrack", "--ctstate")
_ANSWERS = "RELATED,ESTABLISHED"
# In both directions: the kernel takes the smaller MTU of the routes to the destination and to the source
# (net/netfilter/xt_TCPMSS.c, tcpmss_mangle_packet). Many networks drop the ICMP errors that tell it.
_FIRST_OF_TCP = ("-p", "tcp", "-m", "tcp", "--tcp-flags", "SYN,RST", "SYN")
_REJECT = {4: "icmp-host-prohibited", 6: "icmp6-adm-prohibited"}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of ours: its table and chain, and its words without ``-A CHAIN``."""

    family: Family
    table: Literal["raw", "mangle", "filter", "nat"]
    chain: Literal["PREROUTING", "INPUT", "FORWARD", "POSTROUTING"]
    spec: Spec

    def __str__(self) -> str:
        tool = "iptables" if self.family == 4 else "ip6tables"
        return f"{tool} -t {self.table} -A {self.chain} {join(self.spec)}"


def mark(interface: str) -> str:
    """The comment that marks our rules."""
    return f"wgcluster-{interface}"


def desired_rules(host: HostPlan) -> tuple[Rule, ...]:
    """All rules of a host, of both families, in their order in each chain."""
    if host.firewall == "off":
        return ()
    return tuple(rule for family in FAMILIES for rule in (*_input(host, family), *_tunnel(host, family)))


def tunnel_rules(host: HostPlan) -> tuple[Rule, ...]:
    """The rules for what enters and leaves the tunnel, without those for the listen port."""
    if host.firewall == "off":
        return ()
    return tuple(rule for family in FAMILIES for rule in _tunnel(host, family))


def _ours(host: HostPlan, *words: str, to: str = "ACCEPT") -> Spec:
    return (*words, "-m", "comment", "--comment", mark(host.interface), "-j", *to.split())


def _input(host: HostPlan, family: Family) -> Iterator[Rule]:
    specs = [
        _ours(host, *_source(source), "-p", "udp", "-m", "udp", "--dport", str(host.port))
        for source in _widest(host.listen_from, family)
    ]
    if host.firewall == "peers":
        specs += [_ours(host, *words) for words in _allowed(host, family)]
    elif host.firewall == "baseline":
        specs = [
            _ours(host, *_STATE, _ANSWERS),
            _ours(host, "-i", "lo"),
            *(_ours(host, *words) for words in _icmp(family)),
            *specs,
            *(_ours(host, *words) for words in _allowed(host, family)),
            _ours(host, to=f"REJECT --reject-with {_REJECT[family]}"),
        ]
    yield from (Rule(family, "filter", "INPUT", spec) for spec in specs)


def _tunnel(host: HostPlan, family: Family) -> Iterator[Rule]:
    """Rules that keep strangers on other interfaces out of the overlay, whatever the host forwards.

    Linux answers for each of its addresses on every interface, and a host that forwards accepts packets for
    the overlay from anyone. So packets to its own overlay address, or with a source in the overlay, are
    dropped unless they came in by the tunnel, as wg-quick(8) does for a full tunnel, or from a network behind
    this host. Packets are forwarded into the tunnel only from the tunnel, from such a network, or as answers.
    That is enforced in mangle, before filter, where Docker and others insert accepting rules before ours
    whenever they start.
    """
    wg = host.interface
    own = [address for address in host.addresses if address.version == family]
    behind = [str(network) for network in host.subnets if network.version == family]
    if not own:
        return
    raw = [_ours(host, "-i", "lo", to="RETURN")]
    # sources behind this host only by the interface that leads there: others are spoofed
    raw += [_ours(host, "-s", one, "-m", "rpfilter", "--invert", to="DROP") for one in behind]
    raw += [_ours(host, "-s", one, to="RETURN") for one in behind]
    raw += [_ours(host, "-d", str(ip_network(one.ip)), "!", "-i", wg, to="DROP") for one in own]
    networks = dict.fromkeys(str(one.network) for one in own)
    raw += [_ours(host, "-s", network, "!", "-i", wg, to="DROP") for network in networks]
    yield from (Rule(family, "raw", "PREROUTING", spec) for spec in raw)
    guard, forward = [], []
    if family in host.forwards:
        # first: it ends nothing, and RETURN below does
        guard += [
            _ours(host, *way, *_FIRST_OF_TCP, to="TCPMSS --clamp-mss-to-pmtu")
            for way in (("-i", wg), ("-o", wg))
        ]
        # one network is let by in the rule itself: RETURN keeps packets from what others put behind it
        guard += [_ours(host, "-s", network, "-o", wg, to="RETURN") for network in behind[1:]]
        forward.append(_ours(host, "-i", wg, "-o", wg))
        forward += [_ours(host, "-d", network, "-i", wg) for network in behind]
        forward += [_ours(host, "-s", network, "-o", wg) for network in behind]
    but = ["!", "-s", behind[0]] if behind and family in host.forwards else []
    guard.append(
        _ours(host, *but, "!", "-i", wg, "-o", wg, "-m", "conntrack", "!", "--ctstate", _ANSWERS, to="DROP")
    )
    yield from (Rule(family, "mangle", "FORWARD", spec) for spec in guard)
    forward.append(_ours(host, "-o", wg, *_STATE, _ANSWERS))
    yield from (Rule(family, "filter", "FORWARD", spec) for spec in forward)
    if host.masquerade and family in host.forwards:
        for source in by_tunnel(host, family):
            yield Rule(family, "nat", "POSTROUTING", _ours(host, "-s", source, "-o", wg, to="MASQUERADE"))
    if host.masquerade_lan and family in host.forwards:
        for source, to in product(by_tunnel(host, family), behind):
            spec = _ours(host, "-s", source, "-d", to, "!", "-o", wg, to="MASQUERADE")
            yield Rule(family, "nat", "POSTROUTING", spec)


def by_tunnel(host: HostPlan, family: Family) -> list[str]:
    """Networks whose packets come in by the tunnel; POSTROUTING cannot match the incoming interface."""
    overlay = [address.network for address in host.addresses if address.version == family]
    others = [
        network
        for peer in host.peers
        for network in peer.allowed_ips
        if network.version == family and not any(network.subnet_of(one) for one in overlay)  # type: ignore[arg-type]
    ]
    return list(dict.fromkeys(map(str, [*overlay, *others])))


def _source(network: Network) -> tuple[str, ...]:
    return ("-s", str(network)) if network.prefixlen else ()


def _widest(networks: Sequence[Network], family: Family) -> list[Network]:
    """The networks of one family; only the default network, if it is among them."""
    own = [network for network in networks if network.version == family]
    everywhere = [network for network in own if network.prefixlen == 0]
    return everywhere[:1] or own


def _icmp(family: Family) -> Iterator[tuple[str, ...]]:
    if family == 4:
        yield ("-p", "icmp", "-m", "icmp", "--icmp-type", "8")
        return
    for kind in _ICMPV6_TYPES:
        yield ("-p", "ipv6-icmp", "-m", "icmp6", "--icmpv6-type", str(kind))
    yield (*_source(_LINK_LOCAL), "-p", "udp", "-m", "udp", "--dport", str(_DHCPV6_CLIENT))


def _allowed(host: HostPlan, family: Family) -> Iterator[tuple[str, ...]]:
    """What ``firewall_allow`` opens: with "peers" and no interface, for who comes by the tunnel."""
    anywhere = ip_network("0.0.0.0/0" if family == 4 else "::/0")
    inside = any(address.version == family for address in host.addresses)
    for allow in host.firewall_allow:
        interface = allow.interface or (host.interface if host.firewall == "peers" else None)
        if interface == host.interface and not inside:
            continue
        by = ("-i", interface) if interface else ()
        port = ("-p", allow.protocol, "-m", allow.protocol, "--dport", str(allow.port).replace("-", ":"))
        for source in _widest(allow.sources or (anywhere,), family):
            yield (*_source(source), *by, *port)
