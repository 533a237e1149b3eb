"""A site on a real host, deployed to over and over: one server with nginx, and a stranger who asks it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.host import Host
from lab.lab import Lab
from lab.spec import SITE, article
from lab.workspace import Workspace

FILE = "/etc/nginx/sites-available/gitlab"
LINK = "/etc/nginx/sites-enabled/gitlab"
ACME = "/.well-known/acme-challenge"
WEBROOT = "/var/www/letsencrypt"
INSIDE = "10.0.0.2"  # root's own address in the tunnel: what root asks itself there comes from the VPN

Entry = Mapping[str, Any]
GITLAB: Entry = {"file": FILE, "server_name": SITE, "locations": ["/"], "public": [ACME]}

_INVENTORY = """\
servers = [("@docker/root", {data!r})]
gateways = ["@docker/root"]
"""
_SNAPSHOT = (
    r"cd /etc/nginx && find . -printf '%p %y %m %u:%g %l\n' | sort && find . -type f | sort | xargs sha256sum"
)


@dataclass
class Web:
    """Root with its nginx, the stranger, and what the operator says of them."""

    lab: Lab
    workspace: Workspace

    @property
    def root(self) -> Host:
        return self.lab["root"]

    @property
    def stranger(self) -> Host:
        return self.lab["stranger"]

    def want(self, *sites: Entry) -> None:
        """Write the inventory: root alone, with these entries of ``nginx_vpn_only``."""
        data = {
            "docker_identifier": self.root.identifier,
            "wg_address": INSIDE,
            "wg_endpoint": self.root.address,
            "nginx_vpn_only": [dict(site) for site in sites],
        }
        (self.workspace.folder / "inventory.py").write_text(_INVENTORY.format(data=data))

    def deploy(self, *sites: Entry) -> str:
        """Deploy with these entries; asserts that it succeeds; all it printed."""
        self.want(*sites)
        return self._pyinfra("deploy.py", succeeds=True)

    def refused(self, *sites: Entry, script: str = "deploy.py") -> str:
        """Deploy with these entries; asserts that it fails and /etc/nginx stays as it is; all it printed."""
        self.want(*sites)
        with self.untouched():
            return self._pyinfra(script, succeeds=False)

    def verify(self, *, succeeds: bool = True) -> str:
        return self._pyinfra("verify.py", succeeds=succeeds)

    def teardown(self) -> str:
        return self._pyinfra("teardown.py", succeeds=True)

    def _pyinfra(self, script: str, *, succeeds: bool) -> str:
        done = self.workspace.pyinfra("inventory.py", script, "-y")
        output = done.stdout + done.stderr
        assert (done.returncode == 0) is succeeds, output
        assert "Traceback" not in output, output
        return output

    def put(self, text: str, path: str = FILE) -> None:
        """Make this the text of a site file, bytes, owner and mode aside, and have nginx read it."""
        self.root.write(path, text)
        self.reload()

    def reload(self) -> None:
        """Have nginx read its files, and wait until the workers that know the old ones are gone."""
        workers = "for old in $(pgrep -P $(cat /run/nginx.pid))"
        wait = f"{workers}; do timeout 5 tail -s 0.05 --pid=$old -f /dev/null & done"
        self.root.run(f"nginx -t -q && {wait}; nginx -s reload && wait", check=True)

    def snapshot(self) -> str:
        """Every path in /etc/nginx with its kind, mode, owner and target, and every file's digest."""
        return self.root.run(_SNAPSHOT, check=True).stdout

    @contextmanager
    def untouched(self) -> Iterator[None]:
        before = self.snapshot()
        yield
        assert self.snapshot() == before

    def outside(self, path: str = "/", *, scheme: str = "http", v6: bool = False) -> str:
        """The status that the stranger gets."""
        address = f"[{self.root.address6}]" if v6 else self.root.address
        return self._status(self.stranger, address, path, scheme)

    def inside(self, path: str = "/", *, scheme: str = "http") -> str:
        """The status that a client in the VPN gets."""
        return self._status(self.root, INSIDE, path, scheme)

    def _status(self, host: Host, address: str, path: str, scheme: str) -> str:
        port = {"http": 80, "https": 443}[scheme]
        # one word a request: what nginx is asked is the path as it stands here
        url = shlex.quote(f"{scheme}://{SITE}{path}")
        command = f"curl -sk -m 20 -o /dev/null -w '%{{http_code}}' --resolve {SITE}:{port}:{address} {url}"
        return host.run(command).stdout


def web(prefix: str, folder: Path, passphrase: str) -> Iterator[Web]:
    """A lab of root and the stranger, deployed once with no site guarded; goes at the end."""
    lab = Lab([spec for spec in article() if spec.name in ("root", "stranger")], prefix=prefix, subnet="free")
    lab.down()
    try:
        made = Web(lab.up(), Workspace.make(lab, folder, {"WGCLUSTER_PASSPHRASE": passphrase}))
        made.deploy()
        yield made
    finally:
        lab.down()
