"""The texts that a machine gets: all that the proof knows of the plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from wgcluster.firewall import rules as firewall
from wgcluster.firewall.tables import Chain, Tables
from wgcluster.plan.plan import HostPlan, Plan
from wgcluster.prefixes import Family, Network
from wgcluster.wireguard import client
from wgcluster.wireguard import config as wgconf


@dataclass(frozen=True, slots=True)
class MachineText:
    """One host or road warrior: its texts, and what is in none of them.

    ``tables`` is what ``iptables-save`` shows of each family, parsed; ``{}`` lets everything through.
    """

    name: str
    public_key: str  # base64, of the private key in ``config``
    config: str  # for wg-quick(8)
    interface: str = "wg"
    forwards: tuple[Family, ...] = ()  # families with ip_forward on
    tables: Mapping[Family, Tables] = field(default_factory=dict)
    subnets: tuple[Network, ...] = ()  # networks behind it
    beside: tuple[Network, ...] = ()  # networks behind others that it reaches without the tunnel
    site: str | None = None
    may_relay: bool = False  # a new plan may route others' packets through it
    gateway: str | None = None  # of a road warrior; None: it is a host


def texts_of(plan: Plan) -> Iterator[MachineText]:
    """Every machine of a plan with its rendered texts, hosts first; one at a time, to save memory."""
    shown = wgconf.RenderCache()
    for host in plan.hosts:
        yield MachineText(
            name=host.name,
            public_key=host.public_key,
            config=wgconf.render(host, cache=shown),
            interface=host.interface,
            forwards=host.forwards,
            tables=_tables(host),
            subnets=host.subnets,
            beside=host.beside,
            site=host.site,
            may_relay=host.gateway or plan.topology == "partial",
        )
    for warrior in plan.clients:
        yield MachineText(
            name=warrior.name,
            public_key=warrior.public_key,
            config=client.config(warrior),
            gateway=warrior.gateway.name,
        )


def _tables(host: HostPlan) -> dict[Family, Tables]:
    """The rules of a host in chains that drop everything else: they must work without foreign rules."""
    if host.firewall == "off":
        return {}
    tables: dict[Family, Tables] = {
        family: {"filter": {"FORWARD": Chain("DROP")}, "nat": {"POSTROUTING": Chain()}} for family in (4, 6)
    }
    for rule in firewall.tunnel_rules(host):
        tables[rule.family].setdefault(rule.table, {}).setdefault(rule.chain, Chain()).rules.append(rule.spec)
    return tables
