"""Where the guarded sites of a host listen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wgcluster.inventory.schema import GuardedSite
from wgcluster.nginx.audit.audit import effective_with_lists, server_blocks, sites_of_servers
from wgcluster.nginx.config.listen import socket_for, sockets
from wgcluster.prefixes import Address


def guarded_sockets(
    files: Mapping[str, str], sites: Sequence[GuardedSite], addresses: Sequence[Address]
) -> list[tuple[Address, int]]:
    """The addresses and TCP ports at which servers of ``sites`` can be reached, sorted by port.

    Args:
        files: as for ``audit``.
        addresses: of the host. A wildcard ``listen`` counts for each of them.

    Raises:
        NginxSyntaxError: nginx would refuse a file.
    """
    tree = effective_with_lists(files, sites)
    guarded = sites_of_servers(tree, sites)
    there = sockets(server for server, _ in server_blocks(tree))
    found = []
    for port in sorted({endpoint.port for endpoint in there}):
        for address in addresses:
            socket = socket_for(there, address, port)
            if socket is not None and any(server in guarded for server in socket.servers):
                found.append((address, port))
    return found
