"""What files/observe.sh prints on a host of the model, section by section in its order."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from posixpath import dirname
from typing import TYPE_CHECKING

from tests.support.fake.wireguard import public_key

if TYPE_CHECKING:
    from tests.support.fake.host import FakeHost

_GUARDED = "/etc/nginx/wgcluster/guarded"
# in the script's order
_TOOLS = (
    "apt-get",
    "dnf",
    "pacman",
    "apk",
    "systemctl",
    "wg",
    "wg-quick",
    "wireguard-go",
    "iptables",
    "ip6tables",
    "nginx",
)


def answer(host: FakeHost, values: Mapping[str, str]) -> list[str]:
    """All lines; ``values`` are the variables that the script is sent with."""
    return list(_lines(host, values))


def _lines(host: FakeHost, values: Mapping[str, str]) -> Iterator[str]:
    interface = values["interface"]
    yield f"@ user {host.user}"
    yield "@ tools"
    yield from (tool for tool in _TOOLS if tool in host.tools)
    yield "@ module"
    yield host.module
    if host.container:
        yield "container"
    mode = host.folders.get("/etc/wireguard")
    yield "@ directory " + (f"{mode} root:root" if mode else "")
    guarded = host.text(_GUARDED).split() if _GUARDED in host.files else []
    lists = sorted(path for path in host.files if re.fullmatch(r"/etc/nginx/wgcluster/[^/]+\.conf", path))
    named = (*values["files"].split(), *lists, *values["sites"].split(), *guarded)
    yield from _files(host, f"/etc/wireguard/{interface}.conf", named)
    for unit in (
        f"wg-quick@{interface}",
        f"wgcluster-firewall@{interface}",
        f"wgcluster-firewall-early@{interface}",
        f"wgcluster-firewall-again@{interface}",
        f"wgcluster-endpoints@{interface}.timer",
        "nginx",
        "ufw",
        "firewalld",
    ):
        name = unit if unit.endswith(".timer") else f"{unit}.service"
        words = (
            "enabled" if name in host.enabled else "disabled",
            "active" if name in host.active else "inactive",
        )
        yield f"@ unit {name} {words[0]} / {words[1]}"
    yield "@ ufw"
    if "/etc/ufw/ufw.conf" in host.files:
        yield from (line for line in host.text("/etc/ufw/ufw.conf").splitlines() if "ENABLED=" in line)
    yield from _link(host, interface)
    yield from _routes(host)
    if "wg" in host.tools:
        yield "@ interfaces"
        others = {name: link for name, link in host.links.items() if name != interface}
        yield from (f"{n} {public_key(o.private_key)} {o.port}" for n, o in others.items())
    yield from _port(host, interface, int(values["port"]))
    yield "@ sysctl-files"
    files = [path for path in host.files if "/sysctl.d/" in path and path.endswith(".conf")]
    yield from files
    for path in files:
        lines = host.text(path).splitlines()
        yield from (f"{path}\t{line}" for line in lines if re.match(r"[^#;]*(forward|disable_ipv6)", line))
    yield "@ sources"
    for target in values["towards"].split():
        source = host.sends_from.get(target)
        yield from [f"{target} via 198.18.0.254 dev eth0 src {source} uid 0 \\    cache"] if source else []
    yield "@ addresses"
    addresses = [("eth0", f"{address}/32") for address in host.addresses]
    addresses += [(name, address) for name, link in host.links.items() for address in link.addresses]
    for name, address in addresses:
        family = "inet6" if ":" in address else "inet"
        yield f"2: {name}    {family} {address} scope global {name}\\    valid_lft forever"
    yield f"@ clock {host.clock}"
    four, six = "net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"
    state = "read-only" if host.read_only else "writable"
    yield f"@ forwarding {host.sysctls.get(four, '-')} {host.sysctls.get(six, '-')} {state}"
    yield "@ sysctls"
    keys = [f"net/ipv6/conf/{name}/accept_ra" for name in host.advertised]
    keys += [f"net/ipv4/conf/{name}/send_redirects" for name in ("all", interface)]
    keys += [f"net/ipv6/conf/{name}/disable_ipv6" for name in ("all", "default", interface)]
    yield from (f"{key} {host.sysctls[key]}" for key in keys if key in host.sysctls)
    if host.sysctls.get(four) == "1":
        each = re.compile(r"net/ipv4/conf/[^/]+/forwarding")
        yield from (f"{key} 0" for key, value in host.sysctls.items() if each.fullmatch(key) and value == "0")
    yield from _rules(host)
    if "nft" in host.tools:
        yield from ("@ nft", host.nft)
    else:
        yield "@ nft absent"
    yield f"@ ssh {host.ssh}"
    if host.ssh:
        yield "eth0"
    yield "@ guarded"
    yield from guarded
    yield "@ folders"
    for path in ("/etc/wgcluster", "/etc/nginx/wgcluster"):
        if path in host.folders and not any(dirname(name) == path for name in host.files):
            yield path
    yield "@ lists"
    yield from lists
    yield "@ replacement"
    if host.cut_off:
        yield "cut off"
    if values["dump"] == "1" and "nginx" in host.tools:
        error = _nginx_error(host)
        dump = b"" if error else _dump(host)
        said = (error or "nginx: configuration file /etc/nginx/nginx.conf test is successful").encode()
        yield "@ nginx"
        yield from _encoded(said + b"\n" + dump + (b"\n1\n" if error else b"\n0\n"))
        yield "@ nginx-links"
        included = re.findall(r"^# configuration file (.*):$", dump.decode(errors="replace"), re.MULTILINE)
        yield from (f"{path} {host.real(path)}" for path in included if host.real(path) != path)
        yield f"@ workers {host.clock}.5"
        yield from (f"1 (nginx) S {'0 ' * 18}{ticks}" for ticks in (2000, 2000 - 100 * host.nginx_age))
        yield "@ changed"
        yield from (f"{host.clock - 10}.25 {path}" for path in included)
    yield from _names(host, values["names"].split())
    yield "@ end"


def _port(host: FakeHost, interface: str, port: int) -> Iterator[str]:
    bound = port in host.bound or any(link.port == port for link in host.links.values())
    yield f"@ port {'bound' if bound else 'free'}"
    own = interface in host.links and host.links[interface].port == port
    if port in host.bound and not own:
        yield host.bound[port]


def _names(host: FakeHost, names: list[str]) -> Iterator[str]:
    if names:
        yield "@ names"
    yield from (f"{name} {'no' if name in host.unknown_names else 'yes'}" for name in names)


def _encoded(data: bytes) -> Iterator[str]:
    text = base64.b64encode(data).decode()
    return (text[start : start + 76] for start in range(0, len(text), 76))  # as base64(1) wraps


def _files(host: FakeHost, config: str, named: Iterable[str]) -> Iterator[str]:
    texts, cut = b"", b""
    for path in dict.fromkeys((config, *named)):
        real = host.real(path)
        if real in host.folders:
            yield f"@ file {path} other"
        elif real not in host.files:
            yield f"@ file {path} " + ("dangling" if path in host.files else "absent")
        else:
            entry = host.files[real]
            yield f"@ file {path} file {entry.mode} {entry.owner} {len(entry.data)} {entry.digest} {real}"
            if path == config:
                secret = rb"(?im)^([ \t]*(?:PrivateKey|PresharedKey)[ \t]*=).*$"
                cut = re.sub(secret, rb"\1 (hidden)", entry.data)
            else:
                texts += entry.data
    if any(host.real(path) in host.files for path in (config, *named)):
        yield f"@ texts {config}"
        yield from _encoded(texts + cut + b".")


def _link(host: FakeHost, interface: str) -> Iterator[str]:
    link = host.links.get(interface)
    if link is None:
        config = f"/etc/wireguard/{interface}.conf"
        yield f"@ link {interface} absent"
        if "wg" in host.tools and host.real(config) in host.files:
            yield "@ config-key"
            keys = re.findall(r"^PrivateKey = (\S+)$", host.text(config), re.MULTILINE)
            yield from map(public_key, keys)
        if "wg" in host.tools:
            yield "@ dump"
        return
    yield f"@ link {interface} {link.mtu} {'0x10091' if link.up else '0x10090'}"
    if "wg" in host.tools:
        yield "@ dump"
        yield from link.dump()
        if digest := link.preshared_digest():
            yield "@ preshared"
            yield digest


def _routes(host: FakeHost) -> Iterator[str]:
    """The host's own routes, then those of its interfaces of WireGuard; and the rules between the tables."""
    lines = list(host.routes)
    for name, link in host.links.items():
        lines += [f"{destination} dev {name} {rest}" for destination, rest in map(_cut, link.route_lines())]
    for family in (4, 6):
        yield f"@ routes {family}"
        yield from (line for line in lines if (":" in line) == (family == 6))
    for family in (4, 6):
        yield f"@ policy {family}"
        yield from host.policy


