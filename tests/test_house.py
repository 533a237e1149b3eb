"""The rules of the house (docs/architecture.md): who may import whom, and who may touch what.

One table says what each package may import. Every module is held to it, through chains of imports too, and
one that no row names fails. Each rule is a function of the sources, so that a test can break it on purpose.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
Sources = Mapping[str, ast.Module]  # by dotted name

# What each package may import of the others, all that stands behind those included. "tasks" may import all.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "prefixes": (),
    "text": (),
    "inventory": ("prefixes", "text"),
    "keys": ("inventory",),
    "plan": ("inventory",),
    "firewall": ("plan",),
    "picture": ("plan",),
    "host": ("firewall",),
    "wireguard": ("host", "keys"),
    "nginx.syntax": ("inventory",),
    "nginx.config": ("nginx.syntax", "plan"),
    "nginx.audit": ("nginx.config",),
    "nginx.edit": ("nginx.audit", "host"),  # what is about to be written is audited first
    "nginx.probe": ("nginx.edit",),
    "prove": ("wireguard",),
    "verify": ("prove", "nginx.probe"),
    "cli": ("verify", "picture"),
}
NOBODY_KNOWS = {"pyinfra", "pyinfra_cli", "gevent", "tasks", "lab", "tests", "benchmarks"}


def sources() -> dict[str, ast.Module]:
    """Every module that an operator runs, by its dotted name."""
    paths = [*(ROOT / "wgcluster").rglob("*.py"), *(ROOT / "tasks").rglob("*.py")]
    paths += [ROOT / name for name in ("deploy.py", "verify.py", "teardown.py")]
    return {_dotted(path): ast.parse(path.read_text(), str(path)) for path in paths}


def _dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = sources()


def imports(of: Sources, name: str) -> set[str]:
    """The modules that one imports: ours by their dotted names, others by their first word."""
    found: set[str] = set()
    for node in _what_runs(of[name]):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}:{node.lineno}: import modules by their full names"
            module = node.module or ""
            inside = {f"{module}.{one.name}" for one in node.names}
            found |= {one for one in inside if one in of} or {module}
    return {one if one in of else one.split(".")[0] for one in found}


def _what_runs(tree: ast.AST) -> Iterator[ast.AST]:
    """All of a module but what only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from _what_runs(node)


def package(module: str) -> str | None:
    """The row of the table that a module belongs to; None: it stands at the top, beside the packages."""
    first, *parts = module.split(".")
    if first != "wgcluster" or not parts or parts[0] == "__main__":
        return None
    return ".".join(parts[: 2 if parts[0] == "nginx" else 1])


def allowed(row: str) -> set[str]:
    """All that a row may import, itself included."""
    found, left = {row}, list(MAY_IMPORT[row])
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += MAY_IMPORT[one]
    return found


# The rules: each yields what breaks it.


def modules_without_a_row(of: Sources) -> Iterator[str]:
    for name in of:
        row = package(name)
        if row is not None and row not in MAY_IMPORT and row != "nginx":
            yield f"{name} belongs to no row of the table"


def imports_upwards(of: Sources) -> Iterator[str]:
    """Chains of imports need no look of their own: each link of one is held to the table."""
    for name in of:
        row = package(name)
        if row not in MAY_IMPORT:
            continue
        for other in imports(of, name):
            if (there := package(other)) is not None and there not in allowed(row):
                yield f"{name} imports {other}"


def circles(of: Sources) -> Iterator[str]:
    """Modules that import each other, by whatever way."""
    done: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> Iterator[str]:
        if name in path:
            yield " -> ".join((*path[path.index(name) :], name))
        elif name not in done:
            for other in sorted(imports(of, name) & of.keys()):
                yield from walk(other, (*path, name))
            done.add(name)

    for name in of:
        yield from walk(name, ())


def second_import_paths(of: Sources) -> Iterator[str]:
    """What is defined in one module is imported from it, and from nowhere else."""
    for name, tree in of.items():
        for node in _what_runs(tree):
            if isinstance(node, ast.ImportFrom) and (module := node.module or "") in of:
                passed_on = {one.name for one in node.names} & _imported(of[module])
                yield from (f"{name} imports {one} by way of {module}" for one in sorted(passed_on))


def _imported(tree: ast.Module) -> set[str]:
    sources = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    return {one.asname or one.name for node in sources for one in node.names}


def core_that_knows_pyinfra(of: Sources) -> Iterator[str]:
    for name in of:
        if name.startswith("wgcluster") and name != "wgcluster.inventory.from_pyinfra":
            yield from (f"{name} knows {one}" for one in imports(of, name) & NOBODY_KNOWS)


