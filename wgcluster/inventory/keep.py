"""What ``wg_keep`` names: networks, and protocols of routes."""

from __future__ import annotations

import re

# linux/rtnetlink.h, RTPROT_…; ip(8) knows the names from rt_protos, which some systems lack
_PROTOCOLS = {
    "4": "static",
    "9": "ra",
    "11": "zebra",
    "12": "bird",
    "16": "dhcp",
    "18": "keepalived",
    "42": "babel",
    "99": "openr",
    "186": "bgp",
    "187": "isis",
    "188": "ospf",
    "189": "rip",
    "192": "eigrp",
}
_OURS = ("kernel", "boot", "2", "3")  # of the interface's addresses, and what wg-quick adds
_PROTOCOL = re.compile(r"proto +([a-z][a-z0-9_-]*|[0-9]{1,3})")


def protocol(text: str) -> str:
    """``proto NAME`` for an entry that names a protocol of routes.

    Raises:
        ValueError: it names none, or one of our own routes.
    """
    found = _PROTOCOL.fullmatch(text)
    if not found or found[1] in _OURS or (found[1].isdigit() and int(found[1]) > 255):
        raise ValueError(text)
    return f"proto {named(found[1])}"


def named(word: str) -> str:
    """The name of a protocol, where it is a number that has one."""
    return _PROTOCOLS.get(word, word)
