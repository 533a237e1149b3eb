"""What is wanted of every server. A value in gateways.py or at the host itself goes before these."""

# name of the interface, and of /etc/wireguard/<name>.conf
wg_interface = "wg"

# the private network: one IPv4 and/or one IPv6 prefix
wg_networks = ["10.0.0.0/24"]

# "mesh": everyone linked to everyone; "sites": through one gateway a site; "partial": see wg_links, wg_degree
wg_topology = "mesh"

# where each server listens, unless it says otherwise
wg_port = 51820

# bytes; fits in 1500 whether the tunnel's packets travel over IPv4 or IPv6
wg_mtu = 1420

# "peers": the lines WireGuard needs, beside the host's own; "baseline": the article's INPUT list; "off"
firewall = "peers"

# the key registry, private keys sealed, made to be committed: use "keys.yml" for servers of your own.
# The lab's stays out of git
wg_keystore = "lab/.state/keys.yml"

# what must and must not be reachable; checked before every deploy. Names of servers and of road warriors:
# wg_expect = ["laptop -> cloud", "guest !-> cloud"]
