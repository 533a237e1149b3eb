"""Our block in /etc/hosts, hosts(5): the names of the cluster with their overlay addresses."""

from __future__ import annotations

from collections.abc import Iterator

from wgcluster.plan.plan import Names


def with_block(text: str, interface: str, names: Names) -> str:
    """The text of /etc/hosts with our block as its last lines; without one if there are no names.

    Everything else stays, but for a line end that the last line may lack.
    """
    begin = f"# wgcluster-{interface}: names of the cluster, written by the deploy"
    end = f"# wgcluster-{interface}: end"
    # an editor may have left out the last line end, and with it the end of our block
    rest = text if text.endswith("\n") or begin not in text else f"{text}\n"
    while begin in rest.split("\n"):
        before, _, after = f"\n{rest}".partition(f"\n{begin}\n")
        _, found, behind = f"\n{after}".partition(f"\n{end}\n")
        # without its end, which somebody removed, nobody knows what is ours
        rest = f"{before}\n{behind if found else after}".removeprefix("\n")
    if not names:
        return rest
    head = rest if rest.endswith("\n") or not rest else f"{rest}\n"
    return "".join([head, *(f"{line}\n" for line in (begin, *lines(names), end))])


def lines(names: Names) -> list[str]:
    """A line for each address."""
    return [f"{address} {' '.join(known)}" for address, known in names]


def differences(text: str, names: Names) -> Iterator[str]:
    """Names that lead elsewhere: of each family the first line with a name decides."""
    found: dict[tuple[str, int], str] = {}
    for line in text.split("\n"):
        address, *known = line.split("#", 1)[0].split() or [""]
        for name in known:
            found.setdefault((name.lower(), 6 if ":" in address else 4), address)
    for wanted, own in names:
        for name in own:
            got = found.get((name.lower(), wanted.version))
            if got != str(wanted):
                yield f"/etc/hosts has {got or 'no address'} for {name}, planned is {wanted}"
