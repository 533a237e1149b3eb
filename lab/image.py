"""The image of the lab's hosts: a system from Debian packages alone, and the laptop's on top of it.

Built by mmdebstrap from the sources of the machine's own apt, so that no image registry is needed; a
machine that is neither Debian nor Ubuntu takes ``debian:bookworm``, if that image is at hand.
wireguard-tools is not installed on servers, that is the deploy's task; its package lies in apt's cache, as
does iptables-persistent's.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from docker import DockerClient
from docker.errors import APIError, ImageNotFound

from lab.errors import LabError

STATE = Path(__file__).parent / ".state"
SERVER = "wgcluster-lab"
CLIENT = "wgcluster-lab-client"
PACKAGES = [
    *("systemd", "systemd-sysv", "dbus", "sudo", "openssh-server", "kmod", "procps", "python3-minimal"),
    *("iproute2", "iptables", "iputils-ping", "curl", "ca-certificates", "openssl", "nginx-light"),
    "wireguard-go",  # wg-quick takes it where the kernel has no wireguard
    "inotify-tools",  # the tests watch /tmp with it
    *("nftables", "ufw", "firewalld"),  # none of them runs, unless a test starts it
    *("fish", "tcsh"),  # login shells that are not POSIX
]
# Run inside the new system. What a host of the lab runs, its HostSpec says; timers would hold apt's lock.
_FINISH = """\
set -eu
systemctl disable nginx.service ssh.service ufw.service firewalld.service
systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer getty@tty1.service systemd-pstore.service
rm -f /etc/nginx/sites-enabled/default
echo 'APT::Install-Recommends "false";' > /etc/apt/apt.conf.d/80lab
useradd --gid operator --create-home --shell /bin/bash operator
echo 'operator ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/operator
chmod 0440 /etc/sudoers.d/operator
apt-get clean
apt-get install --download-only --yes wireguard-tools
# ufw and iptables-persistent exclude each other
apt-get install --download-only --yes iptables-persistent
apt-cache gencaches
"""
_KEEP_SMALL = [f"path-exclude=/usr/share/{part}/*" for part in ("doc", "man", "locale", "info")]

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Source:
    """One line of apt: where it fetches a suite from."""

    uri: str
    suite: str
    components: tuple[str, ...]

    @property
    def line(self) -> str:
        return f"deb {self.uri} {self.suite} {' '.join(self.components)}"


def system() -> tuple[str, str]:
    """Name and suite of this machine's distribution, ("debian", "bookworm"); ("", "") if it is neither
    Debian nor Ubuntu."""
    release = Path("/etc/os-release")
    lines = release.read_text().splitlines() if release.exists() else []
    fields = {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}
    if fields.get("ID") not in ("debian", "ubuntu") or not shutil.which("apt-get"):
        return "", ""
    return fields["ID"], fields.get("VERSION_CODENAME", "")


def sources() -> list[Source]:
    """The distribution's own sources as this machine's apt has them: no third party's, main (on Ubuntu
    universe too), without -proposed and -backports."""
    name, suite = system()
    if not suite:
        return []
    wanted = {"debian": {"main"}, "ubuntu": {"main", "universe"}}[name]
    listed = subprocess.run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(CREATED_BY) $(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)",
        ],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    components: dict[tuple[str, str], set[str]] = {}
    for line in listed.splitlines():
        created_by, uri, release, component, *origin = line.split(" ")
        # Origin comes from the fetched lists; before the first `apt-get update` the path has to tell
        ours = origin[0].lower() == name if origin and origin[0] else f"/{name}" in urlsplit(uri).path
        updates = release in (suite, f"{suite}-updates", f"{suite}-security")
        if created_by == "Packages" and ours and updates and component in wanted:
            components.setdefault((uri, release), set()).add(component)
    found = [Source(uri, release, tuple(sorted(parts))) for (uri, release), parts in components.items()]
    if not any(source.suite == suite for source in found):
        raise LabError(f"apt knows no source of {name} {suite} main; mend /etc/apt/sources.list*")
    return found


def mirrors() -> list[str]:
    """The host names of this machine's package mirrors; none where it is not Debian or Ubuntu."""
    return sorted({host for source in sources() if (host := urlsplit(source.uri).hostname)})


def tag() -> str:
    """A hash of all that goes into the image, so that a changed recipe is built anew."""
    recipe = [*PACKAGES, _FINISH, *_KEEP_SMALL, *(source.line for source in sources())]
    return hashlib.sha256("\n".join(recipe).encode()).hexdigest()[:12]


