"""imagesmith.lock: what is fetched beside a base, in and out, and what a broken one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesmith.errors import DocumentInvalid
from imagesmith.model import Digest
from imagesmith.sources.lock import (
    Lock,
    LockEntry,
    PackageSet,
    PinnedPackage,
    encode,
    parse,
    put,
    put_file,
    put_packages,
    read,
)

ONE, TWO = Digest.of(b"one"), Digest.of(b"two")
K3S = LockEntry("https://example.org/k3s-arm64", 12, ONE, version="v1.36.3+k3s1", resolved="2026-11-23", unchecked=True)
CHRONY = PinnedPackage("chrony", "1:4.6-1+b2", "arm64", "http://example.org/pool/chrony_4.6-1_arm64.deb", 300_000, TWO)
SET = PackageSet(("chrony", "nftables"), str(ONE), (CHRONY,), "2026-11-23")
LOCK = Lock({"rpi4/raspios": LockEntry(digest=ONE)}, {"k3s/v1.36/arm64": K3S}, {"rpi4/raspios": (SET,)})


def test_what_is_encoded_is_parsed_again() -> None:
    assert parse(encode(LOCK)) == LOCK


def test_a_lock_of_bases_alone_stays_as_older_programs_read_it() -> None:
    assert "\nschema: 2\n" in encode(Lock(LOCK.entries))
    assert "\nschema: 3\n" in encode(LOCK)


def test_a_set_is_found_by_its_names_in_any_order_and_for_no_others() -> None:
    assert LOCK.packages_for("rpi4", "raspios", ["nftables", "chrony", "chrony"]) == SET
    assert LOCK.packages_for("rpi4", "raspios", ["chrony"]) is None
    assert LOCK.packages_for("rpi3", "raspios", SET.wanted) is None


def test_a_set_takes_the_place_of_what_was_found_for_the_same_names(tmp_path: Path) -> None:
    path, other = tmp_path / "imagesmith.lock", PackageSet(("dropbear-bin",), str(ONE))
    newer = PackageSet(SET.wanted, str(TWO))
    assert put_packages(path, "rpi4", "raspios", SET) is None
    assert put_packages(path, "rpi4", "raspios", other) is None
    assert put_packages(path, "rpi4", "raspios", newer) == SET
    assert read(path).packages == {"rpi4/raspios": (newer, other)}


def test_each_kind_of_entry_leaves_the_others_alone(tmp_path: Path) -> None:
    path = tmp_path / "imagesmith.lock"
    put_packages(path, "rpi4", "raspios", SET)
    put_file(path, "k3s/v1.36/arm64", K3S)
    put(path, "rpi4", "raspios", LockEntry(digest=ONE))
    assert read(path) == LOCK


def test_a_file_keeps_what_it_was_before(tmp_path: Path) -> None:
    path = tmp_path / "imagesmith.lock"
    put_file(path, "k3s/stable/arm64", K3S)
    newer = LockEntry("https://example.org/newer", 13, TWO, version="v1.37.0+k3s1")
    assert put_file(path, "k3s/stable/arm64", newer) == K3S
    assert read(path).files["k3s/stable/arm64"].earlier == (K3S,)


def test_a_version_with_an_epoch_is_a_file_name_too() -> None:
    assert CHRONY.file_name == "chrony_1%3a4.6-1+b2_arm64.deb"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: chrony", "name: ../etc/passwd", r"packages\[0\].name"),
        ("version: 1:4.6-1+b2", "version: 1/../x", r"packages\[0\].version: .* not of the form"),
        ("architecture: arm64", "architecture: a/b", r"packages\[0\].architecture: must be one word"),
        ("url: http://", "url: file://", r"packages\[0\].url: .* not of the form"),
        ("size: 300000", "size: -1", r"packages\[0\].size: must be a number of bytes"),
        (f"digest: {TWO}\n", "digest: sha256:0\n", r"packages\[0\].digest: .* is not a digest"),
        ("    size: 300000\n", "    size: 300000\n      more: 1\n", "must have exactly name, version"),
        ("  - chrony\n", "  - {}\n", r"wanted: "),
    ],
)
def test_a_broken_set_is_told(old: str, new: str, message: str) -> None:
    text = encode(LOCK)
    assert old in text
    with pytest.raises(DocumentInvalid, match=message):
        parse(text.replace(old, new, 1))


def test_parts_that_are_no_mapping_are_told() -> None:
    with pytest.raises(DocumentInvalid, match="files: must be a mapping"):
        parse("schema: 3\nfiles: 7\n")
    with pytest.raises(DocumentInvalid, match="must be a list"):
        parse("schema: 3\npackages: {a/b: 7}\n")
