"""An operator's folder with hosts of pyinfra's @fake connector that answer as if all had been deployed.

python -m benchmarks.deployed FOLDER COUNT: a process of its own, for pyinfra patches what loads it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import sys
import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

from tasks.scripts import script
from wgcluster.cli.reading import read
from wgcluster.firewall.rules import Rule, desired_rules
from wgcluster.firewall.tables import parse_save
from wgcluster.host import forwarding_before as before
from wgcluster.host import module, paths, sysctl
from wgcluster.host.boot_rules import boot_text
from wgcluster.host.observed import Observed, Rules
from wgcluster.plan.plan import HostPlan, Peer
from wgcluster.prefixes import Family
from wgcluster.wireguard import config as wgconf
from wgcluster.wireguard.drift import preshared_digest

CHECKOUT = Path(__file__).parent.parent
PARTS = ("deploy.py", "tasks", "files", "wgcluster")
FAMILIES: dict[Family, str] = {4: "iptables", 6: "ip6tables"}
DEGREE = 6  # links a host
INVENTORY = """\
import json, pathlib

from tasks.scripts import MARK, REMOTE

answers = json.loads(pathlib.Path(__file__).with_name("answers.json").read_text())


def host(number):
    data = {"wg_address": f"10.0.{number // 250}.{number % 250 + 1}"}
    data["wg_endpoint"] = f"198.18.{number // 250}.{number % 250 + 1}"
    answer = [MARK, *answers.get(f"h{number:04}", []), f"{MARK} 0"]
    data["fake_responses"] = {REMOTE: answer}
    return f"@fake/h{number:04}", data


servers = [host(number) for number in range(COUNT)]
"""
SETTINGS = f'wg_networks = ["10.0.0.0/16"]\nwg_topology = "partial"\nwg_degree = {DEGREE}\n'


def answer(host: HostPlan, private_key: str, endpoint: str) -> Iterator[str]:
    """The lines of files/observe.sh on a host that is as planned."""
    yield from ("@ user 0", "@ tools", "apt-get", "systemctl", "wg", "wg-quick", "iptables", "ip6tables")
    yield from ("@ module", "loaded", "@ directory 700 root:root")
    sysctls = sysctl.at_boot(host, Observed())
    rules = desired_rules(host)
    known = {family: before.Before(False, "ACCEPT") for family in host.forwards}
    policies = before.forward_policies(host, known)
    saved = [
        (family, tool, list(_saved([rule for rule in rules if rule.family == family], policies.get(family))))
        for family, tool in FAMILIES.items()
    ]
    there = tuple(Rules(family, tool, True, parse_save("\n".join(lines))) for family, tool, lines in saved)
    files = [
        (paths.MODULE, module.TEXT, "644"),
        (paths.SYSCTL, sysctl.text(sysctls) or "", "644"),
        (paths.FIREWALL_SCRIPT, script("wgcluster-firewall"), "755"),
        *((path, script(Path(path).name), "644") for path in paths.FIREWALL_UNITS),
        (
            paths.rules(host.interface),
            boot_text(rules, host.interface, Observed(rules=there), policies),
            "644",
        ),
        (paths.before(host.interface), before.text(known) or "", "644"),
    ]
    config = wgconf.render(host, private_key)
    yield from _files((paths.config(host.interface), config, "600"), [one for one in files if one[1]])
    for unit in ("wg-quick", "wgcluster-firewall", "wgcluster-firewall-early", "wgcluster-firewall-again"):
        yield f"@ unit {unit}@{host.interface}.service enabled / active"
    for unit in ("nginx", "ufw", "firewalld"):
        yield f"@ unit {unit}.service - / inactive"
    yield f"@ unit {paths.endpoints_timer(host.interface)} - / inactive"
    yield "@ ufw"
    yield from (f"@ link {host.interface} {host.mtu} 0x10091", "@ routes 4", "@ routes 6")
    for family in FAMILIES:
        yield from (f"@ policy {family}", "0:\tfrom all lookup local", "32766:\tfrom all lookup main")
    yield from ("@ dump", f"{host.public_key}\t{host.port}")
    yield from (_peer(peer) for peer in host.peers)
    yield "@ interfaces"
    if digest := preshared_digest(host.peers, {}):
        yield from ("@ preshared", digest)
    yield from ("@ port bound", "@ sysctl-files", "@ sources", "@ addresses")
    for name, address in (("eth0", f"{endpoint}/32"), *((host.interface, str(a)) for a in host.addresses)):
        yield f"2: {name}    inet {address} scope global {name}\\    valid_lft forever"
    yield f"@ clock {int(time.time())}"
    yield "@ forwarding " + " ".join(
        [*("1" if family in host.forwards else "0" for family in (4, 6)), "writable"]
    )
    yield "@ sysctls"
    yield from (f"{key} {value}" for key, value in sysctls.items() if "/" in key)
    for family, tool, lines in saved:
        yield f"@ rules {family} {tool} primary"
        yield from lines
        yield f"@ rules {family} {tool}-legacy none"
    yield from ("@ nft absent", "@ ssh", "@ guarded", "@ folders", "@ lists", "@ replacement", "@ end")


def _files(config: tuple[str, str, str], others: list[tuple[str, str, str]]) -> Iterator[str]:
    """Path, text and mode of each; the secrets of ``config`` are not shown, and its text comes last."""
    for path in {*paths.observed_files(Path(config[0]).stem)} - {path for path, _, _ in others}:
        yield f"@ file {path} absent"
    for path, text, mode in (config, *others):
        digest = hashlib.sha256(text.encode()).hexdigest()
        yield f"@ file {path} file {mode} root:root {len(text.encode())} {digest} {path}"
    yield f"@ texts {config[0]}"
    texts = "".join(text for _, text, _ in others) + wgconf.mask(config[1]) + "."
    yield base64.b64encode(texts.encode()).decode()


def _peer(peer: Peer) -> str:
    allowed = ",".join(map(str, peer.allowed_ips))
    return "\t".join(
        [peer.public_key, "-", peer.endpoint or "(none)", allowed, "0", str(peer.keepalive or "off")]
    )


def _saved(rules: list[Rule], policy: str | None) -> Iterator[str]:
    for table in sorted({rule.table for rule in rules} | {"filter"}):
        yield f"*{table}"
        own = [rule for rule in rules if rule.table == table]
        for chain in sorted({rule.chain for rule in own}):
            yield f":{chain} {policy or 'ACCEPT' if chain == 'FORWARD' else 'ACCEPT'} [0:0]"
        yield from (f"-A {rule.chain} {' '.join(rule.spec)}" for rule in own)
        yield "COMMIT"


def make(folder: Path, count: int) -> None:
    """Write inventory, settings, keys and the hosts' answers beside a copy of the deploy."""
    for part in PARTS:
        source = CHECKOUT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / part)
    (folder / "group_data").mkdir()
    (folder / "group_data" / "all.py").write_text(SETTINGS)
    inventory, answers = folder / "inventory.py", folder / "answers.json"
    inventory.write_text(INVENTORY.replace("COUNT", str(count)))
    answers.write_text("{}")
    reading = read(inventory)
    reading.unlock()
    reading.registry.ensure_hosts(host.name for host in reading.cluster().hosts)
    reading.registry.save()
    found = {}
    for number, host in enumerate(reading.plan().hosts):
        key = reading.registry.private_key(host.name).reveal()
        endpoint = str(IPv4Address("198.18.0.0") + (number // 250 * 256 + number % 250 + 1))
        found[host.name] = list(answer(host, key, endpoint))
    answers.write_text(json.dumps(found))


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]))
