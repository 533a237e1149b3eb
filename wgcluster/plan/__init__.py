"""Cluster + public keys -> Plan: links, routes and peers of every host; frozen, and without a secret."""
