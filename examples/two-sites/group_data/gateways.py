"""What is wanted of the gateways beyond all.py."""

# forwards for its site
wg_gateway = True
