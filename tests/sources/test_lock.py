"""imagesmith.lock: values in and out, and what they do to a base."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagesmith.errors import DocumentInvalid
from imagesmith.model import Base, Digest, FileSource, HttpSource
from imagesmith.sources.lock import Lock, LockEntry, encode, locked, parse, put, read, write

ONE, TWO = Digest.of(b"one"), Digest.of(b"two")
ENTRY = LockEntry("https://example.org/a.img.xz", 12, ONE, 34, TWO, 1_700_000_000)
LOCK = Lock({"rpi4/raspios": ENTRY, "qemu-x86/debian": LockEntry(packages="ab" * 32, released=1)})
BASE = Base("raspios", "raspios", HttpSource("https://example.org/latest", mirrors=("https://example.net/latest",)))


def test_what_is_encoded_is_parsed_again() -> None:
    assert parse(encode(LOCK)) == LOCK


def test_equal_locks_have_equal_texts() -> None:
    assert encode(Lock(dict(reversed(LOCK.entries.items())))) == encode(LOCK)
    assert encode(LOCK).startswith("# Written by `imagesmith update`")


def test_a_locked_base_is_the_locks_file_and_no_mirror_of_another() -> None:
    source = locked(BASE, LOCK, "rpi4").source
    assert source == HttpSource(ENTRY.url, (), ONE, 12, TWO, 34, released=1_700_000_000)


def test_another_boards_lock_changes_nothing() -> None:
    assert locked(BASE, LOCK, "rpi3") == BASE


def test_a_local_file_is_not_locked() -> None:
    base = Base("raspios", "raspios", FileSource("a.img"))
    assert locked(base, LOCK, "rpi4") == base


def test_written_and_read_again(tmp_path: Path) -> None:
    write(tmp_path / "imagesmith.lock", LOCK)
    assert read(tmp_path / "imagesmith.lock") == LOCK
    assert [path.name for path in tmp_path.iterdir()] == ["imagesmith.lock"]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_under_sudo_it_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_UID", "65534")
    put(tmp_path / "imagesmith.lock", "rpi4", "raspios", ENTRY)
    assert (tmp_path / "imagesmith.lock").stat().st_uid == 65534


PUT = """
import sys
from pathlib import Path
from imagesmith.sources.lock import LockEntry, put
for number in range(40):
    put(Path(sys.argv[1]), sys.argv[2], str(number), LockEntry(size=number + 1))
"""


def test_two_processes_that_write_at_once_lose_no_entry(tmp_path: Path) -> None:
    path = tmp_path / "imagesmith.lock"
    both = [subprocess.Popen([sys.executable, "-c", PUT, path, board]) for board in ("one", "two")]
    assert [process.wait(60) for process in both] == [0, 0]
    assert len(read(path).entries) == 80
    assert [left.name for left in tmp_path.iterdir()] == ["imagesmith.lock"]


def test_what_is_put_tells_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "imagesmith.lock"
    assert put(path, "rpi4", "raspios", ENTRY) == LockEntry()
    assert put(path, "rpi4", "raspios", LockEntry(size=1)) == ENTRY


def test_no_file_is_an_empty_lock(tmp_path: Path) -> None:
    assert read(tmp_path / "imagesmith.lock") == Lock()


def test_one_entry_is_replaced_and_others_stay() -> None:
    changed = LOCK.with_entry("rpi4", "raspios", LockEntry(digest=TWO))
    assert changed.entries["rpi4/raspios"].digest == TWO
    assert changed.entries["qemu-x86/debian"] == LOCK.entries["qemu-x86/debian"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schema: 3\nbases: {}\n", "schema"),
        ("[", "not YAML"),
        ("<html>", "schema"),
        ("schema: 1\nbases: {a/b: {size: big}}\n", r"bases\.a/b\.size: must be a number"),
        ("schema: 1\nbases: {a/b: {digest: 'md5:00'}}\n", "is not a digest"),
        ("schema: 1\nbases: {a/b: {colour: red}}\n", "is not known"),
        ("schema: 1\nbases: {a/b: 7}\n", "must be a mapping"),
        ("schema: 1\nbases:\n  a/b: {size: -5}\n", r"lock:3: .*size: must be a number that is not below 0"),
        ("schema: 1\nbases:\n  a/b: {size: 1}\n  a/b: {size: 2}\n", r"lock:4: .*'a/b' stands here a second time"),
        ("schema: 1\nbases: " + "[" * 5000 + "]" * 5000, "nested deeper"),
        ("schema: 1\nbases: !!python/object/apply:os.getcwd []\n", "tag .* is not allowed"),
    ],
)
def test_a_broken_lock_is_told(text: str, message: str) -> None:
    with pytest.raises(DocumentInvalid, match=message) as raised:
        parse(text)
    assert raised.value.exit_code == 2


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(DocumentInvalid) as raised:
        parse("schema: 1\nbases: {a/b: {size: big, colour: red}, c/d: 7}\n")
    assert len(raised.value.problems) == 3
