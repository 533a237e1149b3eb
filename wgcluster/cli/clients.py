"""client add, list, show, renumber, remove: road warriors."""

from __future__ import annotations

import os
import re
from argparse import Namespace
from collections.abc import Collection, Sequence
from ipaddress import ip_address
from pathlib import Path

from wgcluster.cli.printing import console, print_json, table
from wgcluster.cli.reading import CommandError, LoadedInventory, no_such, read
from wgcluster.inventory.cluster import Cluster
from wgcluster.inventory.faults import fault
from wgcluster.inventory.reading import read_cluster
from wgcluster.keys.registry import write_private
from wgcluster.plan.checks import gateways_to_dial
from wgcluster.plan.plan import ClientPlan, Plan, PlanError
from wgcluster.prefixes import Address
from wgcluster.text import abbreviated
from wgcluster.wireguard.client import config, next_addresses, qr

# wg-quick(8): the name of a config file before .conf
_INTERFACE = re.compile(r"[a-zA-Z0-9_=+.-]{1,15}")


def add(args: Namespace) -> int:
    """``client add NAME``: add a road warrior; hosts learn of it at the next deploy."""
    reading = read(args.inventory)
    cluster = reading.cluster()
    addresses = _addresses(cluster, args.address)
    gateway = _gateway(cluster, args.name, args.gateway)
    reading.unlock()
    reading.registry.add_client(args.name, addresses, gateway)
    # Plan with the new client, to find faults before anything is written
    planned = _client(reading.plan(), args.name)
    if planned.gateway.preshared_key is not None:
        reading.registry.ensure_links([planned.gateway.preshared_key])
    reading.registry.save()
    shown = ", ".join(map(str, addresses))
    print(f"{args.name} has {shown} and comes in through {planned.gateway.name}")
    print(f"Its keys are in {reading.registry.path}, sealed")
    print("The servers learn of it with the next deploy: pyinfra inventory.py deploy.py")
    file = f"{args.name if _INTERFACE.fullmatch(args.name) else 'wg'}.conf"
    print(f"Its config, for wg-quick: python -m wgcluster client show {args.name} -o {file}")
    print(f"Its config, for a phone:  python -m wgcluster client show {args.name} --qr")
    return 0


def _addresses(cluster: Cluster, chosen: Sequence[str]) -> tuple[Address, ...]:
    """The chosen addresses, and the next free ones of the other families."""
    try:
        given = [ip_address(text) for text in chosen]
    except ValueError as error:
        raise CommandError(f"--address: {error}") from None
    taken = {address for one in cluster.hosts for address in one.addresses}
    taken |= {address for one in cluster.clients for address in one.addresses}
    rest = [n for n in cluster.networks if all(address.version != n.version for address in given)]
    try:
        return (*given, *next_addresses(rest, taken))
    except ValueError as error:
        raise CommandError(str(error)) from None


def _gateway(cluster: Cluster, name: str, chosen: str | None) -> str | None:
    """The gateway of a new client, which is recorded, so that later gateways do not move it."""
    gateways = gateways_to_dial(cluster)
    if chosen is None:
        return next(iter(gateways), None)
    if chosen not in gateways:
        raise PlanError([fault("gateway.unknown", name, chosen, names=abbreviated(gateways) or "none")])
    return chosen


def _client(planned: Plan, name: str) -> ClientPlan:
    for one in planned.clients:
        if one.name == name:
            return one
    raise no_such("client", name, [one.name for one in planned.clients])


def list_clients(args: Namespace) -> int:
    """``client list``: road warriors with their addresses and gateways."""
    clients = read(args.inventory).plan().clients
    if args.json:
        print_json(
            [
                {
                    "name": one.name,
                    "addresses": [address.ip for address in one.addresses],
                    "gateway": one.gateway.name,
                    "public_key": one.public_key,
                }
                for one in clients
            ]
        )
    elif clients:
        rows = [
            (one.name, ", ".join(str(a.ip) for a in one.addresses), one.gateway.name, one.public_key)
            for one in clients
        ]
        console().print(table(("name", "address", "gateway", "public key"), rows))
    else:
        print("there are no clients; python -m wgcluster client add NAME makes one")
    return 0


