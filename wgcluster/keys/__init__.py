"""The sealed registry of keys: the only package that touches keys on disk."""
