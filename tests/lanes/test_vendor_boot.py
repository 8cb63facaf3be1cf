"""First boots of vendors' own mechanisms, in QEMU: each image is published as a vendor does, built and booted by us.

The systems are Debian's (tests/standins/bootable.py); family, facts and board are those that are shipped.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from building import KEY
from lanes.conftest import Done, Program, run_program
from standins import armbian_root, raspios_root, ubuntu_root
from standins.bootable import Base

from imagesmith import resources

pytestmark = [pytest.mark.boot, pytest.mark.archive, pytest.mark.root]

VIRT = {
    "machine": "virt", "cpu": "cortex-a72", "cpus": 2, "memory": "1GiB", "start": "kernel", "disk": "virtio",
    "network": "virtio", "console": "ttyAMA0",
}  # fmt: skip
"""For a board that QEMU has no machine for."""
Facts = Mapping[str, str]


class Shop:
    """A folder with one vendor's image, and profiles for it: what is shipped, but for where the image comes from."""

    def __init__(self, folder: Path, board: str, base: str, image: str) -> None:
        self.folder, self.image = folder, folder / image
        own = self._shipped("bases", base)
        for word in ("http", "machine"):
            own.pop(word, None)
        self._write("bases/vendors.yaml", {**own, "file": {"path": str(self.image)}})
        shipped = self._shipped("boards", board)
        self._write("boards/lane.yaml", {**shipped, "bases": ["vendors"], "machine": shipped.get("machine", VIRT)})
        # An emulated processor may stand still for longer than a watchdog waits.
        settings = {"ssh_keys": [KEY], "watchdog_s": 0}
        profile = {"schema": 1, "title": "A vendor's image", "board": "lane", "role": "worker", "settings": settings}
        self._write("node.yaml", profile)

    def run(self, *words: str) -> Done:
        # A cache of its own, which goes with the folder: every run unpacks another image.
        env = {**os.environ, "IMAGESMITH_CACHE": str(self.folder / "cache")}
        return run_program([sys.executable, "-m", "imagesmith", *words], self.folder, env)

    def booted(self, *settings: str) -> Facts:
        """The facts of a first boot that kept every promise."""
        words = [word for setting in settings for word in ("--set", setting)]
        built = self.run("build", "node", "--no-cluster", "--hostname", "lane-1", *words)
        assert built.code == 0, built.out + built.err
        self.image.unlink()
        report = self.run("boot", "node", "--json")
        assert report.code == 0, report.out + report.err
        assert report.result["passed"] and report.result["kept"] and not report.result["broken"]
        facts: Facts = report.result["facts"]
        return facts

    @property
    def console(self) -> str:
        (log,) = self.folder.glob("out/*/*.console.log")
        return log.read_text("utf-8", "replace")

    def _shipped(self, kind: str, name: str) -> dict[str, Any]:
        document: dict[str, Any] = yaml.safe_load((resources.folder("profiles") / kind / f"{name}.yaml").read_text())
        return document

    def _write(self, name: str, document: Mapping[str, object]) -> None:
        path = self.folder / "profiles" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(dict(document), sort_keys=False))


@pytest.fixture
def shelf() -> Path:
    """Where prepared roots stay for the next run: beside the bases that they are made of."""
    if os.geteuid():
        pytest.skip("needs root: loop devices, chroot")
    cache = os.environ.get("IMAGESMITH_CACHE") or Path.home() / ".cache" / "imagesmith"
    return Path(cache).parent / "imagesmith-standins"


@pytest.fixture
def debian(imagesmith: Program) -> Callable[[str], Base]:
    """The Debian base of a shipped profile, made where it is not in the cache."""

    def fetched(profile: str) -> Base:
        base = imagesmith("fetch", profile, "--base", "debian", "--json").result["base"]
        return Base(Path(base["path"]), base["digest"])

    return fetched


def test_raspberry_pi_os_takes_its_seed_from_the_fat_partition(
    tmp_path: Path, debian: Callable[[str], Base], shelf: Path
) -> None:
    shop = Shop(tmp_path, "rpi4", "raspios-arm64", "raspios.img")
    raspios_root.make(shop.image, debian("rpi4-worker"), shelf)
    facts = shop.booted()
    assert "file:///boot/firmware]" in facts["cloud_init_datasource"]
    assert "resize" in facts["cmdline"].split()
    assert facts["unit.NetworkManager.service"] == "active"
    assert facts["unit.systemd-networkd.service"] == "inactive"
    assert facts["ssh_answers"] == "yes"


def test_armbian_becomes_a_node_without_cloud_init_and_without_a_question(
    tmp_path: Path, debian: Callable[[str], Base], shelf: Path
) -> None:
    shop = Shop(tmp_path, "bananapi-m5", "armbian-bananapi-m5", "armbian.img")
    published = armbian_root.make(shop.image, debian("rpi4-worker"), shelf)
    facts = shop.booted("time_servers=10.0.2.2")
    assert facts["cloud_init"] == "disabled"
    assert facts["host_key.ed25519"] != published
    assert facts["unit.systemd-networkd.service"] == "active"
    assert facts["unit.chrony.service"] == "active"
    assert facts["swaps"] == "/dev/zram1"
    assert facts["ssh_answers"] == "yes"
    assert armbian_root.ASKS not in shop.console


def test_ubuntu_starts_by_its_own_loader_from_a_separate_boot_partition(
    tmp_path: Path, debian: Callable[[str], Base], shelf: Path
) -> None:
    if not Path("/usr/lib/grub/x86_64-efi").is_dir():
        pytest.skip("GRUB is not installed here: apt-get install grub-common grub-efi-amd64-bin")
    shop = Shop(tmp_path, "x86-itx", "ubuntu-noble-amd64", "ubuntu.img")
    ubuntu_root.make(shop.image, debian("qemu-x86-worker"), shelf)
    facts = shop.booted()
    assert facts["cmdline"].startswith("BOOT_IMAGE=/vmlinuz")
    assert int(facts["root_size"]) > int(facts["disk_size"]) - 2 * 2**30
    assert facts["unit.ssh.socket"] == "active"
    assert facts["ssh_answers"] == "yes"
