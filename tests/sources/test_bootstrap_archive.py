"""Real bases out of Debian's archive: what is in them, and that making one afresh gives the same bytes."""

import re
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from bootstrapping import EFI

from imagesmith import tools
from imagesmith.errors import ImagesmithError
from imagesmith.events import Event, StepStarted
from imagesmith.model import Base, DebianSource, DiskLayout, ObtainedBase
from imagesmith.sources.bootstrap import foreign, obtain_debian
from imagesmith.sources.cache import Cache
from imagesmith.units import MiB

pytestmark = [pytest.mark.slow, pytest.mark.archive, pytest.mark.timeout(1800)]

LAYOUT = DiskLayout("gpt", (replace(EFI.partitions[0], size=256 * MiB), EFI.partitions[1]))
ROOT = (4 + 256) * MiB
PACKAGES = (
    "ca-certificates", "initramfs-tools", "linux-image-cloud-amd64", "openssh-server", "python3", "systemd-boot",
    "systemd-resolved", "systemd-sysv", "systemd-timesyncd", "zstd",
)  # fmt: skip
BASE = Base(
    "small", "debian", DebianSource("trixie", ("main",), PACKAGES, "systemd-boot", "console=ttyS0 quiet", LAYOUT)
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> ObtainedBase:
    if foreign.host() != "amd64":
        pytest.skip("needs an amd64 machine")
    return obtain_debian(BASE, "amd64", cache=Cache(tmp_path_factory.mktemp("one")))


def cat(base: ObtainedBase, path: str) -> str:
    return tools.run(["debugfs", "-R", f"cat {path}", f"{base.path}?offset={ROOT}"]).text


def listing(base: ObtainedBase, path: str) -> set[str]:
    told = tools.run(["debugfs", "-R", f"ls -p {path}", f"{base.path}?offset={ROOT}"]).text
    return {line.split("/")[5] for line in told.splitlines() if line.startswith("/")} - {".", ".."}


def test_made_afresh_it_has_the_same_bytes(small: ObtainedBase, tmp_path: Path) -> None:
    again = obtain_debian(BASE, "amd64", cache=Cache(tmp_path / "two"))
    if again.epoch != small.epoch or again.packages != small.packages:
        pytest.skip("the archive changed in between")
    assert tools.run(["cmp", str(small.path), str(again.path)], expect=None).text == ""
    assert again == replace(small, path=again.path)


def test_its_cache_entry_is_current_until_the_archive_changes(small: ObtainedBase) -> None:
    said: list[Event] = []
    cache = Cache(small.path.parents[3])
    again = obtain_debian(BASE, "amd64", cache=cache, refresh=True, listener=said.append)
    if again.packages != small.packages:
        pytest.skip("the archive changed in between")
    assert again == small
    assert StepStarted("pack the tree") not in said


def test_it_lists_the_packages_that_are_in_it(small: ObtainedBase) -> None:
    names = {package.name for package in small.packages}
    assert {"systemd-boot", "dash", "libc6", "openssh-server"} <= names
    status = cat(small, "/var/lib/dpkg/status")
    assert names == set(re.findall(r"^Package: (\S+)$", status, re.MULTILINE))


def test_nobodys_identity_is_in_it(small: ObtainedBase) -> None:
    assert cat(small, "/etc/machine-id") == ""
    assert not {name for name in listing(small, "/etc/ssh") if name.startswith("ssh_host_")}
    assert "machine-id" not in listing(small, "/var/lib/dbus")
    assert "random-seed" not in listing(small, "/var/lib/systemd")
    assert cat(small, "/etc/hostname") == "debian\n"
    assert not {name for name in listing(small, "/etc") if "resolv" in name} - {"resolv.conf"}
    assert "root:*:" in [line[:7] for line in cat(small, "/etc/shadow").splitlines()]


def test_nothing_of_the_making_is_in_it(small: ObtainedBase) -> None:
    assert ".imagesmith" not in listing(small, "/")
    assert "imagesmith" not in cat(small, "/var/lib/dpkg/diversions")
    assert "99mmdebstrap" not in listing(small, "/etc/apt/apt.conf.d") | listing(small, "/etc/dpkg/dpkg.cfg.d")
    assert listing(small, "/var/lib/apt/lists") <= {"auxfiles", "partial", "lock"}
    assert not {name for name in listing(small, "/var/log") if name.endswith(".log")}
    assert listing(small, "/boot/efi") == set()


def test_services_are_on(small: ObtainedBase) -> None:
    wanted = listing(small, "/etc/systemd/system/multi-user.target.wants")
    assert {"ssh.service", "systemd-networkd.service"} <= wanted
    wanted = listing(small, "/etc/systemd/system/sysinit.target.wants")
    assert {"systemd-resolved.service", "systemd-timesyncd.service"} <= wanted


def test_its_loader_starts_its_kernel_on_its_root(small: ObtainedBase) -> None:
    esp = f"{small.path}@@{4 * MiB}"
    names = tools.run(["mdir", "-b", "-/", "-i", esp, "::"]).text
    entry = next(name for name in names.splitlines() if name.startswith("::/loader/entries/debian-"))
    told = dict(
        line.split(None, 1) for line in tools.run(["mtype", "-i", esp, entry]).text.splitlines() if line[0] != "#"
    )
    for key in ("linux", "initrd"):
        assert f"::{told[key].strip()}" in names.splitlines()
    (uuid,) = re.findall(r"root=UUID=(\S+) ro console=ttyS0 quiet", told["options"])
    assert uuid in tools.run(["debugfs", "-R", "stats -h", f"{small.path}?offset={ROOT}"]).text
    assert uuid in cat(small, "/etc/fstab")
    assert "::/EFI/BOOT/BOOTX64.EFI" in names.splitlines()


@pytest.mark.root
def test_an_emulated_base_holds_no_borrowed_program(tmp_path: Path) -> None:
    """The tree's own judge (`foreign.refuse_strangers`) runs on every emulated base; here it must have something."""
    packages = ("initramfs-tools", "linux-image-cloud-arm64", "raspi-firmware", "python3", "udev", "zstd", "kmod")
    parts = (
        replace(LAYOUT.partitions[0], role="boot", mount="/boot/firmware", label="FIRMWARE"),
        LAYOUT.partitions[1],
    )
    source = DebianSource(
        "trixie", ("main", "non-free-firmware"), packages, "raspi-firmware", "quiet", DiskLayout("mbr", parts)
    )
    base = obtain_debian(Base("pi", "debian", source), "arm64", cache=Cache(tmp_path / "cache"))
    fat = f"{base.path}@@{4 * MiB}"
    words = tools.run(["mtype", "-i", fat, "::cmdline.txt"]).text.split()
    assert words[-1] == "quiet"
    assert any(word.startswith("root=UUID=") for word in words)
    assert "kernel=vmlinuz-" in tools.run(["mtype", "-i", fat, "::config.txt"]).text
    names = tools.run(["mdir", "-b", "-i", fat, "::"]).text
    initrd = next(name for name in names.splitlines() if "initrd.img-" in name)
    (tmp_path / "initrd.img").write_bytes(tools.run(["mtype", "-i", fat, initrd]).stdout)
    with tarfile.open(tmp_path / "boot.tar", "w") as tar:
        tar.add(tmp_path / "initrd.img", "boot/initrd.img-x")
    foreign.refuse_strangers((tmp_path / "boot.tar",), "arm64")
    with pytest.raises(ImagesmithError, match=r"initrd\.img-x:usr/bin/"):
        foreign.refuse_strangers((tmp_path / "boot.tar",), "amd64")
