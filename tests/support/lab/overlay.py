"""Machines in network namespaces with what they are told: wg-quick, wireguard-go and iptables, all real.

No bridge or address of theirs is in the machine's own namespace, so none can overlap what it talks to.
"""

from __future__ import annotations

import base64
import shlex
import socket
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from select import select

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tests.support.net import Filter, Namespace, namespaces
from wgcluster.firewall.tables import Tables
from wgcluster.prefixes import Family, Network
from wgcluster.prove.texts import MachineText
from wgcluster.wireguard import config as wgconf

Texts = Mapping[str, MachineText]
Pairs = set[tuple[str, str]]

_SYNC = (Path(__file__).parents[3] / "files" / "sync.sh").read_text()
_FAMILIES: tuple[Family, Family] = (4, 6)
_FORWARD = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}
_AGAIN = 0.2  # seconds between two rounds of pings
_ROUNDS_MORE = 4  # that a silent pair gets, after the last answer that was waited for
# seconds: WireGuard repeats a lost handshake after 5 (REKEY_TIMEOUT), and gives a session up whose other end
# has forgotten it after 15 (KEEPALIVE_TIMEOUT + REKEY_TIMEOUT)
_LIMIT = 45.0


def key_pair() -> tuple[str, str]:
    """A private key and its public one, as wg(8) writes them."""
    made = X25519PrivateKey.generate()
    pair = made.private_bytes_raw(), made.public_key().public_bytes_raw()
    return base64.b64encode(pair[0]).decode(), base64.b64encode(pair[1]).decode()


@dataclass(frozen=True)
class Station:
    """A machine without its tunnel: where it is plugged in, and where it sends the rest."""

    ends: Mapping[str, tuple[str, Sequence[str]]]  # device -> the switch it is plugged into, its addresses
    via: Sequence[str] = ()  # its routers, one a family
    forwards: bool = False  # by itself, whatever its tunnel is for
    tables: Mapping[Family, Tables] = field(default_factory=dict)  # what its provider put there


