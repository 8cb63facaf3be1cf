"""What the words after `flash` mean: one image for all devices, or a node's image for each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from imagesmith.errors import DeviceRefused, UsageError
from imagesmith.events import Event, Noted, Warned, unheard
from imagesmith.model import Device, Digest, Image
from imagesmith.units import GiB, MiB
from imagesmith.workflow.built import Built, record_build
from imagesmith.workflow.jobs import AllNodes, Job, devices_of, images_of, jobs_for_all, typed

BY_PATH = "/dev/disk/by-path/platform-fd=500000.pcie-usb-0:1:1.0-scsi-0:0:0:0"
CARD = Device("/dev/sdb", "sdb", "disk", 32 * GiB, bus="usb", removable=True)
PLAN = "a" * 64


def current(_: Built) -> str:
    return PLAN


def built(folder: Path, *names: str, plan_id: str = PLAN, target: str = "") -> None:
    images = []
    for name in names:
        path = folder / f"{name}.img"
        path.write_bytes(b"x")
        images.append(Image(name, path, None, 0, Digest.of(b""), plan_id, path, path))
    record_build(folder, images, targets={name: target or name for name in names})


@pytest.mark.parametrize(
    ("words", "jobs"),
    [
        (["/dev/sdb"], [Job(None, ("/dev/sdb",))]),
        (["node-1", "/dev/sdb"], [Job("node-1", ("/dev/sdb",))]),
        (["a.img", "/dev/sdb", "/dev/sdc"], [Job("a.img", ("/dev/sdb", "/dev/sdc"))]),
        (["node-1=/dev/sdb"], [Job("node-1", ("/dev/sdb",), "node-1")]),
        (
            ["node-1=/dev/sdb", "node-2=/dev/sdc"],
            [Job("node-1", ("/dev/sdb",), "node-1"), Job("node-2", ("/dev/sdc",), "node-2")],
        ),
        ([f"node-1={BY_PATH}"], [Job("node-1", (BY_PATH,), "node-1")]),
        (["./node-1=b.img", "/dev/sdb"], [Job("./node-1=b.img", ("/dev/sdb",))]),
        (["-", BY_PATH], [Job("-", (BY_PATH,))]),
        ([BY_PATH], [Job(None, (BY_PATH,))]),
    ],
)
def test_words_as_jobs(words: list[str], jobs: list[Job]) -> None:
    assert typed(words) == tuple(jobs)


@pytest.mark.parametrize(
    ("words", "complaint", "advice"),
    [
        ([], "say which device", "NODE=DEVICE"),
        (["node-1="], "node-1= names no device", "node-1=/dev/sdX"),
        (["node-1=sdb"], "sdb is no device's path", "node-1=/dev/sdb"),
        (["Node-1=/dev/sdb"], "'Node-1' is no node's name", "node-1=/dev/sdb"),
        (["node-1=/dev/sdb", "node-1=/dev/sdc"], "node-1 is given to 2 cards", "each node once"),
        (["node-1", "node-2=/dev/sdb"], "node-1 does not", "one image on all"),
        (["node-1=/dev/sdb", "/dev/sdc"], "/dev/sdc does not", "NODE=DEVICE"),
        (["a.img", "node-1=/dev/sdb"], "a.img does not", "./node-1="),
    ],
)
def test_mistakes_are_told_with_what_to_write_instead(words: list[str], complaint: str, advice: str) -> None:
    with pytest.raises(UsageError) as caught:
        typed(words)
    assert complaint in str(caught.value)
    assert advice in caught.value.hint


def test_all_mistakes_come_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        typed(["node-1=", "node-2=sdb", "node-3=/dev/sdc"])
    assert "node-1= names no device" in str(caught.value)
    assert "sdb is no device's path" in str(caught.value)


def test_files_need_no_slash_in_their_path() -> None:
    assert typed(["node-1=card.img"], to_file=True) == (Job("node-1", ("card.img",), "node-1"),)


def test_the_same_device_for_two_nodes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(512))
    (tmp_path / "b").symlink_to(tmp_path / "a")
    jobs = typed([f"node-1={tmp_path / 'a'}", f"node-2={tmp_path / 'b'}"])
    with pytest.raises(UsageError, match="same device"):
        devices_of(jobs, tuple, unheard, to_file=True, yes=False)


# -- images of nodes ------------------------------------------------------------------------------


def test_a_node_means_its_built_image_whatever_files_lie_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    built(tmp_path / "out", "node-1")
    (tmp_path / "node-1").write_bytes(b"another image")
    monkeypatch.chdir(tmp_path)
    (image,) = images_of(["node-1"], Path("out"), current)
    assert image.path == Path("out/node-1.img")
    assert "node-1, built just now" in image.note


def test_every_node_without_an_image_is_told_at_once(tmp_path: Path) -> None:
    built(tmp_path, "node-1")
    built(tmp_path, "stale", plan_id="b" * 64)
    with pytest.raises(UsageError) as caught:
        images_of(["node-1", "nod-1", "stale"], tmp_path, current)
    text = str(caught.value)
    assert "2 nodes can't be written" in text
    assert "no image was built for nod-1; did you mean 'node-1'?; built here: node-1, stale" in text
    assert "stale was built from an older plan" in text
    assert "imagesmith build nod-1" in caught.value.hint


def test_two_words_for_one_node_are_one_node_too_many(tmp_path: Path) -> None:
    built(tmp_path, "node-1", target="rpi4-worker")
    with pytest.raises(UsageError, match="node-1 is given to 2 cards"):
        images_of(["node-1", "rpi4-worker"], tmp_path, current)


# -- all nodes ------------------------------------------------------------------------------------


def inventory(folder: Path, *names: str) -> AllNodes:
    path = folder / "cluster.yaml"
    nodes = "".join(f"  - {{name: {name}, profile: qemu-x86-worker}}\n" for name in names)
    path.write_text(f"schema: 1\nname: home\nnodes:\n{nodes}")
    return AllNodes(path)


def cards(count: int) -> list[Device]:
    names = [f"sd{letter}" for letter in "bcdef"[:count]]
    return [replace(CARD, path=f"/dev/{name}", name=name, by_id=(f"/dev/disk/by-id/usb-{name}",)) for name in names]


def test_the_nodes_of_the_inventory_get_the_cards_in_order(tmp_path: Path) -> None:
    jobs = jobs_for_all(inventory(tmp_path, "node-1", "node-2"), cards(2), unheard)
    assert jobs == (Job("node-1", ("/dev/sdb",), "node-1"), Job("node-2", ("/dev/sdc",), "node-2"))


def test_nodes_that_get_no_card_are_told(tmp_path: Path) -> None:
    events: list[Event] = []
    jobs = jobs_for_all(inventory(tmp_path, "node-1", "node-2", "node-3"), cards(1), events.append)
    assert len(jobs) == 1
    (warned,) = [event for event in events if isinstance(event, Warned)]
    assert warned.message == "2 of 3 nodes get no card: node-2, node-3"
    assert "node-2=DEVICE" in warned.hint


def test_cards_that_get_no_node_are_told(tmp_path: Path) -> None:
    events: list[Event] = []
    jobs_for_all(inventory(tmp_path, "node-1"), cards(2), events.append)
    assert events == [Noted("/dev/sdc gets no node: nothing is written to it")]


def test_without_an_inventory_all_means_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="no inventory"):
        jobs_for_all(AllNodes(), cards(1), unheard)


def test_no_card_at_all_is_refused() -> None:
    fixed = replace(CARD, bus="nvme", removable=False)
    with pytest.raises(DeviceRefused, match="no card"):
        devices_of(AllNodes(), lambda: [fixed], unheard, to_file=False, yes=False)


def test_with_yes_the_lasting_name_is_used_where_there_is_one() -> None:
    named, nameless = cards(1)[0], replace(CARD, path="/dev/sdz", name="sdz", size=32 * MiB)
    found = devices_of(AllNodes(), lambda: [nameless, named], unheard, to_file=False, yes=True)
    assert [device.path for (device,) in found] == ["/dev/disk/by-id/usb-sdb", "/dev/sdz"]
