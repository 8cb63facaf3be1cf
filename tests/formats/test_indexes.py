"""Publishers' indexes: which entry is meant, what it tells, and what is said of an index that is damaged."""

from __future__ import annotations

import json
from typing import Any

import pytest

from imagesmith.errors import ContentMalformed
from imagesmith.formats.indexes import armbian, raspberrypi, sums
from imagesmith.formats.indexes.newest import version_key
from imagesmith.model import Digest

LITE = {"name": "Raspberry Pi OS Lite (64-bit)"}
MINIMAL = {"release": "trixie", "branch": "current", "variant": "minimal"}
NOBLE = "https://cloud.example.org/releases/noble/release/SHA256SUMS"
ONE, TWO = "1" * 64, "2" * 64


def entry(**more: Any) -> dict[str, Any]:
    given = {
        "name": LITE["name"],
        "url": "https://example.org/2026-10-06-raspios-trixie-arm64-lite.img.xz",
        "extract_size": 3078619136,
        "extract_sha256": ONE,
        "image_download_size": 550466056,
        "release_date": "2026-10-06",
        **more,
    }
    return {key: value for key, value in given.items() if value is not None}


def os_list(*entries: object) -> bytes:
    return json.dumps({"imager": {}, "os_list": [{"name": "other", "subitems": list(entries)}]}).encode()


def image(**more: Any) -> dict[str, Any]:
    download = {"direct_url": "https://example.org/Armbian_26.8.1_Bananapim5_trixie_current_6.18.42_minimal.img.xz"}
    given = {"board_slug": "bananapim5", "release": "trixie", "kernel_branch": "current", "variant": "minimal"}
    return {**given, "download": download, **more}


def at(name: str) -> dict[str, Any]:
    return {"download": {"direct_url": f"https://example.org/{name}"}}


def boards(*images: object, **more: object) -> bytes:
    return json.dumps({"data": list(images), "meta": {}, **more}).encode()


# -- Raspberry Pi ---------------------------------------------------------------------------------


def test_an_entry_of_the_os_list_tells_all_of_it() -> None:
    found = raspberrypi.newest(os_list(entry(init_format="cloudinit-rpi")), LITE)
    url = entry()["url"]
    assert (found.url, found.size, found.raw_size) == (url, 550466056, 3078619136)
    assert found.raw_digest == Digest("sha256", ONE)
    assert (found.checksums_url, found.signature_url) == (f"{url}.sha256", f"{url}.sig")
    assert (found.released, found.version, found.hint) == (1791244800, "2026-10-06", "cloudinit-rpi")
    assert found.digest is None
    assert found.origin["raw_digest"] == "os_list v4"
    assert "digest" not in found.origin


def test_a_digest_that_third_parties_add_is_taken() -> None:
    assert raspberrypi.newest(os_list(entry(image_download_sha256=TWO)), LITE).digest == Digest("sha256", TWO)


def test_an_entry_lies_at_any_depth_and_beside_unknown_things() -> None:
    deep: dict[str, Any] = {"name": "x", "subitems": [entry(devices=["pi4-64bit"], tomorrow=[1])]}
    for _ in range(4):
        deep = {"name": "x", "subitems": ["text", 7, {"name": "elsewhere", "subitems_url": "https://e.org/x"}, deep]}
    assert raspberrypi.newest(os_list(deep), LITE).size == 550466056


def test_of_two_of_one_name_the_later_counts() -> None:
    old = entry(url="https://example.org/old.img.xz", release_date="2025-12-04")
    assert raspberrypi.newest(os_list(old, entry()), LITE).version == "2026-10-06"


def test_the_same_image_listed_twice_is_one() -> None:
    assert raspberrypi.newest(os_list(entry(), entry()), LITE).url == entry()["url"]


def test_two_images_of_one_name_and_day_are_ambiguous() -> None:
    with pytest.raises(ContentMalformed, match="2 of that name"):
        raspberrypi.newest(os_list(entry(), entry(url="https://example.org/other.img.xz")), LITE)