def _cut(line: str) -> tuple[str, str]:
    destination, _, rest = line.partition(" ")
    return destination, rest


def _rules(host: FakeHost) -> Iterator[str]:
    for family, name in ((4, "iptables"), (6, "ip6tables")):
        for tool, kind in ((name, "primary"), (f"{name}-legacy", "other")):
            if name not in host.tools or tool not in host.tables:
                yield f"@ rules {family} {tool} none"
                if name in host.tools and kind == "primary":
                    yield f"{tool}-save: no"
                continue
            yield f"@ rules {family} {tool} {kind}"
            for table, chains in host.tables[tool].items():
                yield f"*{table}"
                for chain in chains:
                    policy = "ACCEPT"
                    if (table, chain) == ("filter", "FORWARD"):
                        policy = host.policies.get(tool, host.forward_policy)
                    yield f":{chain} {policy if chain.isupper() and '-' not in chain else '-'} [0:0]"
                yield from (f"-A {chain} {rule}" for chain, rules in chains.items() for rule in rules)
                yield "COMMIT"


def _nginx_error(host: FakeHost) -> str | None:
    """What ``nginx -t`` complains of."""
    for path in host.files:
        if path.startswith("/etc/nginx/sites-enabled/") and host.real(path) not in host.files:
            return f'nginx: [emerg] open() "{path}" failed (2: No such file or directory)'
    return host.nginx_error


def _dump(host: FakeHost) -> bytes:
    """``nginx -T``: nginx.conf, the sites that it includes, and what these include."""
    paths = ["/etc/nginx/nginx.conf"]
    paths += sorted(path for path in host.files if path.startswith("/etc/nginx/sites-enabled/"))
    for path in paths[1:]:
        included = re.findall(r"^\s*include (\S+);", host.text(path), re.MULTILINE)
        paths += [one for one in included if one in host.files and one not in paths]
    return "".join(f"# configuration file {path}:\n{host.text(path)}\n" for path in paths).encode(
        "utf-8", "surrogateescape"
    )
