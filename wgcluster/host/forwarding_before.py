"""What a host forwarded before the first deploy, recorded on the host itself.

Switching forwarding on makes the host a router: everyone on its networks could send packets through it. So
if forwarding was off before, FORWARD drops what no rule accepts, as with Docker (docs.docker.com, "Packet
filtering and firewalls"). If it was on before, the policy stays; Docker, started on a host that already
forwards, would leave it at ACCEPT.
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
from wgcluster.host.sysctl_order import ipv4_forwarding, ipv6_forwarding
from wgcluster.plan.plan import HostPlan
from wgcluster.prefixes import FAMILIES, Family

_Policy = Literal["ACCEPT", "DROP"]


@dataclass(frozen=True, slots=True)
class Before:
    """One family of a host as it was before the first deploy."""

    forwarding: bool
    policy: _Policy  # of FORWARD

    @property
    def closed(self) -> bool:
        """Was nothing forwarded that no rule accepts?"""
        return not self.forwarding or self.policy == "DROP"


def before(part: HostPlan, observed: Observed) -> dict[Family, Before]:
    """The recorded state, and the observed one for families that are to be forwarded for the first time."""
    found = _read(observed.file(paths.before(part.interface)).text)
    for family in part.forwards:
        on = observed.forwarding.get(family) == "1"
        # an earlier version, which recorded nothing, may have switched it on
        ours = dotted(FORWARDING[family]) in observed.file(paths.SYSCTL).text.replace("/", ".")
        on = on and (not ours or _routes_for_others(observed, family))
        found.setdefault(family, Before(on, _policy(observed, family)))
    return found


def text(known: Mapping[Family, Before]) -> str | None:
    """The text of the record; None: there is nothing to record."""
    if not known:
        return None
    head = "# wgcluster: what this host forwarded before the first deploy, for the day it is taken off again"
    lines = [f"{family} {'on' if one.forwarding else 'off'} {one.policy}" for family, one in known.items()]
    return "\n".join([head, *sorted(lines), ""])


def forward_policies(part: HostPlan, known: Mapping[Family, Before]) -> dict[Family, _Policy]:
    """The desired policy of FORWARD by family; others stay."""
    if part.firewall == "off":
        return {}
    return {family: "DROP" for family in part.forwards if known[family].closed}


def given_back(part: HostPlan, observed: Observed) -> dict[Family, Before]:
    """Families whose forwarding a teardown switches off: it was off before, and nothing else uses it."""
    known = _read(observed.file(paths.before(part.interface)).text)
    return {
        family: one
        for family, one in known.items()
        if not one.forwarding
        and not _is_set_by_others(part, observed, family)
        and not _routes_for_others(observed, family)
        and not _has_native_rules(observed, family)
        and not any(_is_used(saved, part.interface) for saved in _of(observed, family))
    }


def no_longer_forwarded(part: HostPlan, observed: Observed) -> dict[Family, Before]:
    """Those of ``given_back`` that an earlier plan forwarded and this one does not."""
    back = given_back(part, observed)
    return {family: one for family, one in back.items() if family not in part.forwards}


def policies_back(part: HostPlan, observed: Observed) -> dict[Family, _Policy]:
    """The former policy of FORWARD by family, where the last deploy has set it and this one does not.

    With firewall = "off" it is no longer ours. The rules for the next boot tell that it was.
    """
    known = _read(observed.file(paths.before(part.interface)).text)
    let_go = {*no_longer_forwarded(part, observed), *(part.forwards if part.firewall == "off" else ())}
    lines = [line.split(" ") for line in observed.file(paths.rules(part.interface)).text.splitlines()]
    ours = {words[0] for words in lines if words[1:4] == ["filter", "FORWARD", "policy"]}
    return {
        family: one.policy
        for family, one in known.items()
        if family in let_go and any(tool.startswith("ip6") == (family == 6) for tool in ours)
    }


def _of(observed: Observed, family: Family) -> list[Rules]:
    return [saved for saved in observed.rules if saved.family == family]


def _routes_for_others(observed: Observed, family: Family) -> bool:
    """Does the host masquerade other networks? Docker's do not count: Docker closes FORWARD itself."""
    for saved in _of(observed, family):
        if "DOCKER" in saved.tables.get("filter", {}):
            continue
        rules = saved.tables.get("nat", {}).get("POSTROUTING", Chain()).rules
        others = (spec for spec in rules if "wgcluster-" not in comment(spec))
        if any(target(spec) in ("MASQUERADE", "SNAT") for spec in others):
            return True
    return False


def _is_set_by_others(part: HostPlan, observed: Observed, family: Family) -> bool:
    """Does a file of sysctl.d that is not ours switch forwarding on?"""
    files = {path: lines for path, lines in observed.sysctl_files.items() if path != paths.SYSCTL}
    found = ipv4_forwarding(files, part.interface) if family == 4 else ipv6_forwarding(files)
    return any(setting.value == "1" for setting in found)


def _has_native_rules(observed: Observed, family: Family) -> bool:
    """Has a table of native nftables rules for what is forwarded? libvirt, Incus and podman have such."""
    return any(
        chain.hook in ("forward", "postrouting") and chain.rules and not name.isupper()  # iptables-nft's
        for table in observed.nft
        if table.family in ("inet", "ip" if family == 4 else "ip6")
        for name, chain in table.chains.items()
    )


def _is_used(saved: Rules, interface: str) -> bool:
    chains = saved.tables.get("filter", {})
    forward = chains.get("FORWARD", Chain())
    others = [spec for spec in forward.rules if not is_ours(spec, interface)]
    packet = Packet(state=frozenset({"NEW"}))
    return first_accept({**chains, "FORWARD": Chain("DROP", others)}, "FORWARD", packet) is not None


def _policy(observed: Observed, family: Family) -> _Policy:
    for saved in _of(observed, family):
        if saved.primary:
            chain = saved.tables.get("filter", {}).get("FORWARD", Chain())
            return "DROP" if chain.policy == "DROP" else "ACCEPT"
    return "ACCEPT"


def _read(text: str) -> dict[Family, Before]:
    """Read the record; lines that ``text`` does not write are ignored."""
    found: dict[Family, Before] = {}
    for line in text.splitlines():
        match line.split():
            case [("4" | "6") as number, ("on" | "off") as was, ("ACCEPT" | "DROP") as policy]:
                family = next(one for one in FAMILIES if str(one) == number)
                found[family] = Before(was == "on", "DROP" if policy == "DROP" else "ACCEPT")
    return found
