"""What we say the files of sysctl.d make of forwarding and IPv6, held against systemd-sysctl itself."""

from __future__ import annotations

import random
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.net import Namespace, namespaces
from wgcluster.host.sysctl_order import Setting, ipv4_forwarding, ipv6_forwarding, ipv6_off

SYSTEMD_SYSCTL = Path("/lib/systemd/systemd-sysctl")
FOLDERS = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/lib/sysctl.d")
KEYS = (
    "net.ipv4.ip_forward",
    "net/ipv4/ip_forward",
    "net.ipv4.conf.all.forwarding",
    "net.ipv4.conf.*.forwarding",
    "net.ipv4.conf.w*.forwarding",
    "net.ipv4.conf.wg.forwarding",
    "net/ipv4/conf/wg/forwarding",
    "net.ipv6.conf.all.forwarding",
    "net.ipv6.conf.*.forwarding",
    "net.ipv6.conf.all.disable_ipv6",
    "net.ipv6.conf.default.disable_ipv6",
    "net.ipv6.conf.wg.disable_ipv6",
    "net.ipv6.conf.*.disable_ipv6",
)
LIVE = (
    "net/ipv4/ip_forward",
    "net/ipv4/conf/wg/forwarding",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/wg/disable_ipv6",
)


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    if not SYSTEMD_SYSCTL.exists():
        pytest.skip("systemd is not installed")
    with namespaces("sysctl") as (made,):
        yield made


def boot(namespace: Namespace, files: dict[str, Sequence[str]], folder: Path) -> list[str]:
    """The values of ``LIVE`` after a boot with these files, which are read again when wg comes, by udev."""
    off = [f"echo 0 >/proc/sys/{key}" for key in (*LIVE[::2], "net/ipv6/conf/all/disable_ipv6")]
    steps = ["ip link del wg 2>/dev/null; true", *off]
    for number, place in enumerate(FOLDERS):
        inside = folder / str(number)
        inside.mkdir()
        for path, lines in files.items():
            if path.startswith(f"{place}/"):
                (inside / Path(path).name).write_text("".join(f"{line}\n" for line in lines))
        steps.append(f"mkdir -p {place} && mount --bind {shlex.quote(str(inside))} {place}")
    run = f"{SYSTEMD_SYSCTL} 2>/dev/null"
    steps += [f"{run}; true", "ip link add wg type veth peer name peer"]
    prefixes = " ".join(f"--prefix=/net/ipv{family}/conf/wg" for family in (4, 6))
    steps += [f"{run} {prefixes}; true", f"cd /proc/sys && cat {' '.join(LIVE)}"]
    inner = " && ".join(f"{{ {step}; }}" for step in steps)
    return namespace.run("unshare", "-m", "sh", "-c", f"mount -t tmpfs none /run; {inner}").split()


def drawn(r: random.Random) -> dict[str, Sequence[str]]:
    files: dict[str, Sequence[str]] = {"/etc/sysctl.d/zz-wgcluster.conf": ["net.ipv4.ip_forward = 1"]}
    for name in r.sample(("10-a", "50-b", "99-sysctl", "zz-a", "zzz", "Z"), r.randrange(4)):
        for place in r.sample(FOLDERS, r.randrange(1, 3)):
            lines = []
            for _ in range(r.randrange(4)):
                mark, value = r.choice(("", "", "-", "#", ";")), r.choice(("= 0", "=1", " =  0 ", "= 1"))
                key = r.choice(KEYS)
                lines.append(f"-{key}" if "*" not in key and r.random() < 0.1 else f"{mark}{key} {value}")
            files[f"{place}/{name}.conf"] = lines
    return dict(r.sample(list(files.items()), len(files)))


def decided(found: Sequence[Setting], otherwise: str) -> str:
    return found[-1].value if found else otherwise


@pytest.mark.parametrize("seed", range(120))
def test_the_last_file_by_name_decides(namespace: Namespace, tmp_path: Path, seed: int) -> None:
    files = drawn(random.Random(seed))
    four, of_wg, six, off = boot(namespace, files, tmp_path)
    of_all, *own = ipv4_forwarding(files, "wg")  # our file is among them
    assert of_all.value == four, files
    assert decided(own, of_wg) == of_wg, files
    assert decided(ipv6_forwarding(files), "0") == six, files
    assert decided(ipv6_off(files, "wg"), "0") == off, files
