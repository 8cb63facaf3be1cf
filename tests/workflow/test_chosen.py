"""Which image a word means: its file, a profile's file, a profile that one node uses; found from other folders too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagesmith.errors import UsageError
from imagesmith.events import unheard
from imagesmith.formats.canonical import plan_id
from imagesmith.model import Digest, Image
from imagesmith.workflow.built import record_build
from imagesmith.workflow.chosen import chosen
from imagesmith.workflow.planned import current_plan_id, lock_file, plan, remembered, remembered_target
from imagesmith.workflow.target import TargetChoice, wanted

PROFILE = "schema: 1\ntitle: Mine\nboard: qemu-x86\nrole: worker\n"
INVENTORY = "schema: 1\nname: home\nnodes:\n  - {name: node-1, profile: qemu-x86-worker}\n"


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def built(choice: TargetChoice, output: Path = Path("out")) -> Path:
    """As `build` records it, without building."""
    found = wanted(choice)
    name = found.node.name
    path = output.absolute() / name / f"{name}.img"
    path.parent.mkdir(parents=True)
    path.write_bytes(os.urandom(512))
    made = Image(name, path, None, 512, Digest.of(b""), plan_id(plan(found, lock_file(choice))), path, path)
    record_build(output, [made], targets={name: remembered_target(choice.target)}, options=remembered(choice, 0))
    return path


def meant(source: str, output: Path = Path("out")) -> Path:
    with chosen(source, output, current_plan_id, unheard) as raw:
        return raw.path.absolute()


@pytest.mark.parametrize("word", ["./mine.yaml", "mine.yaml", "../project/mine.yaml", "mine"])
def test_a_profile_s_file_means_the_image_built_for_it(inside: Path, word: str) -> None:
    (inside / "mine.yaml").write_text(PROFILE)
    path = built(TargetChoice("./mine.yaml"))
    assert meant(word) == path


def test_a_profile_that_was_not_built_is_told_as_that(inside: Path) -> None:
    (inside / "mine.yaml").write_text(PROFILE)
    with pytest.raises(UsageError, match="none was built for it"):
        meant("./mine.yaml")


@pytest.mark.parametrize("typed", ["node-1", "qemu-x86-worker"])
@pytest.mark.parametrize("word", ["node-1", "qemu-x86-worker"])
def test_a_profile_used_by_one_node_means_that_node(inside: Path, typed: str, word: str) -> None:
    (inside / "cluster.yaml").write_text(INVENTORY)
    path = built(TargetChoice(typed))
    assert meant(word) == path


def test_a_folder_named_like_the_target_does_not_shadow_it(inside: Path) -> None:
    path = built(TargetChoice("qemu-x86-worker"), Path())
    assert (inside / "qemu-x86-worker").is_dir()
    assert meant("qemu-x86-worker", Path()) == path


@pytest.mark.parametrize("word", ["node-1", "qemu-x86-worker"])
def test_a_node_is_found_from_another_folder(inside: Path, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    (inside / "cluster.yaml").write_text(INVENTORY)
    path = built(TargetChoice("node-1"))
    monkeypatch.chdir(inside.parent)
    assert meant(word, Path("project/out")) == path


def test_a_profile_s_file_is_found_from_another_folder(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (inside / "mine.yaml").write_text(PROFILE)
    path = built(TargetChoice("./mine.yaml"))
    monkeypatch.chdir(inside.parent)
    assert meant("project/mine.yaml", Path("project/out")) == path
    assert meant("mine", Path("project/out")) == path
