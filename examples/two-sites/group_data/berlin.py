"""What is wanted of the servers in Berlin beyond all.py."""

# who stands in the same site dials there at wg_site_endpoint
wg_site = "berlin"
