"""One container of the lab: systemd as its first process, its files in place before the first boot."""

from __future__ import annotations

import io
import socket
import tarfile
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from docker import DockerClient
from docker.models.containers import Container

from lab import image, ssh
from lab.host import Attachment
from lab.image import Say, as_root
from lab.spec import FILES, OUTSIDE, PRIVATE, File, HostSpec, network_script
from lab.underlay import ROUTER_AT, Underlay, servers

# What systemd needs in a container, short of --privileged (which fails where CAP_SYS_RESOURCE is missing).
FLAGS: dict[str, Any] = {
    "cap_add": ["NET_ADMIN", "SYS_ADMIN", "NET_RAW"],
    "security_opt": ["seccomp=unconfined", "apparmor=unconfined"],
    "devices": ["/dev/net/tun"],  # for wireguard-go, where the kernel has no wireguard
    "tmpfs": {"/run": "", "/run/lock": "", "/tmp": ""},
    "binds": ["/sys/fs/cgroup:/sys/fs/cgroup:rw"],
    "cgroupns": "host",
}


# 8 a host (systemd 5; dbus, logind, wireguard-go 1 each), all counted to root; the kernel's default is 128.
# Past it wireguard-go dies right after its start, and wg-quick says "Protocol not supported".
_INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
_INSTANCES = 1024


def make_room(say: Say) -> None:
    """Raise this machine's limit of inotify instances until its next boot, if it is too low for labs."""
    if _INOTIFY.exists() and int(_INOTIFY.read_text()) < _INSTANCES:
        say(f"raising fs.inotify.max_user_instances to {_INSTANCES} until the next boot: systemd needs them")
        as_root(["sh", "-c", f"echo {_INSTANCES} >{_INOTIFY}"])


def make(
    client: DockerClient,
    spec: HostSpec,
    name: str,
    made_from: str,
    labels: Mapping[str, str],
    attachments: Sequence[Attachment],
) -> Container:
    """Create the container, not started, standing in the networks of ``attachments``."""
    api = client.api
    # A new network namespace has the machine's value of ip_forward, and Docker switched that on.
    forward = str(int(spec.router))
    config: dict[str, Any] = api.create_host_config(
        **FLAGS,
        network_mode=str(attachments[0].network.name),
        port_bindings={22: ("127.0.0.1", _free_port())} if spec.ssh else None,
        sysctls={
            "net.ipv4.ip_forward": forward,
            "net.ipv6.conf.all.forwarding": forward,
            "net.ipv6.conf.all.disable_ipv6": "0",
        },
    )
    # The command line's "systempaths=unconfined", which the engine does not know by this name
    config |= {"MaskedPaths": [], "ReadonlyPaths": []}
    first, *others = attachments
    end = api.create_endpoint_config(ipv4_address=str(first.address), ipv6_address=str(first.address6))
    created = api.create_container(
        made_from,
        ["/sbin/init"],
        name=name,
        hostname=spec.name,
        labels=dict(labels),
        stop_signal="SIGRTMIN+3",
        ports=[22] if spec.ssh else None,
        host_config=config,
        networking_config={"EndpointsConfig": {str(first.network.name): end}},
    )
    container = client.containers.get(created["Id"])
    for other in others:
        other.network.connect(container, ipv4_address=str(other.address), ipv6_address=str(other.address6))
    return container


def first_files(spec: HostSpec, place: Underlay, routers: Sequence[str], prefix: str) -> list[File]:
    """All that a host of the lab ``prefix`` has before its first boot, and the links that start its units."""
    lan = lan6 = via6 = None
    via = str(place.internet[1])
    if spec.behind:
        number = routers.index(spec.behind)
        via = str(place.address(place.lan(number), ROUTER_AT))
        via6 = str(place.address6(place.lan6(number), ROUTER_AT))
    elif spec.router:
        number = routers.index(spec.name)
        lan, lan6 = str(place.lan(number)), str(place.lan6(number))
    files = [
        *spec.files,
        File("/etc/systemd/system/lab-network.service", (FILES / "lab-network.service").read_text()),
        File("/usr/local/lib/lab/network", network_script(via, via6, lan, lan6)),
    ]
    if not spec.behind:
        hidden = [IPv4Network(net) for net in PRIVATE]
        reached = [net for net, _ in servers(image.mirrors()) if isinstance(net, IPv4Network)]
        needed = {str(net) for net in reached if any(map(net.subnet_of, hidden))}
        files.append(File(OUTSIDE, "".join(f"{address}\n" for address in sorted(needed))))
    units = ["lab-network.service", *spec.units]
    if spec.ssh:
        files += ssh.authorized_files(ssh.ensure_key(prefix))
        units.append("ssh.service")
    own = {file.path for file in files}
    for unit in units:
        ours = f"/etc/systemd/system/{unit}"
        target = ours if ours in own else f"/lib/systemd/system/{unit}"
        files.append(File(f"/etc/systemd/system/multi-user.target.wants/{unit}", link_to=target))
    return files


def archive(files: Sequence[File]) -> bytes:
    """The files as a tar that Docker unpacks at ``/``."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for file in files:
            if file.owner:  # Docker would make the folder root's, and sshd refuse it
                folder = tarfile.TarInfo(file.path.rpartition("/")[0].lstrip("/"))
                folder.type, folder.mode, folder.uid, folder.gid = (
                    tarfile.DIRTYPE,
                    0o700,
                    file.owner,
                    file.owner,
                )
                tar.addfile(folder)
            info = tarfile.TarInfo(file.path.lstrip("/"))
            info.mode, info.uid, info.gid = file.mode, file.owner, file.owner
            if file.link_to:
                info.type, info.linkname = tarfile.SYMTYPE, file.link_to
                tar.addfile(info)
            else:
                content = file.text.encode()
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _free_port() -> int:
    """A port of 127.0.0.1: one that Docker picks itself would change at each restart."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
