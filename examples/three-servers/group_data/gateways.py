"""What is wanted of the gateways beyond all.py."""

# forwards for road warriors
wg_gateway = True

# routed: the servers see the laptop's own address. True, as in the article: they see the gateway's
wg_masquerade = False
