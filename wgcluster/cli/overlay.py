"""check --suggest-overlay: a prefix for wg_networks."""

from __future__ import annotations

import json
import subprocess
from argparse import Namespace
from collections.abc import Iterator
from ipaddress import ip_network

from wgcluster.cli.printing import print_json
from wgcluster.cli.reading import CommandError, read_rows
from wgcluster.inventory.overlay import declared_networks, free_overlay, wanted_lengths
from wgcluster.prefixes import Network


def suggest(args: Namespace) -> int:
    """Print a free prefix of each family that the inventory has, as a line for group_data/all.py."""
    rows = read_rows(args.inventory)
    taken = [*declared_networks(rows), *_own_networks()]
    seed = " ".join(sorted(row.cluster_name for row in rows))
    try:
        found = [str(one) for one in free_overlay(wanted_lengths(rows), taken, seed)]
    except ValueError as error:
        raise CommandError(f"{error}; ask for a longer one in wg_networks") from None
    if args.json:
        print_json({"wg_networks": found})
    else:
        print(f"wg_networks = {json.dumps(found)}")
    return 0


def _own_networks() -> Iterator[Network]:
    """The networks of this machine, which laptops like it may stand in; none if there is no ip(8).

    A route for more than a whole /8 is a VPN's for everything.
    """
    for command in ("ip -j addr", "ip -j -4 route show table all", "ip -j -6 route show table all"):
        try:
            done = subprocess.run(command.split(), capture_output=True, text=True, timeout=5, check=True)
            entries = json.loads(done.stdout or "[]")
        except (OSError, subprocess.SubprocessError, ValueError):
            continue
        for entry in entries:
            named = [f"{one['local']}/{one['prefixlen']}" for one in entry.get("addr_info", ())]
            named += [entry["dst"]] if entry.get("dst", "default") != "default" else []
            found = (ip_network(text, strict=False) for text in named)
            yield from (network for network in found if network.prefixlen >= 8)
