"""What is wanted of every server. A value in gateways.py or at the host itself goes before these."""

# the private network
wg_networks = ["10.0.0.0/24"]

# everyone is linked to everyone
wg_topology = "mesh"

# beside the rules that a host has: the lines that WireGuard needs
firewall = "peers"

# the key registry, beside inventory.py; private keys in it are sealed
wg_keystore = "keys.yml"
