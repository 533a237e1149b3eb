"""A Debian server as far as the deploy can tell: it keeps what is done to it and tells observe.sh of it.

Every command that an operation sends has to be one of those in ``_ANSWERS``; another one fails and is kept in
``unknown``, so that a new command cannot pass unnoticed.
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
from posixpath import dirname

from tests.support.fake.wireguard import Failed, Interface, hooks, public_key, sections

FILES = Path(__file__).parents[3] / "files"
LOCK = (FILES / "lock.sh").read_text() + "\n"
PACKAGES = {"wireguard-tools": {"wg", "wg-quick"}, "iptables": {"iptables", "ip6tables"}, "nginx": {"nginx"}}


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
        }
    )
    advertised: tuple[str, ...] = ()  # interfaces whose default route router advertisements brought
    tables: dict[str, dict[str, Chains]] = field(default_factory=lambda: {"iptables": {}, "ip6tables": {}})
    forward_policy: str = "ACCEPT"  # Docker makes it "DROP"
    policies: dict[str, str] = field(default_factory=dict)  # of FORWARD by program, where it was set since
    addresses: list[str] = field(default_factory=lambda: ["198.18.0.9"])
    routes: list[str] = field(default_factory=list)  # lines of ``ip route show``, none of WireGuard's
    nft: str = '{"nftables": []}'  # what it says of its rules, where it is installed
    ssh: str = ""  # SSH_CONNECTION
    lock: str = ""  # the run that holds it
    clock: int = 1_790_000_000  # seconds since the epoch
    cut_off: bool = False  # a replacement of nginx's files was
    nginx_age: int = 5  # seconds since nginx has read its files, which were changed 10 s ago
    nginx_error: str | None = None
    deaf_to: set[str] = field(default_factory=set)  # overlay addresses whose answers do not arrive
    odd: Callable[[list[str]], list[str]] | None = None  # what becomes of its answer to observe.sh
    fails: str = ""  # commands that hold this text fail
    commands: list[str] = field(default_factory=list)  # all that reached it, in order
    changes: list[str] = field(default_factory=list)  # those that are not the observation
    unknown: list[str] = field(default_factory=list)

    def run(self, command: str, stdin: str) -> tuple[bool, list[str], list[str]]:
        """One command: success, lines of standard output, lines of standard error."""
        from tests.support.fake.observation import answer

        self.commands.append(command)
        if (head := without(command, "observe.sh")) is not None:
            lines = answer(self, variables(head))
            return True, self.odd(lines) if self.odd is not None else lines, []
        if (head := without(command, "ping.sh")) is not None:
            targets = variables(head)["targets"].split()
            return True, [f"{target} {'no' if target in self.deaf_to else 'yes'}" for target in targets], []
        if (head := without(command, "lock.sh")) is not None:
            return True, self._lock(variables(head)), []
        if match := re.fullmatch(r"\(\n(.*)\n\) 2>&1 >/dev/null; true", command, re.DOTALL):
            command = match[1]
        held, _, command = command.rpartition(LOCK)
        self.changes.append(command)
        try:
            if held and variables(held)["run"] != self.lock:
                raise Failed("this run does not hold the host")
            self._change(command, stdin)
        except Failed as failure:
            return False, [], str(failure).splitlines()
        return True, [], []

    def _change(self, command: str, stdin: str) -> None:
        if self.fails and self.fails in command:
            raise Failed("Input/output error")
        if (head := without(command, "sync.sh")) is not None:
            return self._sync(variables(head))
        if (head := without(command, "nginx-replace.sh")) is not None:
            return None if variables(head)["undo"] else self._replace_sites(stdin)
        for pattern, act in _ANSWERS:
            if match := re.fullmatch(pattern, command, re.DOTALL):
                return act(self, match, stdin)
        self.unknown.append(command)
        raise Failed("sh: the model has no answer to this command")

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
        return {name: value for name, value in vars(self).items() if name not in ("commands", "clock")}

    def _lock(self, values: dict[str, str]) -> list[str]:
        if values["verb"] == "release":
            self.lock = ""
            return []
        came = {"": "taken", values["run"]: "kept"}.get(self.lock, "held")
        if came == "taken":
            self.lock = values["run"]
        return [f"{came} somebody"]

    # What the commands do.

    def _upload(self, match: re.Match[str], stdin: str) -> None:
        data = base64.b64decode(stdin, validate=True)
        assert hashlib.sha256(data).hexdigest() == match["digest"]
        folder = self.folders.get(match["folder"])
        self.folders.setdefault(match["folder"], folder or match["folder_mode"])
        self.files[match["path"]] = Entry(data, match["mode"])

    def _remove(self, match: re.Match[str], stdin: str) -> None:
        self.files.pop(match["path"], None)

    def _chmod_folder(self, match: re.Match[str], stdin: str) -> None:
        self.folders["/etc/wireguard"] = "700"

    def _modprobe(self, match: re.Match[str], stdin: str) -> None:
        if self.module == "missing":
            raise Failed("modprobe: FATAL: Module wireguard not found")
        self.module = "loaded"

    def _sysctl(self, match: re.Match[str], stdin: str) -> None:
        self._set_sysctl(match["key"], match["value"])

    def _set_sysctl(self, key: str, value: str) -> None:
        key = key if "/" in key else key.replace(".", "/")
        if key not in self.sysctls:
            raise Failed(f"sysctl: cannot stat /proc/sys/{key}: No such file or directory")
        self.sysctls[key] = value

    def _install(self, match: re.Match[str], stdin: str) -> None:
        for name in match["names"].split():
            if name not in PACKAGES:
                raise Failed(f"E: Unable to locate package {name}")
            self.tools |= PACKAGES[name]

    def _uninstall(self, match: re.Match[str], stdin: str) -> None:
        for name in match["names"].split():
            self.tools -= PACKAGES[name]

    def _restore(self, match: re.Match[str], stdin: str) -> None:
        """``iptables-restore --noflush``: a whole table or nothing of it."""
        tables = self.tables[match["tool"]]
        table, chains = "", Chains()
        for line in stdin.splitlines():
            if line.startswith("*"):
                table = line[1:]
                chains = {name: list(rules) for name, rules in tables.get(table, {}).items()}
            elif line == "COMMIT":
                tables[table] = chains
            elif line.startswith(":FORWARD "):
                self.policies[match["tool"]] = line.split(" ")[1]
            elif line.startswith("-D "):
                _, name, rule = line.split(" ", 2)
                if rule not in chains.get(name, []):
                    raise Failed(
                        f"iptables-restore: Bad rule (does a matching rule exist in that chain?): {line}"
                    )
                chains[name].remove(rule)
            else:
                _, name, place, rule = line.split(" ", 3)
                rules = chains.setdefault(name, [])
                if int(place) > len(rules) + 1:
                    raise Failed(f"iptables-restore: Index of insertion too big: {line}")
                rules.insert(int(place) - 1, rule)

    def _unit(self, match: re.Match[str], stdin: str) -> None:
        if match["stale"]:
            self._down(match["stale"])
        name, interface = match["unit"], match["interface"]
        match match["verb"].split()[0]:
            case "enable":
                if not name.startswith("wg-quick@") and self._template(name) not in self.files:
                    raise Failed(f"Failed to enable unit: Unit file {name} does not exist.")
                self.enabled.add(name)
            case "disable":  # always with --now
                self.enabled.discard(name)
                self._stop(name, interface)
            case "stop":
                self._stop(name, interface)
            case "restart":
                self._stop(name, interface)
                self._start(name, interface)

    @staticmethod
    def _template(unit: str) -> str:
        return "/etc/systemd/system/" + re.sub(r"@.*\.", "@.", unit)

    def _stop(self, unit: str, interface: str) -> None:
        self.active.discard(unit)
        if unit.startswith("wg-quick@"):
            self._down(interface)

    def _down(self, interface: str) -> None:
        self.links.pop(interface, None)
        self.sysctls.pop(f"net/ipv4/conf/{interface}/send_redirects", None)

    def _start(self, unit: str, interface: str) -> None:
        if "wg-quick" not in self.tools:
            raise Failed("Unit wg-quick@.service not found.")
        if self.module == "missing" and "wireguard-go" not in self.tools:
            raise Failed("RTNETLINK answers: Operation not supported")
        text = self.text(f"/etc/wireguard/{interface}.conf")
        self.links[interface] = Interface.start(text)
        self.sysctls[f"net/ipv4/conf/{interface}/send_redirects"] = "1"
        for hook in hooks(text, interface):
            words = shlex.split(hook)
            if words == ["/usr/local/sbin/wgcluster-firewall", interface, "||", ":"]:
                continue  # the rules are there already: netns/test_boot_script.py
            if words[:3] != ["sysctl", "-q", "-w"]:
                raise Failed(f"{hook}: command not found")
            self._set_sysctl(*words[3].split("="))
        self.active.add(unit)

    def _daemon_reload(self, match: re.Match[str], stdin: str) -> None:
        pass  # the model reads unit files when they are needed

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

    def _remove_boot_unit(self, match: re.Match[str], stdin: str) -> None:
        if not any(re.fullmatch(r"/etc/wgcluster/[^/]*\.rules", path) for path in self.files):
            for path in match["paths"].split():
                self.files.pop(path, None)

    def _remove_folders(self, match: re.Match[str], stdin: str) -> None:
        for path in match["paths"].split():
            if not any(dirname(name) == path for name in self.files):
                self.folders.pop(path, None)

    def _ping(self, match: re.Match[str], stdin: str) -> None:
        pass  # packets are the lab's part

    def _fail(self, match: re.Match[str], stdin: str) -> None:
        raise Failed(" ".join(shlex.split(match["words"])))


_TMP = r"(?P=path)\.wgcluster-\$\$"
_ANSWERS: list[tuple[str, Callable[[FakeHost, re.Match[str], str], None]]] = [
    (
        r"umask 077 && mkdir -p -m (?P<folder_mode>\d+) (?P<folder>\S+)"
        r" && base64 -d > (?P<path>\S+)\.wgcluster-\$\$"
        r" && \[ \"\$\(sha256sum < \S+\.wgcluster-\$\$\)\" = '(?P<digest>\w+)  -' \]"
        rf" && chmod (?P<mode>\d+) {_TMP} && mv -f {_TMP} (?P=path)"
        rf" \|\| \{{ rm -f {_TMP}; exit 1; \}}",
        FakeHost._upload,
    ),
    (r"rm -f (?P<path>\S+)", FakeHost._remove),
    (r"chmod 700 /etc/wireguard", FakeHost._chmod_folder),
    (r"modprobe wireguard", FakeHost._modprobe),
    (r"sysctl -q -w (?P<key>\S+)=(?P<value>\S+)", FakeHost._sysctl),
    (r"export DEBIAN_FRONTEND.* apt-get install \$options (?P<names>[\w -]+) \|\| .*", FakeHost._install),
    (r"dnf install -y (?P<names>[\w -]+)", FakeHost._install),
    (r"pacman -S --noconfirm --needed (?P<names>[\w -]+) \|\| .*", FakeHost._install),
    (r"apk add (?P<names>[\w -]+) \|\| .*", FakeHost._install),
    (r"DEBIAN_FRONTEND=\S+ apt-get remove .*Timeout=120 (?P<names>[\w -]+)", FakeHost._uninstall),
    (r"(?P<tool>ip6?tables(?:-nft|-legacy)?)-restore -w --noflush", FakeHost._restore),
    (r"systemctl daemon-reload", FakeHost._daemon_reload),
    (
        r"(?:wg-quick down (?P<stale>\S+); )?(?:since=\S+ \+%s\); )?"
        r"systemctl (?P<verb>enable -q|disable -q --now|stop|restart)"
        r" (?P<unit>[\w-]+@(?P<interface>\S+)\.service)(?: \|\| \{ journalctl .*; exit 1; \})?",
        FakeHost._unit,
    ),
    (
        r"ls /etc/wgcluster/\*\.rules >/dev/null 2>&1"
        r" \|\| \{ rm -f (?P<paths>[^;]+); systemctl daemon-reload; \}",
        FakeHost._remove_boot_unit,
    ),
    (r"rmdir --ignore-fail-on-non-empty (?P<paths>.+)", FakeHost._remove_folders),
    (r"printf '%s\\n' [0-9a-f.: ]+ \| xargs -n 1 -P 32 ping -n -q -c 1 -W 1", FakeHost._ping),
    (r"(?:echo|printf \S+) (?P<words>.*) >&2; exit 1", FakeHost._fail),
]


def without(command: str, script: str) -> str | None:
    """What a command sets before one of the scripts in files/; None if it does not end with that one."""
    text = (FILES / script).read_text()
    return command.removesuffix(text) if command.endswith(text) else None


def variables(head: str) -> dict[str, str]:
    """The values of ``name='value'`` lines, as a shell reads them."""
    return dict(word.split("=", 1) for word in shlex.split(head))
