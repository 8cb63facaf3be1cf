"""First boots of real images, in QEMU: each is built by the command line and must keep what its profile promised."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from lanes.conftest import Done, Program

pytestmark = [pytest.mark.boot, pytest.mark.archive]

RACK = """\
schema: 1
name: rack
defaults:
  ssh_keys: [KEY]
  timezone: Europe/Berlin
  time_servers: [10.0.2.2]
nodes:
  - {name: srv-1, profile: qemu-x86-server, address: 10.0.2.77/24, gateway: 10.0.2.2}
"""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _kept(done: Done) -> dict[str, str]:
    """The facts of a boot that kept every promise."""
    report = done.result
    assert report["passed"] and not report["broken"], report
    assert report["kept"]
    facts: dict[str, str] = report["facts"]
    return facts


@pytest.fixture(scope="module")
def booted(imagesmith: Program, worker: Path) -> dict[str, str]:
    """What the x86 worker told of its first boot."""
    return _kept(imagesmith("boot", "qemu-x86-worker", "--json"))


def test_x86_boots_by_its_own_loader(worker: Path, booted: dict[str, str]) -> None:
    assert booted["architecture"] in ("x86_64", "amd64")
    assert int(booted["disk_size"]) > (worker / "qemu-x86-worker.img").stat().st_size
    assert int(booted["root_size"]) > int(booted["disk_size"]) - 2**30


def test_another_boot_is_another_machine_and_the_image_stays_as_it_is(
    imagesmith: Program, worker: Path, booted: dict[str, str]
) -> None:
    """Nothing that tells machines apart comes with the image, and nothing of a guest goes into it."""
    before = _sha256(worker / "qemu-x86-worker.img")
    again = _kept(imagesmith("boot", "qemu-x86-worker", "--json"))
    assert _sha256(worker / "qemu-x86-worker.img") == before
    for fact in ("machine_id", "host_key.ed25519"):
        assert again[fact] != booted[fact]


def test_x86_server_of_an_inventory_with_a_vault(imagesmith: Program, workshop: Path) -> None:
    """Address, zone and time servers of the inventory; the host keys that its vault had before the first power-on."""
    (workshop / "rack.yaml").write_text(RACK.replace("KEY", (workshop / "key.pub").read_text().strip()))
    created = imagesmith("vault", "create", "--plain", "--cluster", "rack.yaml")
    assert created.code == 0, created.out + created.err
    known = imagesmith("known-hosts", "--cluster", "rack.yaml")
    built = imagesmith("build", "srv-1", "--cluster", "rack.yaml")
    assert built.code == 0, built.out + built.err
    facts = _kept(imagesmith("boot", "srv-1", "--json"))
    assert facts["hostname"] == "srv-1"
    assert "10.0.2.77" in facts["address"].split()
    assert facts["timezone"] == "Europe/Berlin"
    assert facts["time_servers"] == "10.0.2.2"
    assert facts["host_key.ed25519"] in _fingerprints(known.out)


def _fingerprints(known_hosts: str) -> list[str]:
    done = subprocess.run(
        ["ssh-keygen", "-l", "-f", "/dev/stdin"], input=known_hosts, capture_output=True, text=True, check=True
    )
    return [line.split()[1] for line in done.stdout.splitlines()]


def test_a_broken_step_fails_the_boot_test(imagesmith: Program, worker: Path, workshop: Path) -> None:
    broken = workshop / "broken"
    broken.mkdir()
    for file in worker.iterdir():
        if file.suffix not in (".zst", ".log"):
            shutil.copy(file, broken / file.name)
    image = broken / "qemu-x86-worker.img"
    step = workshop / "step"
    step.write_text("#!/bin/sh\necho 'this step is broken on purpose' >&2\nexit 1\n")
    start = _root_offset(imagesmith, image)
    script = workshop / "script"
    script.write_text(
        "rm /usr/lib/imagesmith/steps/30-identity\n"
        f"write {step} /usr/lib/imagesmith/steps/30-identity\n"
        "sif /usr/lib/imagesmith/steps/30-identity mode 0100755\n"
    )
    subprocess.run(["debugfs", "-w", "-f", str(script), f"{image}?offset={start}"], check=True, capture_output=True)
    done = imagesmith("boot", str(image))
    assert done.code == 10, done.out + done.err
    assert "step.30-identity" in done.err


def test_arm64_boots_on_virt(imagesmith: Program) -> None:
    built = imagesmith("build", "qemu-arm64-worker", "--no-cluster", "--ssh-key", "key.pub")
    assert built.code == 0, built.out + built.err
    facts = _kept(imagesmith("boot", "qemu-arm64-worker", "--json"))
    assert facts["architecture"] in ("aarch64", "arm64")


@pytest.mark.parametrize("profile", ["rpi4-worker", "x86-master"])
def test_real_boards_debian_base_boots_where_qemu_can(imagesmith: Program, profile: str) -> None:
    built = imagesmith("build", profile, "--base", "debian", "--no-cluster", "--ssh-key", "key.pub")
    assert built.code == 0, built.out + built.err
    _kept(imagesmith("boot", profile, "--json"))


def test_rpi3_boots_on_raspi3b_and_says_what_that_does_not_prove(imagesmith: Program) -> None:
    built = imagesmith("build", "rpi3-worker", "--base", "debian", "--no-cluster", "--ssh-key", "key.pub")
    assert built.code == 0, built.out + built.err
    booted = imagesmith("boot", "rpi3-worker", "--json")
    facts = _kept(booted)
    assert "Raspberry Pi 3" in facts["model"]
    assert booted.result["unproven"] and booted.result["borrowed"]


def _root_offset(imagesmith: Program, image: Path) -> int:
    volumes = imagesmith("inspect", str(image), "--json").result["volumes"]
    return next(volume["start"] for volume in volumes if volume["role"] == "root")
