"""Packets of strangers on every other interface, followed through the same texts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Interface, IPv6Interface

from wgcluster.firewall.strangers import drops, strangers
from wgcluster.firewall.tables import Tables
from wgcluster.prove.causes import Finding
from wgcluster.prove.read import ParsedTexts
from wgcluster.prove.texts import MachineText

_WIRES = ("a wire",)  # an interface that no rule of ours names


def let_in(reading: ParsedTexts) -> Iterator[Finding]:
    """A finding for each way into a machine that its rules leave open, even if all its policies accept.

    A machine without tables has no rules of ours: its operator is responsible.
    """
    for machine, addresses in zip(reading.machines, reading.addresses, strict=True):
        for family, tables in machine.tables.items():
            own = [address for address in addresses if address.version == family]
            yield from _at(machine, _open(tables), own)


def _open(tables: Tables) -> Tables:
    return {
        table: {
            name: replace(chain, policy="ACCEPT") if chain.policy != "-" else chain
            for name, chain in chains.items()
        }
        for table, chains in tables.items()
    }


def _at(machine: MachineText, tables: Tables, own: list[IPv4Interface | IPv6Interface]) -> Iterator[Finding]:
    for stranger in strangers(machine.interface, own, _WIRES):
        if not drops(tables, stranger, machine.interface):
            yield Finding(f"{machine.name} lets in {stranger.description}", at=machine.name, rule="stranger")