class Shell:
    """A shell in a namespace, with mounts and processes of its own: when it ends, they all do."""

    def __init__(self, namespace: Namespace) -> None:
        own = "unshare --mount --pid --fork --kill-child --mount-proc sh"
        self._process = subprocess.Popen(
            ["nsenter", f"--net={namespace.path}", *own.split()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        # wireguard-go's sockets, locks and configs: each machine has its own, as each has its own disk
        self.run("for d in /run /etc/wireguard; do mount -t tmpfs -o mode=700 tmpfs $d; done")

    def run(self, script: str) -> str:
        """What a script prints; AssertionError with its words if it fails."""
        talk, listen = self._process.stdin, self._process.stdout
        assert talk is not None
        assert listen is not None
        talk.write(f'timeout 60 sh -c {shlex.quote(script)} </dev/null 2>&1; echo "\n=done= $?"\n')
        talk.flush()
        said: list[str] = []
        for line in listen:
            if line.startswith("=done= "):
                assert line == "=done= 0\n", f"{script}\n{''.join(said)}"
                return "".join(said)
            said.append(line)
        raise AssertionError(f"the shell ended: {script}\n{''.join(said)}")

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


class Machine:
    """One station, and its tunnel once it is told of one."""

    def __init__(self, namespace: Namespace, station: Station) -> None:
        self.namespace = namespace
        self.station = station
        self.shell = Shell(namespace)

    def start(self) -> None:
        """Everything that it has before it is told anything."""
        lines = ["echo 0 2147483647 >/proc/sys/net/ipv4/ping_group_range"]  # root is in group 0
        lines += [f"echo {int(self.station.forwards)} >/proc/sys/{key}" for key in _FORWARD.values()]
        for device, (_, addresses) in self.station.ends.items():
            lines.append(f"ip link set {device} up")
            lines += [f"ip address add {one} dev {device}{' nodad' * (':' in one)}" for one in addresses]
        lines += [f"ip route add default via {router}" for router in self.station.via]
        self.shell.run("set -e\n" + "\n".join(lines))

    def filter(self, family: Family, backend: str) -> Filter:
        return Filter(self.namespace, family, backend)

    def up(self, text: MachineText) -> None:
        self._write(text)
        self.shell.run(f"wg-quick up {text.interface}")

    def down(self, text: MachineText) -> None:
        self.shell.run(f"wg-quick down {text.interface}")

    def sync(self, old: MachineText, new: MachineText) -> None:
        """From one config to another without a new interface, by the script that the deploy sends."""
        self._write(new)
        parsed = wgconf.parse(new.config)
        before, after = _routed(wgconf.parse(old.config)), _routed(parsed)
        variables = {
            "interface": new.interface,
            "public_key": new.public_key,
            "peers": str(len(parsed.peers)),
            "whole": "1",
            **dict.fromkeys(("only", "gone", "unshared", "unkept", "anew"), ""),
            "missing": "\n".join(map(str, after - before)),
            "surplus": "\n".join(map(str, before - after)),
        }
        given = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
        self.shell.run(f"export {given}\n{_SYNC}")

    def forward(self, families: Sequence[Family]) -> None:
        lines = [f"echo {int(one in families)} >/proc/sys/{key}" for one, key in _FORWARD.items()]
        self.shell.run("\n".join(lines))

    def _write(self, text: MachineText) -> None:
        self.shell.run(
            f"umask 077; cat >/etc/wireguard/{text.interface}.conf <<'END OF FILE'\n{text.config}END OF FILE"
        )


def _routed(config: wgconf.ParsedConfig) -> set[Network]:
    """What wg-quick routes into the tunnel beyond the networks of the interface's own addresses."""
    own = [ip_network(address, strict=False) for address in config.addresses]
    allowed = {ip_network(one) for peer in config.peers for one in peer.allowed_ips}
    return {
        one
        for one in allowed
        if not any(one.version == net.version and one.subnet_of(net) for net in own)  # type: ignore[arg-type]
    }


class Overlay:
    """All machines, and what they are told now."""

    def __init__(self, machines: Mapping[str, Machine], backend: str) -> None:
        self.machines = machines
        self.backend = backend
        self.texts: dict[str, MachineText] = {}

    def tables(self, name: str, family: Family) -> Tables:
        return self.machines[name].filter(family, self.backend).tables()

    def tell(self, texts: Texts, anew: Sequence[str] = ()) -> None:
        """Make every machine what its text says; where that says nothing new, nothing is done.

        Those in ``anew`` begin with a new interface, which has heard of nobody.
        """

        def one(name: str) -> None:
            machine, new, old = self.machines[name], texts[name], self.texts.get(name)
            for family, tables in new.tables.items():
                if old is None or old.tables.get(family) != tables:
                    machine.filter(family, self.backend).load(tables)
            if old is None or set(old.forwards) != set(new.forwards):
                machine.forward(new.forwards)
            if old is not None and name in anew:
                machine.down(old)
                old = None
            if old is None:
                machine.up(new)
            elif old.config != new.config:
                machine.sync(old, new)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(one, texts))
        self.texts = dict(texts)

    def reached(
        self, nodes: Mapping[str, Sequence[tuple[str, str]]], wanted: Pairs, asked: Pairs | None = None
    ) -> Pairs:
        """Who reaches whom: each address of a node pings each address of another that is of its family.

        Args:
            nodes: the (machine, address) pairs that each is made of; it is reached if all of them are.
            wanted: the pairs whose answers are waited for; the others get as many pings and some more.
            asked: no other pair pings; default all.
        """
        homes = [(node, machine, address) for node, homes in nodes.items() for machine, address in homes]
        todo = {
            (a, b)
            for a in range(len(homes))
            for b in range(len(homes))
            if homes[a][0] != homes[b][0] and _family(homes[a][2]) == _family(homes[b][2])
            if asked is None or (homes[a][0], homes[b][0]) in asked
        }
        together = {(homes[a][0], homes[b][0]) for a, b in todo}
        awaited = {(a, b) for a, b in todo if (homes[a][0], homes[b][0]) in wanted}
        with _closing(self._socket(machine, address) for _, machine, address in homes) as sockets:
            silent = _ping(sockets, [address for *_, address in homes], todo, awaited)
        return together - {(homes[a][0], homes[b][0]) for a, b in silent}

    def _socket(self, machine: str, address: str) -> socket.socket:
        """A ping socket, icmp(7): the kernel gives it an identifier that connection tables have not seen."""
        family = _family(address)
        protocol = socket.IPPROTO_ICMP if family == 4 else socket.IPPROTO_ICMPV6
        made = self.machines[machine].namespace.socket(family, socket.SOCK_DGRAM, protocol)
        made.bind((address, 0))
        return made


@contextmanager
def _closing(sockets: Iterable[socket.socket]) -> Iterator[list[socket.socket]]:
    made: list[socket.socket] = []
    try:
        made.extend(sockets)
        yield made
    finally:
        for one in made:
            one.close()


def _family(address: str) -> Family:
    return 6 if ":" in address else 4


def _ping(
    sockets: Sequence[socket.socket],
    addresses: Sequence[str],
    todo: set[tuple[int, int]],
    awaited: set[tuple[int, int]],
) -> set[tuple[int, int]]:
    """The pairs of ``todo`` that do not answer; a sequence number says which address was asked."""
    number = {one: i for i, one in enumerate(sockets)}
    silent = set(todo)
    end, more = time.monotonic() + _LIMIT, _ROUNDS_MORE
    while silent and more and time.monotonic() < end:
        more -= not silent & awaited
        for a, b in sorted(silent):
            kind = 8 if _family(addresses[b]) == 4 else 128  # RFC 792, RFC 4443: echo request
            with suppress(OSError):  # no route: it does not arrive
                sockets[a].sendto(struct.pack("!BBHHH", kind, 0, 0, 0, b) + bytes(16), (addresses[b], 0))
        again = time.monotonic() + _AGAIN
        while silent and (left := again - time.monotonic()) > 0:
            for one in select(sockets, [], [], left)[0]:
                with suppress(OSError):
                    answer, (address, *_) = one.recvfrom(200)
                    kind, b = answer[0], struct.unpack_from("!H", answer, 6)[0]
                    if kind in (0, 129) and address == addresses[b]:
                        silent.discard((number[one], b))
    return silent


@contextmanager
def overlay(stations: Mapping[str, Station], backend: str) -> Iterator[Overlay]:
    """Stations plugged together, their tunnels not yet up; all of it goes with the block."""
    with namespaces("switches", *stations) as (switches, *made):
        machines: dict[str, Machine] = {}
        try:
            for name, namespace in zip(stations, made, strict=True):
                machines[name] = Machine(namespace, stations[name])
            _plug(switches, machines)
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda machine: _start(machine, backend), machines.values()))
            yield Overlay(machines, backend)
        finally:
            for machine in machines.values():
                machine.shell.close()


def _start(machine: Machine, backend: str) -> None:
    machine.start()
    for family, tables in machine.station.tables.items():
        machine.filter(family, backend).load(tables)


def _plug(switches: Namespace, machines: Mapping[str, Machine]) -> None:
    ends = [
        (machine, device, switch)
        for machine in machines.values()
        for device, (switch, _) in machine.station.ends.items()
    ]
    lines = []
    for switch in dict.fromkeys(switch for *_, switch in ends):
        lines += [f"link add {switch} type bridge", f"link set {switch} up"]
    for i, (machine, device, switch) in enumerate(ends):
        lines.append(f"link add p{i} type veth peer name {device} netns {machine.namespace.name}")
        lines.append(f"link set p{i} master {switch} up")
    switches.run("ip", "-batch", "-", text="\n".join(lines) + "\n")
