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
    (shop.folder / "k3s").write_bytes(b"a program")
    shop.inventory(INVENTORY.replace("DATASTORE", "etcd"))
    done = shop.run("build", "mine", "--cluster", "cluster.yaml", "--ssh-key", "key.pub")
    assert "warning: mine: etcd on an SD card" in done.err


def test_sqlite_on_a_card_is_not(shop: Workshop) -> None:
    (shop.folder / "k3s").write_bytes(b"a program")
    shop.inventory(INVENTORY.replace("DATASTORE", "sqlite"))
    done = shop.run("build", "mine", "--cluster", "cluster.yaml", "--ssh-key", "key.pub")
    assert "builds on" in done.err and "SD card" not in done.err
