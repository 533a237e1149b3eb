"""What is wanted of the gateways beyond all.py."""

# forwards for road warriors
wg_gateway = True
