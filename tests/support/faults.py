"""Faults without their wording: where they are, the value and the code."""

from __future__ import annotations

from wgcluster.inventory.faults import Fault


def short(fault: Fault) -> str:
    """``a: wg_port = 0 [setting.too-small]``: the fault as it is printed, without its message."""
    return f"{fault.text.removesuffix(f': {fault.message}')} [{fault.code}]"


def prints(text: str, fault: str) -> bool:
    """Is there a line in ``text`` that tells ``fault``, which is as ``short`` gives it, or a part of one?"""
    if not fault.endswith("]"):
        return fault in text
    place, code = fault.rsplit(" [", 1)
    return any(line.startswith(f"  {place}: ") and line.endswith(f"  [{code}") for line in text.splitlines())