def test_a_pattern_of_the_file_tells_releases_apart() -> None:
    legacy = entry(url="https://example.org/2026-10-06-raspios-bookworm-arm64-lite.img.xz")
    found = raspberrypi.newest(os_list(legacy, entry()), {**LITE, "file": "*-raspios-trixie-arm64-lite.img.xz"})
    assert "trixie" in found.url


@pytest.mark.parametrize("lost", ["url", "release_date"])
def test_a_required_field_that_is_missing_is_named(lost: str) -> None:
    with pytest.raises(ContentMalformed, match=f"lacks {lost}"):
        raspberrypi.newest(os_list(entry(**{lost: None})), LITE)


def test_sizes_that_are_missing_stay_open() -> None:
    found = raspberrypi.newest(os_list(entry(extract_size=None, extract_sha256=None, image_download_size=None)), LITE)
    assert (found.size, found.raw_size, found.raw_digest) == (0, 0, None)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"url": "http://example.org/a.img.xz"}, "not an https:// address"),
        ({"url": ["https://example.org/a"]}, "not an https:// address"),
        ({"extract_sha256": "cafe"}, "no sha256"),
        ({"extract_size": "large"}, "no size in bytes"),
        ({"extract_size": -5}, "no size in bytes"),
        ({"extract_size": True}, "no size in bytes"),
        ({"release_date": "soon"}, "no day"),
        ({"release_date": "2026-13-40"}, "no day"),
    ],
)
def test_a_field_of_the_wrong_kind_is_told(more: dict[str, Any], told: str) -> None:
    with pytest.raises(ContentMalformed, match=told):
        raspberrypi.newest(os_list(entry(**more)), LITE)


def test_a_name_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(ContentMalformed, match="nothing with name 'Lite'; there is 'Raspberry Pi OS Lite"):
        raspberrypi.newest(os_list(entry()), {"name": "Lite"})


@pytest.mark.parametrize("module", [raspberrypi, armbian])
@pytest.mark.parametrize(
    ("index", "told"),
    [
        (b"<!DOCTYPE html><title>log in</title>", "is not JSON: it begins with '<!DOCTYPE html>"),
        (b"", "is empty"),
        (os_list(entry())[:-20], "damaged or cut off"),
        (b"\xff\xfe{", "not UTF-8"),
        (b"[]", "lacks"),
        (b"{}", "lacks"),
        (b'{"os_list": {}, "data": {}}', "lacks"),
        (b"[" * 100_000, "nested deeper"),
    ],
)
def test_what_is_no_index_is_told(module: Any, index: bytes, told: str) -> None:
    with pytest.raises(ContentMalformed, match=told) as raised:
        module.newest(index, {"release": "trixie"})
    assert raised.value.hint


def test_categories_without_end_are_refused() -> None:
    deep: dict[str, Any] = entry()
    for _ in range(30):
        deep = {"name": "x", "subitems": [deep]}
    with pytest.raises(ContentMalformed, match="nested deeper"):
        raspberrypi.newest(os_list(deep), LITE)


# -- Armbian --------------------------------------------------------------------------------------


def test_an_image_of_the_board_tells_its_version_by_its_name() -> None:
    found = armbian.newest(boards(image()), MINIMAL)
    assert (found.version, found.size, found.released) == ("26.8.1", 0, 0)
    assert found.checksums_url.endswith("minimal.img.xz.sha")
    assert found.signature_url.endswith("minimal.img.xz.asc")


def test_what_the_list_says_of_a_download_is_taken() -> None:
    said = {
        "file_url": "https://dl.example.org/bananapim5/Trixie_current_minimal",
        "sha_url": "https://dl.example.org/x.sha",
        "asc_url": "https://dl.example.org/x.asc",
        "size_bytes": "412345",
        "updated_at": "2026-10-01T08:15:00Z",
    }
    found = armbian.newest(boards(image(download=said, armbian_version="26.8.1")), MINIMAL)
    assert (found.url, found.checksums_url, found.signature_url) == (said["file_url"], said["sha_url"], said["asc_url"])
    assert (found.size, found.released, found.version) == (412345, 1790812800, "26.8.1")


