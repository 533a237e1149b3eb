"""plan, render, draw: what each host gets, as tables, files and a picture."""

from __future__ import annotations

from argparse import Namespace
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from rich.console import Console

from wgcluster.cli.printing import console, print_json, table
from wgcluster.cli.reading import CommandError, read
from wgcluster.firewall import rules as firewall
from wgcluster.picture.mermaid import mermaid
from wgcluster.picture.svg import svg
from wgcluster.plan.plan import HostPlan, Peer, Plan
from wgcluster.prefixes import Network
from wgcluster.text import counted
from wgcluster.wireguard import client
from wgcluster.wireguard import config as wgconf


def plan(args: Namespace) -> int:
    """``plan [HOST]``: links, paths and rules."""
    reading = read(args.inventory)
    planned = reading.plan()
    hosts = planned.hosts if args.host is None else (reading.host(planned, args.host),)
    if args.json:
        print_json({"hosts": [_as_dict(host) for host in hosts]} if args.host is None else _as_dict(hosts[0]))
        return 0
    out, addresses = console(), _Addresses(planned)
    for host in hosts:
        _print_host(out, addresses, host)
    return 0


def _as_dict(host: HostPlan) -> dict[str, object]:
    fields = {name: getattr(host, name) for name in HostPlan.__slots__}
    return {**fields, "rules": [str(rule) for rule in firewall.desired_rules(host)]}


def _print_host(out: Console, addresses: _Addresses, host: HostPlan) -> None:
    own = ", ".join(map(str, host.addresses))
    out.print(f"{host.name}: {host.interface} {own}, UDP {host.port}, MTU {host.mtu}", style="bold")
    if host.forwards:
        how = ", masquerades" if host.masquerade else ""
        out.print(f"forwards {' and '.join(f'IPv{family}' for family in host.forwards)}{how}")
    rows = [
        (
            peer.name + (" (client)" if peer.is_client else ""),
            peer.endpoint or "it dials us",
            f"{peer.keepalive} s" if peer.keepalive else "",
            ", ".join(map(str, peer.allowed_ips)),
            ", ".join(addresses.beyond(host, peer)),
        )
        for peer in host.peers
    ]
    if rows:
        out.print(table(("link to", "dialled at", "keepalive", "AllowedIPs", "and on to"), rows))
    _print_list(out, f'rules (firewall = "{host.firewall}")', firewall.desired_rules(host))
    for site in host.nginx:
        public = f", public {', '.join(site.public)}" if site.public else ""
        out.print(f"nginx {site.server_name} in {site.file}: guarded {', '.join(site.locations)}{public}")
    out.print()


def _print_list(out: Console, title: str, lines: Iterable[object]) -> None:
    listed = list(lines)
    if listed:
        out.print(title, style="bold")
        for line in listed:
            out.print(f"  {line}", soft_wrap=True)  # commands stay on one line, for copying


class _Addresses:
    """The sorted overlay addresses of a plan, to find those in a network."""

    def __init__(self, planned: Plan) -> None:
        everyone = [(host.name, host.addresses) for host in planned.hosts]
        everyone += [(one.name, one.addresses) for one in planned.clients]
        self._sorted = sorted((a.version, int(a.ip), name) for name, addresses in everyone for a in addresses)

    def inside(self, network: Network) -> set[str]:
        """The names of hosts and clients with an address in ``network``."""
        first = bisect_left(self._sorted, (network.version, int(network[0]), ""))
        last = bisect_left(self._sorted, (network.version, int(network[-1]) + 1, ""))
        return {name for _, _, name in self._sorted[first:last]}

    def beyond(self, host: HostPlan, peer: Peer) -> list[str]:
        """The names that ``host`` reaches through ``peer``."""
        inside = set[str]().union(*map(self.inside, peer.allowed_ips))
        return sorted(inside - {host.name, peer.name})


def render(args: Namespace) -> int:
    """``render -o DIR``: every config and its rules as files, without secrets."""
    planned = read(args.inventory).plan()
    folder: Path = args.output
    written = set(_write(_texts(planned, folder)))
    hosts, clients = counted(len(planned.hosts), "host"), counted(len(planned.clients), "client")
    print(f"{counted(len(written), 'file')} for {hosts} and {clients} in {folder}")
    for path in sorted(set(_of_ours(folder)) - written):
        print(f"{path} is of none of them; remove it if it is no longer wanted")
    return 0


def _texts(planned: Plan, folder: Path) -> Iterator[tuple[Path, str]]:
    """Path and text of each file, one at a time: a large mesh has too much text for memory."""
    shown = wgconf.RenderCache()
    for host in planned.hosts:
        place = folder / "hosts" / host.name
        yield place / f"{host.interface}.conf", wgconf.render(host, cache=shown)
        yield place / "firewall.rules", _rules(host)
    for one in planned.clients:
        yield folder / "clients" / f"{one.name}.conf", client.config(one)


def _write(texts: Iterable[tuple[Path, str]]) -> list[Path]:
    written = list[Path]()
    try:
        for path, text in texts:
            if not (written and written[-1].parent == path.parent):
                path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            written.append(path)
    except OSError as error:
        raise CommandError(f"{error.filename}: cannot be written: {error.strerror}") from None
    return written


def _rules(host: HostPlan) -> str:
    lines = [
        f"# host {host.name}, in this order, in front of whatever ends a chain",
        *firewall.desired_rules(host),
    ]
    return "\n".join(map(str, lines)) + "\n"


def _of_ours(folder: Path) -> Iterable[Path]:
    return (
        *folder.glob("hosts/*/*.conf"),
        *folder.glob("hosts/*/firewall.rules"),
        *folder.glob("clients/*.conf"),
    )


def draw(args: Namespace) -> int:
    """``draw -o FILE``: a picture of the cluster, in the format of the file's suffix."""
    path: Path = args.output
    drawing = _PICTURES.get(path.suffix)
    if drawing is None:
        raise CommandError(f"{path}: a picture is called .svg, or .mmd for Mermaid")
    planned = read(args.inventory).plan()
    _write([(path, drawing(planned))])
    print(f"{path}: {counted(len(planned.hosts), 'host')}, {counted(len(planned.clients), 'client')}")
    return 0


_PICTURES: dict[str, Callable[[Plan], str]] = {".svg": svg, ".mmd": mermaid}
