"""A lab that runs: its networks and its hosts, real systemd containers.

Every Docker object carries the lab's prefix, in its name and as a label: several labs stand side by side
and each takes down nothing but its own.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network, IPv6Network, ip_network

import docker
from docker import DockerClient
from docker.errors import APIError, DockerException
from docker.models.containers import Container
from docker.models.networks import Network
from docker.types import IPAMConfig, IPAMPool

from lab import image, ssh
from lab.container import FLAGS, archive, first_files, make, make_room
from lab.errors import LabError
from lab.host import Attachment, Host
from lab.image import Say
from lab.spec import OUTSIDE, HostSpec, article
from lab.underlay import ROUTER_AT, VARIABLE, Underlay, check, free_blocks, machine_networks

PREFIX = "wgcluster-"
_LABEL = "wgcluster.lab"  # its value: the prefix of the lab that the object belongs to
_RECIPE = "wgcluster.recipe"  # a hash of what the object was made from
_STARTERS = 4  # containers that boot at the same time


def connect() -> DockerClient:
    """A Docker engine that answers.

    Raises:
        LabError: there is none.
    """
    try:
        client = docker.from_env(timeout=300)
        client.ping()
    except DockerException as error:
        raise LabError(
            f"no Docker engine answers: {error}\n"
            "install one (Debian, Ubuntu: apt-get install docker.io) and start it"
        ) from None
    return client


class Lab:
    """The hosts of ``specs`` on one underlay.

    Args:
        specs: who stands in it; default: the article's picture.
        prefix: of the names of all its Docker objects.
        subnet: a /19; ``"free"`` takes the first free one of 198.18.0.0/15 but the demo's; default:
            what WGCLUSTER_LAB_SUBNET says, else 198.18.0.0/19.
        say: gets one line a step.
    """

    def __init__(
        self,
        specs: Sequence[HostSpec] | None = None,
        *,
        prefix: str = PREFIX,
        subnet: str | None = None,
        say: Say = print,
    ) -> None:
        if not prefix.startswith(PREFIX) or not prefix.endswith("-"):
            raise LabError(f"the prefix {prefix!r}: it must begin with {PREFIX!r} and end with a hyphen")
        self.specs = tuple(specs if specs is not None else article())
        self.prefix = prefix
        self.hosts: dict[str, Host] = {}
        self._client = connect()
        self._say = say
        self._take_free = subnet == "free"
        self.underlay = Underlay.parse(None if self._take_free else subnet)

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def __iter__(self) -> Iterator[Host]:
        return iter(self.hosts.values())

    def up(self) -> Lab:
        """Bring up what is not up; what was made from another recipe is made anew.

        Raises:
            LabError: no room for the addresses, no image, or a host that does not boot.
        """
        server, laptop = image.ensure(self._client, self._say)
        make_room(self._say)
        internet, lans = self._networks()
        if any(spec.ssh for spec in self.specs):
            ssh.ensure_key(self.prefix)  # before several threads want it
        there = {str(container.name): container for container in self._containers()}

        def host(spec: HostSpec) -> Host:
            attachments = self._attachments(spec, internet, lans)
            found = there.get(self.prefix + spec.name)
            container = self._container(spec, laptop if spec.has_tools else server, attachments, found)
            host = Host(spec, container, self.prefix, attachments)
            if host.wait() == "degraded" and container is not found:
                raise LabError(f"{host.identifier}: units failed at its first boot:\n{host.failures()}")
            return host

        with ThreadPoolExecutor(_STARTERS) as pool:
            self.hosts = {host.name: host for host in pool.map(host, self.specs)}
        return self

    def renew(self, *names: str) -> None:
        """Make these hosts anew, as they were before anything was deployed on them."""
        for name in names:
            self.hosts[name].container.remove(force=True, v=True)
        self.up()

    def attach(self) -> Lab:
        """Take up a lab that is already there, changing nothing.

        Raises:
            LabError: a host is missing or stopped.
        """
        found = {str(container.name): container for container in self._containers()}
        missing = [spec.name for spec in self.specs if self.prefix + spec.name not in found]
        stopped = [name for name, container in found.items() if container.status != "running"]
        if missing or stopped:
            raise LabError(f"the lab is not up: python -m lab up (missing: {missing}, stopped: {stopped})")
        networks = {str(network.name): network for network in self._own_networks()}
        block = _subnets(networks[f"{self.prefix}internet"])[0]
        self.underlay = Underlay(IPv4Network(block).supernet(new_prefix=19))
        for spec in self.specs:
            attachments = self._attachments(
                spec,
                networks[f"{self.prefix}internet"],
                {r: networks[self.prefix + r] for r in self._routers()},
            )
            self.hosts[spec.name] = Host(spec, found[self.prefix + spec.name], self.prefix, attachments)
        return self

    def down(self, *, images: bool = False) -> None:
        """Remove this lab's containers and networks and, if asked, the images that no other lab uses."""
        with ThreadPoolExecutor(_STARTERS) as pool:
            for name in pool.map(_remove, self._containers()):
                self._say(f"removed {name}")
        for network in self._own_networks():
            network.remove()
            self._say(f"removed the network {network.name}")
        shutil.rmtree(ssh.folder(self.prefix), ignore_errors=True)
        if images:
            image.remove(self._client, self._say)
        self.hosts = {}

    def status(self) -> list[tuple[str, str, str]]:
        """Name, state and addresses of each container that is there."""
        rows = []
        for container in sorted(self._containers(), key=lambda container: str(container.name)):
            ends = container.attrs["NetworkSettings"]["Networks"].values()
            rows.append((str(container.name), container.status, " ".join(end["IPAddress"] for end in ends)))
        return rows

    def _containers(self) -> list[Container]:
        wanted: dict[str, str | list[str] | bool] = {"label": f"{_LABEL}={self.prefix}"}
        return self._client.containers.list(all=True, filters=wanted, ignore_removed=True)

    def _own_networks(self) -> list[Network]:
        return self._client.networks.list(filters={"label": f"{_LABEL}={self.prefix}"})

    def _routers(self) -> list[str]:
        return [spec.name for spec in self.specs if spec.router]

    def _foreign(self) -> list[tuple[IPv4Network | IPv6Network, str]]:
        """What this lab's addresses must not overlap."""
        found = machine_networks(image.mirrors())
        for network in self._client.networks.list():
            found += [(ip_network(subnet), f"Docker network {network.name}") for subnet in _subnets(network)]
        return found

    def _networks(self) -> tuple[Network, dict[str, Network]]:
        """The internet, and the network behind each router; made if they are not there."""
        there = {str(network.name): network for network in self._own_networks()}
        name = f"{self.prefix}internet"
        if name in there:
            block = IPv4Network(_subnets(there[name])[0]).supernet(new_prefix=19)
            if self._take_free or block == self.underlay.block:
                self.underlay = Underlay(block)
            else:
                raise LabError(
                    f"this lab stands on {block}: take it down first, then bring it up on another subnet"
                )
        else:
            there[name] = self._new_internet(name)
        lans = {}
        for number, router in enumerate(self._routers()):
            lan = self.prefix + router
            lans[router] = there.get(lan) or self._create(
                lan, self.underlay.lan(number), self.underlay.lan6(number)
            )
        return there[name], lans

    def _new_internet(self, name: str) -> Network:
        foreign = self._foreign()
        if not self._take_free:
            check(self.underlay, foreign)
            return self._create(name, self.underlay.internet, self.underlay.internet6)
        for self.underlay in free_blocks(foreign):
            try:
                return self._create(name, self.underlay.internet, self.underlay.internet6)
            except APIError as error:  # another lab took it in the meantime
                if "overlap" not in str(error.explanation):
                    raise
        raise LabError(f"no /19 of 198.18.0.0/15 is free; name another one by {VARIABLE}")

    def _create(self, name: str, four: IPv4Network, six: IPv6Network) -> Network:
        pools = [IPAMPool(subnet=str(net), gateway=str(net.network_address + 1)) for net in (four, six)]
        return self._client.networks.create(
            name,
            driver="bridge",
            enable_ipv6=True,
            ipam=IPAMConfig(pool_configs=pools),
            labels={_LABEL: self.prefix},
            check_duplicate=True,
        )

    def _attachments(
        self, spec: HostSpec, internet: Network, lans: dict[str, Network]
    ) -> tuple[Attachment, ...]:
        """The networks a host stands in, the outer one first."""
        place, routers = self.underlay, self._routers()

        def at(network: Network, four: IPv4Network, six: IPv6Network, number: int) -> Attachment:
            return Attachment(network, place.address(four, number), place.address6(six, number))

        if spec.behind:
            number = routers.index(spec.behind)
            return (at(lans[spec.behind], place.lan(number), place.lan6(number), spec.at),)
        outer = at(internet, place.internet, place.internet6, spec.at)
        if not spec.router:
            return (outer,)
        number = routers.index(spec.name)
        return (outer, at(lans[spec.name], place.lan(number), place.lan6(number), ROUTER_AT))

    def _container(
        self, spec: HostSpec, made_from: str, attachments: Sequence[Attachment], found: Container | None
    ) -> Container:
        """``found`` if it was made from the same recipe, started if need be; else a new one."""
        name = self.prefix + spec.name
        files = first_files(spec, self.underlay, self._routers(), self.prefix)
        ends = [(end.network.id, str(end.address)) for end in attachments]
        lasting = [
            file for file in files if file.path != OUTSIDE
        ]  # another resolver is no reason to start anew
        recipe = hashlib.sha256(repr((spec, made_from, lasting, ends, FLAGS)).encode()).hexdigest()[:16]
        # one that was created and never ran may lack its files: a run was ended in between
        if found and found.labels.get(_RECIPE) == recipe and found.status != "created":
            if found.status == "paused":
                found.unpause()
            elif found.status != "running":
                self._say(f"starting {name}")
                found.start()
            return found
        if found:
            self._say(f"removing {name}: it was made from another recipe")
            found.remove(force=True, v=True)
        self._say(f"making {name} ({attachments[0].address})")
        labels = {_LABEL: self.prefix, _RECIPE: recipe}
        container = make(self._client, spec, name, made_from, labels, attachments)
        container.put_archive("/", archive(files))
        container.start()
        return container


def _remove(container: Container) -> str:
    container.remove(force=True, v=True)
    return str(container.name)


def _subnets(network: Network) -> list[str]:
    """The subnets of a Docker network, IPv4 first."""
    pools = (network.attrs.get("IPAM") or {}).get("Config") or []
    return sorted((pool["Subnet"] for pool in pools), key=lambda subnet: ":" in subnet)
