"""The lock that ships: every shipped base is in it, each value with its origin, and what nobody checked says so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imagesmith import resources
from imagesmith.model import Base, Digest, HttpSource
from imagesmith.sources import lock
from imagesmith.sources.lock import Lock, LockEntry
from imagesmith.workflow.planned import LOCK, shipped_lock
from imagesmith.workflow.target import catalogue_near

FOLDER = resources.folder("profiles")
BOARDS = catalogue_near(None).boards
BASES = {f"{board.name}/{base.name}": base for board in BOARDS.values() for base in board.bases}
SHIPPED = shipped_lock()
VALUES = ("url", "size", "digest", "raw_size", "raw_digest", "released", "version")


def http(name: str) -> HttpSource:
    source = BASES[name].source
    assert isinstance(source, HttpSource)
    return source


PUBLISHED = sorted(name for name, base in BASES.items() if isinstance(base.source, HttpSource))


def test_every_shipped_base_has_an_entry_and_no_other_has() -> None:
    assert set(SHIPPED.entries) == set(BASES)


def test_it_is_written_as_update_writes_it() -> None:
    text = (FOLDER / LOCK).read_text()
    assert lock.encode(lock.parse(text)) == text


@pytest.mark.parametrize("name", sorted(BASES))
def test_every_value_has_its_origin(name: str) -> None:
    entry = SHIPPED.entries[name]
    assert entry.origin
    assert [value for value in VALUES if getattr(entry, value) and value not in entry.origin] == []
    assert entry.resolved


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_counts_for_the_address_that_the_base_names(name: str) -> None:
    assert SHIPPED.entries[name].address == http(name).url


@pytest.mark.parametrize("name", PUBLISHED)
def test_no_profile_pins_what_the_lock_is_for(name: str) -> None:
    assert (http(name).digest, http(name).raw_digest, http(name).size) == (None, None, 0)


@pytest.mark.parametrize("name", [name for name in PUBLISHED if SHIPPED.entries[name].digest])
def test_a_digest_that_nobody_vouched_for_is_marked(name: str) -> None:
    entry = SHIPPED.entries[name]
    assert entry.unchecked is not bool(entry.fingerprint)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_publishers_base_follows_an_index(name: str) -> None:
    assert http(name).follow


# -- which of the two locks counts ----------------------------------------------------------------

PI = BASES["rpi4/raspios"]


def source_with(own: Lock, base: Base = PI) -> HttpSource:
    source = lock.locked(base, own, "rpi4", SHIPPED).source
    assert isinstance(source, HttpSource)
    return source


def test_without_a_lock_of_their_own_people_get_the_shipped_one() -> None:
    source = source_with(Lock())
    assert source.digest == SHIPPED.entries["rpi4/raspios"].digest
    assert source.unchecked
    assert source.signature
    assert source.signature.url == f"{source.url}.sig"


def test_the_users_own_entry_goes_before_the_shipped_one() -> None:
    mine = LockEntry(url="https://example.org/mine.img", digest=Digest.of(b"mine"))
    source = source_with(Lock({"rpi4/raspios": mine}))
    assert (source.url, source.digest, source.size, source.unchecked) == (mine.url, mine.digest, 0, False)


def test_a_lock_of_another_board_leaves_the_shipped_one_to_count() -> None:
    assert source_with(Lock({"rpi3/raspios": LockEntry(digest=Digest.of(b"x"))})) == source_with(Lock())


def test_somebodys_own_base_of_a_shipped_ones_name_is_not_touched() -> None:
    own = replace(PI, source=HttpSource("https://example.org/own.img"))
    assert source_with(Lock(), own) == own.source
    pinned = replace(PI, source=HttpSource(http("rpi4/raspios").url, digest=Digest.of(b"own")))
    assert source_with(Lock(), pinned) == pinned.source
