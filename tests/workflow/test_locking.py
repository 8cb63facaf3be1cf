"""`update`: what the publisher has now goes into imagesmith.lock; what fails leaves the lock as it was."""

from __future__ import annotations

import lzma
from dataclasses import replace
from pathlib import Path

import pytest
from image.made_disks import MiB, noise
from publishers.server import Request, Server

from imagesmith.errors import DigestMismatch, DocumentInvalid, SourceUnreachable
from imagesmith.events import unheard
from imagesmith.model import Base, Digest, FileSource, HttpSource
from imagesmith.sources import lock
from imagesmith.sources.cache import Cache
from imagesmith.workflow import locking
from imagesmith.workflow.bases import obtain
from imagesmith.workflow.planned import plan
from imagesmith.workflow.target import TargetChoice, Wanted, wanted

NAME = "rpi4/published"


def release(number: int) -> bytes:
    """A raw image that looks like a disk."""
    return b"\xeb\x63\x90" + noise(507, number) + b"\x55\xaa" + noise(MiB, number)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def lock_path(tmp_path: Path) -> Path:
    return tmp_path / "imagesmith.lock"


def update(found: Wanted, lock_path: Path, cache: Cache, *, insecure: bool = False) -> list[str]:
    """The changes, in words."""
    options = locking.Options(insecure=insecure)
    outcome = locking.update(found.profile.board, found.base, lock_path, cache, options=options)
    return [str(change) for change in outcome.changes]


def published(url: str, data: bytes) -> Wanted:
    """A Pi whose base is that file, of known digest."""
    found = wanted(TargetChoice("rpi4-worker", no_cluster=True))
    base = Base("published", "debian-generic", HttpSource(url, digest=Digest.of(data)))
    return replace(found, base=base, profile=replace(found.profile, board=replace(found.profile.board, bases=(base,))))


def test_the_first_update_writes_the_lock(server: Server, cache: Cache, lock_path: Path) -> None:
    data = release(1)
    found = published(server.file("/a.img", data), data)
    changes = update(found, lock_path, cache)
    entry = lock.read(lock_path).entries[NAME]
    assert (entry.url, entry.digest, entry.raw_size) == (server.url("/a.img"), Digest.of(data), len(data))
    assert f"{NAME}: digest nothing -> {Digest.of(data)}" in changes
    assert f"{NAME}: raw_size nothing -> 1.0 MiB" in changes


@pytest.mark.parametrize("told", [True, False], ids=["the server tells it", "the server does not"])
def test_the_size_of_the_published_file_is_locked(told: bool, server: Server, cache: Cache, lock_path: Path) -> None:
    data = release(1)
    packed = lzma.compress(data, preset=0)
    url = server.on("/a.img.xz", lambda request: request.give(packed, **({} if told else {"Content_Length": ""})))
    found = published(url, packed)
    update(found, lock_path, cache)
    entry = lock.read(lock_path).entries[NAME]
    assert (entry.size, entry.raw_size) == (len(packed), len(data))
    source = lock.locked(found.base, lock.read(lock_path), found.profile.board.name).source
    assert isinstance(source, HttpSource)
    assert source.size == len(packed)


def test_a_second_update_changes_nothing(server: Server, cache: Cache, lock_path: Path) -> None:
    data = release(1)
    found = published(server.file("/a.img", data), data)
    update(found, lock_path, cache)
    before = lock_path.read_bytes()
    assert update(found, lock_path, cache) == []
    assert lock_path.read_bytes() == before


def test_a_newer_release_is_told_as_from_and_to(server: Server, cache: Cache, lock_path: Path) -> None:
    old, new = release(1), release(2)
    update(published(server.file("/1.img", old), old), lock_path, cache)
    changes = update(published(server.file("/2.img", new), new), lock_path, cache)
    assert f"{NAME}: digest {Digest.of(old)} -> {Digest.of(new)}" in changes
    assert f"{NAME}: url {server.url('/1.img')} -> {server.url('/2.img')}" in changes
    assert not [line for line in changes if "raw_size" in line]


