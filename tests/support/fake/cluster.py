"""A cluster of model hosts and the folder that an operator would work in."""

from __future__ import annotations

import atexit
import copy
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.support.fake.forkserver import Answer, Request
from tests.support.fake.host import Entry, FakeHost
from wgcluster.inventory.cluster import Client
from wgcluster.keys import registry as keystore
from wgcluster.keys.registry import Registry
from wgcluster.keys.seal import Cost
from wgcluster.keys.secret import Secret

CHECKOUT = Path(__file__).parents[3]
PASSPHRASE = "correct horse battery staple"
Rows = dict[str, dict[str, Any]]  # host data by host name


class ForkServer:
    """The process that runs pyinfra."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.fake.forkserver"],
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), "PYINFRA_PROGRESS": "off"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def run(self, request: Request) -> Answer:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        pickle.dump(request, self.process.stdin)
        self.process.stdin.flush()
        answer = pickle.load(self.process.stdout)
        assert isinstance(answer, Answer)
        return answer

    def close(self) -> None:
        self.process.communicate(timeout=10)


@cache
def server() -> ForkServer:
    """One for all tests of a worker."""
    server = ForkServer()
    atexit.register(server.close)
    return server


@dataclass
class FakeCluster:
    """``run`` is ``pyinfra inventory.py …`` in ``folder``; ``hosts`` is how it left the hosts."""

    folder: Path
    rows: Rows
    shared: dict[str, Any]
    hosts: dict[str, FakeHost] = field(default_factory=dict)
    env: dict[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for part in ("tasks", "wgcluster", "files", "deploy.py", "verify.py", "teardown.py"):
            (self.folder / part).symlink_to(CHECKOUT / part)
        for name in self.rows:
            self.hosts.setdefault(name, FakeHost())

    @property
    def keystore(self) -> Path:
        return self.folder / "keys.yml"

    def write(self) -> None:
        """The operator's files, as ``rows`` and ``shared`` say."""
        servers = [(f"@fake/{name}", data) for name, data in self.rows.items()]
        (self.folder / "inventory.py").write_text(f"servers = {servers!r}\n")
        (self.folder / "group_data").mkdir(exist_ok=True)
        lines = [f"{key} = {value!r}\n" for key, value in self.shared.items()]
        (self.folder / "group_data" / "all.py").write_text("".join(lines))

    def environment(self) -> dict[str, str | None]:
        return {"WGCLUSTER_PASSPHRASE": PASSPHRASE, "WGCLUSTER_PASSPHRASE_FILE": None, **self.env}

    def run(self, *arguments: str, unreachable: tuple[str, ...] = ()) -> Answer:
        self.write()
        request = Request(
            self.folder, ("inventory.py", *arguments), self.hosts, self.environment(), unreachable
        )
        answer = server().run(request)
        self.hosts = answer.hosts
        unknown = [command[:300] for host in self.hosts.values() for command in host.unknown]
        assert not unknown, unknown
        return answer

    def deploy(self, *options: str) -> Answer:
        """A real run; asserts that it succeeds."""
        answer = self.run("deploy.py", "-y", *options)
        assert answer.code == 0, answer.err
        return answer

    def pyinfra(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command itself, in a process of its own; its @fake hosts have nothing behind them."""
        self.write()
        env: Mapping[str, str | None] = {**os.environ, "PYINFRA_FAKE_DELAY": "0", **self.environment()}
        return subprocess.run(
            [sys.executable, "-m", "pyinfra", "inventory.py", *arguments],
            cwd=self.folder,
            env={name: value for name, value in env.items() if value is not None},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def registry(self) -> Registry:
        registry = Registry.load(self.keystore)
        with patch.object(keystore, "COST", Cost(2**15, 1)):  # the least that is read
            registry.unlock(Secret(PASSPHRASE))
        return registry

    def add_clients(self, *clients: Client) -> None:
        """As ``python -m wgcluster client add`` does."""
        registry = self.registry()
        for client in clients:
            registry.add_client(client.name, client.addresses, client.gateway)
        registry.save()

    def before(self) -> dict[str, FakeHost]:
        """A copy of all hosts, for a comparison later."""
        return copy.deepcopy(self.hosts)

    def forget(self) -> None:
        """From here on, what reaches the hosts counts."""
        for host in self.hosts.values():
            host.commands.clear()
            host.changes.clear()

    def changes(self) -> list[str]:
        """Commands beyond the observation that reached any host."""
        return [command for host in self.hosts.values() for command in host.changes]


LAPTOP = Client("laptop", (ip_address("10.0.0.100"),))

SITE = """\
# GitLab; written by hand
server {
    listen 80;
    server_name   git.example.org;

    location / {
        proxy_pass http://127.0.0.1:8080;
    }
    location /.well-known/acme-challenge {
        root /var/www/letsencrypt;
    }
}
"""
SITE_PATH = "/etc/nginx/sites-available/gitlab"
GUARD = {
    "file": SITE_PATH,
    "server_name": "git.example.org",
    "locations": ["/"],
    "public": ["/.well-known/acme-challenge"],
}


def with_nginx(host: FakeHost, site: str = SITE) -> FakeHost:
    host.tools.add("nginx")
    host.active.add("nginx.service")
    host.write("/etc/nginx/nginx.conf", "events {}\nhttp { include /etc/nginx/sites-enabled/*; }\n")
    host.write(SITE_PATH, site)
    host.files["/etc/nginx/sites-enabled/gitlab"] = Entry(link=SITE_PATH)
    return host


def article(folder: Path) -> FakeCluster:
    """The article's three servers on addresses of the lab's range."""
    rows: Rows = {
        "root": {
            "wg_address": "10.0.0.2",
            "wg_endpoint": "198.18.1.2",
            "wg_gateway": True,
            "wg_masquerade": True,
            "nginx_vpn_only": [copy.deepcopy(GUARD)],
        },
        "cloud": {"wg_address": "10.0.0.3", "wg_endpoint": "198.18.2.2", "wg_port": 51821},
        "backup": {"wg_address": "10.0.0.4"},
    }
    shared = {"wg_networks": ["10.0.0.0/24"], "wg_topology": "mesh", "firewall": "peers"}
    docker = ["-j DOCKER-USER", "-j REJECT --reject-with icmp-host-prohibited"]
    hosts = {
        "root": with_nginx(FakeHost(addresses=["198.18.1.2"], module="loaded")),
        "cloud": FakeHost(addresses=["198.18.2.2"]),
        "backup": FakeHost(addresses=["192.168.9.2"], tools={"apt-get", "systemctl"}),
    }
    hosts["root"].tables["iptables"] = {"filter": {"INPUT": [], "FORWARD": docker, "DOCKER-USER": []}}
    return FakeCluster(folder, rows, shared, hosts)


def json_of(answer: Answer) -> Any:
    return json.loads(answer.out)


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and mode of what lies in the operator's folder."""
    return {
        entry.name: (Path(entry).read_bytes(), entry.stat().st_mode)
        for entry in os.scandir(folder)
        if entry.is_file(follow_symlinks=False)
    }
