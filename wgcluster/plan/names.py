"""The names that lead to overlay addresses: of hosts, road warriors, and guarded sites."""

from __future__ import annotations

import re

from wgcluster.inventory.cluster import Cluster, dialled_names
from wgcluster.plan.plan import Names
from wgcluster.prefixes import Address

# Not a pattern of nginx, nor what would be read as an address.
_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9][A-Za-z0-9._-]*")
_TAKEN = frozenset({"localhost", "ip6-localhost", "ip6-loopback", "broadcasthost"})


def names_of(cluster: Cluster) -> Names:
    """The names of each overlay address; a name of several hosts leads to the first.

    A name at which a host is dialled is not among them: WireGuard would look for its peers in the tunnel.
    """
    taken = {*_TAKEN, *dialled_names(cluster.hosts)}
    found: list[tuple[Address, tuple[str, ...]]] = []
    known = [(host.addresses, host.name, host.nginx) for host in cluster.hosts]
    known += [(client.addresses, client.name, ()) for client in cluster.clients]
    for addresses, own, sites in known:
        names = dict.fromkeys((own, *(site.server_name for site in sites)))
        free = tuple(name for name in names if _NAME.fullmatch(name) and name.lower() not in taken)
        taken |= {name.lower() for name in free}
        found += [(address, free) for address in addresses if free]
    return tuple(found)
