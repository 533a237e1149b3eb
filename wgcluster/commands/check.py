"""check: does every packet arrive that should? Told before any host is touched."""

from __future__ import annotations

from argparse import Namespace

from rich.console import Console

from wgcluster.commands.printing import console, print_json, table
from wgcluster.commands.reading import CommandError, read
from wgcluster.keystore import KeystoreError
from wgcluster.model import ModelError
from wgcluster.plan import PlanError
from wgcluster.prove import Proof, prove

_MATRIX = 16  # nodes: as many columns as a terminal shows


def check(args: Namespace) -> int:
    """``check``: status 1 if the inventory has a fault or a packet is lost; a program gets either as JSON."""
    try:
        proof = prove(read(args.inventory).plan())
    except (CommandError, KeystoreError, ModelError, PlanError) as error:
        if not args.json:
            raise
        faults = error.faults if isinstance(error, ModelError | PlanError) else [error]
        print_json({"ok": False, "faults": [{"message": str(fault)} for fault in faults]})
        return 1
    if args.json:
        print_json(proof.as_dict())
    else:
        _print(console(), proof)
    return 0 if proof.ok else 1


def _print(out: Console, proof: Proof) -> None:
    if 1 < len(proof.nodes) <= _MATRIX:
        shown = {"lost": "lost", "hidden": "-", "none": ""}
        cells = {(a, b): str(hops) if v == "reached" else shown[v] for a, b, v, hops in proof.rows()}
        rows = [(a, *(cells.get((a, b), "") for b in proof.nodes)) for a in proof.nodes]
        out.print(table(("hops from, to", *proof.nodes), rows))
    counts = proof.counts()
    words = {
        "reached": "reach each other",
        "hidden": "are hidden by masquerade or by wg_expect (-)",
        "none": "have no address of one family",
        "lost": "are lost",
    }
    parts = [f"{count} {words[verdict]}" for verdict, count in counts.items() if count]
    out.print(f"{sum(counts.values())} pairs: {', '.join(parts) or 'nobody to reach'}")
    for warning in proof.warnings:
        out.print(f"warning: {warning}", style="yellow", soft_wrap=True)
    for fault in proof.faults:
        out.print(fault.message, style="bold red", soft_wrap=True)
