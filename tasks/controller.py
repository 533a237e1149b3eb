"""What one run knows, made once on the controller: rows -> Cluster -> keys -> Plan, and its proof."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from pyinfra import logger
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import State

from tasks.declaration import Key, declaration, unlock
from tasks.facts import HostFailed
from tasks.observations import Observations, observations_of
from tasks.once import once
from tasks.speed import known_to_inspect
from wgcluster.host.observed import Observed
from wgcluster.inventory.faults import Fault, KeystoreError
from wgcluster.inventory.from_pyinfra import cluster_name
from wgcluster.keys.registry import Registry
from wgcluster.keys.secret import Secret
from wgcluster.nginx.syntax.errors import NginxError
from wgcluster.plan.plan import HostPlan, Plan, PlanError, secret_names
from wgcluster.plan.planner import make_plan
from wgcluster.prove.proof import prove
from wgcluster.text import counted, printable
from wgcluster.verify.last_deploy import LastDeploy, moved_clients, unknown_keys
from wgcluster.wireguard.sessions import ChangedLinks, dialled


@dataclass
class Progress:
    """What has happened in a run."""

    changed_links: ChangedLinks = field(default_factory=ChangedLinks)
    sync_wanted: set[str] = field(default_factory=set)  # hosts whose config file got other endpoints
    logged: set[tuple[str, str]] = field(default_factory=set)  # host and text


@dataclass
class Run:
    """One run of pyinfra: the plan of the whole inventory, its secrets, and the observations of its hosts."""

    plan: Plan
    registry: Registry
    observations: Observations
    key: Key | None = None  # of the registry; None: no secrets are needed
    made: set[str] = field(default_factory=set)  # hosts and links whose keys the registry lacked
    moved: set[tuple[str, str, str]] = field(default_factory=set)  # clients, as moved_clients has them
    progress: Progress = field(default_factory=Progress)

    def part_of(self, host: Host) -> HostPlan:
        """The plan of this host."""
        return self.plan.host(cluster_name(host))

    @cached_property
    def dials(self) -> dict[str, frozenset[str]]:
        """The names of the peers that each host can dial."""
        return dialled(self.plan)

    def active(self, state: State) -> set[str]:
        """The names of the hosts of this run that have not failed."""
        hosts = state.inventory.get_active_hosts()
        return {cluster_name(host) for host in hosts if host not in state.failed_hosts}

    def preshared_keys(self, host: HostPlan) -> dict[str, Secret]:
        """The preshared keys of a host's links by link name."""
        names = {peer.preshared_key for peer in host.peers if peer.preshared_key is not None}
        return {name: self.registry.preshared_key(name) for name in names}

    def unlock(self) -> None:
        """Wait for the registry's key and open every entry with it.

        Raises:
            KeystoreError: the key or an entry is wrong.
        """
        if self.key is None:
            return
        unlock(self.registry, self.key)
        self.made.update(self.registry.ensure_links(secret_names(self.plan)))
        self.registry.verify_all()

    def unknown_keys(self, one: LastDeploy) -> Fault | None:
        """A fault if the host has keys that the registry does not know."""
        return unknown_keys(one, self.names, self.made, self.registry.path.name)

    @cached_property
    def names(self) -> dict[str, str]:
        """The names of all hosts and road warriors that the registry knows or knew, by public key."""
        return self.registry.names()

    def tell_made(self) -> None:
        """Log which keys are new."""
        hosts = sorted(self.made & self.registry.public_keys().keys())
        if hosts:
            self._tell(f"New keys for {', '.join(hosts)}")
        if links := len(self.made) - len(hosts):
            self._tell(f"{counted(links, 'new preshared key')}, one a link")

    def _tell(self, keys: str) -> None:
        logger.info(f"--> {keys}, kept in {self.registry.path.name} on the first real run")

    def private_key(self, host: HostPlan) -> Secret:
        return self.registry.private_key(host.name)

    def observe(self, host: Host) -> Observed:
        """Observe a host. In operations only: in a deploy function, HostFailed would end the whole run."""
        return self.observations.at(host)

    def seen(self, host: Host) -> Observed:
        """As ``observe``, for deploy functions: empty for a host that fails, where nothing will be done."""
        try:
            return self.observe(host)
        except HostFailed:
            return Observed()

    def invalidate(self, host: Host) -> None:
        """Forget the observation of a host that was changed."""
        self.observations.invalidate(host)

    def log_once(self, host: Host, text: str) -> None:
        """Log a text about a host once, although pyinfra runs operations twice: to predict and to execute."""
        if (host.name, text) not in self.progress.logged:
            self.progress.logged.add((host.name, text))
            for line in printable(text).split("\n"):
                host.log(line)


@once
def this_run(state: State, secrets: bool = True) -> Run:
    """The Run of this process, planned from the whole inventory, whatever ``--limit`` leaves out.

    Missing keys are made here and saved by the first operation, so that a dry run writes nothing.

    Args:
        secrets: False: ask for no passphrase and make no keys.

    Raises:
        PyinfraError: with every fault of the operator's data; it ends the run without a traceback.
    """
    known_to_inspect(state)
    try:
        return _make_run(state, secrets)
    except (PlanError, KeystoreError, NginxError, PyinfraError) as error:
        raise PyinfraError(f"\n{str(error).lstrip()}") from None


def _make_run(state: State, secrets: bool) -> Run:
    declared = declaration(state, secrets)
    cluster, registry, key = declared.cluster, declared.registry, declared.key
    made = {host.name for host in cluster.hosts} - registry.public_keys().keys()
    if key is not None and made:
        unlock(registry, key)
        registry.ensure_hosts(made)
    plan = make_plan(cluster, registry.public_keys(), registry.client_keys())
    if secrets:
        _prove(plan)
    moved = moved_clients(cluster.clients, plan)
    if secrets:
        registry.keep_gateways({client.name: client.gateway.name for client in plan.clients})
    return Run(plan, registry, observations_of(state, cluster), key, made, moved)


def _prove(plan: Plan) -> None:
    """Follow every packet through the texts that the hosts will get, before any host is touched."""
    proof = prove(plan)
    for warning in proof.warnings:
        logger.warning(f"--> Proof of reachability: {warning}")
    if not proof.ok:
        count = counted(len(proof.faults), "fault")
        faults = "\n".join(f"  {fault.message}" for fault in proof.faults)
        raise PyinfraError(f"The plan does not hold, {count}, nothing was changed:\n{faults}")
