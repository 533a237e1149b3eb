"""What is wanted of every server. A value at the host itself goes before these."""

# the private network
wg_networks = ["10.0.0.0/24"]

# each server is linked to some others, and carries packets for the rest
wg_topology = "partial"

# links a server; which ones is worked out from the names, and is the same every time
wg_degree = 4

# the user that pyinfra logs in as
ssh_user = "root"

# the key registry, beside inventory.py; private keys in it are sealed
wg_keystore = "keys.yml"
