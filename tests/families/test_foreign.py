"""Systems that can't be set up: each told by its name, with the reason, and none of ours taken for one."""

from __future__ import annotations

import pytest

from imagesmith.errors import EditFailed
from imagesmith.families.findings import Clue, Findings
from imagesmith.families.foreign import FOREIGN, refuse
from imagesmith.families.recognise import all_clues, recognise

ISSUE: Clue = ("root", "/etc/rpi-issue")
SEED: Clue = ("boot", "/user-data")
ARM: Clue = ("root", "/usr/lib/ld-linux-aarch64.so.1")
ARMHF: Clue = ("root", "/usr/lib/ld-linux-armhf.so.3")
OURS: dict[Clue, bytes] = {
    ("root", "/usr/lib/os-release"): b"ID=debian\nVERSION_CODENAME=trixie\n",
    ISSUE: b"",
    SEED: b"#cloud-config\n",
    ARM: b"",
}


def findings(contents: dict[Clue, bytes], *volumes: str) -> Findings:
    return Findings("x.img", volumes, contents)


def told(found: Findings) -> str:
    with pytest.raises(EditFailed) as caught:
        recognise(found)
    assert caught.value.hint
    return caught.value.what


@pytest.mark.parametrize(
    ("contents", "title"),
    [
        ({("boot", "/dietpi.txt"): b""}, "DietPi"),
        ({("root", "/boot/dietpi/.version"): b""}, "DietPi"),
        ({("boot", "/SYSTEM"): b""}, "LibreELEC"),
        ({("boot", "/distroconfig.txt"): b""}, "OpenWrt"),
        ({("boot", "/recovery.cmdline"): b""}, "NOOBS"),
        ({("boot", "/.alpine-release"): b""}, "Alpine"),
        ({("esp", "/EFI/fedora"): b""}, "Fedora"),
        ({("root", "/etc/os-release"): b"ID=fedora\n"}, "Fedora"),
        ({("root", "/etc/os-release"): b'ID="openwrt"\n'}, "OpenWrt"),
        ({("root", "/etc/os-release"): b"ID=opensuse-tumbleweed\n"}, "openSUSE"),
        ({("root", "/etc/os-release"): b"ID=haos\n"}, "Home Assistant OS"),
        ({ISSUE: b"", ARMHF: b""}, "Raspberry Pi OS, 32 bit"),
        ({("root", "/etc/os-release"): b"ID=raspbian\n", ARMHF: b""}, "Raspberry Pi OS, 32 bit"),
        ({**OURS, ("root", "/etc/xdg/autostart/piwiz.desktop"): b""}, "Raspberry Pi OS with desktop"),
        ({ISSUE: b"", ARM: b"", ("root", "/usr/bin/rpi-preseed"): b""}, "rpi-preseed"),
        ({**OURS, ("boot", "/rpi-preseed.toml"): b""}, "rpi-preseed"),
    ],
)
def test_a_known_system_is_told_by_name_and_by_what_shows_it(contents: dict[Clue, bytes], title: str) -> None:
    message = told(findings(contents))
    assert title in message
    assert "which imagesmith can't set up" in message


@pytest.mark.parametrize(
    ("volume", "title"),
    [("partition 1 (fat 'hassos-boot')", "Home Assistant OS"), ("partition 1 (fat 'LIBREELEC')", "LibreELEC")],
)
def test_a_system_without_a_readable_root_is_told_by_a_label(volume: str, title: str) -> None:
    assert title in told(findings({}, volume, "partition 2 (unknown content)"))


def test_a_label_counts_as_a_whole() -> None:
    refuse(findings({}, "partition 1 (fat 'my-hassos-boot-2')"))


def test_preseed_that_is_only_installed_beside_the_seed_does_not_count() -> None:
    asleep = {**OURS, ("root", "/usr/bin/rpi-preseed"): b""}
    assert recognise(findings(asleep)).family == "raspios-cloudinit"


def test_a_wizard_on_another_system_is_none_of_raspberry_pi_os() -> None:
    refuse(findings({("root", "/usr/bin/piwiz"): b"", ARM: b""}))


def test_both_kinds_of_libraries_are_no_32_bit_system() -> None:
    refuse(findings({**OURS, ARMHF: b""}))


def test_none_of_ours_is_taken_for_a_foreign_one() -> None:
    refuse(findings(OURS))
    without_seed = {clue: b for clue, b in OURS.items() if clue != SEED}
    assert recognise(findings(without_seed)).family == "raspios-legacy"


def test_every_path_that_a_foreign_system_is_told_by_is_looked_for() -> None:
    assert {clue for foreign in FOREIGN for clue in foreign.clues} <= set(all_clues())


@pytest.mark.parametrize("foreign", FOREIGN, ids=lambda foreign: foreign.title)
def test_a_refusal_has_a_reason_and_a_way_on(foreign: object) -> None:
    assert all(getattr(foreign, field) for field in ("title", "reason", "hint"))
