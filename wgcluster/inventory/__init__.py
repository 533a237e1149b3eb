"""What the operator declares: rows of the inventory -> Cluster, or every fault at once."""
