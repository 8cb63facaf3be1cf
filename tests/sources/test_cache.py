"""The cache: whole entries or none, altered ones found, shared by processes."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imagesmith.errors import IOFailed
from imagesmith.events import Event, Warned
from imagesmith.model import Digest
from imagesmith.sources import cache as cache_module
from imagesmith.sources import owner
from imagesmith.sources.cache import Cache, CacheEntry
from imagesmith.units import MiB

DATA = os.urandom(100_000)


def _put(cache: Cache, key: str = "one", data: bytes = DATA) -> CacheEntry:
    with cache.scratch("raw", key) as folder:
        path = folder / "made"
        path.write_bytes(data)
        return cache.publish("raw", key, path, Digest.of(data), {"why": "test"})


def _next_run() -> None:
    """What a new process knows: nothing was checked yet."""
    cache_module._checked.clear()


def _altered(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def test_what_is_published_is_got_again(cache: Cache) -> None:
    made = _put(cache)
    _next_run()
    entry = cache.get("raw", "one")
    assert entry is not None
    assert entry.path.read_bytes() == DATA
    assert (entry.size, entry.digest, entry.facts) == (made.size, made.digest, {"why": "test"})


def test_a_look_tells_what_is_there_and_makes_nothing(cache: Cache) -> None:
    assert not cache.has("raw", "one")
    assert not cache.root.exists()
    path = _put(cache).path
    os.utime(path.with_name("entry.json"), (1000, 1000))
    assert cache.has("raw", "one")
    assert cache.entries()[0].used == 1000
    assert not cache.has("raw", "two")


def test_a_look_sees_that_an_entry_is_not_whole(cache: Cache) -> None:
    _altered(_put(cache).path, DATA[:-1])
    assert not cache.has("raw", "one")


def test_another_process_of_the_same_folder_finds_it(cache: Cache) -> None:
    _put(cache)
    program = f"from imagesmith.sources.cache import *; print(Cache(Path({str(cache.root)!r})).get('raw', 'one').size)"
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    assert int(done.stdout) == len(DATA)


def test_absent_is_none(cache: Cache) -> None:
    assert cache.get("raw", "absent") is None


def test_an_entry_is_read_only(cache: Cache) -> None:
    assert _put(cache).path.stat().st_mode & 0o777 == 0o444


@pytest.mark.parametrize("change", [DATA[:-1], DATA + b"x", bytes([DATA[0] ^ 1]) + DATA[1:], b""])
def test_an_altered_entry_is_told_removed_and_absent(change: bytes, cache: Cache) -> None:
    heard: list[Event] = []
    entry = _put(cache)
    _altered(entry.path, change)
    _next_run()
    assert cache.get("raw", "one", heard.append) is None
    assert [event for event in heard if isinstance(event, Warned) and "raw/one was altered" in event.message]
    assert not entry.path.exists()


def test_an_entry_altered_during_the_run_is_found_too(cache: Cache) -> None:
    entry = _put(cache)
    assert cache.get("raw", "one") is not None
    _altered(entry.path, bytes([DATA[0] ^ 1]) + DATA[1:])
    assert cache.get("raw", "one") is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"size": 1, "digest": "x", "facts": {}}'])
def test_a_broken_record_makes_the_entry_absent(text: str, cache: Cache) -> None:
    record = _put(cache).path.with_name("entry.json")
    record.chmod(0o644)
    record.write_text(text)
    assert cache.get("raw", "one") is None


def test_a_planted_link_is_not_followed(cache: Cache, tmp_path: Path) -> None:
    entry = _put(cache)
    target = tmp_path / "precious"
    target.write_bytes(DATA)
    entry.path.parent.chmod(0o755)
    entry.path.unlink()
    entry.path.symlink_to(target)
    _next_run()
    assert cache.get("raw", "one") is None
    assert target.read_bytes() == DATA


def test_a_link_in_place_of_a_folder_is_refused(cache: Cache, tmp_path: Path) -> None:
    _put(cache)
    (tmp_path / "elsewhere").mkdir()
    (cache.root / "refs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IOFailed, match="a link or file stands"):
        cache.refer("name", "one")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_holes_stay_holes_and_the_digest_counts_them(cache: Cache) -> None:
    data = DATA + bytes(5 * MiB) + b"end"
    with cache.scratch("raw", "sparse") as folder:
        path = folder / "made"
        with path.open("wb") as file:
            file.write(DATA)
            file.seek(len(DATA) + 5 * MiB)
            file.write(b"end")
        cache.publish("raw", "sparse", path, Digest("sha256", hashlib.sha256(data).hexdigest()), {})
    _next_run()
    entry = cache.get("raw", "sparse")
    assert entry is not None
    assert entry.path.stat().st_blocks * 512 < MiB


def test_publishing_again_replaces(cache: Cache) -> None:
    _put(cache)
    _put(cache, data=b"new")
    entry = cache.get("raw", "one")
    assert entry is not None
    assert entry.path.read_bytes() == b"new"


def test_scratch_goes_also_after_an_error(cache: Cache) -> None:
    with pytest.raises(RuntimeError), cache.scratch("raw", "one") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_bytes(b"x")
        raise RuntimeError
    assert not list((cache.root / "tmp").iterdir())


def test_a_killed_process_leaves_no_entry_and_its_scratch_is_swept(cache: Cache) -> None:
    program = (
        "import sys, time; from imagesmith.sources.cache import *\n"
        f"with Cache(Path({str(cache.root)!r})).scratch('raw', 'one') as folder:\n"
        "    (folder / 'made').write_bytes(b'half'); print('ready', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    left = list((cache.root / "tmp").iterdir())
    with cache.scratch("raw", "two"):
        assert left[0].exists(), "a living process keeps its folder"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    with cache.scratch("raw", "two"):
        assert not left[0].exists()
    assert cache.get("raw", "one") is None


def _make_once(root: str, made: str) -> None:
    cache = Cache(Path(root))
    with cache.hold("raw", "one"):
        if cache.get("raw", "one") is None:
            with Path(made).open("a") as log:
                log.write("made\n")
            time.sleep(0.2)
            _put(cache)


def test_two_processes_make_an_entry_once(cache: Cache, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    arguments = (str(cache.root), str(tmp_path / "made"))
    both = [context.Process(target=_make_once, args=arguments) for _ in range(3)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0, 0]
    assert (tmp_path / "made").read_text() == "made\n"


def test_holding_may_be_nested(cache: Cache) -> None:
    with cache.hold("raw", "one"), cache.hold("raw", "one"):
        _put(cache)


def test_references_point_and_move(cache: Cache) -> None:
    assert cache.referred("latest") is None
    cache.refer("latest", "one")
    cache.refer("latest", "two")
    assert cache.referred("latest") == "two"


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "A", "x" * 129, ".hidden", "one\n"])
def test_names_that_are_no_names_are_refused(name: str, cache: Cache) -> None:
    with pytest.raises(ValueError, match="no name for the cache"):
        cache.get("raw", name)


def _aged(entry: CacheEntry, days: float) -> None:
    then = time.time() - days * 86400
    os.utime(entry.path.with_name("entry.json"), (then, then))


def test_prune_takes_what_was_not_used_for_long(cache: Cache) -> None:
    _aged(_put(cache, "old"), 30)
    _put(cache, "new")
    assert [entry.key for entry in cache.prune(older_than_s=86400)] == ["old"]
    assert [entry.key for entry in cache.entries()] == ["new"]


def test_use_makes_an_entry_young(cache: Cache) -> None:
    _aged(_put(cache), 30)
    cache.get("raw", "one")
    assert cache.prune(older_than_s=86400) == ()


def test_prune_without_an_age_takes_nothing(cache: Cache) -> None:
    _aged(_put(cache), 3000)
    assert cache.prune() == ()


def test_prune_leaves_what_is_held_or_used(cache: Cache) -> None:
    entry = _put(cache)
    other = Cache(cache.root)
    with cache.hold("raw", "one"):
        assert other.prune(everything=True) == ()
        assert cache.prune(everything=True) == ()
    with cache.using(entry.path):
        assert other.prune(everything=True) == ()
    assert [gone.key for gone in other.prune(everything=True)] == ["one"]


def test_prune_takes_broken_downloads_that_nobody_goes_on_with(cache: Cache) -> None:
    part = cache.part("one")
    part.write_bytes(b"half")
    with Cache(cache.root).hold("raw", "one"):
        cache.prune(everything=True)
        assert part.exists(), "somebody is fetching it"
    cache.prune(everything=True)
    assert not part.exists()


def test_the_environment_names_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGESMITH_CACHE", str(tmp_path / "mine"))
    assert Cache.default().root == tmp_path / "mine"


def test_a_record_is_readable_by_people(cache: Cache) -> None:
    record = json.loads(_put(cache).path.with_name("entry.json").read_text())
    assert record == {"schema": 1, "size": len(DATA), "digest": str(Digest.of(DATA)), "facts": {"why": "test"}}


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
class TestSudo:
    """Under sudo the cache is the caller's, and stays usable without sudo."""

    def test_it_is_the_callers_cache(self) -> None:
        folder = owner.default_cache_folder({"SUDO_UID": "65534"})
        assert folder == Path("/nonexistent/.cache/imagesmith")

    def test_what_is_made_belongs_to_the_caller(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SUDO_UID", "65534")
        cache = Cache(tmp_path / "home" / ".cache" / "imagesmith")
        _put(cache)
        cache.refer("name", "one")
        with cache.hold("raw", "one"):
            pass
        assert {path.stat().st_uid for path in (tmp_path / "home").rglob("*")} == {65534}
        assert (tmp_path / "home").stat().st_uid == 65534

    def test_roots_own_cache_stays_roots(self, cache: Cache) -> None:
        assert _put(cache).path.stat().st_uid == 0

    def test_another_users_file_is_not_trusted(self, cache: Cache) -> None:
        entry = _put(cache)
        os.chown(entry.path, 12345, 12345)
        assert cache.get("raw", "one") is None
