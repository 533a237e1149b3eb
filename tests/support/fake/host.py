"""A Debian server as far as the deploy can tell: it keeps what is done to it and tells observe.sh of it.

What a command does to it stands in ``commands``. One that is not there fails and is kept in ``unknown``, so
that a new command cannot pass unnoticed.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path

from tasks.scripts import COMMAND, MARK, QUESTION, REMOTE
from tests.support.fake.wireguard import Failed, Interface, public_key, sections

PROGRAMS = {"wireguard-tools": {"wg", "wg-quick"}, "iptables": {"iptables", "ip6tables"}}
FILES = Path(__file__).parents[3] / "files"
LOCK = (FILES / "lock.sh").read_text() + "\n"


@dataclass
class Entry:
    """One file, or a link to one."""

    data: bytes = b""
    mode: str = "644"
    owner: str = "root:root"
    link: str | None = None  # where it points

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


Chains = dict[str, list[str]]  # rules without "-A CHAIN", by chain


@dataclass
class FakeHost:
    """A host; the defaults are a fresh one without WireGuard."""

    tools: set[str] = field(default_factory=lambda: {"apt-get", "systemctl", "iptables", "ip6tables"})
    user: int = 0  # as whom commands run
    module: str = "available"  # "loaded", "available", "missing"
    container: bool = False
    files: dict[str, Entry] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)  # mode by path, of those that come and go
    enabled: set[str] = field(default_factory=set)
    active: set[str] = field(default_factory=set)
    links: dict[str, Interface] = field(default_factory=dict)
    sysctls: dict[str, str] = field(
        default_factory=lambda: {
            "net/ipv4/ip_forward": "0",
            "net/ipv6/conf/all/forwarding": "0",
            "net/ipv4/conf/all/send_redirects": "1",
            "net/ipv6/conf/all/disable_ipv6": "0",
            "net/ipv6/conf/default/disable_ipv6": "0",
        }
    )
    read_only: bool = False  # /proc/sys
    bound: dict[int, str] = field(default_factory=dict)  # programs by the UDP port that they have
    sends_from: dict[str, str] = field(default_factory=dict)  # by destination, where ``route get`` tells
    advertised: tuple[str, ...] = ()  # interfaces whose default route router advertisements brought
    tables: dict[str, dict[str, Chains]] = field(default_factory=lambda: {"iptables": {}, "ip6tables": {}})
    forward_policy: str = "ACCEPT"  # Docker makes it "DROP"
    policies: dict[str, str] = field(default_factory=dict)  # of FORWARD by program, where it was set since
    addresses: list[str] = field(default_factory=lambda: ["198.18.0.9"])
    routes: list[str] = field(
        default_factory=list
    )  # lines of ``ip route show table all``, none of WireGuard's
    policy: list[str] = field(  # lines of ``ip rule show``, the same in both families
        default_factory=lambda: ["0:\tfrom all lookup local", "32766:\tfrom all lookup main"]
    )
    nft: str = '{"nftables": []}'  # what it says of its rules, where it is installed
    ssh: str = ""  # SSH_CONNECTION
    lock: str = ""  # the run that holds it
    clock: int = 1_790_000_000  # seconds since the epoch
    cut_off: bool = False  # a replacement of nginx's files was
    nginx_age: int = 5  # seconds since nginx has read its files, which were changed 10 s ago
    nginx_error: str | None = None
    idle: bool = False  # wg-quick does nothing, without an error
    ghosts: set[str] = field(default_factory=set)  # packages that are installed without their programs
    unknown_names: set[str] = field(default_factory=set)  # of DNS
    deaf_to: set[str] = field(default_factory=set)  # overlay addresses whose answers do not arrive
    hears: set[str] = field(default_factory=set)  # addresses that answer against the plan
    path_mtu: int = 9000  # bytes, of packets within the tunnel
    odd: Callable[[list[str]], list[str]] | None = None  # what becomes of its answer to observe.sh
    fails: str = ""  # commands that hold this text fail
    noise: list[str] = field(default_factory=list)  # what its login shell prints, before and after
    arguments: set[str] = field(default_factory=set)  # of the processes that pyinfra started
    commands: list[str] = field(default_factory=list)  # all scripts that reached it, in order
    changes: list[str] = field(default_factory=list)  # those that are not the observation
    unknown: list[str] = field(default_factory=list)

    def send(self, command: str, stdin: str) -> tuple[bool, list[str], list[str]]:
        """As its login shell runs one command: success, lines of standard output, lines of standard error."""
        self.arguments.add(command)
        assert command == REMOTE
        text = base64.b64decode(stdin, validate=True).decode("utf-8", "surrogateescape")
        for head, tail in (COMMAND, QUESTION):
            if text.startswith(head) and text.endswith(tail):
                break
        else:
            raise AssertionError(text)
        data, text = _input(text.removeprefix(head).removesuffix(tail))
        done, out, err = self.run(text, data)
        if head == QUESTION[0]:
            return (
                True,
                [*self.noise, "", MARK, *out, f"{MARK} {int(not done)}", *err, *self.noise],
                self.noise,
            )
        out = [*self.noise, "", MARK, *out, MARK, *self.noise]
        return done, out, [*self.noise, "", MARK, *err, MARK, *self.noise]

    def run(self, command: str, stdin: str) -> tuple[bool, list[str], list[str]]:
        """One script: success, lines of standard output, lines of standard error."""
        from tests.support.fake.observation import answer

        self.commands.append(command)
        if (head := without(command, "observe.sh")) is not None:
            if self.fails and self.fails in command:
                return False, [], ["Input/output error"]
            lines = answer(self, variables(head))
            return True, self.odd(lines) if self.odd is not None else lines, []
        if (head := without(command, "ping.sh")) is not None:
            return True, [self._pinged(target) for target in variables(head)["targets"].split()], []
        if (head := without(command, "connect.sh")) is not None:
            targets = variables(head)["targets"].split()
            return True, ["no" if target in self.deaf_to else "yes" for target in targets], []
        if (head := without(command, "lock.sh")) is not None:
            return True, self._lock(variables(head)), []
        command = command.removeprefix("(\n").removesuffix("\n) 2>&1 >/dev/null; true")
        held, _, command = command.rpartition(LOCK)
        self.changes.append(command)
        try:
            if held and variables(held)["run"] != self.lock:
                raise Failed("this run does not hold the host")
            self._change(command, stdin)
        except Failed as failure:
            return False, [], str(failure).splitlines()
        return True, [], []

    def _pinged(self, target: str) -> str:
        address, *sizes = target.removeprefix("!").split("=")
        if address in self.deaf_to or (target.startswith("!") and address not in self.hears):
            return f"{address} no"
        passes = [str(min(int(sizes[-1]), self.path_mtu))] if sizes else []
        return " ".join([address, "yes", *passes])

    def _change(self, command: str, stdin: str) -> None:
        if self.fails and self.fails in command:
            raise Failed("Input/output error")
        if (head := without(command, "sync.sh")) is not None:
            return self._sync(variables(head))
        if (head := without(command, "nginx-replace.sh")) is not None:
            return None if variables(head)["undo"] else self._replace_sites(stdin)
        if (head := without(command, "packages.sh")) is not None:
            return self._packages(variables(head))
        from tests.support.fake.commands import run_command

        try:
            run_command(self, command, stdin)
        except NotImplementedError:
            self.unknown.append(command)
            raise Failed("sh: the model has no answer to this command") from None

    def write(self, path: str, text: str, mode: str = "644") -> None:
        self.files[path] = Entry(text.encode(), mode)

    def real(self, path: str) -> str:
        """The path behind a link."""
        entry = self.files.get(path)
        return self.real(entry.link) if entry is not None and entry.link is not None else path

    def text(self, path: str) -> str:
        return self.files[self.real(path)].data.decode("utf-8", "surrogateescape")

    def there(self) -> dict[str, object]:
        """All that a change would change."""
        return {
            name: value
            for name, value in vars(self).items()
            if name not in ("commands", "arguments", "clock")
        }

    def _lock(self, values: dict[str, str]) -> list[str]:
        if values["verb"] == "release":
            self.lock = ""
            return []
        came = {"": "taken", values["run"]: "kept"}.get(self.lock, "held")
        if came == "taken":
            self.lock = values["run"]
        return [f"{came} somebody"]

    # The scripts of files/ that change a host.

    def _packages(self, values: dict[str, str]) -> None:
        if values["manager"] not in self.tools:
            raise Failed(f"{values['manager']}: not found")
        record = self.files.get("/etc/wgcluster/packages", Entry()).data.decode()
        for name in values["names"].split():
            if values["verb"] == "remove":
                self.tools -= PROGRAMS[name]
            elif name not in self.ghosts:
                self.tools |= PROGRAMS[name]
                record += f"{name}\n"
        if values["verb"] == "install" and record:
            self.write("/etc/wgcluster/packages", record)

    def _sync(self, values: dict[str, str]) -> None:
        link = self.links.get(values["interface"])
        text = self.text(f"/etc/wireguard/{values['interface']}.conf")
        found = sections(text)
        key = next(v["PrivateKey"][0] for name, v in found if name == "Interface")
        count = sum(name == "Peer" for name, _ in found)
        if link is None or public_key(key) != values["public_key"] or count != int(values["peers"]):
            raise Failed("nothing was synced")
        if values["whole"]:
            link.sync(text)
        else:
            every = [one["PublicKey"][0] for name, one in found if name == "Peer"]
            link.add(text, every if values["only"] == "*" else values["only"].split())
        for peer in values["gone"].split():
            link.remove_peer(peer)
        for peer in values["unshared"].split():
            link.set_peer(peer, "preshared-key", "/dev/null")
        for peer in values["unkept"].split():
            link.set_peer(peer, "persistent-keepalive", "0")
        for peer in values["anew"].split():
            link.remove_peer(peer)
        link.add(text, values["anew"].split())
        for line in filter(None, values["missing"].splitlines()):
            if ip_network(line) not in link.routes:
                link.routes.append(ip_network(line))
        for line in filter(None, values["surplus"].splitlines()):
            link.routes.remove(ip_network(line))

    def _replace_sites(self, stdin: str) -> None:
        rows = [line.split(" ") for line in stdin.splitlines()]
        for path, digest, _ in rows:
            now = self.files[path].digest if path in self.files else "absent"
            if digest not in ("-", now):
                raise Failed(f"{path} was changed by someone else since it was read; run again")
        self.folders.setdefault("/etc/nginx/wgcluster", "755")
        for path, _, data in rows:
            if data == "-":
                self.files.pop(path, None)
                continue
            old = self.files.get(path, Entry())
            self.files[path] = Entry(base64.b64decode(data, validate=True), old.mode, old.owner)
        self.cut_off, self.nginx_age = False, 5


def _input(text: str) -> tuple[str, str]:
    """What a script is given to read, and the script."""
    found = re.fullmatch(r"echo (\S*) \| base64 -d \| \{\n(.*)\n\}", text, re.DOTALL)
    return (base64.b64decode(found[1], validate=True).decode(), found[2]) if found else ("", text)


def without(command: str, script: str) -> str | None:
    """What a command sets before one of the scripts in files/; None if it does not end with that one."""
    text = (FILES / script).read_text()
    return command.removesuffix(text) if command.endswith(text) else None


def variables(head: str) -> dict[str, str]:
    """The values of ``name='value'`` lines, as a shell reads them."""
    return dict(word.split("=", 1) for word in shlex.split(head))
