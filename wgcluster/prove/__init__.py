"""Every packet followed through the texts that the hosts will get."""
