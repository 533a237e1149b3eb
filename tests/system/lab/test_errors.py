"""A failed operation tells what failed where, and a program's own last words: no shell of ours, no secret."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from lab.lab import Lab
from lab.workspace import CHECKOUT, Workspace
from tests.support.lab.cluster import Cluster
from tests.support.lab.noise import NOISE, assert_heard

CONFIG = "WireGuard | Write /etc/wireguard/wg.conf"
UNIT = "WireGuard | Enable and start wg-quick@wg.service"
RULES = "Firewall | Set the rules"
NGINX = "nginx | Guard the sites that only the VPN may reach"
PACKAGES = "Packages | Install wireguard-tools"
SITE = "/etc/nginx/sites-available/gitlab"

DROP_IN = "/run/systemd/system/wg-quick@.service.d/broken.conf"
KEY = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="
# The unit says this, and wg-quick what it does.
BROKEN = f"""\
for n in 1 2 3 4 5 6 7 8; do echo "reason $n: \\033[31mred"; echo "[#] step $n"; done
echo "Key is not the correct length or format: {KEY}"
exit 3
"""
# What iptables-restore itself says of a chain that there is none of.
RESTORE = """#!/bin/sh
sed s/INPUT/NOWHERE/ | /usr/sbin/iptables-restore "$@"
"""

# which operation, on which host, how it comes to fail, how it is put right, and the words that tell why
FAULTS = [
    (
        "disk full",
        CONFIG,
        "cloud",
        "mount -t tmpfs -o size=4k,mode=700 tmpfs /etc/wireguard"
        " && head -c 4096 /dev/zero >/etc/wireguard/full",
        "umount /etc/wireguard",
        "No space left on device",
    ),
    (
        "read-only",
        CONFIG,
        "cloud",
        "echo >>/etc/wireguard/wg.conf && mount --bind /etc/wireguard /etc/wireguard"
        " && mount -o remount,bind,ro /etc/wireguard",
        "umount /etc/wireguard",
        "Read-only file system",
    ),
    (
        "a unit that does not start",
        UNIT,
        "cloud",
        f"systemctl stop wg-quick@wg && systemctl daemon-reload && test -e {DROP_IN}",
        f"rm {DROP_IN} && systemctl daemon-reload && systemctl reset-failed",
        r"reason 8: \x1b[31mred",
    ),
    (
        "a table that is refused",
        RULES,
        "cloud",
        "iptables -D INPUT -p udp -m udp --dport 51821 -m comment --comment wgcluster-wg -j ACCEPT"
        " && chmod 755 /usr/local/sbin/iptables-restore",
        "rm /usr/local/sbin/iptables-restore",
        "iptables-restore",
    ),
    (
        "a site that nginx refuses",
        NGINX,
        "root",
        "tar -C /etc -cpf /root/nginx.tar nginx"
        f" && sed -i /wgcluster/d {SITE} && rm -r /etc/nginx/snippets /etc/nginx/wgcluster"
        " && sed -i 's|/etc/nginx/modules-enabled/|/etc/nginx/*/|' /etc/nginx/nginx.conf && nginx -t",
        "rm -rf /etc/nginx && tar -C /etc -xpf /root/nginx.tar",
        '"allow" directive is not allowed here',
    ),
    (
        "a package that cannot be had",
        PACKAGES,
        "cloud",
        "systemctl stop wg-quick@wg && apt-get remove -qq wireguard-tools && mv /etc/apt /etc/apt.away"
        " && mkdir -p /etc/apt && mv /var/lib/apt/lists /var/lib/apt/lists.away",
        "rm -rf /etc/apt /var/lib/apt/lists && mv /etc/apt.away /etc/apt"
        " && mv /var/lib/apt/lists.away /var/lib/apt/lists",
        "E: Package 'wireguard-tools' has no installation candidate",
    ),
]


@pytest.fixture(scope="module")
def cluster(lab: Lab, workspace: Workspace) -> Iterator[Cluster]:
    cluster = Cluster(lab, workspace)
    cluster.clean_up()
    cluster.deploy()
    yield cluster
    cluster.deploy()  # all is right again


@pytest.mark.parametrize(
    ("operation", "name", "breaks", "mends", "why"), [row[1:] for row in FAULTS], ids=[r[0] for r in FAULTS]
)
def test_one_line_of_what_failed_and_its_last_words(
    cluster: Cluster, operation: str, name: str, breaks: str, mends: str, why: str
) -> None:
    host = cluster.lab[name]
    if DROP_IN in breaks:
        host.write("/run/broken", BROKEN)
        host.write(DROP_IN, "[Service]\nExecStartPre=/bin/sh /run/broken\n")
    if "/usr/local/sbin/iptables-restore" in breaks:
        host.write("/usr/local/sbin/iptables-restore", RESTORE)
    host.run(breaks, check=True)
    try:
        done = cluster.workspace.pyinfra("inventory.py", "deploy.py", "-y")
    finally:
        host.run(mends, check=True)
    assert done.returncode == 1
    err = done.stderr
    assert err.count(": failed") == 1
    told = re.findall(rf"^ *\[@docker/{name}\] +(.*)$", err, re.MULTILINE)
    begin = told.index(f"{operation}: failed")
    end = next(i for i, line in enumerate(told) if line.startswith("Error: executed"))
    words = told[begin + 1 : end]
    assert any(why in line for line in words), err
    assert 1 <= len(words) <= 5, words
    assert KEY not in err
    for line in our_shell():
        assert line not in err
    # the others had their part
    assert re.search(r"\[@docker/backup\].*No changes", err)
    cluster.deploy()


def our_shell() -> set[str]:
    """Lines of the scripts that are sent to hosts, as far as they are nobody else's words."""
    texts = [path.read_text() for path in (CHECKOUT / "files").glob("*.sh")]
    lines = {line.strip() for text in texts for line in text.splitlines()}
    return {line for line in lines if len(line) > 12} | {"base64 -d >", "umask 077", "&& mv -f", "|| {"}


@pytest.mark.parametrize("connector", ["@docker", "@local"])
def test_any_byte_comes_through_the_connectors(cluster: Cluster, connector: str) -> None:
    where = f"@docker/{cluster.lab['cloud'].identifier}" if connector == "@docker" else "@local"
    (cluster.workspace.folder / "noise.py").write_text(NOISE)
    assert_heard(cluster.workspace, where)
