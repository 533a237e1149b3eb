"""Which locations a client could reach that the lists should deny."""
