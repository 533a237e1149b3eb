"""What is wanted of every server. A value in a group's file or at the host itself goes before these."""

# the private network, one for both sites
wg_networks = ["10.0.0.0/24"]

# linked to each other: the servers of a site, and the gateways. All else goes through the gateways
wg_topology = "sites"

# checked before every deploy
wg_expect = ["web-berlin -> db-paris", "db-berlin -> 192.168.21.0/24"]

# the user that pyinfra logs in as
ssh_user = "root"

# the key registry, beside inventory.py; private keys in it are sealed
wg_keystore = "keys.yml"
