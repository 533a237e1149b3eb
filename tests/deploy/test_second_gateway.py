"""A second gateway moves nobody; where a choice does come out otherwise, the run says who loses what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.fake.cluster import LAPTOP, FakeCluster, article
from tests.support.fake.host import FakeHost

MOVED = (
    "--> laptop comes in through alpha, no longer through root: it is cut off until it has its config anew"
    " (python -m wgcluster client show laptop)"
)


def gateway(number: int) -> dict[str, Any]:
    return {"wg_address": f"10.0.0.{number}", "wg_endpoint": f"198.18.1.{number}", "wg_gateway": True}


@pytest.fixture
def world(tmp_path: Path) -> FakeCluster:
    """root is the gateway; the laptop's is not noted, as in registries of before."""
    world = article(tmp_path)
    world.deploy()
    world.add_clients(LAPTOP)
    return world


def second(world: FakeCluster) -> None:
    """One whose name comes first."""
    world.rows["alpha"] = gateway(5)
    world.hosts["alpha"] = FakeHost(addresses=["198.18.1.5"])


def gateway_of(world: FakeCluster) -> str | None:
    (client,) = world.registry().clients()
    return client.gateway


def lets_in(world: FakeCluster) -> set[str]:
    key = world.registry().client_keys()["laptop"]
    return {name for name, host in world.hosts.items() if key in host.links["wg"].peers}


def test_an_earlier_registry_gets_the_choice_noted(world: FakeCluster) -> None:
    assert gateway_of(world) is None
    world.run("deploy.py", "--dry")
    assert gateway_of(world) is None
    world.deploy()
    assert gateway_of(world) == "root"
    text = world.keystore.read_bytes()
    world.forget()
    world.deploy()
    assert world.changes() == []
    assert world.keystore.read_bytes() == text


def test_a_second_gateway_with_a_smaller_name_moves_nobody(world: FakeCluster) -> None:
    world.deploy()
    second(world)
    done = world.deploy()
    assert "no longer through" not in done.err
    assert (gateway_of(world), lets_in(world)) == ("root", {"root"})


@pytest.mark.parametrize("loss", ["it left", "it is a gateway no more", "nobody can dial it"])
def test_a_gateway_that_is_none_any_more_is_told_before_anybody_is_asked(
    world: FakeCluster, loss: str
) -> None:
    world.deploy()
    second(world)
    world.deploy()
    del world.rows["root"]["nginx_vpn_only"]
    if loss == "it left":
        del world.rows["root"]
    else:
        world.rows["root"] |= {"wg_gateway": False, "wg_masquerade": False}
    if loss == "nobody can dial it":
        del world.rows["root"]["wg_endpoint"]
    dry = world.run("deploy.py", "--dry", "--limit", "@fake/cloud")
    assert (dry.code, dry.err.count(MOVED)) == (0, 1)
    assert gateway_of(world) == "root"
    assert world.deploy().err.count(MOVED) == 1
    assert gateway_of(world) == "alpha"
    assert "alpha" in lets_in(world)
    world.rows["root"] = gateway(2)  # back again; if it had left, it has let the laptop in until now
    assert (MOVED in world.deploy().err) == (loss == "it left")
    assert (gateway_of(world), lets_in(world)) == ("alpha", {"alpha"})


def test_who_moves_at_the_first_run_that_could_note_it_is_told(world: FakeCluster) -> None:
    world.deploy()
    registry = world.registry()
    registry._clients["laptop"] = registry._clients["laptop"].model_copy(update={"gateway": None})
    registry.dirty = True
    registry.save()
    second(world)
    assert MOVED in world.run("deploy.py", "--dry").err


def test_ways_between_servers_that_move_are_told(world: FakeCluster) -> None:
    """Two behind NAT meet through the first gateway by name."""
    world.rows["home"] = {"wg_address": "10.0.0.6"}
    world.hosts["home"] = FakeHost(addresses=["192.168.7.2"])
    first = world.deploy()
    second(world)
    told = [
        "--> the way of home to 10.0.0.4/32 leads through alpha, no longer through root",
        "--> the way of backup to 10.0.0.6/32 leads through alpha, no longer through root",
    ]
    for options in (("--dry",), ("-y",)):
        done = world.run("deploy.py", *options)
        assert "--> the way of backup, home to 10.0.0." in done.err or all(one in done.err for one in told)
        assert done.err.count("no longer through") < 3
    again = world.deploy()
    assert "no longer through" not in first.err + again.err
