"""Who stands in a lab: the article's hosts, or plain servers for benchmarks and topology tests."""

from __future__ import annotations

import string
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError

FILES = Path(__file__).parent / "files"
SITE = "git.example.org"  # the name that root's nginx answers to
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
OUTSIDE = "/usr/local/lib/lab/outside"  # private addresses that a host needs all the same, one a line
OVERLAY = {"root": "10.0.0.2", "cloud": "10.0.0.3", "backup": "10.0.0.4"}  # as inventory.py has them


@dataclass(frozen=True, slots=True)
class File:
    """A file, or a symbolic link, that a host has before its first boot."""

    path: str  # absolute
    text: str = ""
    mode: int = 0o644
    owner: int = 0  # uid and gid
    link_to: str | None = None


@dataclass(frozen=True, slots=True)
class HostSpec:
    """One container: where it stands, what it has, what it starts at boot."""

    name: str
    at: int  # place in its network: 0x0102 is 198.18.1.2; behind a router, 10 is the LAN's .10
    behind: str | None = None  # name of the router that hides it
    router: bool = False
    has_tools: bool = False  # wireguard-tools is installed
    ssh: bool = False  # sshd on a port of 127.0.0.1, user `operator` with sudo
    files: tuple[File, ...] = ()
    units: tuple[str, ...] = ()  # started at boot


def article(*, ssh: frozenset[str] = frozenset()) -> tuple[HostSpec, ...]:
    """The article's picture; the hosts named in ``ssh`` are reached by SSH too."""
    return (
        HostSpec("root", 0x0102, ssh="root" in ssh, files=_gitlab(), units=_GITLAB_UNITS),
        HostSpec("cloud", 0x0202, ssh="cloud" in ssh),
        HostSpec("router", 0x0302, router=True),
        HostSpec("backup", 10, behind="router"),
        HostSpec("laptop", 0x0802, has_tools=True),
        HostSpec("stranger", 0x0902),
    )


def plain(count: int, *, behind: int = 0, has_tools: bool = False) -> tuple[HostSpec, ...]:
    """``count`` bare servers h1, h2, …, from x.x.10.1 on; the last ``behind`` of them each behind a router
    of its own (r1, r2, …) that nobody can dial through."""
    if not 0 <= behind <= min(count, 16) or count > 1000:
        raise LabError(f"a lab of {count} plain servers, {behind} of them behind NAT: at most 1000 and 16")
    open_hosts = count - behind
    servers = [HostSpec(f"h{n}", 0x0A00 + n, has_tools=has_tools) for n in range(1, open_hosts + 1)]
    for n in range(1, behind + 1):
        servers.append(HostSpec(f"r{n}", 0x0300 + n, router=True))
        servers.append(HostSpec(f"h{open_hosts + n}", 10, behind=f"r{n}", has_tools=has_tools))
    return tuple(servers)


_GITLAB_UNITS = ("provider-firewall.service", "gitlab.service", "nginx.service")


def _gitlab() -> tuple[File, ...]:
    """A server as its provider and a person left it: a FORWARD chain, nginx, a web service behind it."""
    return (
        File("/etc/systemd/system/provider-firewall.service", _text("provider-firewall.service")),
        File("/etc/systemd/system/gitlab.service", _text("gitlab.service")),
        File("/usr/local/lib/lab/service.py", _text("service.py")),
        File("/etc/nginx/sites-available/gitlab", _text("gitlab.nginx")),
        File("/etc/nginx/sites-enabled/gitlab", link_to="/etc/nginx/sites-available/gitlab"),
        File("/var/www/letsencrypt/.well-known/acme-challenge/probe.txt", "probe\n"),
    )


def network_script(default_via: str, default_via6: str | None, lan: str | None, lan6: str | None) -> str:
    """What a host runs at boot: its default routes and, on a router, the NAT for the networks behind it."""
    lines = [f"ip route replace default via {default_via}"]
    if not default_via6:
        # The internet routes no private addresses (RFC 1918, 3). Without this, what a host that has no tunnel
        # sends to the overlay would leave through Docker's NAT for whatever network this machine is in.
        lines += [f"ip route replace unreachable {net} metric 4000000000" for net in PRIVATE]
        lines.append(f"while read -r a; do ip route replace $a via {default_via}; done <{OUTSIDE}")
    # Docker's own IPv6 default route leads nowhere without NAT; without it programs turn to IPv4 at once
    lines.append("while ip -6 route del default 2>/dev/null; do :; done")
    if default_via6:
        lines.append(f"ip -6 route replace default via {default_via6}")
    if lan and lan6:
        nat = string.Template(
            "$tables -w -t nat -A POSTROUTING -s $lan ! -d $lan -j MASQUERADE\n"
            "$tables -w -A FORWARD -s $lan -j ACCEPT\n"
            "$tables -w -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
            "$tables -w -P FORWARD DROP"
        )
        lines += [nat.substitute(tables="iptables", lan=lan), nat.substitute(tables="ip6tables", lan=lan6)]
    return "\n".join([*lines, ""])


def _text(name: str) -> str:
    return (FILES / name).read_text()
