"""What is wanted of every server. A value in gateways.py or at the host itself goes before these."""

# the private network: who has an address in it may see GitLab
wg_networks = ["10.0.0.0/24"]

# everyone is linked to everyone
wg_topology = "mesh"

# the user that pyinfra logs in as
ssh_user = "root"

# the key registry, beside inventory.py; private keys in it are sealed
wg_keystore = "keys.yml"