def test_the_highest_version_counts_and_not_the_first() -> None:
    names = [f"Armbian_26.{number}.1_Bananapim5_trixie_current_6.18_minimal.img.xz" for number in (9, 11, 8)]
    assert armbian.newest(boards(*(image(**at(name)) for name in names)), MINIMAL).version == "26.11.1"


def test_a_release_goes_before_a_nightly_build_of_the_next() -> None:
    nightly = image(**at("Armbian_community_26.11.0-trunk.5_Bananapim5_trixie_current_6.18_minimal.img.xz"))
    assert armbian.newest(boards(nightly, image()), MINIMAL).version == "26.8.1"
    assert armbian.newest(boards(nightly), MINIMAL).version == "26.11.0-trunk.5"


@pytest.mark.parametrize(
    "other",
    [{"release": "noble"}, {"kernel_branch": "edge"}, {"variant": "server"}, {"file_extension": "img.qcow2"},
     {"preinstalled_application": "homeassistant"}],
)  # fmt: skip
def test_another_kind_of_image_is_not_taken(other: dict[str, str]) -> None:
    newer = at("Armbian_27.2.1_Bananapim5_trixie_current_6.18_minimal.img.xz")
    assert armbian.newest(boards(image(**newer, **other), image()), MINIMAL).version == "26.8.1"


def test_the_older_index_of_all_boards_is_read_too() -> None:
    asset = {
        "board_slug": "bananapim5", "armbian_version": "26.8.1", "distro": "trixie", "branch": "current",
        "variant": "minimal", "file_url": "https://dl.example.org/a.img.xz", "file_extension": "img.xz",
        "file_url_sha": "https://dl.example.org/a.img.xz.sha", "file_size": "1234",
    }  # fmt: skip
    others = [{**asset, "board_slug": "odroidc4"}, {**asset, "file_extension": "img.xz.torrent"}]
    index = json.dumps({"assets": [*others, asset]}).encode()
    found = armbian.newest(index, {**MINIMAL, "board": "bananapim5"})
    assert (found.url, found.size, found.origin["url"]) == (asset["file_url"], 1234, "armbian-images.json")


def test_an_image_without_an_address_is_told() -> None:
    with pytest.raises(ContentMalformed, match="direct_url or file_url"):
        armbian.newest(boards(image(download={})), MINIMAL)


def test_a_combination_that_is_not_published_is_told_with_what_is() -> None:
    with pytest.raises(ContentMalformed, match="there is 'trixie current minimal'"):
        armbian.newest(boards(image()), {**MINIMAL, "release": "bookworm"})


# -- lists of digests -----------------------------------------------------------------------------


def listed(*names: str, gap: str = " *") -> bytes:
    return "".join(f"{number:064x}{gap}{name}\n" for number, name in enumerate(names, 1)).encode()


def test_the_highest_point_release_counts() -> None:
    names = [f"ubuntu-24.04{point}-live-server-amd64.iso" for point in (".9", ".10", "", ".2")]
    found = sums.newest(listed(*names), NOBLE, {"file": "ubuntu-24.04*-live-server-amd64.iso"}, "signed")
    assert found.url == "https://cloud.example.org/releases/noble/release/ubuntu-24.04.10-live-server-amd64.iso"
    assert (found.version, found.digest) == ("24.04.10", Digest("sha256", f"{2:064x}"))
    assert found.origin == {"url": "signed", "digest": "signed", "version": "the file's name"}


def test_a_star_stands_for_a_point_release_alone() -> None:
    names = ["ubuntu-24.04-beta-live-server-amd64.iso", "ubuntu-24.04.1-live-server-amd64.iso"]
    found = sums.newest(listed(*names), NOBLE, {"file": "ubuntu-24.04*-live-server-amd64.iso"}, "")
    assert found.version == "24.04.1"


def test_a_plus_in_a_name_stands_for_itself() -> None:
    name = "ubuntu-24.04.5-preinstalled-server-arm64+raspi.img.xz"
    assert sums.newest(listed(name), NOBLE, {"file": name}, "").url.endswith(f"/{name}")


