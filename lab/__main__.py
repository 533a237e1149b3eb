"""``python -m lab``: bring the lab up, look into it, take it down."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from docker.errors import APIError

from lab import image, reach
from lab.errors import LabError
from lab.lab import PREFIX, Lab, connect
from lab.spec import HostSpec, article, plain
from lab.underlay import DEFAULT_BLOCK, VARIABLE
from lab.workspace import Workspace


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab",
        description="The article's cluster as containers: root, cloud, router, backup, laptop, stranger.",
        epilog="See script/demo for all of it in one go.",
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--prefix", default=PREFIX, help=f"of all Docker objects of this lab (default: {PREFIX})"
    )
    common.add_argument(
        "--subnet",
        help=f'a /19 for it, or "free" to take one (default: {VARIABLE}, else {DEFAULT_BLOCK})',
    )
    common.add_argument(
        "--plain", type=int, metavar="N", help="N bare servers h1, h2, … in place of the article's"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in {
        "image": "build the images, unless they are there",
        "up": "bring up what is not up",
        "down": "remove the containers, the networks and, unless another lab uses them, the images",
        "status": "list the containers",
        "reach": "ask every host, with real packets, whom it reaches",
    }.items():
        commands.add_parser(name, help=text, description=text, parents=[common])
    copy = commands.add_parser(
        "workspace",
        help="copy the deploy, its inventory set for this lab, into a folder",
        description="For a lab with a prefix or a subnet of its own, which inventory.py does not know.",
        parents=[common],
    )
    copy.add_argument("folder", type=Path)
    shell = commands.add_parser("shell", help="a shell in a host, or one command", parents=[common])
    shell.add_argument("host", help="root, cloud, router, backup, laptop or stranger")
    shell.add_argument("words", nargs=argparse.REMAINDER, metavar="command", help="in place of a shell")
    return parser


def main() -> int:
    """Returns the exit status."""
    arguments = _arguments().parse_args()
    specs: tuple[HostSpec, ...] = plain(arguments.plain) if arguments.plain else article()
    try:
        lab = Lab(specs, prefix=arguments.prefix, subnet=arguments.subnet)
        match arguments.command:
            case "image":
                image.ensure(connect(), print)
            case "up":
                lab.up()
            case "down":
                lab.down(images=True)
            case "status":
                for name, state, addresses in lab.status():
                    print(f"{name:24} {state:10} {addresses}")
            case "reach":
                print(f"{reach.table(lab.attach())}\n\n{reach.LEGEND}")
            case "workspace":
                Workspace.make(lab.attach(), arguments.folder)
            case "shell":
                container = lab.prefix + arguments.host
                known = [name for name, _, _ in lab.status()]
                if container not in known:
                    raise LabError(f"no host {arguments.host}; there are: {', '.join(known) or 'none'}")
                terminal = ["--tty"] if sys.stdin.isatty() and sys.stdout.isatty() else []
                words = [
                    "docker",
                    "exec",
                    "--interactive",
                    *terminal,
                    container,
                    *(arguments.words or ["bash"]),
                ]
                os.execvp("docker", words)
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    except APIError as error:
        print(f"Docker says: {error.explanation or error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
