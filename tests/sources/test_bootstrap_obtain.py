"""When a Debian base is made and when it is taken from the cache; mmdebstrap is a stand-in."""

from dataclasses import replace
from pathlib import Path

import pytest
from bootstrapping import PC, StandIn

from imagesmith import tools
from imagesmith.errors import DigestMismatch, SourceUnreachable, UsageError
from imagesmith.events import Event, Noted
from imagesmith.model import Base, FileSource, ObtainedBase, Package
from imagesmith.sources.bootstrap import in_cache, obtain_debian, state_key
from imagesmith.sources.cache import Cache

BASE = Base("debian", "debian", PC)
TWICE = 2
"""Runs of mmdebstrap that it takes to make a base: resolve and make."""


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    made = StandIn(tmp_path)
    monkeypatch.setenv("PATH", str(made.folder), prepend=":")
    return made


def obtain(cache: Cache, base: Base = BASE, *, refresh: bool = False, said: list[Event] | None = None) -> ObtainedBase:
    heard = [] if said is None else said
    return obtain_debian(base, "amd64", cache=cache, refresh=refresh, listener=heard.append)


def test_what_was_made_is_told_truly(archive: StandIn, cache: Cache) -> None:
    archive.offer("0.5.12-12")
    base = obtain(cache)
    assert base.path.stat().st_size == base.size
    assert base.packages == (Package("dash", "0.5.12-12", "amd64"),)
    assert base.epoch == 1795227046
    assert base.published is None
    assert base.path.is_relative_to(cache.root)


def test_the_programs_that_made_it_are_told_from_the_cache_too(archive: StandIn, cache: Cache) -> None:
    made = obtain(cache)
    assert set(made.tools) >= {"mmdebstrap", "mke2fs", "mkfs.fat", "mcopy", "e2fsck", "fsck.fat"}
    assert made.tools["mke2fs"] == tools.version("mke2fs")
    assert obtain(Cache(cache.root)).tools == made.tools


def test_the_second_time_needs_no_archive(archive: StandIn, cache: Cache) -> None:
    first = obtain(cache)
    archive.fail("E: Temporary failure resolving\n")
    assert obtain(Cache(cache.root)) == first
    assert len(archive.runs) == TWICE


def test_a_look_tells_whether_a_build_would_find_it(archive: StandIn, cache: Cache) -> None:
    assert not in_cache(PC, "amd64", cache)
    obtain(cache)
    state = state_key(PC, "amd64", cache)
    assert in_cache(PC, "amd64", cache)
    assert in_cache(replace(PC, state=state), "amd64", cache)
    assert not in_cache(replace(PC, state="0" * 64), "amd64", cache)
    assert not in_cache(PC, "arm64", cache)


def test_new_packages_are_not_looked_for_unless_asked(archive: StandIn, cache: Cache) -> None:
    first = obtain(cache)
    archive.offer("2")
    assert obtain(cache) == first
    second = obtain(cache, refresh=True)
    assert second.packages[0].version == "2"
    assert obtain(cache) == second


def test_asked_for_news_without_any_nothing_is_made(archive: StandIn, cache: Cache) -> None:
    first = obtain(cache)
    said: list[Event] = []
    assert obtain(cache, refresh=True, said=said) == first
    assert len(archive.runs) == TWICE + 1
    assert any(isinstance(event, Noted) and "have not changed" in event.message for event in said)


def test_another_recipe_is_another_base(archive: StandIn, cache: Cache) -> None:
    other = replace(BASE, source=replace(PC, cmdline="quiet"))
    assert obtain(cache).path != obtain(cache, other).path


def test_an_altered_entry_is_made_again(archive: StandIn, cache: Cache) -> None:
    path = obtain(cache).path
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(b"x")
    again = obtain(Cache(cache.root))
    assert len(archive.runs) == 2 * TWICE
    assert again.path.read_bytes()[:1] != b"x"


def test_the_states_key_is_what_the_cache_has(archive: StandIn, cache: Cache) -> None:
    assert state_key(PC, "amd64", cache) == ""
    base = obtain(cache)
    assert state_key(PC, "amd64", cache) == base.path.parent.name
    archive.offer("2")
    obtain(cache, refresh=True)
    assert state_key(PC, "amd64", cache) != base.path.parent.name


def test_a_locked_state_is_taken_from_the_cache_whatever_came_after(archive: StandIn, cache: Cache) -> None:
    first = obtain(cache)
    locked = replace(BASE, source=replace(PC, state=state_key(PC, "amd64", cache)))
    archive.offer("2")
    obtain(cache, refresh=True)
    archive.fail("E: Temporary failure resolving\n")
    assert obtain(cache, locked) == first


def test_a_locked_state_is_made_where_the_archive_still_has_it(archive: StandIn, cache: Cache, tmp_path: Path) -> None:
    first = obtain(cache)
    locked = replace(BASE, source=replace(PC, state=state_key(PC, "amd64", cache)))
    elsewhere = Cache(tmp_path / "elsewhere")
    assert obtain(elsewhere, locked).packages == first.packages


def test_a_build_never_goes_past_the_lock(archive: StandIn, cache: Cache, tmp_path: Path) -> None:
    obtain(cache)
    locked = replace(BASE, source=replace(PC, state=state_key(PC, "amd64", cache)))
    archive.offer("2")
    elsewhere = Cache(tmp_path / "elsewhere")
    with pytest.raises(DigestMismatch, match="have changed since trixie was locked"):
        obtain(elsewhere, locked)
    assert not elsewhere.entries()


def test_a_failure_leaves_nothing_in_the_cache_and_says_for_what(archive: StandIn, cache: Cache) -> None:
    archive.fail("E: Temporary failure resolving 'mirror'\n")
    with pytest.raises(SourceUnreachable, match="while getting base debian for amd64"):
        obtain(cache)
    assert cache.entries() == ()
    assert state_key(PC, "amd64", cache) == ""
    assert list((cache.root / "tmp").iterdir()) == []


def test_a_base_of_another_kind_is_refused(cache: Cache) -> None:
    with pytest.raises(UsageError):
        obtain(cache, Base("debian", "debian", FileSource("x.img")))