@pytest.mark.parametrize(
    "text",
    [
        f"{ONE}  a.img\r\n{TWO}  b.img\r\n",
        f"{ONE} a.img\n",
        f"{ONE} *a.img\n",
        f"SHA256 (a.img) = {ONE}\n",
        f"{ONE}  ./a.img\n",
        f"\ufeff{ONE}  a.img",
        f"{ONE}  a.img\n{ONE} *a.img\n",
    ],
    ids=["CRLF", "one space", "star", "BSD", "dot", "BOM", "twice the same"],
)
def test_every_dialect_of_a_list_is_read(text: str) -> None:
    found = sums.newest(text.encode(), NOBLE, {"file": "a.img"}, "")
    assert found.digest == Digest("sha256", ONE)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{ONE}  a.img\n{TWO}  a.img\n", "contradicts itself"),
        (f"{ONE}  b.img\n", "nothing with file 'a.img'; there is 'b.img'"),
        ("", "nothing with file"),
        ("<html><body>404</body></html>", "no checksum"),
    ],
)
def test_a_list_that_does_not_name_the_file_once_is_refused(text: str, told: str) -> None:
    with pytest.raises(ContentMalformed, match=told):
        sums.newest(text.encode(), NOBLE, {"file": "a.img"}, "")


def test_the_address_that_stays_is_found_by_the_serial() -> None:
    choose = {"file": "ubuntu-24.04-server-cloudimg-amd64.img", "dated": "../release-{serial}/"}
    found = sums.newest(listed(choose["file"]), NOBLE, choose, "signed")
    asked = sums.serial_url("ubuntu", found.url, choose)
    assert asked == "https://cloud.example.org/releases/noble/release/unpacked/build-info.txt"
    serial = sums.serial_of("ubuntu", b"serial=20261005\norig_prefix=noble-server-cloudimg\n")
    stays = sums.dated(found, serial, choose)
    assert stays.url == f"https://cloud.example.org/releases/noble/release-20261005/{choose['file']}"
    assert (stays.mirror, stays.digest, stays.version) == (found.url, found.digest, "20261005")
    assert stays.released == 1791158400


def test_debians_image_is_described_beside_it() -> None:
    url = "https://cloud.example.org/images/cloud/trixie/latest/SHA512SUMS"
    choose = {"file": "debian-13-generic-amd64.qcow2", "dated": "../{serial}/debian-13-generic-amd64-{serial}.qcow2"}
    found = sums.newest(f"{'3' * 128}  {choose['file']}\n".encode(), url, choose, "over https")
    assert sums.serial_url("debian", found.url, choose).endswith("/latest/debian-13-generic-amd64.json")
    build = {"kind": "Build", "metadata": {"labels": {"cloud.debian.org/version": "20261005-2262"}}}
    stays = sums.dated(found, sums.serial_of("debian", json.dumps({"items": [build]}).encode()), choose)
    assert stays.url.endswith("/trixie/20261005-2262/debian-13-generic-amd64-20261005-2262.qcow2")


@pytest.mark.parametrize("body", [b"serial=../../etc\n", b"serial=20261005\nserial=20261006\n", b"nothing\n", b"\xff"])
def test_a_serial_that_is_none_is_not_taken(body: bytes) -> None:
    with pytest.raises(ContentMalformed):
        sums.serial_of("ubuntu", body)


def test_without_a_dated_folder_nothing_is_asked() -> None:
    assert sums.serial_url("ubuntu", NOBLE, {"file": "a.img"}) == ""


# -- versions -------------------------------------------------------------------------------------


def test_versions_are_compared_as_people_count() -> None:
    rising = ["26.2.1", "26.8.0-trunk.5", "26.8.0", "26.8.1", "26.8.10", "26.11"]
    falling = rising[::-1]
    assert sorted(falling, key=version_key) == rising


def test_a_number_of_any_length_is_no_bug() -> None:
    assert version_key("9" * 5000)[0] == version_key("9" * 18)[0]
