"""What a host forwarded before the first deploy, remembered on the host itself.

Who switches forwarding on makes a router of a host that was none: anybody on its networks could send packets
through it. So where forwarding was off before us, FORWARD drops what no rule accepts, as Docker has it where
Docker switches forwarding on (docs.docker.com, "Packet filtering and firewalls"). Where it was on before us
the policy stays; Docker, started on a host that we have made a router, would leave it at ACCEPT.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from wgcluster.firewall.placement import is_ours
from wgcluster.firewall.tables import Chain, Packet, comment, first_accept, target
from wgcluster.host import paths
from wgcluster.host.observed import Observed, Rules
from wgcluster.host.sysctl import FORWARDING, dotted
from wgcluster.plan.plan import HostPlan
from wgcluster.prefixes import FAMILIES, Family

Policy = Literal["ACCEPT", "DROP"]


@dataclass(frozen=True, slots=True)
class Before:
    """One family of a host as it was before the first deploy."""

    forwarding: bool
    policy: Policy  # of FORWARD

    @property
    def closed(self) -> bool:
        """Did nothing pass that no rule accepts?"""
        return not self.forwarding or self.policy == "DROP"


def before(part: HostPlan, observed: Observed) -> dict[Family, Before]:
    """What is remembered, and what is seen of the families that ``part`` is about to forward."""
    found = _read(observed.file(paths.before(part.interface)).text)
    for family in part.forwards:
        on = observed.forwarding.get(family) == "1"
        # a version of ours that remembered nothing has been here: what is on now may be its doing
        ours = dotted(FORWARDING[family]) in observed.file(paths.SYSCTL).text.replace("/", ".")
        on = on and (not ours or _routes_for_others(observed, family))
        found.setdefault(family, Before(on, _policy(observed, family)))
    return found


def text(known: Mapping[Family, Before]) -> str | None:
    """The file that remembers it; None where there is nothing to remember."""
    if not known:
        return None
    head = "# wgcluster: what this host forwarded before the first deploy, for the day it is taken off again"
    lines = [f"{family} {'on' if one.forwarding else 'off'} {one.policy}" for family, one in known.items()]
    return "\n".join([head, *sorted(lines), ""])


def forward_policies(part: HostPlan, known: Mapping[Family, Before]) -> dict[Family, Policy]:
    """What the policy of FORWARD is to be, by family; those that are left out stay as they are."""
    if part.firewall == "off":
        return {}
    return {family: "DROP" for family in part.forwards if known[family].closed}


def given_back(part: HostPlan, observed: Observed) -> dict[Family, Before]:
    """Families in which forwarding ends with us: it was off before, and nobody else accepts anything new."""
    known = _read(observed.file(paths.before(part.interface)).text)
    return {
        family: one
        for family, one in known.items()
        if not one.forwarding
        and not _routes_for_others(observed, family)
        and not any(_is_used(saved, part.interface) for saved in _of(observed, family))
    }


def _of(observed: Observed, family: Family) -> list[Rules]:
    return [saved for saved in observed.rules if saved.family == family]


def _routes_for_others(observed: Observed, family: Family) -> bool:
    """Does the host hide networks of its own? Docker's do not count: Docker closes FORWARD itself."""
    for saved in _of(observed, family):
        if "DOCKER" in saved.tables.get("filter", {}):
            continue
        rules = saved.tables.get("nat", {}).get("POSTROUTING", Chain()).rules
        others = (spec for spec in rules if "wgcluster-" not in comment(spec))
        if any(target(spec) in ("MASQUERADE", "SNAT") for spec in others):
            return True
    return False


def _is_used(saved: Rules, interface: str) -> bool:
    chains = saved.tables.get("filter", {})
    forward = chains.get("FORWARD", Chain())
    others = [spec for spec in forward.rules if not is_ours(spec, interface)]
    packet = Packet(state=frozenset({"NEW"}))
    return first_accept({**chains, "FORWARD": Chain("DROP", others)}, "FORWARD", packet) is not None


def _policy(observed: Observed, family: Family) -> Policy:
    for saved in _of(observed, family):
        if saved.primary:
            chain = saved.tables.get("filter", {}).get("FORWARD", Chain())
            return "DROP" if chain.policy == "DROP" else "ACCEPT"
    return "ACCEPT"


def _read(text: str) -> dict[Family, Before]:
    """Lines that ``text`` has written; others count for nothing, as if nothing were remembered."""
    found: dict[Family, Before] = {}
    for line in text.splitlines():
        match line.split():
            case [("4" | "6") as number, ("on" | "off") as was, ("ACCEPT" | "DROP") as policy]:
                family = next(one for one in FAMILIES if str(one) == number)
                found[family] = Before(was == "on", "DROP" if policy == "DROP" else "ACCEPT")
    return found
