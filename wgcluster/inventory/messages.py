"""What is wrong, by code: the message, with its fields in braces. docs/faults.md explains each one."""

from __future__ import annotations

from collections.abc import Mapping

MESSAGES: Mapping[str, str] = {
    "address.invalid": 'not an IP address; write it like "10.0.0.2" or "fd00::2"',
    "client.duplicate": "{count} clients have this name; each needs its own",
    "client.host-has-name": "a host has this name; each needs its own",
    "endpoint.inside-overlay": "lies inside the overlay; write where the host is reached without the tunnel",
    "endpoint.invalid": (
        'not an endpoint; write an address, a DNS name or "[v6]", each with an optional ":port"'
    ),
    "endpoint.needs-brackets": 'an IPv6 endpoint goes in brackets: "[{address}]"',
    "endpoint.not-dialable": "no other host can dial this address; write the one that others reach it at",
    "endpoint.not-ipv6": "the part in brackets is not an IPv6 address",
    "endpoint.port": "the port of an endpoint is 1 to 65535",
    "endpoint.taken": "{other} is dialled there, too; give each an address or a port of its own",
    "gateway.none": "needs a gateway; set wg_gateway on one with a wg_endpoint",
    "gateway.unknown": "no gateway that clients can dial has this name; there are {names}",
    "inventory.empty": "names no host",
    "keystore.link-name": 'a link is called by its two ends: "cloud|root"',
    "keystore.not-bytes": "must be {length} bytes in base64",
    "name.invalid": "a name is 1 to 63 letters, digits, dots, underscores and hyphens",
    "network.host-bits": 'host bits are set; the network is "{network}"',
    "network.invalid": 'not a network; write it like "10.0.0.0/24" or "fd00::/64"',
    "nginx_vpn_only.no-locations": (
        'guards nothing; name locations, or guard the whole server with "scope": "server"'
    ),
    "path.invalid": 'not a path on the host; it begins with "/" and has no blanks or quotes',
    "setting.differs": "{other} has {theirs!r}; it is one for all, in group_data/all.py",
    "setting.empty": "must not be empty",
    "setting.invalid": "{msg}",
    "setting.missing": "is required",
    "setting.not-boolean": "must be True or False",
    "setting.not-integer": "must be a whole number, without quotes",
    "setting.not-list": "must be a list: [...]",
    "setting.not-mapping": "must be a mapping{example}",
    "setting.not-one-of": "must be {expected}",
    "setting.too-large": "must be at most {le}",
    "setting.too-many": "must have at most {max_length} entries",
    "setting.too-small": "must be at least {ge}",
    "setting.unknown": "unknown setting{hint}",
    "setting.unknown-field": "unknown field{hint}",
    "text.invalid": "must be one line of text, not empty",
    "wg_address.broadcast": "is the broadcast address of {network}; take another",
    "wg_address.missing-family": "needs an address in {network} as well{hint}",
    "wg_address.network-itself": "is the address of the network {network} itself; take another",
    "wg_address.only-in-group": (
        "is required; if {name} stands in a group alone, pyinfra has made a new host of it: {hint}"
    ),
    "wg_address.outside-network": "lies outside the overlay; take one in {networks}{hint}",
    "wg_address.same-family": "at most one address per family",
    "wg_address.taken": "{other} has this address; each needs its own",
    "wg_expect.invalid": 'write it like "laptop -> cloud" or "guest !-> cloud"',
    "wg_expect.unknown-name": "{name} is not a host, client or wg_subnets network; there are {names}",
    "wg_gateway.none-in-site": "site {site} has no gateway; set it on one of {names}",
    "wg_gateway.not-dialable": "nobody can dial this gateway; give it a wg_endpoint",
    "wg_interface.invalid": "wg-quick and its unit take 1 to 15 characters of a-z A-Z 0-9 _ . -",
    "wg_interface.reserved": '{why}; take another name, such as "wg"',
    "wg_keystore.folder": 'names a folder; name the file in it: "keys.yml"',
    "wg_keystore.tilde": '"~" is not expanded, as no shell reads it; write the whole path, or "keys.yml"',
    "wg_links.itself": "is the host itself",
    "wg_links.not-dialable": "neither side can be dialled; give one a wg_endpoint",
    "wg_links.unknown-host": "no host has this name{hint}",
    "wg_links.with-degree": "wg_degree chooses the links; keep one of both",
    "wg_masquerade.firewall-off": (
        'its rule goes with firewall = "peers" or "baseline"; with "off" set it to False: routed'
    ),
    "wg_masquerade.no-gateway": "only a gateway masquerades; set wg_gateway = True or leave it out",
    "wg_mtu.too-small-for-ipv6": "an overlay with IPv6 needs at least {least} (RFC 8200, 5)",
    "wg_name.duplicate": "{count} hosts have this name; each needs its own",
    "wg_networks.same-family": "has {count} IPv{family} prefixes; at most one per family",
    "wg_site.missing": 'is required with wg_topology = "sites"; name the provider or location it stands in',
    "wg_subnets.holds-endpoint": "holds {other}'s endpoint {endpoint}: the tunnel would swallow itself",
    "wg_subnets.no-such-family": (
        "no host has an IPv{family} address in the overlay to reach it from;"
        " give wg_networks an IPv{family} prefix"
    ),
    "wg_subnets.overlaps-overlay": "overlaps the overlay {network}",
    "wg_subnets.overlaps-subnet": "overlaps {network} of {other}",
    "wg_topology.no-links": "needs wg_links on hosts, or wg_degree",
    "wg_topology.no-path": (
        "no way to {names}: neither side can be dialled and no gateway is linked to both;"
        " set wg_gateway on a host that can be dialled"
    ),
    "wg_topology.pieces": "the cluster is in {count} pieces with no link between them: {pieces}",
}
