"""The list file of a site: who may pass, and where the list lies."""

from __future__ import annotations

import hashlib
import re

from wgcluster.inventory.schema import GuardedSite

# A folder that no stock nginx.conf includes by a glob (conf.d/*.conf, sites-enabled/*, modules-enabled/*).
LIST_FOLDER = "/etc/nginx/wgcluster"


def list_path(site: GuardedSite) -> str:
    """Where the list of ``site`` lies: one path a site, made of its name and a hash of file and name.

    The hash keeps two files with the same server_name, or two names with the same letters, apart.
    """
    readable = re.sub(r"[^a-z0-9.-]+", "_", site.server_name.lower()).strip("._") or "default"
    digest = hashlib.sha256(f"{site.file}\0{site.server_name}".encode("utf-8", "surrogateescape")).hexdigest()
    return f"{LIST_FOLDER}/{readable[:60]}-{digest[:8]}.conf"


def allow_list(site: GuardedSite) -> str:
    """The text of the list file: each network that may pass, then ``deny all``."""
    header = "# wgcluster: who may reach this site; written by the deploy, changes here are lost."
    return "\n".join([header, *(f"allow {network};" for network in site.allow), "deny all;", ""])
