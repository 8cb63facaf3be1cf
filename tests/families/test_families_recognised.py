"""Which family an image is of: one claims it, none is refused with what was found, another than planned is told."""

from __future__ import annotations

import pytest

from imagesmith.errors import EditFailed
from imagesmith.families.findings import Clue, Findings
from imagesmith.families.recognise import Recognised, check, recognise
from imagesmith.model import Base, FileSource

TRIXIE = b'ID=debian\nVERSION_CODENAME=trixie\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n'
OWN: dict[Clue, bytes] = {
    ("root", "/usr/lib/os-release"): TRIXIE,
    ("root", "/usr/bin/cloud-init"): b"",
    ("root", "/usr/lib/ld-linux-aarch64.so.1"): b"",
}


def findings(contents: dict[Clue, bytes]) -> Findings:
    return Findings("x.img", ("partition 1 (ext4 'root'), used as root",), contents)


def base(family: str = "debian", releases: tuple[str, ...] = ()) -> Base:
    return Base("mine", family, FileSource("x.img"), releases=releases)


def test_an_image_of_one_family_is_recognised_with_the_reason() -> None:
    assert recognise(findings(OWN)) == Recognised("debian", "Debian with cloud-init and without netplan")


def test_an_unknown_system_is_refused_with_what_was_found() -> None:
    with pytest.raises(EditFailed, match=r"found: Slackware 15; partition 1 \(ext4 'root'\), used as root"):
        recognise(findings({("root", "/etc/os-release"): b"ID=slackware\nPRETTY_NAME=Slackware 15\n"}))


def test_another_family_than_planned_is_told_by_name() -> None:
    with pytest.raises(EditFailed, match=r"of the family debian .* the base mine says armbian") as caught:
        check(findings(OWN), base("armbian"), "arm64")
    assert "family: debian" in caught.value.hint


def test_what_fits_the_plan_passes() -> None:
    assert check(findings(OWN), base(releases=("trixie",)), "arm64").family == "debian"


def test_every_difference_is_told_at_once() -> None:
    with pytest.raises(
        EditFailed, match="made for arm64, the board is amd64; it is the release trixie, tried were sid"
    ):
        check(findings(OWN), base(releases=("sid",)), "amd64")


def test_a_32_bit_system_is_no_64_bit_one() -> None:
    old = {clue: b for clue, b in OWN.items() if "aarch64" not in clue[1]} | {
        ("root", "/usr/lib/ld-linux-armhf.so.3"): b""
    }
    with pytest.raises(EditFailed, match="made for no 64-bit system"):
        check(findings(old), base(), "arm64")
