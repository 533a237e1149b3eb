"""Inventories that do not run, and the program as a program."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib

import pytest

from tests.support.operator_folder import REPOSITORY, Cluster, process
from wgcluster.__main__ import main


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("inventory.py", "servers = [\n", r"inventory\.py.*SyntaxError"),
        ("inventory.py", "servers = []\n\nservers += hosts\n", r"inventory\.py:3: NameError: name 'hosts'"),
        (
            "group_data/all.py",
            "wg_port = 1 / 0\n",
            r"group_data/all\.py:1: ZeroDivisionError: division by zero",
        ),
    ],
)
def test_an_inventory_that_does_not_run_is_told_with_its_line(
    cluster: Cluster, file: str, text: str, message: str
) -> None:
    (cluster.folder / file).write_text(text)
    result = cluster.run("plan")
    assert (result.status, result.out) == (1, "")
    assert re.search(message, result.err)
    assert "Traceback" not in result.err


def test_a_group_that_names_nobody_is_told(cluster: Cluster) -> None:
    inventory = cluster.folder / "inventory.py"
    inventory.write_text(inventory.read_text() + 'gateways = ["rooot"]\n')
    result = cluster.run("check")
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith("1 fault in the inventory, nothing was changed:\n  rooot: wg_address: ")
    assert result.err.endswith("names as in the inventory: root?  [wg_address.only-in-group]\n")


def test_an_inventory_that_is_not_there(cluster: Cluster) -> None:
    (cluster.folder / "inventory.py").unlink()
    result = cluster.run("check")
    assert result.status == 1
    assert result.err.endswith("inventory.py: no such inventory; name one with --inventory FILE\n")


def test_it_runs_where_the_inventory_is(cluster: Cluster) -> None:
    done = process(cluster, "client", "add", "laptop")
    assert (done.returncode, done.stderr) == (0, "")
    assert (cluster.folder / "keys.yml").exists()


@pytest.mark.parametrize(
    "words", [(), ("client",), ("client", "add"), ("plam",), ("render",), ("check", "--jsno")]
)
def test_wrong_usage_is_told_with_status_2(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: python -m wgcluster")


def test_the_inventory_may_be_named_before_the_command_or_behind_it(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(cluster.folder / "inventory.py")
    for words in (["--inventory", path, "check"], ["check", "--inventory", path]):
        assert main(words) == 0
        assert "6 pairs" in capsys.readouterr().out


def test_a_reader_that_has_seen_enough_hears_no_complaint(cluster: Cluster) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "wgcluster", "plan"],
        cwd=cluster.folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_the_installed_program_is_the_same_as_the_module(cluster: Cluster) -> None:
    """As pip makes it of the entry point: its own folder is in the path, that of the inventory is not."""
    scripts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
    module, function = scripts["wgcluster"].split(":")
    program = f"import sys; from {module} import {function}; sys.exit({function}())"
    inventory = cluster.folder / "inventory.py"
    (cluster.folder / "beside.py").write_text(inventory.read_text())
    inventory.write_text("from beside import servers\n")
    for words in (["check"], ["check", "--json"], ["plan", "nobody"]):
        ran = subprocess.run(
            [sys.executable, "-P", "-c", program, *words],
            cwd=cluster.folder,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        as_module = process(cluster, *words)
        assert (ran.returncode, ran.stdout, ran.stderr) == (
            as_module.returncode,
            as_module.stdout,
            as_module.stderr,
        )
        assert ran.returncode == (words[0] == "plan")
