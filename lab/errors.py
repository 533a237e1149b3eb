"""What can go wrong with the lab, said so that one can mend it."""

from __future__ import annotations


class LabError(Exception):
    """One or more faults: what, where, how to mend; one a line."""
