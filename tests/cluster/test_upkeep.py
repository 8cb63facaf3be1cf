"""Upkeep: apt's own reading of what is written for it, turns of the night that never meet, what goes past proxies."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from cluster.node_parts import FIRST, MATERIALS, PROFILE, RACK, part, texts

from imagesmith.cluster import upkeep
from imagesmith.model import Settings, Upkeep
from imagesmith.profile.shared import ARCHIVES

SECURITY = Upkeep("security")
needs_apt = pytest.mark.skipif(not shutil.which("apt-config"), reason="apt is not here")
needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
THEIRS = """\
Unattended-Upgrade::Origins-Pattern { "origin=Debian,codename=${distro_codename},label=Debian"; };
Unattended-Upgrade::Allowed-Origins { "${distro_id}:${distro_codename}"; };
Unattended-Upgrade::Automatic-Reboot "true";
"""


def put(wanted: Upkeep, name: str = "head") -> dict[str, str]:
    return texts(upkeep.edits(part(name, upkeep=wanted), PROFILE, MATERIALS))


def apt(files: Mapping[str, str], folder: Path) -> list[str]:
    """What apt makes of a folder apt.conf.d."""
    parts = folder / "apt.conf.d"
    parts.mkdir()
    for path, text in files.items():
        (parts / Path(path).name).write_text(text)
    done = subprocess.run(
        ["apt-config", "dump", "-o", f"Dir::Etc::parts={parts}", "-o", "Dir::Etc::main=/dev/null"],
        env={"PATH": "/usr/bin:/bin", "APT_CONFIG": str(_alone(folder, parts))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def _alone(folder: Path, parts: Path) -> Path:
    """APT_CONFIG is read before the folders, so that this machine's own are not."""
    path = folder / "apt.conf"
    path.write_text(f'Dir::Etc::parts "{parts}";\n')
    return path


def of_apt(wanted: Upkeep, folder: Path, **others: str) -> list[str]:
    ours = {path: text for path, text in put(wanted).items() if path.startswith("/etc/apt/")}
    return apt({**ours, **others}, folder)


# -- updates ------------------------------------------------------------------------------------------------


@needs_apt
def test_security_updates_are_all_that_is_installed(tmp_path: Path) -> None:
    told = of_apt(SECURITY, tmp_path, **{"50unattended-upgrades": THEIRS})
    origins = [line.split(" ", 1)[1] for line in told if line.startswith("Unattended-Upgrade::Origins-Pattern:: ")]
    assert origins == [f'"{pattern}";' for pattern in upkeep.SECURITY]
    assert not any(line.startswith("Unattended-Upgrade::Allowed-Origins::") for line in told)
    assert 'APT::Periodic::Unattended-Upgrade "1";' in told


@needs_apt
def test_no_update_restarts_a_node_out_of_its_turn(tmp_path: Path) -> None:
    told = of_apt(SECURITY, tmp_path, **{"50unattended-upgrades": THEIRS})
    assert 'Unattended-Upgrade::Automatic-Reboot "false";' in told


@needs_apt
def test_off_is_off_whatever_the_base_says(tmp_path: Path) -> None:
    told = of_apt(Upkeep(), tmp_path, **{"20auto-upgrades": 'APT::Periodic::Unattended-Upgrade "1";\n'})
    assert 'APT::Periodic::Enable "0";' in told


def test_off_brings_no_package_and_no_timer() -> None:
    assert upkeep.packages(part()) == ()
    assert not any(path.endswith(".timer") or ".timer.d/" in path for path in put(Upkeep()))


def test_security_brings_the_program_that_installs_them() -> None:
    assert upkeep.packages(part(upkeep=SECURITY)) == ("unattended-upgrades",)
    assert put(SECURITY)[upkeep.CONF] == "UPDATES='security'\n"


def test_debian_and_ubuntu_give_security_updates_from_their_own_archives_for_these() -> None:
    debian, ubuntu = upkeep.SECURITY[:2]
    assert all("${distro_codename}-security" in pattern for pattern in (debian, ubuntu))


# -- turns --------------------------------------------------------------------------------------------------


def test_no_two_nodes_have_the_same_turn() -> None:
    many = replace(RACK, nodes=tuple(replace(FIRST, name=f"n-{number}") for number in range(96)))
    assert len({upkeep.turn(part(f"n-{number}", many)) for number in range(96)}) == 96


