"""One packet at a time through the texts, and its answer back: slow, plain, and unlike the proof inside.

It stands beside ``wgcluster.prove`` as a judge: dictionaries and ipaddress instead of matrices and atoms, a
connection table for each relay that masquerades, and an answer that is really sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_interface, ip_network

from wgcluster.firewall.tables import Match, Packet, match, target, verdict
from wgcluster.prefixes import Address, Family, Network
from wgcluster.prove.texts import MachineText
from wgcluster.wireguard.config import ParsedPeer, parse


@dataclass
class Machine:
    text: MachineText
    addresses: list[Address]
    peers: list[tuple[ParsedPeer, list[Network]]]
    translated: dict[tuple[Address, Address], Address] = field(default_factory=dict)

    def peer_for(self, address: Address) -> ParsedPeer | None:
        best: tuple[int, ParsedPeer] | None = None
        for peer, networks in self.peers:
            for network in networks:
                fits = network.version == address.version and address in network
                if fits and (best is None or network.prefixlen >= best[0]):
                    best = network.prefixlen, peer
        return best[1] if best else None

    def at_home(self, address: Address) -> bool:
        return address in self.addresses or self.network_of(address) is not None

    def network_of(self, address: Address) -> Network | None:
        for network in self.text.subnets:
            if network.version == address.version and address in network:
                return network
        return None

    def forwards(self, family: Family, packet: Packet) -> bool:
        if family not in self.text.forwards:
            return False
        tables = [self.text.tables.get(family, {}).get(table, {}) for table in ("mangle", "filter")]
        return all(verdict(chains, "FORWARD", packet) == "ACCEPT" for chains in tables)

    def masquerades(self, family: Family, source: Address) -> bool:
        chain = self.text.tables.get(family, {}).get("nat", {}).get("POSTROUTING")
        packet = Packet(out_interface=self.text.interface, source=ip_network(source))
        return chain is not None and any(
            target(spec) == "MASQUERADE" and match(spec, packet) is Match.ALL for spec in chain.rules
        )


class World:
    """All machines; ``reaches`` sends a packet and its answer."""

    def __init__(self, texts: Sequence[MachineText]) -> None:
        self.machines = [self._machine(text) for text in texts]
        self.by_key = {machine.text.public_key: machine for machine in self.machines}

    @staticmethod
    def _machine(text: MachineText) -> Machine:
        config = parse(text.config)
        networks = [[ip_network(one, strict=False) for one in peer.allowed_ips] for peer in config.peers]
        return Machine(
            text,
            [ip_interface(address).ip for address in config.addresses],
            list(zip(config.peers, networks, strict=True)),
        )

    def nodes(self) -> list[tuple[str, Machine, list[Address]]]:
        """Name, machine and the addresses to try, of each machine and each network behind one."""
        found = [(one.text.name, one, one.addresses) for one in self.machines]
        found += [(str(net), one, self._of(net)) for one in self.machines for net in one.text.subnets]
        return found

    def _of(self, network: Network) -> list[Address]:
        """The ends of a network, and both sides of every border within it."""
        borders = {network.network_address, network.broadcast_address}
        for machine in self.machines:
            for _, networks in machine.peers:
                for one in networks:
                    if one.version == network.version and one != network and one.subnet_of(network):  # type: ignore[arg-type]
                        low, high = one.network_address, one.broadcast_address
                        borders |= {a for a in (low, low - 1, high, high + 1) if a in network}
        return sorted(borders)

    def pairs(self) -> Iterator[tuple[str, str, bool]]:
        """Every ordered pair with an address of one family, and whether all packets between them arrive."""
        nodes = self.nodes()
        for name, source, sources in nodes:
            for other, target_, targets in nodes:
                both = [(a, b) for a in sources for b in targets if a.version == b.version]
                if name != other and both:
                    yield name, other, all(self.reaches(source, a, target_, b) for a, b in both)

    def reaches(self, source: Machine, origin: Address, goal: Machine, address: Address) -> bool:
        if source is goal:
            return True
        up: set[frozenset[int]] = set()
        for machine in self.machines:
            machine.translated.clear()
        arrived = self._send(source, origin, address, "NEW", up)
        if arrived is None or arrived[0] is not goal:
            return False
        back = self._send(goal, address, arrived[1], "ESTABLISHED", up)
        return back is not None and back[0] is source and back[2] == origin

    def _send(
        self, at: Machine, source: Address, goal: Address, state: str, up: set[frozenset[int]]
    ) -> tuple[Machine, Address, Address] | None:
        """Where a packet ends, with its source and destination there; None if it is dropped."""
        family: Family = 4 if source.version == 4 else 6
        states = frozenset({state})
        came_from_tunnel = False
        ttl = 64
        while True:
            if came_from_tunnel and (at_original := at.translated.get((goal, source))) is not None:
                goal = at_original  # the connection table, before routing
            tunnel = at.text.interface
            if came_from_tunnel and at.at_home(goal):
                network = at.network_of(goal)
                if goal in at.addresses or network is None:
                    return at, source, goal
                inward = Packet(in_interface=tunnel, destination=network, state=states)
                return (at, source, goal) if ttl > 1 and at.forwards(family, inward) else None
            home = at.network_of(source) if not came_from_tunnel and source not in at.addresses else None
            if came_from_tunnel and not at.forwards(family, Packet(tunnel, tunnel, state=states)):
                return None
            if home is not None and not at.forwards(
                family, Packet("eth1", tunnel, source=home, state=states)
            ):
                return None
            ttl -= came_from_tunnel or home is not None
            if not ttl:
                return None
            peer = at.peer_for(goal)
            if peer is None or (receiver := self.by_key.get(peer.public_key)) is None:
                return None
            if (came_from_tunnel or home) and state == "NEW" and at.masquerades(family, source):
                own = next((a for a in at.addresses if a.version == source.version), None)
                if own is not None:
                    at.translated[own, goal] = source
                    source = own
            if not self._up(at, peer, receiver, up):
                return None
            back = receiver.peer_for(source)
            if back is None or receiver.at_home(source) or back.public_key != at.text.public_key:
                return None
            at, came_from_tunnel = receiver, True

    @staticmethod
    def _up(at: Machine, peer: ParsedPeer, receiver: Machine, up: set[frozenset[int]]) -> bool:
        link = frozenset((id(at), id(receiver)))
        if link in up:
            return True
        theirs = [one for one, _ in receiver.peers if one.public_key == at.text.public_key]
        if not theirs or theirs[-1].preshared_key != peer.preshared_key:
            return False
        if peer.endpoint or (theirs[-1].endpoint and theirs[-1].keepalive):
            up.add(link)
            return True
        return False
