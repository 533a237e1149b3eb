"""Paths of managed files on a host, and names of its units."""

from __future__ import annotations

from wgcluster.inventory.cluster import Host

# The last file by name wins (sysctl.d(5)): hardening guides switch forwarding off in 99-….conf, and Debian
# reads /etc/sysctl.conf as 99-sysctl.conf.
SYSCTL = "/etc/sysctl.d/zz-wgcluster.conf"
MODULE = "/etc/modules-load.d/wgcluster.conf"
FIREWALL_SCRIPT = "/usr/local/sbin/wgcluster-firewall"
# Its units: one before the network is up, one after whoever sets tables at boot, one when he starts anew.
FIREWALL_UNITS = (
    "/etc/systemd/system/wgcluster-firewall-early@.service",
    "/etc/systemd/system/wgcluster-firewall@.service",
    "/etc/systemd/system/wgcluster-firewall-again@.service",
)
# Resolves the names of endpoints, where there are any; its unit and timer.
ENDPOINTS_SCRIPT = "/usr/local/sbin/wgcluster-endpoints"
ENDPOINTS_UNITS = (
    "/etc/systemd/system/wgcluster-endpoints@.service",
    "/etc/systemd/system/wgcluster-endpoints@.timer",
)
# The record of site files with lines of ours, by which those that are no longer declared are found.
GUARDED = "/etc/nginx/wgcluster/guarded"
# The record of packages that a deploy has installed (packages.sh).
PACKAGES = "/etc/wgcluster/packages"

# Not ours but for a block in it.
HOSTS = "/etc/hosts"


def wireguard_unit(interface: str) -> str:
    """The unit that starts the interface."""
    return f"wg-quick@{interface}.service"


def firewall_unit(interface: str) -> str:
    """The unit that restores our rules at boot, after other firewalls, and when these are reloaded."""
    return f"wgcluster-firewall@{interface}.service"


def firewall_units(interface: str) -> tuple[str, str, str]:
    """The units that restore our rules: early at boot, after other firewalls, after any start of these."""
    early, again = (f"wgcluster-firewall-{word}@{interface}.service" for word in ("early", "again"))
    return early, firewall_unit(interface), again


def endpoints_timer(interface: str) -> str:
    """The timer that has the names of silent peers resolved again."""
    return f"wgcluster-endpoints@{interface}.timer"


def config(interface: str) -> str:
    """The file for wg-quick(8)."""
    return f"/etc/wireguard/{interface}.conf"


def rules(interface: str) -> str:
    """The file of rules for the next boot."""
    return f"/etc/wgcluster/{interface}.rules"


def before(interface: str) -> str:
    """The record of what was forwarded before the first deploy."""
    return f"/etc/wgcluster/{interface}.before"


def managed_files(interface: str) -> list[str]:
    """The managed files that are read completely. The WireGuard config is read without its secrets."""
    return [
        SYSCTL,
        MODULE,
        FIREWALL_SCRIPT,
        *FIREWALL_UNITS,
        ENDPOINTS_SCRIPT,
        *ENDPOINTS_UNITS,
        rules(interface),
        before(interface),
        GUARDED,
        PACKAGES,
    ]


def observed_files(interface: str) -> list[str]:
    """The managed files, and those of others with lines of ours."""
    return [*managed_files(interface), HOSTS]


def leftovers(interface: str) -> list[str]:
    """Patterns of the temporary files of runs that were killed."""
    held = [config(interface), *observed_files(interface)]
    return [*(f"{path}.wgcluster-*" for path in held), f"/run/wgcluster-{interface}.[0-9]*"]


def site_files(host: Host) -> list[str]:
    """The site files of a host that are guarded."""
    return list(dict.fromkeys(site.file for site in host.nginx))
