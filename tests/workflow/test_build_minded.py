"""A build says what is to be minded of a node's part in its cluster, and goes on."""

from __future__ import annotations

from building import Workshop

INVENTORY = """\
schema: 1
name: home
k3s: {file: {arm64: k3s}, datastore: DATASTORE}
upkeep: {packages: online}
nodes:
  - {name: mine, profile: mine, role: server, resolvable: true}
"""


def test_etcd_on_a_card_is_warned_of(shop: Workshop) -> None:
    (shop.folder / "k3s").write_bytes(b"#!/bin/sh\n")
    shop.inventory(INVENTORY.replace("DATASTORE", "etcd"))
    shop.run("vault", "create", "--plain")
    done = shop.run("build", "mine", "--cluster", "cluster.yaml", "--ssh-key", "key.pub")
    assert "warning: mine: etcd on an SD card" in done.err


def test_sqlite_on_a_card_is_not(shop: Workshop) -> None:
    (shop.folder / "k3s").write_bytes(b"#!/bin/sh\n")
    shop.inventory(INVENTORY.replace("DATASTORE", "sqlite"))
    shop.run("vault", "create", "--plain")
    done = shop.run("build", "mine", "--cluster", "cluster.yaml", "--ssh-key", "key.pub")
    assert "builds on" in done.err and "SD card" not in done.err


def test_without_a_vault_it_says_how_there_is_one_before_it_fetches_anything(shop: Workshop) -> None:
    (shop.folder / "k3s").write_bytes(b"#!/bin/sh\n")
    shop.inventory(INVENTORY.replace("DATASTORE", "sqlite"))
    done = shop.run("build", "mine", "--ssh-key", "key.pub")
    assert done.code == 2 and "there is no vault yet" in done.err and "imagesmith vault create" in done.err
    assert "builds on" not in done.err and not (shop.folder / "out").exists()


def test_so_is_it_for_all_nodes_of_an_inventory_elsewhere(shop: Workshop) -> None:
    (shop.folder / "k3s").write_bytes(b"#!/bin/sh\n")
    shop.inventory(INVENTORY.replace("DATASTORE", "sqlite"))
    (shop.folder / "cluster.yaml").rename(shop.folder / "rack.yaml")
    done = shop.run("build", "--all", "--cluster", "rack.yaml")
    assert done.code == 2 and "imagesmith vault create --cluster rack.yaml" in done.err


def test_a_plan_needs_no_vault_and_says_what_is_not_in_it(shop: Workshop) -> None:
    (shop.folder / "k3s").write_bytes(b"#!/bin/sh\n")
    shop.inventory(INVENTORY.replace("DATASTORE", "sqlite"))
    done = shop.run("plan", "mine", "--ssh-key", "key.pub")
    assert done.code == 0 and "secrets are not drawn yet" in done.out


def test_the_list_of_all_plans_says_that_a_vault_is_needed_until_there_is_one(shop: Workshop) -> None:
    (shop.folder / "k3s").write_bytes(b"#!/bin/sh\n")
    shop.inventory(INVENTORY.replace("DATASTORE", "sqlite"))
    assert "imagesmith vault create" in shop.run("plan", "--all").err
    shop.run("vault", "create", "--plain")
    assert "vault create" not in shop.run("plan", "--all").err
