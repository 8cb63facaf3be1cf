"""`disk:` of a node, and `--set disk=...`."""

from __future__ import annotations

from typing import Any

import pytest

from imagesmith.errors import DocumentInvalid, UsageError
from imagesmith.model import Node, TargetDisk
from imagesmith.profile.cluster import load_cluster
from imagesmith.profile.settings import with_overrides
from imagesmith.workflow.target import catalogue_near

INVENTORY = """\
schema: 1
name: home
nodes:
  - name: master
    profile: x86-master
    disk: %s
"""
GiB = 1 << 30


def disk(written: str) -> TargetDisk | None:
    cluster = load_cluster(INVENTORY % written, "cluster.yaml", catalogue_near(None).profiles)
    return cluster.nodes[0].disk


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("{serial: S4EVNX0M123456}", {"serial": "S4EVNX0M123456"}),
        ("{serial: 0123456789}", {"serial": "0123456789"}),
        ("{size: largest}", {"size": "largest"}),
        ("{size: smallest, ssd: no}", {"size": "smallest", "ssd": False}),
        ("{size: '>=200GiB', ssd: true}", {"at_least": 200 * GiB, "ssd": True}),
        ("{size: '>=200GiB <=1TB'}", {"at_least": 200 * GiB, "at_most": 10**12}),
    ],
)
def test_what_is_written_in_an_inventory(written: str, wanted: dict[str, Any]) -> None:
    assert disk(written) == TargetDisk(**wanted)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{}", "says nothing of the disk"),
        ("/dev/sda", "expected keys and values"),
        ("{serial: 'CT*'}", "not a disk's serial number"),
        ("{size: big}", "no such size"),
        ("{size: 200GiB}", "no such size"),
        ("{size: '>=much'}", "is not a size"),
        ("{model: Samsung}", "unknown"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(written: str, said: str) -> None:
    with pytest.raises(DocumentInvalid) as caught:
        disk(written)
    assert said in str(caught.value)
    assert "cluster.yaml:6" in str(caught.value)


def test_set_takes_it_in_one_word() -> None:
    node = with_overrides(Node("a", "x86-master"), {"disk": "size=>=200GiB,ssd=true"})
    assert node.disk == TargetDisk(at_least=200 * GiB, ssd=True)


def test_set_keeps_what_the_inventory_says() -> None:
    before = Node("a", "x86-master", disk=TargetDisk(serial="S4EV"))
    assert with_overrides(before, {"after_install": "reboot"}).disk == before.disk


@pytest.mark.parametrize("written", ["/dev/sda", "serial", ""])
def test_set_refuses_what_is_no_disk(written: str) -> None:
    with pytest.raises(UsageError):
        with_overrides(Node("a", "x86-master"), {"disk": written})
