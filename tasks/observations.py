"""What is on the hosts of a run: looked at all at the same time, begun as soon as the inventory is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import gevent
from gevent import Greenlet
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.context import ctx_host

from tasks.facts import HostFailed, HostState, ask
from tasks.once import once
from wgcluster.host import paths
from wgcluster.host.observed import Observed, Query
from wgcluster.inventory.cluster import Cluster
from wgcluster.inventory.from_pyinfra import cluster_name

Answer = TypeVar("Answer")


class Questions(Generic[Answer]):
    """A question put to every host of a run at the same time; the answers come meanwhile."""

    def __init__(self, state: State, question: Callable[[Host], Answer]) -> None:
        self._end: PyinfraError | None = None

        def put(host: Host) -> Answer | None:
            with ctx_host.use(host):
                try:
                    return question(host)
                except HostFailed:
                    return None
                except PyinfraError as error:  # it ends the run, and is raised there
                    self._end = error
                except EOFError:  # pyinfra asks, without -y
                    self._end = PyinfraError("a host has failed; with -y the run goes on without it")
                return None

        self._state = state
        active = sorted(state.inventory.get_active_hosts(), key=lambda host: host.name)
        self._greenlets: dict[Host, Greenlet[..., Answer | None]] = {
            host: gevent.spawn(put, host) for host in active
        }

    def answers(self) -> dict[Host, Answer]:
        """Of every host, once all have answered; those that fail are left out.

        Raises:
            PyinfraError: too many have failed for the run to go on.
        """
        gevent.joinall(list(self._greenlets.values()))
        if self._end is not None:
            raise self._end
        failed = self._state.failed_hosts
        found = {host: one.get() for host, one in self._greenlets.items() if host not in failed}
        return {host: answer for host, answer in found.items() if answer is not None}


class Observations:
    """Every host as it is."""

    def __init__(self, state: State, cluster: Cluster) -> None:
        self._state = state
        ours = tuple(paths.managed_files(cluster.interface))
        self._queries = {
            host.name: Query(cluster.interface, ours, sites := tuple(paths.site_files(host)), bool(sites))
            for host in cluster.hosts
        }
        self._seen: dict[tuple[str, object], Observed] = {}  # by host and stage
        self._first: Questions[Observed] | None = None

    def begin(self) -> None:
        """Look at every host of this run while whoever calls goes on; once."""
        if self._first is None:
            self._first = Questions(self._state, self.at)
        # pyinfra loads the deploy for all hosts at the same time: not before each look is under way.
        gevent.sleep(0)

    def first(self) -> dict[Host, Observed]:
        """What ``begin`` has seen."""
        self.begin()
        assert self._first is not None
        return self._first.answers()

    def at(self, host: Host) -> Observed:
        """The host as it is; read once a stage, and again after a change of ours (``invalidate``).

        Raises:
            HostFailed: it cannot be read.
        """
        key = (host.name, _stage(host))
        if key not in self._seen:
            self._seen[key] = ask(host, HostState, query=self._queries[cluster_name(host)])
        return self._seen[key]

    def invalidate(self, host: Host) -> None:
        """Something on the host was changed: what was seen of it no longer counts."""
        self._seen.pop((host.name, _stage(host)), None)


def _stage(host: Host) -> object:
    """Of the run: what is seen in one does not count in the next, for the operator is asked in between.

    With ``-y`` nothing is predicted and nobody asked: all is one stage, and the preflight's look serves it.
    """
    return host.state.current_stage if host.state.check_for_changes else None


@once
def observations_of(state: State, cluster: Cluster) -> Observations:
    """Those of this run, the same for all its hosts."""
    return Observations(state, cluster)
