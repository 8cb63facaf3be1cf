"""The record of builds: found as the last one or by name, never a stale, missing or foreign one."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from imagesmith.errors import ContentMalformed, UsageError
from imagesmith.model import Digest, Image
from imagesmith.workflow.built import Built, find_built, last_built, record_build, refuse_stale, show_age


def image(folder: Path, name: str, plan_id: str = "a" * 64) -> Image:
    path = folder / f"{name}.img"
    path.write_bytes(name.encode())
    return Image(name, path, None, 1, Digest.of(b""), plan_id, path.with_suffix(".bmap"), path.with_suffix(".json"))


def test_the_last_build_is_found(tmp_path: Path) -> None:
    record_build(tmp_path, [image(tmp_path, "node-1")])
    record_build(tmp_path, [image(tmp_path, "node-2", "b" * 64)], targets={"node-2": "rpi4-worker"})
    built = last_built(tmp_path)
    assert (built.name, built.plan_id, built.target) == ("node-2", "b" * 64, "rpi4-worker")
    assert built.path == tmp_path / "node-2.img"


def test_an_earlier_build_is_found_by_name_and_by_target(tmp_path: Path) -> None:
    record_build(tmp_path, [image(tmp_path, "node-1")], targets={"node-1": "rpi4-worker"}, options={"base": "debian"})
    record_build(tmp_path, [image(tmp_path, "node-2")])
    assert find_built(tmp_path, "node-1") == find_built(tmp_path, "rpi4-worker")
    assert find_built(tmp_path, "node-1").options == {"base": "debian"}


def test_after_building_all_the_last_one_is_ambiguous(tmp_path: Path) -> None:
    record_build(tmp_path, [image(tmp_path, "node-1"), image(tmp_path, "node-2")])
    with pytest.raises(UsageError, match="node-1, node-2") as caught:
        last_built(tmp_path)
    assert "imagesmith flash node-1 DEVICE" in caught.value.hint


def test_a_target_of_several_images_is_ambiguous(tmp_path: Path) -> None:
    both = {"node-1": "rpi4-worker", "node-2": "rpi4-worker"}
    record_build(tmp_path, [image(tmp_path, "node-1"), image(tmp_path, "node-2")], targets=both)
    with pytest.raises(UsageError, match="names 2 built images"):
        find_built(tmp_path, "rpi4-worker")


def test_nothing_built_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no image has been built here"):
        last_built(tmp_path / "out")
    with pytest.raises(UsageError, match="none was built for it"):
        find_built(tmp_path / "out", "node-1")


def test_an_image_that_is_gone_is_said(tmp_path: Path) -> None:
    record_build(tmp_path, [image(tmp_path, "node-1")])
    (tmp_path / "node-1.img").unlink()
    with pytest.raises(UsageError, match="is gone"):
        last_built(tmp_path)


def test_the_folder_may_be_moved_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    record_build(tmp_path / "out", [image(tmp_path / "out", "node-1")])
    (tmp_path / "out").rename(tmp_path / "moved")
    assert last_built(tmp_path / "moved").path == tmp_path / "moved" / "node-1.img"


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 2}', '{"schema": 1, "last": [], "images": {"a": {}}}'])
def test_a_broken_record_is_told_as_such(tmp_path: Path, text: str) -> None:
    (tmp_path / "last.json").write_text(text)
    with pytest.raises(ContentMalformed, match="not a record of builds"):
        last_built(tmp_path)


def test_a_broken_record_does_not_stop_a_build(tmp_path: Path) -> None:
    (tmp_path / "last.json").write_text("{")
    record_build(tmp_path, [image(tmp_path, "node-1")])
    assert last_built(tmp_path).name == "node-1"


def test_nothing_temporary_stays(tmp_path: Path) -> None:
    record_build(tmp_path / "out", [image(tmp_path, "node-1")])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["last.json"]
    assert json.loads((tmp_path / "out" / "last.json").read_text())["last"] == ["node-1"]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to own files by others")
def test_a_record_of_another_user_is_not_believed_but_that_of_sudos_caller_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_build(tmp_path, [image(tmp_path, "node-1")])
    os.chown(tmp_path / "last.json", 65534, 65534)
    with pytest.raises(UsageError, match="another user"):
        last_built(tmp_path)
    monkeypatch.setenv("SUDO_UID", "65534")
    assert last_built(tmp_path).name == "node-1"


def test_a_stale_image_is_refused_and_a_fresh_one_is_not(tmp_path: Path) -> None:
    built = Built("node-1", tmp_path / "i", "a" * 64, 0, "rpi4-worker", {"base": "debian"})
    refuse_stale(built, lambda asked: asked.plan_id)
    with pytest.raises(UsageError, match="older plan") as caught:
        refuse_stale(built, lambda asked: replace(asked, plan_id="b" * 64).plan_id)
    assert "imagesmith build rpi4-worker" in caught.value.hint


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3, "just now"), (60, "1 minute ago"), (7300, "2 hours ago"), (86400 * 3 + 5, "3 days ago")],
)
def test_ages(seconds: float, text: str) -> None:
    assert show_age(seconds) == text
