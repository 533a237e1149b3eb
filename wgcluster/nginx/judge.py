"""What nginx does with a request before and at the access list."""

from __future__ import annotations

from collections.abc import Sequence

from .tree import Directive


def closes_server(server: Directive) -> bool:
    """Does the server only redirect to https or refuse, whatever is asked (certbot's port 80)?"""
    return _closing_return(server.body) is not None


def _closing_return(body: Sequence[Directive]) -> Directive | None:
    for child in body:
        if child.name == "return":
            return child if is_closed_answer(child) else None
    return None


def is_closed_answer(directive: Directive) -> bool:
    """A ``return`` that gives away nothing of the service: a redirect to https, or a bare refusal."""
    args = directive.args
    if not args:
        return False
    if args[0].startswith("https://"):
        return True
    if args[0] in ("301", "302", "303", "307", "308"):
        return len(args) > 1 and args[1].startswith("https://")
    return args[0].isdigit() and int(args[0]) >= 400
