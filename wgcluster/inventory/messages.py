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
    "endpoint.taken": "{other} is dialled there, too; give each its own address or port",
    "firewall.firewalld-active": (
        'firewalld is active and would undo our rules; "systemctl disable --now firewalld",'
        ' or set firewall = "off" for this host'
    ),
    "firewall.firewalld-enabled": (
        'firewalld is enabled and would undo our rules at the next boot; "systemctl disable firewalld",'
        ' or set firewall = "off" for this host'
    ),
    "firewall.firewalld-without-unit": (
        "firewalld runs without its unit and would undo our rules; stop it,"
        ' or set firewall = "off" for this host'
    ),
    "firewall.locks-out": (
        "this run comes from {source} to TCP port {port}, which the baseline would close;"
        ' add {{"port": {port}, "from": ["{network}"]}} to firewall_allow'
    ),
    "firewall.locks-out-of-overlay": (
        "this run comes from {source} to an address of the overlay, but not through the overlay,"
        " which is about to be closed; connect to another address of this host"
    ),
    "firewall.nft-drops": (
        "nftables: {chain} drops {packets}; let it pass there ({rules}, and in the file that sets it up),"
        ' or set firewall = "off" for this host'
    ),
    "firewall.nft-unreadable": (
        "nft does not show its rules ({error}), which may drop anything; fix that,"
        ' or set firewall = "off" for this host'
    ),
    "firewall.table-not-shown": (
        "{tool} does not show its table {table}, in which nft has put rules of its own;"
        ' move them to a table of another name ("nft list table {family} {table}"),'
        ' or set firewall = "off" for this host'
    ),
    "firewall.ufw-active": (
        'ufw is active and would undo our rules; "ufw disable", or set firewall = "off" for this host'
    ),
    "firewall.ufw-enabled": (
        'ufw is enabled and would undo our rules at the next boot; "ufw disable",'
        ' or set firewall = "off" for this host'
    ),
    "gateway.none": "needs a gateway; set wg_gateway on one with a wg_endpoint",
    "gateway.unknown": "no gateway that clients can dial has this name; there are {names}",
    "host.cannot-install": (
        "{packages} must be installed, and none of {installers} is there to do it; install by hand"
    ),
    "host.no-systemd": (
        "has no systemd, whose wg-quick@.service starts the interface at boot;"
        " use a system that has it for this host"
    ),
    "host.no-wireguard": (
        "the kernel has no WireGuard module and wireguard-go is not installed;"
        " boot a kernel that has it (Linux 5.6 or later), or install wireguard-go"
    ),
    "inventory.empty": "names no host",
    "keystore.address-taken": "{address} belongs to the client {other}; choose another address",
    "keystore.changed": "another run changed it meanwhile; nothing was written; run this again",
    "keystore.client-has-name": "{name}: a client has this name; rename the host, or remove the client",
    "keystore.does-not-open": (
        "{kind} {name}: does not open: it was changed, or belongs to another entry; restore it from a copy"
    ),
    "keystore.duplicate-key": "{name}: has the public key of {other}; restore it from a copy",
    "keystore.folder": "is a folder; wg_keystore names a file in one",
    "keystore.host-and-client": "{name}: is a host and a client; remove one of them",
    "keystore.incomplete": 'is incomplete: its last line "..." is missing; restore it from a copy',
    "keystore.invalid-entry": "{entry}: {problem}; restore it from a copy",
    "keystore.invalid-yaml": "{problem}; restore it from a copy",
    "keystore.link-name": 'a link is named after its two ends: "cloud|root"',
    "keystore.link-to-nowhere": (
        "{link} is a link to {target}, which is not there; mount or restore it, or remove the link"
    ),
    "keystore.locked": "is locked; this needs the passphrase",
    "keystore.memory": "the registry's key takes {mib} MiB of memory; run this where that much is free",
    "keystore.name-taken": "there is a {kind} {name} already; choose another name",
    "keystore.no-passphrase": (
        "passphrase: is missing, so nothing here can be opened; restore it from a copy"
    ),
    "keystore.not-a-registry": "is not a key registry; move it away or restore it from a copy",
    "keystore.not-bytes": "must be {length} bytes in base64",
    "keystore.not-utf8": "is damaged: it is not UTF-8; restore it from a copy",
    "keystore.unknown-entry": "has no key of {kind} {name}; there are: {names}",
    "keystore.unknown-keys": "has keys that {registry} does not know: {keys}",
    "keystore.unreadable": "cannot be read: {why}",
    "keystore.unwritable": "cannot be written: {why}",
    "keystore.version": (
        "is of version {version!r}, this program reads version 1; use the program that wrote it"
    ),
    "keystore.wrong-passphrase": (
        "wrong passphrase for {registry}: it was made with another one; taken from {source}"
    ),
    "keystore.wrong-public-key": (
        "{kind} {name}: its public key is not that of its private key; restore it from a copy"
    ),
    "name.invalid": "a name is 1 to 63 letters, digits, dots, underscores and hyphens",
    "network.host-bits": 'host bits are set; the network is "{network}"',
    "network.invalid": 'not a network; write it like "10.0.0.0/24" or "fd00::/64"',
    "nginx.absent": "there is no such file on the host\nname the site file that nginx reads",
    "nginx.byte-order-mark": (
        'the file begins with a byte order mark (BOM), which nginx takes for a letter of "{name}"\n'
        "save it as UTF-8 without BOM"
    ),
    "nginx.dangling": "is a link to a file that does not exist\nmend the link, or name the file itself",
    "nginx.different-allow": (
        'two sites "{site}" of this file have different "allow"\n'
        "make them one site, with the locations of both"
    ),
    "nginx.duplicate-location": (
        'location "{location}" occurs {count} times in this server ({lines})\n'
        'leave one of them, or guard the whole server with "scope": "server"'
    ),
    "nginx.included-location": (
        'location "{location}" of this server is included from {place}; only the site file is edited\n'
        'guard the whole server with "scope": "server": included locations are guarded, too'
    ),
    "nginx.included-public": (
        'public location "{location}" is included from {place}, behind a list\n'
        'write "allow all;" into it there; only the site file is edited'
    ),
    "nginx.leaks": '{server}: location "{location}" leaks: {reason}\n{mend}',
    "nginx.no-challenge-location": (
        'no public location "{location}" in this server of {site}{unread}\n'
        'give "acme_root", the webroot of the challenge, and the location will be added'
    ),
    "nginx.no-location": (
        'no location "{location}" in this server of {site} (listen {listen}){unread}\n'
        'name one of those there are ({locations}), or guard the whole server with "scope": "server"'
    ),
    "nginx.no-public-location": (
        'no public location "{location}" in this server of {site}{unread}\n'
        "write it into the file, or name one of those there are ({locations})"
    ),
    "nginx.no-server": 'no server with server_name "{site}"\n{hint}',
    "nginx.not-a-file": "is not a regular file\nname the site file that nginx reads",
    "nginx.not-installed": "nginx is not installed\ninstall it, or take nginx_vpn_only from this host",
    "nginx.not-read": ("nginx does not read this file\ninclude it (sites-enabled), or name the file that is"),
    "nginx.nothing-to-guard": (
        "every server of {site} only redirects or refuses: there is nothing to guard\n"
        "name the file and the server that has the service"
    ),
    "nginx.own-list": (
        'location "{location}" is declared public and has allow and deny of its own\n'
        "remove them, or do not declare it public"
    ),
    "nginx.refused": (
        "nginx -t refuses what is there now:\n{error}\n"
        "mend the configuration by hand first; nothing was touched"
    ),
    "nginx.rule-without-effect": (
        '"{rule}" in {what} would have no effect: the access list of the VPN comes before it\n'
        'remove it; add a network that should pass as well to the site\'s "allow"'
    ),
    "nginx.syntax": "{problem}",
    "nginx.would-leak": '{place}location "{location}" would leak: {reason}\n{mend}',
    "nginx_vpn_only.no-locations": (
        'guards nothing; name locations, or guard the whole server with "scope": "server"'
    ),
    "passphrase.differ": "the two passphrases differ; try again",
    "passphrase.empty": "the passphrase is empty; put one there",
    "passphrase.exposed": "others can read it; run: chmod 600 {file}",
    "passphrase.missing": (
        "no passphrase for {registry}: set WGCLUSTER_PASSPHRASE, or name a file that holds it in"
        " WGCLUSTER_PASSPHRASE_FILE, or write it to {file} (chmod 600), or use a terminal"
    ),
    "passphrase.no-terminal": "no passphrase for {registry}: the terminal was closed",
    "passphrase.not-utf8": "is not UTF-8; write the passphrase to it as plain text",
    "passphrase.unreadable": "cannot be read: {why}",
    "path.invalid": 'not a path on the host; it begins with "/" and has no blanks or quotes',
    "setting.differs": "{other} has {theirs!r}; set it once for all hosts, in group_data/all.py",
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
        "is required; if {name} is in a group and nowhere else, pyinfra has made a new host of it: {hint}"
    ),
    "wg_address.outside-network": "lies outside the overlay; take one in {networks}{hint}",
    "wg_address.same-family": "at most one address per family",
    "wg_address.taken": "{other} has this address; each needs its own",
    "wg_expect.invalid": 'write it like "laptop -> cloud" or "guest !-> cloud"',
    "wg_expect.unknown-name": "{name} is not a host, client or wg_subnets network; there are {names}",
    "wg_gateway.none-in-site": "site {site} has no gateway; set it on one of {names}",
    "wg_gateway.not-dialable": "nobody can dial this gateway; give it a wg_endpoint",
    "wg_interface.foreign": (
        "an interface {interface} that is not ours is up;"
        " set wg_interface to another name, or move what is there out of the way"
    ),
    "wg_interface.foreign-file": (
        "{path} was not made by us and is never overwritten;"
        " set wg_interface to another name, or move what is there out of the way"
    ),
    "wg_interface.invalid": "wg-quick and its unit take 1 to 15 characters of a-z A-Z 0-9 _ . -",
    "wg_interface.not-a-file": (
        "{path} is not a regular file; set wg_interface to another name, or move what is there out of the way"
    ),
    "wg_interface.renamed": (
        "this host is in the cluster by its interface {old} already;"
        ' to rename it, run teardown.py with wg_interface = "{old}" first'
    ),
    "wg_interface.reserved": '{why}; take another name, such as "wg"',
    "wg_keystore.folder": 'names a folder; name the file in it: "keys.yml"',
    "wg_keystore.tilde": '"~" is not expanded, as no shell reads it; write the whole path, or "keys.yml"',
    "wg_links.itself": "is the host itself",
    "wg_links.not-dialable": "neither side can be dialled; give one a wg_endpoint",
    "wg_links.unknown-host": "no host has this name{hint}",
    "wg_links.with-degree": "wg_degree chooses the links; set one of the two",
    "wg_masquerade.firewall-off": (
        'is a firewall rule; set firewall = "peers" or "baseline", or leave it out: packets are then routed'
    ),
    "wg_masquerade.no-gateway": "only a gateway masquerades; set wg_gateway = True or leave it out",
    "wg_mtu.too-small-for-ipv6": "an overlay with IPv6 needs at least {least} (RFC 8200, 5)",
    "wg_name.duplicate": "{count} hosts have this name; each needs its own",
    "wg_networks.in-use": (
        "{network} is to go to {interface}, but this host needs in it {needs};"
        " set wg_networks to a prefix that no host uses"
    ),
    "wg_networks.same-family": "has {count} IPv{family} prefixes; at most one per family",
    "wg_port.taken": (
        "UDP port {port} is taken by the interface {other};"
        " set wg_port to another one, or take that interface down"
    ),
    "wg_site.missing": 'is required with wg_topology = "sites"; name the provider or location it stands in',
    "wg_subnets.holds-endpoint": "holds {other}'s endpoint {endpoint}: the tunnel would have to carry itself",
    "wg_subnets.in-use": (
        "{network} is to go to {interface}, but this host needs in it {needs};"
        " announce networks in wg_subnets that leave this out"
    ),
    "wg_subnets.no-such-family": (
        "no host has an IPv{family} address in the overlay to reach it from;"
        " give wg_networks an IPv{family} prefix"
    ),
    "wg_subnets.overlaps-overlay": "overlaps the overlay {network}",
    "wg_subnets.overlaps-subnet": "overlaps {network} of {other}",
    "wg_topology.no-links": "needs wg_links on hosts, or wg_degree",
    "wg_topology.no-path": (
        "no path to {names}: neither side can be dialled and no gateway is linked to both;"
        " set wg_gateway on a host that can be dialled"
    ),
    "wg_topology.pieces": "the cluster is in {count} pieces with no link between them: {pieces}",
}
