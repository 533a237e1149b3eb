"""Planning, rendering and proving large clusters: time, memory, growth, and the size of a config.

    python -m benchmarks.plan [--repeats 3] [--quick]

Each case runs in a process of its own, so that its peak memory is its own. Rendering leaves every text in
memory; the proof takes these texts, as it does of a plan that was written out. ``--quick`` leaves out the
cases beyond 1,000 hosts. How rendering compares with wg-meshconf on the same hosts is benchmarks.render.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from statistics import mean

from benchmarks.measure import here, machine, middle, run, table
from wgcluster.inventory.cluster import Cluster, Endpoint, Host
from wgcluster.inventory.schema import Topology
from wgcluster.plan.planner import make_plan
from wgcluster.prove.proof import prove_texts
from wgcluster.prove.texts import texts_of

CHECKOUT = Path(__file__).parent.parent
OVERLAY, ENDPOINTS = IPv4Address("10.0.0.0"), IPv4Address("198.18.0.0")
A_KEY = "A" * 43 + "="  # as long as a real one


@dataclass(frozen=True, slots=True)
class Case:
    """One cluster to plan."""

    topology: Topology
    hosts: int
    sites: int = 0
    degree: int | None = None
    scattered: bool = False  # addresses in no order of the sites

    def __str__(self) -> str:
        kind = {"mesh": "full mesh", "sites": f"{self.sites} sites", "partial": f"degree {self.degree}"}
        return f"{kind[self.topology]}, {self.hosts} hosts" + ", addresses scattered" * self.scattered

    def cluster(self) -> Cluster:
        """Everyone can be dialled; each site has two gateways and, unless scattered, a prefix of its own."""
        per_site = self.hosts // self.sites if self.sites else self.hosts
        room = 1 << (per_site + 1).bit_length()  # addresses of a site, its prefix
        hosts = []
        for i in range(self.hosts):
            site, place = divmod(i, per_site)
            offset = site * room + place if self.sites and not self.scattered else i
            if self.scattered:
                offset = i * 7919 % 65521  # a prime modulus: no two alike, and neighbours far apart
            hosts.append(
                Host(
                    name=f"h{i:05}",
                    addresses=(OVERLAY + 1 + offset,),
                    endpoint=Endpoint(ENDPOINTS + 1 + i, 51820),
                    site=f"s{site:02}" if self.sites else None,
                    gateway=bool(self.sites) and place < 2,
                )
            )
        return Cluster(
            (ip_network(f"{OVERLAY}/16"),), tuple(hosts), topology=self.topology, degree=self.degree
        )


CASES = [
    *(Case("mesh", count) for count in (250, 500, 1000)),
    *(Case("partial", count, degree=6) for count in (250, 500, 1000, 2000)),
    *(Case("sites", 100 * sites, sites) for sites in (5, 10, 20)),
    Case("sites", 2000, 20, scattered=True),
    Case("mesh", 2000),
]


def measure(case: Case) -> dict[str, float]:
    """Seconds of CPU and of wall clock for each step, and what came out; for this process alone."""
    gc.disable()  # as the command line does, and the deploy for these steps
    cluster = case.cluster()
    keys = {host.name: f"{i:05}{A_KEY[5:]}" for i, host in enumerate(cluster.hosts)}
    idle = here()[2]
    steps = [(time.perf_counter(), time.process_time())]
    plan = make_plan(cluster, keys, {})
    steps.append((time.perf_counter(), time.process_time()))
    texts = list(texts_of(plan))
    steps.append((time.perf_counter(), time.process_time()))
    proof = prove_texts(texts)
    steps.append((time.perf_counter(), time.process_time()))
    if not proof.ok:
        sys.exit(f"{case}: {proof.faults[0].message}")
    found: dict[str, float] = {"peak": here()[2], "idle": idle}
    for i, name in enumerate(("plan", "render", "prove")):
        found[name] = steps[i + 1][0] - steps[i][0]
        found[f"{name} cpu"] = steps[i + 1][1] - steps[i][1]
    sizes = [len(text.config) for text in texts]
    found |= {"bytes": mean(sizes), "largest": max(sizes)}
    found["prefixes"] = mean(sum(len(p.allowed_ips) for p in host.peers) for host in plan.hosts)
    found["pairs"] = proof.counts()["reached"]
    return found


def measured(case: Case, repeats: int) -> dict[str, float]:
    """The middle of several runs, each in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.plan", "--one", str(CASES.index(case))]
    runs = [json.loads(run(command, CHECKOUT).output) for _ in range(repeats)]
    return {key: middle(one[key] for one in runs) for key in runs[0]}


def rows(results: dict[Case, dict[str, float]]) -> Iterator[list[str]]:
    for case, found in results.items():
        seconds = [found[name] for name in ("plan", "render", "prove")]
        cpu = [found[f"{name} cpu"] for name in ("plan", "render", "prove")]
        half = next((one for one in results if _is_half(one, case)), None)
        growth = f"x{sum(cpu) / _cpu(results[half]):.1f}" if half else ""
        yield [
            str(case),
            *(f"{one:.2f} s" for one in seconds),
            f"{sum(seconds):.2f} s",
            f"{sum(cpu):.2f} s",
            f"{found['prove cpu'] / found['plan cpu']:.2f}",
            growth,
            f"{found['peak']:.0f} MiB",
            f"{found['bytes'] / 1024:.1f} KiB",
            f"{found['prefixes']:.0f}",
        ]


def _is_half(one: Case, other: Case) -> bool:
    kind = (one.topology, one.degree, one.scattered) == (other.topology, other.degree, other.scattered)
    return kind and one.hosts * 2 == other.hosts


def _cpu(found: dict[str, float]) -> float:
    return sum(found[f"{name} cpu"] for name in ("plan", "render", "prove"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plan")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--one", type=int, metavar="CASE", help="measure one case here; prints JSON")
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(measure(CASES[arguments.one])))
        return
    began = machine()
    cases = [case for case in CASES if case.hosts <= 1000 or not arguments.quick]
    results = {case: measured(case, arguments.repeats) for case in cases}
    head = "cluster; plan; render; prove; together; CPU; prove / plan, CPU;"
    head += " CPU against half the hosts; peak memory; config a host; prefixes a host"
    print(table(head.split("; "), rows(results)))
    print()
    for one, other, what in (
        (Case("partial", 2000, degree=6), Case("mesh", 2000), "a degree-6 mesh against the full mesh"),
        (Case("sites", 2000, 20), Case("sites", 2000, 20, scattered=True), "addresses by site"),
    ):
        if one in results and other in results:
            small, large = results[one], results[other]
            print(
                f"Config size, {what}: {large['bytes'] / small['bytes']:.1f} times smaller on average,"
                f" {large['largest'] / small['largest']:.1f} times the largest one."
            )
    print(f"\n{arguments.repeats} runs each: the middle of each figure.\nBegan {began}.\nEnded {machine()}.")


if __name__ == "__main__":
    main()
