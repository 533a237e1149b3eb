"""What each command of an operation does to the model of a host."""

from __future__ import annotations

import re
import shlex
from fnmatch import fnmatch
from posixpath import dirname

from tests.support.fake.host import Chains, Entry, FakeHost
from tests.support.fake.wireguard import Failed, Interface, hooks

_FORWARD = ["&&", "echo", "1", ">forwarding", "||", ":"]


def run_command(host: FakeHost, command: str, stdin: str) -> None:
    """As a shell runs it. Raises NotImplementedError for what no operation has sent so far."""
    steps, otherwise = _steps(command)
    try:
        for words in steps:
            _run(host, words, stdin)
    except Failed as failure:
        if not otherwise:
            raise
        try:
            for words in otherwise:
                _run(host, words, stdin)
        except Failed as last:
            raise Failed(f"{failure}\n{last}".strip()) from None


def _steps(command: str) -> tuple[list[list[str]], list[list[str]]]:
    """The words of each step, and of those that are taken where one fails: ``A && B; C || { D; E; }``."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=";&|<>")
    lexer.whitespace_split, lexer.commenters = True, ""
    found: tuple[list[list[str]], list[list[str]]] = ([], [])
    part, words = found[0], list[str]()
    for word in (*lexer, ";"):
        if word not in (";", "&&", "|", "||"):
            words.append(word)
            continue
        words = [one for one in words if one not in ("{", "}") and not re.match(r"\w+=", one)]
        if words:
            part.append(words)
        words = []
        part = found[1] if word == "||" else part
    return found


def _run(host: FakeHost, words: list[str], stdin: str) -> None:
    match words:
        case ["echo", *said, ">&", "2"] | ["printf", _, *said, ">&", "2"]:
            raise Failed(" ".join(said))  # "exit 1" comes next
        case ["umask" | "export" | "printf" | "xargs" | "journalctl" | "grep" | "+%s)", *_]:
            pass  # nothing of it is left on a host
        case ["exit", "1"]:
            raise Failed("")
        case ["chown", owner, path]:
            host.files[path].owner = owner
        case ["modprobe", "wireguard"]:
            if host.module == "missing":
                raise Failed("modprobe: FATAL: Module wireguard not found")
            host.module = "loaded"
        case ["echo", value, ">", path] if path.startswith("/proc/sys/"):
            _set_sysctl(host, path.removeprefix("/proc/sys/"), value)
        case [tool, "-w", "--noflush"] if re.fullmatch(r"ip6?tables(-nft|-legacy)?-restore", tool):
            _restore(host, tool.removesuffix("-restore"), stdin)
        case ["wg-quick", "down", interface]:
            _down(host, interface)
        case ["systemctl", verb, *options]:
            _systemctl(host, [verb, *options])
        case _:
            _files(host, words, stdin)


def _files(host: FakeHost, words: list[str], stdin: str) -> None:
    match words:
        case ["mkdir", "-p", "-m", mode, folder]:
            host.folders.setdefault(folder, mode)
        case ["cat", ">", path]:
            host.files[path] = Entry(stdin.encode())
        case ["[", seen, "=", digest, "]"]:
            path = seen.removeprefix("$(sha256sum < ").removesuffix(")")
            if digest != f"{host.files[path].digest}  -":
                raise Failed("")
        case ["chmod", mode, path]:
            if path in host.files:
                host.files[path].mode = mode
            else:
                host.folders[path] = mode
        case ["mv", "-f", path, target] | ["mv", "-f", path, target, "2", ">", "/dev/null"]:
            host.files[target] = host.files.pop(path)
        case ["rm", "-f", *paths]:
            for path in paths:
                host.files.pop(path, None)
        case ["rmdir", "--ignore-fail-on-non-empty", *paths]:
            for path in paths:
                if not any(dirname(name) == path for name in host.files):
                    host.folders.pop(path, None)
        case ["ls", pattern, ">", "/dev/null", "2", ">&", "1"]:
            wanted = [f"/etc/systemd/system/timers.target.wants/{unit}" for unit in host.enabled]
            if not any(fnmatch(path, pattern) for path in (*host.files, *wanted)):
                raise Failed("")
        case _:
            raise NotImplementedError(words)


def _set_sysctl(host: FakeHost, key: str, value: str) -> None:
    if key not in host.sysctls or host.read_only:
        why = "Read-only file system" if host.read_only else "Directory nonexistent"
        raise Failed(f"sh: 1: cannot create /proc/sys/{key}: {why}")
    host.sysctls[key] = value
    if key == "net/ipv4/ip_forward":  # sets those of all interfaces, too
        host.sysctls |= {
            one: value for one in host.sysctls if re.fullmatch(r"net/ipv4/conf/.*/forwarding", one)
        }


def _restore(host: FakeHost, tool: str, stdin: str) -> None:
    """``iptables-restore --noflush``: a whole table or nothing of it."""
    tables = host.tables[tool]
    table, chains = "", Chains()
    for line in stdin.splitlines():
        if line.startswith("*"):
            table = line[1:]
            chains = {name: list(rules) for name, rules in tables.get(table, {}).items()}
        elif line == "COMMIT":
            tables[table] = chains
        elif line.startswith(":FORWARD "):
            host.policies[tool] = line.split(" ")[1]
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


def _systemctl(host: FakeHost, words: list[str]) -> None:
    match words:
        case ["daemon-reload"]:
            pass  # the model reads unit files when they are needed
        case ["enable", "-q", unit]:
            template = "/etc/systemd/system/" + re.sub(r"@.*\.", "@.", unit)
            if not unit.startswith("wg-quick@") and template not in host.files:
                raise Failed(f"Failed to enable unit: Unit file {unit} does not exist.")
            host.enabled.add(unit)
        case ["enable", "-q", "--now", unit]:
            _systemctl(host, ["enable", "-q", unit])
            host.active.add(unit)
        case ["disable", "-q", "--now", unit]:
            host.enabled.discard(unit)
            _stop(host, unit)
        case ["stop", unit]:
            _stop(host, unit)
        case ["start", unit] if unit.startswith("wg-quick@"):
            _start(host, unit)
        case ["start", unit]:
            host.active.add(unit)  # the rules are there already: netns/test_boot_script.py
        case ["restart", unit]:
            _stop(host, unit)
            _start(host, unit)
        case _:
            raise NotImplementedError(words)


def _interface(unit: str) -> str:
    return unit.partition("@")[2].removesuffix(".service")


def _stop(host: FakeHost, unit: str) -> None:
    host.active.discard(unit)
    if unit.startswith("wg-quick@"):
        _down(host, _interface(unit))


def _down(host: FakeHost, interface: str) -> None:
    host.links.pop(interface, None)
    for name in ("send_redirects", "forwarding"):
        host.sysctls.pop(f"net/ipv4/conf/{interface}/{name}", None)


def _start(host: FakeHost, unit: str) -> None:
    interface = _interface(unit)
    if "wg-quick" not in host.tools:
        raise Failed("Unit wg-quick@.service not found.")
    if host.module == "missing" and "wireguard-go" not in host.tools:
        raise Failed("RTNETLINK answers: Operation not supported")
    text = host.text(f"/etc/wireguard/{interface}.conf")
    if host.idle:
        host.active.add(unit)
        return
    host.links[interface] = Interface.start(text)
    host.sysctls[f"net/ipv4/conf/{interface}/send_redirects"] = "1"
    host.sysctls[f"net/ipv4/conf/{interface}/forwarding"] = host.sysctls["net/ipv4/ip_forward"]
    for hook in hooks(text, interface):
        words = shlex.split(hook)
        if words == ["/usr/local/sbin/wgcluster-firewall", interface, "||", ":"]:
            continue  # the rules are there already: netns/test_boot_script.py
        if words == ["/usr/local/sbin/wgcluster-endpoints", interface, "||", ":"]:
            if words[0] not in host.files:
                raise Failed(f"{words[0]}: not found")
            continue
        if words != [*f"cd /proc/sys/net/ipv4/conf/{interface} && echo 0 >send_redirects".split(), *_FORWARD]:
            raise Failed(f"{hook}: command not found")
        if not host.read_only:
            _set_sysctl(host, f"net/ipv4/conf/{interface}/send_redirects", "0")
            _set_sysctl(host, f"net/ipv4/conf/{interface}/forwarding", "1")
    host.active.add(unit)