def test_turns_are_by_one_clock() -> None:
    east, west = (Settings(timezone=zone) for zone in ("Asia/Tokyo", "America/Lima"))
    cluster = replace(RACK, nodes=(replace(RACK.nodes[0], settings=east), replace(RACK.nodes[1], settings=west)))
    assert [upkeep.turn(part(name, cluster)) for name in ("head", "arm-1")] == [
        "*-*-* 02:00:00 Asia/Tokyo",
        "*-*-* 02:15:00 Asia/Tokyo",
    ]


@needs_systemd
@pytest.mark.parametrize("name", ["head", "arm-2"])
def test_systemd_knows_when_a_turn_is(name: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "calendar", upkeep.turn(part(name))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Next elapse: " in done.stdout


@needs_systemd
def test_systemd_understands_the_timers(tmp_path: Path) -> None:
    files = {Path(path).name: text for path, text in put(SECURITY).items() if "/systemd/" in path}
    for name in ("imagesmith-reboot.timer", "imagesmith-reboot.service"):
        (tmp_path / name).write_text(files[name].replace("/usr/lib/imagesmith/reboot-turn", "/bin/true"))
    for path, text in put(SECURITY).items():
        if found := re.search(r"/(apt-daily[a-z-]*)\.timer\.d/", path):
            (tmp_path / f"{found[1]}.timer").write_text(f"[Timer]\nOnCalendar=*-*-* 6:00\n{text}")
            (tmp_path / f"{found[1]}.service").write_text("[Service]\nType=oneshot\nExecStart=/bin/true\n")
    timers = sorted(tmp_path.glob("*.timer"))
    assert [timer.name for timer in timers] == ["apt-daily-upgrade.timer", "apt-daily.timer", "imagesmith-reboot.timer"]
    done = subprocess.run(["systemd-analyze", "verify", *timers], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if str(tmp_path) in line or ".timer" in line] == []


# -- mirrors and proxy --------------------------------------------------------------------------------------


def test_every_archive_that_an_inventory_may_name_is_known() -> None:
    assert set(upkeep.ARCHIVES) == set(ARCHIVES)


@pytest.mark.parametrize(
    ("name", "address", "its"),
    [
        ("debian", "http://ftp.zz.debian.org/debian", True),
        ("debian", "https://ftp.zz.debian.org/debian/", True),
        ("debian", "http://ftp.de.debian.org/debian", True),
        ("debian", "http://ftp.zz.debian.org/debian-security", False),
        ("debian", "http://archive.raspberrypi.com/debian", False),
        ("raspberrypi", "http://archive.raspberrypi.com/debian/", True),
        ("ubuntu", "http://archive.ubuntu.com/ubuntu", True),
        ("ubuntu", "http://de.archive.ubuntu.com/ubuntu/", True),
        ("ubuntu", "http://security.ubuntu.com/ubuntu/", True),
        ("ubuntu", "http://ports.ubuntu.com/ubuntu-ports/", True),
        ("ubuntu", "http://esm.ubuntu.com/apps/ubuntu", False),
        ("armbian", "http://apt.armbian.com", True),
        ("armbian", "https://beta.apt.armbian.com/", True),
    ],
)
def test_an_archive_is_known_by_its_publishers_addresses(name: str, address: str, its: bool) -> None:
    assert bool(re.fullmatch(upkeep.ARCHIVES[name], address)) is its


@needs_apt
def test_apt_goes_by_the_proxy_but_not_to_the_clusters_own_networks(tmp_path: Path) -> None:
    mirrors = {
        "debian": "http://192.168.7.5/debian",
        "ubuntu": "http://mirror.rack.example/ubuntu",
        "armbian": "http://far.example/armbian",
    }
    told = of_apt(Upkeep(proxy="http://proxy.example:3128", mirrors=mirrors), tmp_path)
    assert 'Acquire::http::Proxy "http://proxy.example:3128";' in told
    assert 'Acquire::https::Proxy "http://proxy.example:3128";' in told
    assert 'Acquire::http::Proxy::192.168.7.5 "DIRECT";' in told
    assert 'Acquire::http::Proxy::mirror.rack.example "DIRECT";' in told
    assert not any("far.example" in line for line in told)


def test_without_a_proxy_apt_is_told_of_none() -> None:
    assert upkeep.APT_PROXY not in put(Upkeep())
