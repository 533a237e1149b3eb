"""The access list file of a site: its path and its text."""

from __future__ import annotations

import hashlib
import re

from wgcluster.inventory.schema import GuardedSite

# A folder that no stock nginx.conf includes by a glob (conf.d/*.conf, sites-enabled/*, modules-enabled/*).
_LIST_FOLDER = "/etc/nginx/wgcluster"


def list_path(site: GuardedSite) -> str:
    """The path of a site's list, from its server_name and a hash of file and server_name.

    The hash tells apart two files with one server_name, and two names with the same letters.
    """
    readable = re.sub(r"[^a-z0-9.-]+", "_", site.server_name.lower()).strip("._") or "default"
    digest = hashlib.sha256(f"{site.file}\0{site.server_name}".encode("utf-8", "surrogateescape")).hexdigest()
    return f"{_LIST_FOLDER}/{readable[:60]}-{digest[:8]}.conf"


def allow_list(site: GuardedSite) -> str:
    """The text of the list file: an ``allow`` for each network, then ``deny all``."""
    header = "# wgcluster: who may reach this site; written by the deploy, changes here are lost."
    return "\n".join([header, *(f"allow {network};" for network in site.allow), "deny all;", ""])
