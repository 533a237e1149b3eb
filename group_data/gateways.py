"""What is wanted of the gateways beyond all.py."""

# forwards for road warriors
wg_gateway = True

# as the article does: what it forwards into the tunnel leaves under the gateway's own address.
# False: routed, the servers see each road warrior's address
wg_masquerade = True

# where road warriors may dial from; default: anywhere
# wg_clients_from = ["198.51.100.0/24"]
