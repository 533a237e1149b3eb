"""The results of all checks, as a table for people and as data for programs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from wgcluster.verify.checks import Check


def table(rows: Mapping[str, Sequence[Check]]) -> str:
    """A line per host, a column per check, and below every fault in words."""
    heads = list(dict.fromkeys(check.name for checks in rows.values() for check in checks))
    cells = [["host", *heads]]
    for name, found in rows.items():
        by_name = {check.name: str(check) for check in found}
        cells.append([name, *(by_name.get(head, "-") for head in heads)])
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)) for row in cells]
    notes = [
        f"{name}: {check.name}: {note}"
        for name, found in rows.items()
        for check in found
        for note in check.notes
    ]
    faults = [
        f"{name}: {check.name}: {fault}"
        for name, found in rows.items()
        for check in found
        for fault in check.faults
    ]
    return "\n".join([line.rstrip() for line in lines] + ([""] if faults or notes else []) + faults + notes)


def as_data(rows: Mapping[str, Sequence[Check]], failed: Collection[str]) -> dict[str, object]:
    """Plain data for JSON, as docs/monitoring.md explains it.

    Args:
        rows: the checks of each host that answered, by name.
        failed: the names of the other hosts of the run.
    """
    hosts = {
        name: {
            "answered": True,
            "ok": not any(check.faults for check in found),
            "checks": [
                {
                    "name": check.name,
                    "count": check.count,
                    "faults": list(check.faults),
                    "notes": list(check.notes),
                }
                for check in found
            ],
        }
        for name, found in rows.items()
    }
    hosts |= {name: {"answered": False, "ok": False, "checks": []} for name in failed}
    return {"ok": all(host["ok"] for host in hosts.values()), "hosts": dict(sorted(hosts.items()))}
