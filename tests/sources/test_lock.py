"""imagesmith.lock: values in and out, and what they do to a base."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from imagesmith.errors import DocumentInvalid
from imagesmith.model import Base, Digest, FileSource, Follow, HttpSource, Signature
from imagesmith.sources.lock import Lock, LockEntry, encode, locked, merged, parse, put, read, write

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
from dataclasses import replace
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
        ("schema: 4\nbases: {}\n", "schema"),
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


# -- schema 2: where values come from, what nobody vouched for, what stood there before ------------

FULL = LockEntry(
    "https://example.org/2/a.img.xz", 12, ONE, 34, TWO, 1_700_000_000, address="https://example.org/latest",
    mirror="https://example.org/latest/a.img.xz", checksums_url="https://example.org/SHA256SUMS",
    signature_url="https://example.org/SHA256SUMS.gpg", fingerprint="A" * 40, version="26.8.10", resolved="2026-11-23",
    unchecked=True, origin={"digest": "SHA256SUMS signed by A", "size": "fact sheet, unchecked"},
    earlier=(ENTRY, LockEntry(digest=TWO, origin={"digest": "os_list v4"})),
)  # fmt: skip


def test_all_that_an_entry_holds_is_written_and_read() -> None:
    full = Lock({"rpi4/raspios": FULL})
    assert parse(encode(full)) == full
    assert "schema: 2\n" in encode(full)


def test_a_lock_of_the_first_schema_is_read_and_written_as_the_second() -> None:
    first = f"schema: 1\nbases:\n  rpi4/raspios: {{url: 'https://example.org/a.img.xz', digest: '{ONE}'}}\n"
    assert parse(first).entries["rpi4/raspios"] == LockEntry("https://example.org/a.img.xz", digest=ONE)
    assert parse(encode(parse(first))) == parse(first)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("unchecked: perhaps", "must be true or false"),
        ("resolved: yesterday", "must be a day"),
        ("url: 'http://example.org/a'", "not an https:// address"),
        ("origin: fact sheet", "must be a mapping"),
        ("origin: {colour: red}", "no value's name"),
        ("earlier: none", "must be a list"),
        ("earlier: [7]", r"earlier\[0\]: must be a mapping"),
        ("earlier: [{size: big}]", r"earlier\[0\]\.size: must be a number"),
        ("earlier: [{earlier: []}]", "have none themselves"),
    ],
)
def test_what_is_wrong_in_an_entry_is_told_with_its_place(line: str, message: str) -> None:
    with pytest.raises(DocumentInvalid, match=message):
        parse(f"schema: 2\nbases:\n  a/b:\n    {line}\n")


def test_a_locked_base_has_the_signature_of_its_own_release() -> None:
    signature = Signature("https://example.org/latest.sig", "file", ("A" * 40,), "x.gpg")
    assert isinstance(BASE.source, HttpSource)
    follow = Follow("raspberrypi", "https://example.org/os_list.json", {"name": "x"})
    base = replace(BASE, source=replace(BASE.source, signature=signature, follow=follow))
    source = locked(base, Lock({"rpi4/raspios": FULL}), "rpi4").source
    assert isinstance(source, HttpSource)
    assert source.signature == replace(signature, url=FULL.signature_url)
    assert (source.checksums_url, source.mirrors) == (FULL.checksums_url, (FULL.mirror,))
    assert source.unchecked
    assert source.follow is None


def test_what_stood_there_joins_the_earlier_ones(tmp_path: Path) -> None:
    path = tmp_path / "imagesmith.lock"
    for number in range(7):
        put(path, "rpi4", "raspios", LockEntry(f"https://example.org/{number}", digest=Digest.of(b"%d" % number)))
    entry = read(path).entries["rpi4/raspios"]
    assert [one.url[-1] for one in (entry, *entry.earlier)] == list("65432")
    assert all(one.earlier == () for one in entry.earlier)


def test_a_new_word_about_the_same_bytes_makes_no_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "imagesmith.lock"
    put(path, "rpi4", "raspios", replace(ENTRY, unchecked=True))
    put(path, "rpi4", "raspios", ENTRY)
    assert read(path).entries["rpi4/raspios"] == ENTRY


def test_another_day_alone_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "imagesmith.lock"
    put(path, "rpi4", "raspios", replace(ENTRY, resolved="2026-11-23"))
    put(path, "rpi4", "raspios", replace(ENTRY, resolved="2026-11-24"))
    assert read(path).entries["rpi4/raspios"].resolved == "2026-11-23"


def test_what_was_known_of_the_same_bytes_is_kept() -> None:
    before = replace(ENTRY, fingerprint="A" * 40, origin={"digest": "signed by A", "raw_size": "measured"})
    found = LockEntry(ENTRY.url, digest=ONE, unchecked=True, origin={"digest": "unsigned", "url": "os_list v4"})
    both = merged(found, before)
    assert (both.raw_size, both.fingerprint, both.unchecked) == (34, "A" * 40, False)
    assert both.origin == {"digest": "signed by A", "url": "os_list v4", "raw_size": "measured"}


def test_a_digest_that_nobody_vouched_for_stays_so_when_it_is_not_told_again() -> None:
    before = LockEntry(ENTRY.url, digest=ONE, version="7", unchecked=True)
    both = merged(LockEntry(ENTRY.url, version="7"), before)
    assert (both.digest, both.unchecked) == (ONE, True)


def test_a_digest_that_was_not_told_before_is_taken() -> None:
    found = LockEntry(ENTRY.url, digest=ONE, version="7", unchecked=True)
    assert merged(found, LockEntry(ENTRY.url, version="7")) == found


def test_nothing_is_kept_of_other_bytes() -> None:
    found = LockEntry(ENTRY.url, digest=TWO, unchecked=True)
    assert merged(found, ENTRY) == found


def test_an_address_that_stays_is_not_given_up_for_the_moving_one() -> None:
    stays = LockEntry("https://example.org/7/a", digest=ONE, mirror="https://example.org/latest/a", version="7")
    moving = LockEntry("https://example.org/latest/a", digest=ONE, version="24.04")
    assert merged(moving, stays) == stays
