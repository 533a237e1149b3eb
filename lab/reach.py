"""Who reaches whom, asked with real packets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from lab.host import Host
from lab.lab import Lab
from lab.spec import SITE

LEGEND = """\
-> NAME: yes: a ping through the tunnel is answered; -: it is not.
web, ACME: the HTTP status of the site on root, at its overlay address or its public one, for its pages and
for the challenge of Let's Encrypt. 403: turned away; -: no answer."""

_ACME = "/.well-known/acme-challenge/probe.txt"


def overlay_address(host: Host, interface: str = "wg") -> str | None:
    """The IPv4 address of the host's tunnel; None if it has no tunnel."""
    answer = host.run(f"ip -json -4 address show dev {interface} 2>/dev/null").stdout
    addresses = json.loads(answer)[0]["addr_info"] if answer.strip() else []
    return str(addresses[0]["local"]) if addresses else None


def pings(host: Host, addresses: Sequence[str]) -> set[str]:
    """Those of ``addresses`` that answer ``host`` within three seconds."""
    # the first packet starts the handshake, and may be lost over it
    ping = "ping -c 3 -i 0.4 -W 2 -w 3 $a >/dev/null 2>&1 && echo $a"
    return set(host.run(f"for a in {' '.join(addresses)}; do ({ping}) & done; wait").stdout.split())


def status(host: Host, address: str, path: str = "/") -> str:
    """The HTTP status that root's site gives ``host`` at ``address``; "-" for no answer."""
    curl = "curl --silent --max-time 3 --output /dev/null --write-out '%{http_code}'"
    answer = host.run(f"{curl} --resolve {SITE}:80:{address} http://{SITE}{path}").stdout
    return "-" if answer in ("", "000") else answer


def table(lab: Lab) -> str:
    """One line a host: whom it reaches inside the tunnel, and the status root's nginx gives it."""
    hosts = [host for host in lab if not host.spec.router]
    overlay = {host.name: address for host in hosts if (address := overlay_address(host))}
    web = "root" in lab.hosts

    def line(host: Host) -> list[str]:
        reached = pings(host, list(overlay.values()))
        cells = [host.name, overlay.get(host.name, "")]
        cells += ["yes" if address in reached else "-" for address in overlay.values()]
        if web:
            cells.append(status(host, overlay["root"]) if "root" in overlay else "-")
            cells += [status(host, lab["root"].address), status(host, lab["root"].address, _ACME)]
        return cells

    head = ["from", "overlay", *(f"-> {name}" for name in overlay)]
    if web:
        head += ["web, tunnel", "web, outside", "ACME, outside"]
    with ThreadPoolExecutor(len(hosts)) as pool:
        rows = [head, *pool.map(line, hosts)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
    )
