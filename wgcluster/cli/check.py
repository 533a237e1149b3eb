"""check: whether every required packet arrives, before any host is touched."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping

from rich.console import Console

from wgcluster.cli.printing import console, print_json, table
from wgcluster.cli.reading import CommandError, read
from wgcluster.inventory.faults import KeystoreError, ModelError
from wgcluster.plan.plan import PlanError
from wgcluster.prove.proof import Proof, Verdict, prove

_MATRIX = 16  # nodes: as many columns as a terminal shows
# the text of a cell and its meaning; numbers are in every table
_CELLS: Mapping[Verdict, tuple[str, str]] = {
    "reached": ("1, 2 …", "arrives over so many links"),
    "lost": ("lost", "does not arrive and must"),
    "hidden": ("-", "does not arrive and need not: hidden by masquerade or wg_expect, or nearer"),
    "none": ("blank", "the two have no address of one family"),
}
_WORDS: Mapping[Verdict, tuple[str, str]] = {
    "reached": ("reaches the other", "reach each other"),
    "hidden": ("is hidden", "are hidden"),
    "none": ("has no address of one family", "have no address of one family"),
    "lost": ("is lost", "are lost"),
}


def check(args: Namespace) -> int:
    """``check``: exit status 1 if the inventory has a fault or a packet is lost."""
    try:
        proof = prove(read(args.inventory).plan())
    except (CommandError, KeystoreError, ModelError, PlanError) as error:
        if not args.json:
            raise
        faults = [{"message": str(error)}]
        if not isinstance(error, CommandError):
            faults = [{"message": fault.text, "code": fault.code} for fault in error.faults]
        print_json({"ok": False, "faults": faults})
        return 1
    if args.json:
        print_json(proof.as_dict())
    else:
        _print(console(), proof)
    return 0 if proof.ok else 1


def _print(out: Console, proof: Proof) -> None:
    counts = proof.counts()
    if 1 < len(proof.nodes) <= _MATRIX:
        shown = {"lost": "lost", "hidden": "-", "none": ""}
        cells = {(a, b): str(hops) if v == "reached" else shown[v] for a, b, v, hops in proof.rows()}
        rows = [(a, *(cells.get((a, b), "") for b in proof.nodes)) for a in proof.nodes]
        out.print(table(("hops from, to", *proof.nodes), rows))
        for verdict, (cell, meaning) in _CELLS.items():
            if counts[verdict]:
                out.print(f"{cell}: {meaning}", soft_wrap=True)
    parts = [f"{count} {_WORDS[verdict][count > 1]}" for verdict, count in counts.items() if count]
    out.print(f"{sum(counts.values())} pairs: {', '.join(parts) or 'nobody to reach'}")
    for warning in proof.warnings:
        out.print(f"warning: {warning}", style="yellow", soft_wrap=True)
    for fault in proof.faults:
        out.print(fault.message, style="bold red", soft_wrap=True)
