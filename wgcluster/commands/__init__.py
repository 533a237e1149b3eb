"""The commands of ``python -m wgcluster``: each takes its arguments, prints, and returns its exit status."""
