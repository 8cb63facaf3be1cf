"""The first build of an image that founds a cluster names the founder in the vault, so that there is no second one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from building import Workshop

from imagesmith.vault.index import read_index

INVENTORY = """\
schema: 1
name: home
k3s: {file: {arm64: k3s}}
network: {firewall: false}
upkeep: {packages: online, serve_time: false}
nodes:
"""


@pytest.fixture
def rack(shop: Workshop) -> Workshop:
    (shop.folder / "k3s").write_bytes(b"#!/bin/sh\n")
    servers(shop, "a", "b", "c")
    assert shop.run("vault", "create", "--plain").code == 0
    return shop


def servers(shop: Workshop, *names: str) -> None:
    """The inventory, with these servers in this order."""
    lines = [f"  - {{name: {name}, profile: mine, role: server, resolvable: true}}\n" for name in names]
    shop.inventory(INVENTORY + "".join(lines))


def build(shop: Workshop, name: str) -> None:
    shop.build(name, "--compress", "none")


def facts(shop: Workshop) -> dict[str, str]:
    return dict(read_index(shop.folder / "cluster.vault").facts)


def duty(shop: Workshop, name: str) -> str:
    plan = shop.run("plan", name, "--json").result["plan"]
    return str(plan["duty"])


def has_authorities(shop: Workshop, name: str) -> bool:
    """Whether the image that was built holds what only a founder's does."""
    return any("/server/tls/" in path for path in (shop.out / name / f"{name}.manifest.json").read_text().splitlines())


def test_servers_that_change_places_make_no_second_founder(rack: Workshop) -> None:
    build(rack, "a")
    servers(rack, "b", "a", "c")
    build(rack, "b")
    assert (has_authorities(rack, "a"), has_authorities(rack, "b")) == (True, False)
    assert (duty(rack, "a"), duty(rack, "b")) == ("founder", "server")


def test_the_image_that_names_the_founder_is_not_stale_by_that(rack: Workshop) -> None:
    build(rack, "a")
    planned = rack.run("plan", "a", "--json").result["id"]
    assert json.loads((rack.out / "last.json").read_text())["images"]["a"]["plan_id"] == planned
    told = rack.run("flash", "a", *rack.card()).err
    assert "older plan" not in told and "card is too small" in told


def test_an_image_whose_vault_is_gone_is_not_called_old(rack: Workshop) -> None:
    build(rack, "a")
    (rack.folder / "cluster.vault").rename(rack.folder / "elsewhere")
    told = rack.run("flash", "a", *rack.card()).err
    assert "older plan" not in told and "vault create" not in told
    assert "the vault of its inventory is gone" in told and "from a backup" in told


def test_who_joins_names_nobody(rack: Workshop) -> None:
    build(rack, "b")
    assert "founder" not in facts(rack)


def test_a_plan_names_nobody(rack: Workshop) -> None:
    assert duty(rack, "a") == "founder"
    assert "founder" not in facts(rack)


def test_one_that_is_no_server_any_more_gives_way(rack: Workshop) -> None:
    build(rack, "a")
    servers(rack, "b", "c", "d")
    build(rack, "b")
    assert facts(rack)["founder"] == "b"


def test_the_vault_tells_it_and_forgets_it(rack: Workshop) -> None:
    build(rack, "a")
    assert "a founds the cluster" in rack.run("vault", "list").out
    assert rack.run("vault", "founded", "--json").result["founder"] == "a"
    assert "a was built to found it" in rack.run("vault", "list").out
    assert rack.run("vault", "founded", "--forget", "--json").result == {"founded": "", "founder": ""}
    servers(rack, "b", "a", "c")
    assert duty(rack, "b") == "founder"


def test_a_build_that_fails_later_has_named_it(rack: Workshop) -> None:
    """An image may have been made, and taken away, before something else failed."""
    Path(rack.base).unlink()
    assert rack.run("build", "a").code != 0
    assert facts(rack)["founder"] == "a"
