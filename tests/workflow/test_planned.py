"""From what is wanted to its plan and back: the lock counts, and what a record remembers makes the same plan again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from building import KEY

from imagesmith.errors import DocumentInvalid, UsageError
from imagesmith.formats.canonical import plan_id
from imagesmith.model import DebianSource, Digest, FileSource, HttpSource
from imagesmith.sources.bootstrap.obtain import reference
from imagesmith.sources.bootstrap.recipe import Recipe
from imagesmith.sources.cache import Cache
from imagesmith.sources.lock import Lock, LockEntry, encode
from imagesmith.workflow.built import Built
from imagesmith.workflow.cached import base_in_cache
from imagesmith.workflow.planned import choice_of, current_plan_id, lock_file, plan, remembered
from imagesmith.workflow.target import TargetChoice, wanted

PI = TargetChoice("rpi4-worker", no_cluster=True)
LOCKED = Digest.of(b"another release")


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key.pub").write_text(KEY + "\n")
    return tmp_path


def locked(folder: Path, name: str = "rpi4/raspios") -> Path:
    board, base = name.split("/")
    path = folder / "imagesmith.lock"
    path.write_text(encode(Lock().with_entry(board, base, LockEntry(digest=LOCKED, raw_size=4096))))
    return path


def inventory(folder: Path, more: str = "") -> Path:
    path = folder / "cluster.yaml"
    path.write_text(f"schema: 1\nname: home\nnodes:\n  - {{name: node-1, profile: rpi4-worker{more}}}\n")
    return path


# -- the lock -------------------------------------------------------------------------------------


def test_the_lock_lies_beside_the_inventory_else_here() -> None:
    assert lock_file(TargetChoice("x", Path("lab/cluster.yaml"))) == Path("lab/imagesmith.lock")
    assert lock_file(TargetChoice("x")) == Path("imagesmith.lock")


def test_a_plan_takes_the_base_as_it_is_locked(inside: Path) -> None:
    source = plan(wanted(PI), locked(inside)).base.source
    assert isinstance(source, HttpSource)
    assert (source.digest, source.raw_size) == (LOCKED, 4096)


def test_a_lock_of_another_board_does_not_count(inside: Path) -> None:
    assert plan(wanted(PI), locked(inside, "rpi3/raspios")) == plan(wanted(PI), inside / "no.lock")


def test_a_lock_changes_the_plans_id(inside: Path) -> None:
    assert plan_id(plan(wanted(PI), locked(inside))) != plan_id(plan(wanted(PI), inside / "no.lock"))


def test_a_broken_lock_is_told_with_its_place(inside: Path) -> None:
    (inside / "imagesmith.lock").write_text("schema: 1\nbases: [\n")
    with pytest.raises(DocumentInvalid) as caught:
        plan(wanted(PI), inside / "imagesmith.lock")
    assert caught.value.problems[0].line == 3
    assert "imagesmith.lock:3" in str(caught.value)


def test_the_epoch_is_a_part_of_the_plan(inside: Path) -> None:
    assert plan(wanted(PI), inside / "no.lock", epoch=5).epoch == 5


# -- the cache ------------------------------------------------------------------------------------


def kept(cache: Cache, kind: str, key: str) -> None:
    with cache.scratch(kind, key) as folder:
        (folder / "made").write_bytes(b"a base")
        cache.publish(kind, key, folder / "made", Digest.of(b"a base"), {})


def test_a_publishers_image_is_looked_for_by_its_digest(inside: Path) -> None:
    cache, made = Cache(inside / "cache"), plan(wanted(PI), locked(inside))
    assert not base_in_cache(made, cache)
    kept(cache, "raw", LOCKED.hex)
    assert base_in_cache(made, cache)


def test_a_debian_base_is_looked_for_by_what_its_recipe_became(inside: Path) -> None:
    cache, made = Cache(inside / "cache"), plan(wanted(replace(PI, base="debian")), inside / "no.lock")
    assert isinstance(made.base.source, DebianSource)
    kept(cache, "debian", "0" * 64)
    assert not base_in_cache(made, cache)
    cache.refer(reference(Recipe.of(made.base.source, made.architecture)), "0" * 64)
    assert base_in_cache(made, cache)


def test_a_local_image_is_not_in_the_cache(inside: Path) -> None:
    made = plan(wanted(PI), inside / "no.lock")
    local = replace(made, base=replace(made.base, source=FileSource("a.img", LOCKED)))
    cache = Cache(inside / "cache")
    kept(cache, "raw", LOCKED.hex)
    assert not base_in_cache(local, cache)


# -- what is remembered ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "choice",
    [
        PI,
        replace(PI, base="debian"),
        replace(PI, hostname="other"),
        replace(PI, overrides={"zram_percent": "25", "time_servers": "a.example,b.example"}),
    ],
)
def test_a_remembered_choice_is_the_same_choice(choice: TargetChoice) -> None:
    assert choice_of(choice.target, remembered(choice, 0)) == choice


def test_remembered_paths_hold_in_other_folders(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory(inside)
    choice = TargetChoice("node-1", Path("cluster.yaml"), ssh_key_files=(Path("key.pub"),))
    built = Built("node-1", Path("x.img"), "", 0, "node-1", remembered(choice, 7))
    expected = plan_id(plan(wanted(choice), lock_file(choice), epoch=7))
    (inside / "below").mkdir()
    monkeypatch.chdir(inside / "below")
    assert current_plan_id(built) == expected


def test_nothing_is_remembered_of_defaults() -> None:
    assert remembered(TargetChoice("node-1"), 0) == {}


def test_what_is_remembered_is_text() -> None:
    choice = TargetChoice("n", Path("c"), False, "debian", "h", (Path("a"), Path("b")), {"user": "x"})
    assert all(isinstance(value, str) for value in remembered(choice, 9).values())


def test_a_node_that_is_gone_is_a_usage_error_by_name(inside: Path) -> None:
    inventory(inside)
    with pytest.raises(UsageError, match="node-9"):
        current_plan_id(Built("node-9", Path("x.img"), "", 0, "node-9"))


def test_a_setting_of_the_node_changes_the_id(inside: Path) -> None:
    built = Built("node-1", Path("x.img"), "", 0, "node-1")
    inventory(inside)
    before = current_plan_id(built)
    inventory(inside, ", timezone: Europe/Berlin")
    assert current_plan_id(built) != before
    inventory(inside)
    assert current_plan_id(built) == before
