"""python -m docs: writes what is made into docs/architecture.md, docs/faults.md and the golden messages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.support.fault_examples import rendered
from tests.test_house import MAY_IMPORT, ROOT
from wgcluster.inventory.messages import MESSAGES

DOCUMENT = ROOT / "docs" / "architecture.md"
FAULTS = ROOT / "docs" / "faults.md"
GOLDEN = ROOT / "tests" / "unit" / "inventory" / "messages.golden"

# The way of the data: from, to, what is handed on. What is no room of the table stands outside the core.
FLOW = (
    ("inventory.py, group_data/", "inventory", "settings"),
    ("inventory", "plan", "Cluster"),
    ("keys.yml", "plan", "public keys"),
    ("keys.yml", "keys", "sealed secrets"),
    ("plan", "firewall", "HostPlan"),
    ("plan", "wireguard", "HostPlan"),
    ("plan", "nginx.edit", "guarded sites"),
    ("plan", "picture", "Plan"),
    ("firewall", "prove", "rules"),
    ("wireguard", "prove", "configs"),
    ("the hosts", "host", "answer of observe.sh"),
    ("the hosts", "nginx.syntax", "nginx -T"),
    ("nginx.syntax", "nginx.config", "blocks"),
    ("nginx.config", "nginx.audit", "locations"),
    ("nginx.audit", "nginx.edit", "leaks"),
    ("nginx.audit", "nginx.probe", "locations"),
    ("host", "verify", "Observed"),
    ("host", "wireguard", "Observed"),
    ("picture", "cli", "SVG"),
    ("prove", "cli", "Proof"),
    ("prove", "tasks/", "Proof"),
    ("firewall", "tasks/", "rules"),
    ("keys", "tasks/", "secrets"),
    ("wireguard", "tasks/", "configs, drift"),
    ("nginx.edit", "tasks/", "site files"),
    ("nginx.probe", "tasks/", "requests"),
    ("verify", "tasks/", "faults, checks"),
    ("tasks/", "the hosts", "commands"),
)


def purpose(room: str) -> str:
    """The first line of what the room says of itself."""
    path = ROOT / "wgcluster" / room.replace(".", "/")
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(source.read_text())) or ""
    return text.split("\n")[0].rstrip(".")


def picture() -> Iterator[str]:
    """FLOW as a Mermaid flowchart."""
    number = {name: f"n{i}" for i, name in enumerate(dict.fromkeys(one for edge in FLOW for one in edge[:2]))}
    yield "```mermaid"
    yield "flowchart TB"
    for name, node in number.items():
        yield f'  {node}["{name}"]' if name in MAY_IMPORT else f'  {node}(["{name}"]):::outside'
    for source, target, what in FLOW:
        yield f'  {number[source]} -- "{what}" --> {number[target]}'
    yield "  classDef outside fill:#fdf3e1,stroke:#b9770e,color:#5c3a05"
    yield "```"


def rooms() -> Iterator[str]:
    """The table of rooms."""
    yield "| room | what it is for | may import |"
    yield "|---|---|---|"
    for room, others in MAY_IMPORT.items():
        name = f"`{room.replace('.', '/')}`" if room not in ("prefixes", "text") else f"`{room}.py`"
        yield f"| {name} | {purpose(room)} | {', '.join(f'`{one}`' for one in others) or 'nothing'} |"


def written(text: str) -> str:
    """The document, with what is made here in its place."""
    for name, lines in (("picture", picture()), ("rooms", rooms())):
        begin, end = f"<!-- {name}: made by python -m docs -->\n", f"<!-- end of {name} -->\n"
        made = begin + "".join(f"{line}\n" for line in lines) + end
        before, _, rest = text.partition(begin)
        _, found, after = rest.partition(end)
        assert found, f"docs/architecture.md has no place for {name}"
        text = before + made + after
    return text


def golden() -> str:
    """An example of each message, in the order of the codes."""
    return "".join(f"{rendered(code)}\n" for code in MESSAGES)


def with_examples(text: str) -> str:
    """docs/faults.md with the example of each code that it explains."""
    return re.sub(
        r"(### (\S+)\n\n```text\n)(?:.*\n)+?```\n",
        lambda found: f"{found[1]}{rendered(found[2])}\n```\n",
        text,
    )


if __name__ == "__main__":
    GOLDEN.write_text(golden())
    FAULTS.write_text(with_examples(FAULTS.read_text()))
    DOCUMENT.write_text(written(DOCUMENT.read_text()))
