"""The rules of the house (README, "The house"): who may know whom, held by reading the imports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("wgcluster", "tasks")
TOP = ("deploy.py", "verify.py", "teardown.py")

# What turns a plan into something to be written or shown.
RENDERERS = ("wgconf", "firewall", "nginx", "client", "picture")
# model <- links, routes, topology <- plan <- renderers: each may look only to what stands before it.
ORDER = ("schema", "model", "topology", "plan", "renderer")


def modules() -> dict[str, ast.Module]:
    """Every module of ours by its dotted name."""
    found = {}
    for path in [
        *(p for package in PACKAGES for p in (ROOT / package).rglob("*.py")),
        *(ROOT / p for p in TOP),
    ]:
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(
            path.read_text(), str(path)
        )
    return found


MODULES = modules()


def imported(name: str) -> set[str]:
    """The dotted names that a module imports, of modules and of what is in them."""
    found: set[str] = set()
    is_package = (ROOT / name.replace(".", "/")).is_dir()
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = name.split(".")
                up = up[: len(up) - node.level + is_package]
                base = ".".join([*up, base] if base else up)
            found |= {base, *(f"{base}.{one.name}" for one in node.names)}
    return found


def core(name: str) -> str:
    """The part of wgcluster that a dotted name belongs to: "nginx" for wgcluster.nginx.lexer."""
    return name.split(".")[1] if name.startswith("wgcluster.") else ""


def rank(name: str) -> int | None:
    part = core(name)
    return ORDER.index("renderer" if part in RENDERERS else part) if part in (*ORDER, *RENDERERS) else None


IN_CORE = sorted(name for name in MODULES if name.startswith("wgcluster"))


def test_what_is_read_here_is_what_there_is() -> None:
    assert {core(name) for name in IN_CORE} >= {*RENDERERS, *ORDER[:-1], "rows", "keystore", "prove"}
    assert "wgcluster.plan.GuardedSite" in imported("wgcluster.nginx.site")  # a relative import is followed
    assert "pyinfra" in imported("wgcluster.rows") | {one.split(".")[0] for one in imported("wgcluster.rows")}


@pytest.mark.parametrize("name", IN_CORE)
def test_only_rows_knows_pyinfra(name: str) -> None:
    knows = {one.split(".")[0] for one in imported(name)} & {"pyinfra", "pyinfra_cli", "gevent", "tasks"}
    assert not knows or name == "wgcluster.rows"


@pytest.mark.parametrize("name", IN_CORE)
def test_no_module_looks_ahead(name: str) -> None:
    own = rank(name)
    if own is not None:
        ahead = {one for one in imported(name) if (other := rank(one)) is not None and other > own}
        assert not ahead


@pytest.mark.parametrize("name", [name for name in IN_CORE if core(name) in RENDERERS])
def test_a_renderer_knows_neither_another_nor_the_cluster(name: str) -> None:
    others = set(RENDERERS) - {core(name)}
    wrong = {one for one in imported(name) if core(one) in {*others, "model", "topology", "rows", "keystore"}}
    assert not wrong


@pytest.mark.parametrize("name", sorted(MODULES))
def test_only_rows_reads_the_data_of_a_pyinfra_host(name: str) -> None:
    hosts = {"host", "current", "inventory", "h"}
    reads = [
        node.lineno
        for node in ast.walk(MODULES[name])
        if isinstance(node, ast.Attribute)
        and node.attr in ("data", "host_data", "get_host_data")
        and ((isinstance(node.value, ast.Name) and node.value.id in hosts) or node.attr != "data")
    ]
    assert not reads or name == "wgcluster.rows"


@pytest.mark.parametrize("name", sorted(name for name in MODULES if name != "tasks.declaration"))
def test_no_task_decides_about_the_cluster(name: str) -> None:
    if not name.startswith("wgcluster"):
        assert not {one for one in imported(name) if core(one) in ("model", "topology", "links", "routes")}


def decorated(name: str, decorator: str) -> list[ast.FunctionDef]:
    return [
        node
        for node in ast.walk(MODULES[name])
        if isinstance(node, ast.FunctionDef)
        and any(decorator in ast.unparse(one).split("(")[0] for one in node.decorator_list)
    ]


@pytest.mark.parametrize("name", sorted(name for name in MODULES if name.startswith("tasks.")))
def test_what_fails_on_one_host_ends_that_one_alone(name: str) -> None:
    """An operation of ours stops its own host; a look out of a deploy would end the run for all."""
    assert name == "tasks.operations" or "pyinfra.api.operation.operation" not in imported(name)
    looks = [
        node.lineno
        for function in decorated(name, "deploy")
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and node.attr in ("look", "get_fact")
    ]
    assert not looks


def test_verify_holds_hosts_against_the_plan_not_against_text() -> None:
    assert not {one for one in imported("wgcluster.checks") if core(one) in RENDERERS}


def test_no_secret_is_in_a_plan() -> None:
    assert not {
        one for one in imported("wgcluster.plan") if core(one) in ("secret", "seal", "keystore", "keyfile")
    }


def test_secrets_are_revealed_where_they_are_used_and_nowhere_else() -> None:
    reveal = {
        name
        for name, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "reveal"
    }
    # seal: the passphrase becomes a key
    assert reveal == {"wgcluster.seal", "wgcluster.client", "tasks.wireguard"}


def test_only_the_command_line_knows_rich() -> None:
    knows = {name for name in MODULES if any(one.split(".")[0] == "rich" for one in imported(name))}
    assert knows
    assert all(name.startswith(("wgcluster.commands", "wgcluster.__main__")) for name in knows)