def ensure(client: DockerClient, say: Say) -> tuple[str, str]:
    """Build what is missing; the names of the server's and the laptop's image.

    Raises:
        LabError: the image cannot be built here; says what to install.
    """
    with _lock():  # test workers begin at the same time
        version = tag()
        server, laptop = f"{SERVER}:{version}", f"{CLIENT}:{version}"
        if not _there(client, server):
            _build_server(client, version, say)
        if not _there(client, laptop):
            say(f"building the image {laptop}")
            _derive(client, server, laptop, "apt-get install --yes --no-download wireguard-tools")
        return server, laptop


def remove(client: DockerClient, say: Say) -> None:
    """Take away every image of the lab that no container uses."""
    for name in (CLIENT, SERVER):
        for image in client.images.list(name=name):
            for label in image.tags:
                try:
                    client.images.remove(label)
                    say(f"removed the image {label}")
                except APIError as error:
                    in_use = error.status_code == 409  # docs.docker.com/reference/api/engine, ImageDelete
                    say(f"kept the image {label}: {'another lab uses it' if in_use else error.explanation}")


def _there(client: DockerClient, name: str) -> bool:
    try:
        client.images.get(name)
    except ImageNotFound:
        return False
    return True


def _build_server(client: DockerClient, version: str, say: Say) -> None:
    name, suite = system()
    if suite and not shutil.which("mmdebstrap"):
        say("installing mmdebstrap by apt, to build the lab's image")
        as_root(
            ["apt-get", "update", "--quiet=2"], check=False
        )  # an unreachable third party is no reason to stop
        as_root(["apt-get", "install", "--yes", "--quiet=2", "mmdebstrap"])
    if suite:
        say(f"building the image {SERVER}:{version} from packages of {name} {suite} (about a minute)")
        _bootstrap(client, suite, version)
    elif _there(client, "debian:bookworm"):
        say(f"building the image {SERVER}:{version} on debian:bookworm")
        install = f"export DEBIAN_FRONTEND=noninteractive; apt-get update && apt-get install --yes \
            --no-install-recommends {' '.join(PACKAGES)}"
        _derive(client, "debian:bookworm", f"{SERVER}:{version}", f"{install}\n{_FINISH}")
    else:
        raise LabError(
            "the lab's image is built by mmdebstrap on Debian or Ubuntu; elsewhere it needs the image "
            "debian:bookworm: docker pull debian:bookworm"
        )


def _bootstrap(client: DockerClient, suite: str, version: str) -> None:
    STATE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=STATE) as folder:
        root = Path(folder, "root.tar")
        proxy = [f"--aptopt={line}" for line in _apt_proxy()]
        command = [
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            f"--include={','.join(PACKAGES)}",
            '--aptopt=APT::Install-Recommends "false"',
            *proxy,
            *(f"--dpkgopt={option}" for option in _KEEP_SMALL),
            "--skip=cleanup/apt",  # the lists and wireguard-tools' package stay
            f'--customize-hook=chroot "$1" sh -c {shlex.quote(_FINISH)}',
            suite,
            str(root),
            *(source.line for source in sources()),
        ]
        as_root(command)
        client.api.import_image_from_file(str(root), repository=SERVER, tag=version)
        if os.geteuid() != 0:
            as_root(["rm", "-f", str(root)])


def _derive(client: DockerClient, base: str, name: str, script: str) -> None:
    container = client.containers.create(base, ["sh", "-c", script], user="root")
    try:
        container.start()
        if container.wait(timeout=600)["StatusCode"] != 0:
            raise LabError(f"building {name}:\n{container.logs(tail=20).decode(errors='replace')}")
        repository, _, version = name.partition(":")
        container.commit(repository, version)
    finally:
        container.remove(force=True)


def _apt_proxy() -> list[str]:
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    return [
        line
        for line in dump.splitlines()
        if line.startswith(("Acquire::http", "Acquire::https")) and "roxy" in line
    ]


def as_root(command: list[str], check: bool = True) -> None:
    """Run a command of the set-up, by sudo if need be; its output is shown if it fails."""
    if os.geteuid() != 0:
        command = ["sudo", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_plain_environment())
    if check and done.returncode != 0:
        raise LabError(f"{shlex.join(command[:3])} … failed:\n{done.stderr[-2000:]}")


def _plain_environment() -> dict[str, str]:
    return {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}


@contextmanager
def _lock() -> Iterator[None]:
    STATE.mkdir(exist_ok=True)
    with (STATE / "image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
