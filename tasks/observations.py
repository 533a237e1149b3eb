"""Observations of all hosts of a run, made at the same time, and started as soon as the inventory is read."""

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
from wgcluster.inventory.cluster import Cluster, names_dialled
from wgcluster.inventory.from_pyinfra import cluster_name
from wgcluster.plan.sources import dialled_by

Answer = TypeVar("Answer")


class Questions(Generic[Answer]):
    """A question to every host of a run, asked concurrently in the background."""

    def __init__(self, state: State, question: Callable[[Host], Answer]) -> None:
        self._end: PyinfraError | None = None

        def put(host: Host) -> Answer | None:
            with ctx_host.use(host):
                try:
                    return question(host)
                except HostFailed:
                    return None
                except PyinfraError as error:  # it ends the run: raised by ``answers``
                    self._end = error
                except EOFError:  # pyinfra asks the operator, without -y
                    self._end = PyinfraError("a host has failed; with -y the run goes on without it")
                return None

        self._state = state
        active = sorted(state.inventory.get_active_hosts(), key=lambda host: host.name)
        self._greenlets: dict[Host, Greenlet[..., Answer | None]] = {
            host: gevent.spawn(put, host) for host in active
        }

    def answers(self) -> dict[Host, Answer]:
        """Wait for the answers of all hosts; failed ones are left out.

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
    """The observations of a run's hosts."""

    def __init__(self, state: State, cluster: Cluster) -> None:
        self._state = state
        ours = tuple(paths.observed_files(cluster.interface))
        names = names_dialled(cluster)
        self._queries = {
            host.name: Query(
                interface=cluster.interface,
                files=ours,
                sites=(sites := tuple(paths.site_files(host))),
                dump=bool(sites),
                port=host.port,
                towards=dialled_by(host, cluster.hosts),
                names=names[host.name],
            )
            for host in cluster.hosts
        }
        self._seen: dict[tuple[str, object], Observed] = {}  # by host and stage
        self._first: Questions[Observed] | None = None

    def begin(self) -> None:
        """Start to observe every host of this run in the background; once."""
        if self._first is None:
            self._first = Questions(self._state, self.at)
        # Start the greenlets before pyinfra loads the deploy for all hosts.
        gevent.sleep(0)

    def first(self) -> dict[Host, Observed]:
        """The observations that ``begin`` started."""
        self.begin()
        assert self._first is not None
        return self._first.answers()

    def at(self, host: Host) -> Observed:
        """Observe a host, once per stage and again after ``invalidate``.

        Raises:
            HostFailed: it cannot be read.
        """
        key = (host.name, _stage(host))
        if key not in self._seen:
            self._seen[key] = ask(host, HostState, query=self._queries[cluster_name(host)])
        return self._seen[key]

    def invalidate(self, host: Host) -> None:
        """Forget the observation of a host that was changed."""
        self._seen.pop((host.name, _stage(host)), None)


def _stage(host: Host) -> object:
    """The stage of the run. An observation counts for one stage, since the operator is asked in between.

    With ``-y`` nobody is asked: the whole run is one stage, and the observation of the preflight serves it.
    """
    return host.state.current_stage if host.state.check_for_changes else None


@once
def observations_of(state: State, cluster: Cluster) -> Observations:
    """The observations of this run."""
    return Observations(state, cluster)