def show(args: Namespace) -> int:
    """``client show NAME``: the config with its secrets, as text, as a QR code, or in a file."""
    reading = read(args.inventory)
    planned = _client(reading.plan(), args.name)
    text = _config(reading, planned, with_names=not args.qr)  # a phone has no /etc/hosts to edit
    if args.output is not None:
        written = _write(args.output, text, reading.registry.path)
        print(f"{args.output}: {written}, readable by you alone; it holds the private key of {args.name}")
    elif args.qr:
        print(_qr(args.name, text), end="")
    else:
        print(text, end="")
    return 0


def _config(reading: LoadedInventory, planned: ClientPlan, with_names: bool) -> str:
    gateway = planned.gateway
    if gateway.name not in reading.registry.public_keys():
        raise CommandError(f"{gateway.name}, its gateway, has no key yet; deploy first: the deploy makes it")
    if gateway.preshared_key is not None and gateway.preshared_key not in reading.registry.links():
        raise CommandError(f"its link to {gateway.name} has no key yet; deploy first: the deploy makes it")
    reading.unlock()
    # Open the gateway's private key to verify its public key, which goes into the config
    reading.registry.private_key(gateway.name)
    shared = reading.registry.preshared_key(gateway.preshared_key) if gateway.preshared_key else None
    return config(planned, reading.registry.client_private_key(planned.name), shared, with_names)


def _qr(name: str, text: str) -> str:
    try:
        return qr(text)
    except ValueError as error:
        raise CommandError(
            f"the config of {name} {error}; write it to a file instead, and import that: -o wg.conf"
        ) from None


def _write(path: Path, text: str, registry: Path) -> str:
    """Write a config; what was done, in words."""
    if path.suffix == ".conf" and not _INTERFACE.fullmatch(path.stem):
        raise CommandError(
            f"{path}: wg-quick calls the interface as the file, and takes 1 to 15 characters of"
            " a-z A-Z 0-9 _ = + . - in front of .conf"
        )
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise CommandError(f"{path}: is no ordinary file; without -o the config is printed")
    if target == Path(os.path.realpath(registry)):
        raise CommandError(f"{path}: is the registry of all keys; write the config to another file")
    there = target.exists()
    try:
        write_private(target, text.encode())
    except OSError as error:
        raise CommandError(f"{path}: cannot be written: {error.strerror}") from None
    return "written over what was there" if there else "written"


def renumber(args: Namespace) -> int:
    """``client renumber``: new addresses after a change of wg_networks; valid ones and all keys stay."""
    reading = read(args.inventory)
    cluster = read_cluster(reading.rows)
    taken = {address for one in cluster.hosts for address in one.addresses}
    changed = []
    clients = reading.registry.clients()
    kept = {one.name: _that_fit(one.addresses, cluster, taken) for one in clients}
    taken |= {address for addresses in kept.values() for address in addresses}
    for one in clients:
        there = {address.version for address in kept[one.name]}
        try:
            new = next_addresses([n for n in cluster.networks if n.version not in there], taken)
        except ValueError as error:
            raise CommandError(f"{one.name}: {error}") from None
        taken |= set(new)
        if set(one.addresses) != {*kept[one.name], *new}:
            reading.registry.renumber_client(one.name, [*kept[one.name], *new])
            changed.append(one.name)
    if not changed:
        print("every road warrior has an address in each network of the overlay")
        return 0
    reading.plan()  # find remaining faults before anything is written
    reading.registry.save()
    for one in reading.registry.clients():
        if one.name in changed:
            print(f"{one.name} has {', '.join(map(str, one.addresses))} now, and needs its config anew")
    print("The servers learn of it with the next deploy: pyinfra inventory.py deploy.py")
    return 0


def _that_fit(addresses: Sequence[Address], cluster: Cluster, taken: Collection[Address]) -> list[Address]:
    """The addresses that are valid in the overlay (not its first nor, of IPv4, its last) and not taken."""
    return [
        one
        for one in addresses
        if one not in taken
        and any(
            one.version == net.version
            and one in net
            and one != net.network_address
            and (one.version == 6 or one != net.broadcast_address)
            for net in cluster.networks
        )
    ]


def remove(args: Namespace) -> int:
    """``client remove NAME``: remove its keys; servers accept it until the next deploy."""
    reading = read(args.inventory)
    reading.registry.remove_client(args.name)
    reading.registry.save()
    print(f"{args.name} is forgotten; until the next deploy the servers still let it in")
    return 0
