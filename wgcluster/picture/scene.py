"""What to draw, in any format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wgcluster.plan.plan import HostPlan, Plan
from wgcluster.text import counted

# Up to here every link of a full mesh is drawn; beyond, one sign says that all are linked to all.
_MOST_DRAWN = 12


@dataclass(frozen=True, slots=True)
class Scene:
    """Names of hosts by area, and the links between them."""

    areas: Mapping[str, tuple[HostPlan, ...]]  # by site, "" where there is none; hosts by name
    full: Mapping[str, str]  # areas with too many links to draw: what to write instead
    inside: tuple[tuple[str, str], ...]  # links to draw within an area
    between: tuple[tuple[str, str], ...]  # links between areas
    undialled: frozenset[str]  # hosts that no host can dial

    def details(self, host: HostPlan) -> str:
        """The text below the name of a host."""
        words = [*(str(address.ip) for address in host.addresses)]
        words += [f"network {subnet}" for subnet in host.subnets]
        if host.forwards:
            words.append("forwards" + (", masquerades" if host.masquerade else ""))
        if host.name in self.undialled:
            words.append("nobody dials it")
        return "; ".join(words)


def scene(plan: Plan) -> Scene:
    """The areas and links of a plan."""
    areas: dict[str, list[HostPlan]] = {}
    for host in sorted(plan.hosts, key=lambda host: (host.site or "", host.name)):
        areas.setdefault(host.site or "", []).append(host)
    site = {host.name: host.site or "" for host in plan.hosts}
    links = {
        (min(host.name, peer.name), max(host.name, peer.name))
        for host in plan.hosts
        for peer in host.peers
        if not peer.is_client
    }
    counts = dict.fromkeys(areas, 0)
    for a, b in links:
        if site[a] == site[b]:
            counts[site[a]] += 1
    dialled = {peer.name for host in plan.hosts for peer in host.peers if peer.endpoint is not None}
    dialled |= {client.gateway.name for client in plan.clients}
    full: dict[str, str] = {}
    for area, hosts in areas.items():
        closed = sum(host.name not in dialled for host in hosts)
        if _pairs(_MOST_DRAWN) < counts[area] == _pairs(len(hosts)) - _pairs(closed):
            but = ", save pairs that nobody dials" if closed > 1 else ""
            full[area] = f"all {len(hosts)} linked to each other{but}"
    return Scene(
        areas={area: tuple(hosts) for area, hosts in areas.items()},
        full=full,
        inside=tuple(sorted((a, b) for a, b in links if site[a] == site[b] and site[a] not in full)),
        between=tuple(sorted((a, b) for a, b in links if site[a] != site[b])),
        undialled=frozenset(site) - dialled,
    )


def _pairs(count: int) -> int:
    return count * (count - 1) // 2


def heading(plan: Plan) -> str:
    """The title of the picture."""
    hosts, clients = len(plan.hosts), len(plan.clients)
    words = [counted(hosts, "host")]
    if clients:
        words.append(counted(clients, "road warrior"))
    return f"{plan.topology}: {', '.join(words)} in {', '.join(map(str, plan.networks))}"
