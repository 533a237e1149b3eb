"""keys list, prune, verify: the key registry."""

from __future__ import annotations

from argparse import Namespace

from wgcluster.cli.printing import console, print_json, table
from wgcluster.cli.reading import LoadedInventory, read
from wgcluster.plan.plan import secret_names


def _used(reading: LoadedInventory) -> tuple[set[str], set[str]]:
    """The names of the hosts and links of the plan."""
    planned = reading.plan()
    return {host.name for host in planned.hosts}, secret_names(planned)


def list_keys(args: Namespace) -> int:
    """``keys list``: whose keys there are, and which are unused."""
    reading = read(args.inventory)
    registry = reading.registry
    hosts, links = registry.unused(*_used(reading))
    if args.json:
        print_json(
            {
                "hosts": [
                    {"name": name, "public_key": key, "used": name not in hosts}
                    for name, key in registry.public_keys().items()
                ],
                "clients": [{"name": n, "public_key": key} for n, key in registry.client_keys().items()],
                "links": [{"name": name, "used": name not in links} for name in registry.links()],
            }
        )
        return 0
    rows = [
        *(
            ("host", name, key, "not in the inventory" if name in hosts else "")
            for name, key in registry.public_keys().items()
        ),
        *(("client", name, key, "") for name, key in registry.client_keys().items()),
        *(("link", name, "", "no such link" if name in links else "") for name in registry.links()),
    ]
    if not rows:
        print(f"{registry.path} has no keys yet; the first deploy makes them")
        return 0
    console().print(table(("", "name", "public key", "unused"), rows))
    if hosts or links:
        print("python -m wgcluster keys prune removes what is unused")
    return 0


def prune(args: Namespace) -> int:
    """``keys prune``: remove unused keys of hosts and links."""
    reading = read(args.inventory)
    used = _used(reading)
    hosts, links = reading.registry.unused(*used)
    reading.registry.prune(*used)
    reading.registry.save()
    for kind, names in (("host", hosts), ("link", links)):
        for name in names:
            print(f"removed the key of {kind} {name}")
    if not hosts and not links:
        print("nothing is unused")
    return 0


def verify(args: Namespace) -> int:
    """``keys verify``: open every entry.

    Raises:
        KeystoreError: with each entry that does not open or does not fit.
    """
    reading = read(args.inventory)
    registry = reading.registry
    count = len(registry.public_keys()) + len(registry.client_keys()) + len(registry.links())
    if count:
        reading.unlock()
        registry.verify_all()
    print(f"{registry.path}: each of {count} keys opens and is its owner's")
    return 0
