"""python -m wgcluster: inspect a cluster, manage its keys and road warriors. No command touches a host."""

from __future__ import annotations

import gc
import os
import sys
from argparse import SUPPRESS, ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Callable, Sequence
from pathlib import Path

from wgcluster.cli import check, clients, keys, overlay, plans, sites
from wgcluster.cli.reading import CommandError
from wgcluster.inventory.faults import KeystoreError, ModelError
from wgcluster.nginx.syntax.errors import NginxError
from wgcluster.plan.plan import PlanError

_INVENTORY = "the inventory, with its group_data beside it (default: inventory.py)"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words of the command; None, as the program ``wgcluster``: those it was called with.

    Returns:
        The exit status: 0, 1 for faults of the cluster, 2 for wrong usage.
    """
    if argv is None:
        # An inventory may import modules next to it, as with pyinfra.
        sys.path.append(str(Path.cwd()))
        # A command ends before anything is worth collecting; visiting the million objects of a mesh of 1,000
        # hosts again and again takes a sixth of its time.
        gc.disable()
    args = _parser().parse_args(argv)
    run: Callable[[Namespace], int] = args.run
    try:
        status = run(args)
        sys.stdout.flush()
        return status
    except (CommandError, KeystoreError, ModelError, NginxError, PlanError) as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, such as "head", has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        "python -m wgcluster",
        description="Look at a cluster, keep its keys and road warriors. Nothing here touches a host.",
    )
    parser.add_argument("--inventory", type=Path, metavar="FILE", default="inventory.py", help=_INVENTORY)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    proof = _command(
        commands, "check", check.check, "prove that every packet arrives: status 1 if not", json=True
    )
    proof.add_argument(
        "--suggest-overlay",
        action="store_const",
        const=overlay.suggest,
        dest="run",
        help="prove nothing: name a prefix for wg_networks that nobody is likely to use",
    )
    plan = _command(commands, "plan", plans.plan, "what each host gets: links, ways, rules", json=True)
    plan.add_argument("host", nargs="?", metavar="HOST", help="this one alone")
    render = _command(
        commands, "render", plans.render, "write every config and its rules as files, without the secrets"
    )
    render.add_argument("-o", "--output", type=Path, metavar="DIR", required=True)
    draw = _command(commands, "draw", plans.draw, "draw the cluster: sites, hosts, clients, links")
    draw.add_argument(
        "-o", "--output", type=Path, metavar="FILE", required=True, help="picture.svg, or .mmd for Mermaid"
    )
    _add_keys(commands)
    _add_clients(commands)
    audit = _command(
        commands,
        "nginx-audit",
        sites.nginx_audit,
        "what nginx gives to whom it should not: status 1 if a location leaks",
        json=True,
    )
    audit.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help='site files, or what "nginx -T" said'
    )
    audit.add_argument("--host", help="whose files these are; default: the only host with nginx_vpn_only")
    audit.add_argument("--as-is", action="store_true", help="without the lines that the deploy will put in")
    audit.add_argument(
        "--server", action="append", metavar="NAME", help="a guarded server_name; no inventory is read then"
    )
    audit.add_argument(
        "--public", action="append", default=[], metavar="LOCATION", help="with --server: public on purpose"
    )
    audit.add_argument(
        "--allow", action="append", default=[], metavar="NETWORK", help="with --server: who may pass"
    )
    return parser


def _command(
    commands: _SubParsersAction[ArgumentParser],
    name: str,
    run: Callable[[Namespace], int],
    text: str,
    *,
    json: bool = False,
) -> ArgumentParser:
    """Add a command. ``--inventory`` may also follow it: SUPPRESS keeps the value given before it."""
    sub = commands.add_parser(name, help=text, description=text)
    sub.add_argument("--inventory", type=Path, metavar="FILE", default=SUPPRESS, help=_INVENTORY)
    if json:
        sub.add_argument("--json", action="store_true", help="for programs")
    sub.set_defaults(run=run)
    return sub


def _add_keys(commands: _SubParsersAction[ArgumentParser]) -> None:
    text = "the key registry"
    group = commands.add_parser("keys", help=text, description=text)
    of_keys = group.add_subparsers(metavar="COMMAND", required=True)
    _command(of_keys, "list", keys.list_keys, "who has keys, and which nobody needs", json=True)
    _command(of_keys, "prune", keys.prune, "forget the keys of hosts and links that are no more")
    _command(of_keys, "verify", keys.verify, "open every entry (needs the passphrase)")


def _add_clients(commands: _SubParsersAction[ArgumentParser]) -> None:
    text = "road warriors: laptops and phones that join through a gateway"
    group = commands.add_parser("client", help=text, description=text)
    of_clients = group.add_subparsers(metavar="COMMAND", required=True)
    add = _command(of_clients, "add", clients.add, "give it an address and keys (needs the passphrase)")
    add.add_argument("name", metavar="NAME")
    add.add_argument(
        "--gateway", metavar="HOST", help="for good; default: the first by name that can be dialled"
    )
    add.add_argument(
        "--address",
        action="append",
        default=[],
        metavar="A",
        help="default: the first free one from .100 on, of each family",
    )
    _command(of_clients, "list", clients.list_clients, "who there is", json=True)
    show = _command(of_clients, "show", clients.show, "print its whole config (needs the passphrase)")
    show.add_argument("name", metavar="NAME")
    way = show.add_mutually_exclusive_group()
    way.add_argument("--qr", action="store_true", help="as a QR code, for a phone")
    way.add_argument("-o", "--output", type=Path, metavar="FILE", help="into a file, mode 0600")
    _command(
        of_clients,
        "renumber",
        clients.renumber,
        "after a change of wg_networks: the addresses that are missing, the keys as they are",
    )
    remove = _command(of_clients, "remove", clients.remove, "forget it")
    remove.add_argument("name", metavar="NAME")


if __name__ == "__main__":
    sys.exit(main())
