"""The module, at once and at every boot; forwarding on hosts that forward."""

from __future__ import annotations

from collections.abc import Mapping

from pyinfra import host
from pyinfra.api.command import StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.operation import operation

from tasks import paths
from tasks.controller import Run
from tasks.operations import Commands, carry_out, hold_file, text_file
from wgcluster.observed import Observed
from wgcluster.plan import HostPlan

MODULE_TEXT = "# wgcluster: loads the module at boot\nwireguard\n"
_SYSCTL = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}


@operation()
def load_module(run: Run) -> Commands:
    observed = run.look(host)
    if observed.module == "available":
        run.say(host, "the WireGuard module is not loaded")
        yield StringCommand("modprobe wireguard")
        run.forget(host)
    elif observed.module == "missing" and observed.link is None:
        run.say(host, "the kernel has no WireGuard module; wg-quick will run wireguard-go, in user space")


def wanted_sysctls(part: HostPlan, observed: Observed) -> dict[str, str]:
    """Keys and values of a host that forwards; none for one that does not.

    Forwarding makes the kernel deaf to router advertisements, and a host that has its default route from
    them would lose it; accept_ra 2 keeps it listening. What a relay forwards leaves by the interface it came
    in on, for which the kernel would tell the sender of a shorter way that there is not; it does so if either
    the interface's own value or that of "all" says so (kernel.org, networking/ip-sysctl).
    """
    wanted: dict[str, str] = {}
    if 6 in part.forwards:
        heard = {key for key, value in observed.sysctls.items() if "accept_ra" in key and value in "12"}
        wanted |= dict.fromkeys(sorted(heard), "2")
    if 4 in part.forwards:
        wanted["net/ipv4/conf/all/send_redirects"] = "0"
    return wanted | {_SYSCTL[family]: "1" for family in part.forwards}


def sysctl_text(wanted: Mapping[str, str]) -> str | None:
    """The file for /etc/sysctl.d; None where nothing is wanted."""
    lines = [f"{_dotted(key)} = {value}" for key, value in wanted.items()]
    return "\n".join(["# wgcluster: this host forwards for others", *lines, ""]) if lines else None


def _dotted(key: str) -> str:
    """As people write it; with slashes where the name of an interface holds dots (sysctl.d(5))."""
    return key if "." in key else key.replace("/", ".")


@operation()
def forwarding(run: Run) -> Commands:
    observed = run.look(host)
    wanted = wanted_sysctls(run.part_of(host), observed)
    text = sysctl_text(wanted)
    live = {_SYSCTL[family]: value for family, value in observed.forwarding.items()}
    live |= observed.sysctls
    own = f"net/ipv4/conf/{run.part_of(host).interface}/send_redirects"
    if 4 in run.part_of(host).forwards and own in live:
        wanted[own] = "0"  # at its next start the hook in the config does it
    # The file first: a value that cannot be set now must not keep the next boot from setting it.
    commands = hold_file(run, paths.SYSCTL, text)
    for key, value in wanted.items():
        if live.get(key, value) != value:
            run.say(host, f"{_dotted(key)} is {live.get(key)} and will be {value}")
            commands.append(StringCommand(f"sysctl -q -w {_dotted(key)}={value}"))
    yield from carry_out(run, commands)


def boots_with_module(run: Run) -> bool:
    """Where the module is known to be missing, loading it would fail at every boot (systemd-modules-load(8)).

    In a container that unit does not run: the kernel is the host's, and what it has may change under us.
    """
    observed = run.look(host)
    return observed.module != "missing" or observed.container


@deploy("Kernel")
def kernel(run: Run) -> None:
    load_module(name="Load the WireGuard module", run=run)
    text = MODULE_TEXT if boots_with_module(run) else None
    text_file(name=f"Load it at boot: {paths.MODULE}", run=run, path=paths.MODULE, text=text)
    forwarding(name=f"Forwarding, now and at boot: {paths.SYSCTL}", run=run)