def reading_of_host_data(of: Sources) -> Iterator[str]:
    """What the operator declares is read in one place; everybody else asks the plan."""
    hosts = {"host", "current", "inventory", "h"}
    for name, tree in of.items():
        if name == "wgcluster.inventory.from_pyinfra":
            continue
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute) or node.attr not in ("data", "host_data", "get_host_data"):
                continue
            if node.attr != "data" or (isinstance(node.value, ast.Name) and node.value.id in hosts):
                yield f"{name}:{node.lineno} reads the data of a host"


def decisions_in_tasks(of: Sources) -> Iterator[str]:
    """Tasks know the plan, not how it is made."""
    makers = ("inventory.reading", "inventory.consistency", "plan.topology", "plan.links", "plan.routes")
    for name in of:
        if not name.startswith("wgcluster") and name != "tasks.declaration":
            known = imports(of, name) & {f"wgcluster.{one}" for one in makers}
            yield from (f"{name} imports {one}" for one in known)


def checks_that_know_a_renderer(of: Sources) -> Iterator[str]:
    """A renderer and its check must not share a mistake."""
    renderers = {"wgcluster.firewall.rules", "wgcluster.wireguard.client", "wgcluster.wireguard.config"}
    yield from (f"verify.checks imports {one}" for one in imports(of, "wgcluster.verify.checks") & renderers)


def secrets_revealed(of: Sources) -> Iterator[str]:
    """In clear only where they join a text, and where the passphrase becomes a key."""
    may = {"wgcluster.keys.seal", "wgcluster.wireguard.client", "tasks.wireguard"}
    for name, tree in of.items():
        if name not in may and any(
            isinstance(n, ast.Attribute) and n.attr == "reveal" for n in ast.walk(tree)
        ):
            yield f"{name} reveals a secret"


def deploys_that_observe(of: Sources) -> Iterator[str]:
    """An operation of ours stops its own host; what fails in a deploy function would end the run for all."""
    for name, tree in of.items():
        if name.startswith("tasks."):
            if name != "tasks.operations" and "pyinfra.api.operation" in ast.unparse(tree):
                yield f"{name}: operations of ours are host_operation"
            for function in ast.walk(tree):
                if isinstance(function, ast.FunctionDef) and "deploy(" in _decorators(function):
                    for node in ast.walk(function):
                        if isinstance(node, ast.Attribute) and node.attr in ("observe", "get_fact"):
                            yield f"{name}:{node.lineno} observes a host out of a deploy"


def _decorators(function: ast.FunctionDef) -> str:
    return " ".join(ast.unparse(one) for one in function.decorator_list)


def rich_outside_the_command_line(of: Sources) -> Iterator[str]:
    for name in of:
        if "rich" in imports(of, name) and not name.startswith(("wgcluster.cli", "wgcluster.__main__")):
            yield f"{name} knows rich"


RULES: dict[Callable[[Sources], Iterator[str]], tuple[str, str]] = {
    # rule: (module, a line that breaks it)
    modules_without_a_row: ("wgcluster.managers.all", "x = 1"),
    imports_upwards: ("wgcluster.plan.links", "from wgcluster.wireguard import client"),
    circles: ("wgcluster.plan.links", "from wgcluster.plan import topology"),
    second_import_paths: ("wgcluster.plan.links", "from wgcluster.inventory.reading import Fault"),
    core_that_knows_pyinfra: ("wgcluster.verify.boot", "from gevent import sleep"),
    reading_of_host_data: ("tasks.firewall", "x = host.data.wg_port"),
    decisions_in_tasks: ("tasks.firewall", "from wgcluster.plan.topology import Topology"),
    checks_that_know_a_renderer: (
        "wgcluster.verify.checks",
        "from wgcluster.firewall.rules import desired_rules",
    ),
    secrets_revealed: ("tasks.firewall", "x = secret.reveal()"),
    deploys_that_observe: ("tasks.firewall", "@deploy('x')\ndef x(run): run.observe(host)"),
    rich_outside_the_command_line: ("wgcluster.verify.checks", "import rich.table"),
}
by_name = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)


@by_name
def test_it_holds(rule: Callable[[Sources], Iterator[str]]) -> None:
    assert list(rule(SOURCES)) == []


@by_name
def test_it_fails_where_it_is_broken_on_purpose(rule: Callable[[Sources], Iterator[str]]) -> None:
    name, line = RULES[rule]
    before = ast.unparse(SOURCES[name]) if name in SOURCES else ""
    broken = {**SOURCES, name: ast.parse(f"{before}\n{line}\n")}
    assert list(rule(broken))


def test_every_row_of_the_table_is_a_package_that_is_there() -> None:
    assert {row for name in SOURCES if (row := package(name)) is not None} - {"nginx"} == set(MAY_IMPORT)


def test_no_class_has_two_import_paths() -> None:
    """Packages re-export nothing."""
    for name, tree in SOURCES.items():
        if name.startswith("wgcluster") and (ROOT / name.replace(".", "/")).is_dir():
            assert not [node for node in tree.body if isinstance(node, ast.ImportFrom)], name
