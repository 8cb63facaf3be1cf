"""The profiles, boards and bases that come with imagesmith."""

from pathlib import Path

import pytest

from imagesmith import resources
from imagesmith.model import DebianSource, HttpSource
from imagesmith.workflow.target import catalogue_near

FOLDER = resources.folder("profiles")
CATALOGUE = catalogue_near(None)


def debian(board: str) -> DebianSource:
    source = next(base for base in CATALOGUE.boards[board].bases if base.name == "debian").source
    assert isinstance(source, DebianSource)
    return source


def test_what_is_shipped():
    assert {name: [base.name for base in profile.board.bases] for name, profile in CATALOGUE.profiles.items()} == {
        "rpi3-worker": ["raspios", "raspios-legacy", "debian", "ubuntu"],
        "rpi4-worker": ["raspios", "raspios-legacy", "debian", "ubuntu", "ubuntu-resolute"],
        "bananapi-m5-worker": ["armbian"],
        "x86-master": ["ubuntu", "ubuntu-resolute", "debian-generic", "ubuntu-live", "debian"],
        "qemu-x86-server": ["debian"],
        "qemu-x86-worker": ["debian"],
        "qemu-arm64-worker": ["debian"],
    }


@pytest.mark.parametrize("boards", [("rpi3", "rpi4", "qemu-arm64"), ("x86-itx", "qemu-x86")])
def test_one_debian_base_serves_all_boards_of_an_architecture(boards):
    assert len({debian(board) for board in boards}) == 1


def test_both_debian_bases_have_the_same_common_packages():
    amd64, arm64 = debian("qemu-x86").packages, debian("qemu-arm64").packages
    assert amd64[:26] == arm64[:26]
    assert amd64[26:] == ("linux-image-amd64", "systemd-boot", "firmware-realtek", "intel-microcode", "amd64-microcode")
    assert arm64[26:28] == ("linux-image-arm64", "raspi-firmware")
    assert arm64[28:] == ("wpasupplicant", "wireless-regdb", "firmware-brcm80211", "rfkill")


def test_every_publishers_file_is_signed_or_has_a_digest():
    for base in CATALOGUE.bases.values():
        # Debian's cloud team signs nothing: its images are refused until imagesmith.lock pins a digest.
        if isinstance(base.source, HttpSource) and base.family != "debian-generic":
            assert base.source.signature or base.source.digest, base.name


def test_every_signature_that_is_needed_can_be_checked():
    bundled = {path.name for path in resources.folder("keyrings").iterdir()}
    for base in CATALOGUE.bases.values():
        if isinstance(base.source, HttpSource) and base.source.signature and not base.source.digest:
            assert base.source.signature.keyring in bundled or base.source.signature.key_url, base.name


def test_every_board_and_base_is_used():
    assert {profile.board.name for profile in CATALOGUE.profiles.values()} == set(CATALOGUE.boards)
    used = [base for board in CATALOGUE.boards.values() for base in board.bases]
    assert [name for name, base in CATALOGUE.bases.items() if base not in used] == []


def test_a_board_booted_with_a_borrowed_kernel_says_what_that_does_not_prove():
    for board in CATALOGUE.boards.values():
        if board.machine and board.machine.start == "kernel":
            assert board.machine.unproven, board.name


def test_no_profile_is_wider_than_a_screen():
    for path in Path(FOLDER).rglob("*.yaml"):
        long = [line for line in path.read_text().splitlines() if len(line) > 125 and "https://" not in line]
        assert long == [], path
