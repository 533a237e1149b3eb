"""The commands of ``python -m wgcluster``; the only package that knows rich."""
