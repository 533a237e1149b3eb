"""The pure core of a private WireGuard cluster: inventory rows in, plan, texts and rules out."""