def test_other_bases_stay_locked(server: Server, cache: Cache, lock_path: Path) -> None:
    other = lock.LockEntry(url="https://example.org/x", digest=Digest.of(b"x"))
    lock.write(lock_path, lock.Lock().with_entry("rpi3", "raspios", other))
    data = release(1)
    update(published(server.file("/a.img", data), data), lock_path, cache)
    assert lock.read(lock_path).entries["rpi3/raspios"] == other


def test_an_entry_that_was_written_during_the_download_stays(server: Server, cache: Cache, lock_path: Path) -> None:
    other = lock.LockEntry(url="https://example.org/x", digest=Digest.of(b"x"))
    data = release(1)

    def answer(request: Request) -> None:
        lock.write(lock_path, lock.Lock().with_entry("rpi3", "raspios", other))
        request.give(data)

    update(published(server.on("/slow.img", answer), data), lock_path, cache)
    assert set(lock.read(lock_path).entries) == {NAME, "rpi3/raspios"}


def test_a_base_that_is_not_what_it_should_be_leaves_the_lock(server: Server, cache: Cache, lock_path: Path) -> None:
    data = release(1)
    update(published(server.file("/a.img", data), data), lock_path, cache)
    before = lock_path.read_bytes()
    server.file("/a.img", release(2))
    with pytest.raises(DigestMismatch):
        update(published(server.url("/a.img"), release(3)), lock_path, cache)
    assert lock_path.read_bytes() == before


def test_a_server_without_the_file_leaves_no_lock(server: Server, cache: Cache, lock_path: Path) -> None:
    with pytest.raises(SourceUnreachable, match="404"):
        update(published(server.url("/gone.img"), b""), lock_path, cache)
    assert not lock_path.exists()


def test_a_broken_lock_is_not_written_over(server: Server, cache: Cache, lock_path: Path) -> None:
    lock_path.write_text("schema: 7\n")
    data = release(1)
    with pytest.raises(DocumentInvalid, match="schema"):
        update(published(server.file("/a.img", data), data), lock_path, cache)
    assert lock_path.read_text() == "schema: 7\n"
    assert server.seen == []


def test_what_nobody_vouches_for_is_pinned_only_when_that_is_asked_for(
    server: Server, cache: Cache, lock_path: Path
) -> None:
    data = release(1)
    known = published(server.file("/a.img", data), data)
    base = replace(known.base, source=HttpSource(server.url("/a.img")))
    found = replace(known, base=base)
    with pytest.raises(DigestMismatch, match="no digest is known") as raised:
        update(found, lock_path, cache)
    assert "`imagesmith update` pins" in raised.value.hint
    assert not lock_path.exists()
    update(found, lock_path, cache, insecure=True)
    assert lock.read(lock_path).entries[NAME].digest == Digest.of(data)
    assert obtain(plan(found, lock_path), cache, insecure=False, listener=unheard).path.read_bytes() == data


def test_a_local_file_has_no_publisher_to_ask(tmp_path: Path, cache: Cache, lock_path: Path) -> None:
    found = wanted(TargetChoice("rpi4-worker", no_cluster=True))
    local = replace(found, base=Base("local", "debian-generic", FileSource(str(tmp_path / "base.img"))))
    assert update(local, lock_path, cache) == []
    assert not lock_path.exists()


def test_what_is_locked_is_what_a_build_gets(server: Server, cache: Cache, lock_path: Path) -> None:
    """The profile moves on to another file; the lock holds a build at the one that was locked."""
    old, new = release(1), release(2)
    update(published(server.file("/1.img", old), old), lock_path, cache)
    moved_on = published(server.file("/2.img", new), new)
    base = obtain(plan(moved_on, lock_path), cache, insecure=False, listener=unheard)
    assert base.path.read_bytes() == old
