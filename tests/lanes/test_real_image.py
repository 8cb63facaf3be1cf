"""A real image outside of a guest: the same twice, accepted by bmaptool, whole on a card that was full of 0xFF."""

from __future__ import annotations

import pwd
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.disks import loop_device
from image.made_disks import flip
from lanes.conftest import Program, run_program

import imagesmith as package

pytestmark = [pytest.mark.boot, pytest.mark.archive]

USER = "imagesmith-tester"


def test_the_same_inputs_give_the_same_bytes(imagesmith: Program, worker: Path, workshop: Path) -> None:
    again = workshop / "again"
    done = imagesmith("build", "qemu-x86-worker", "--no-cluster", "--ssh-key", "key.pub", "--output", str(again))
    assert done.code == 0, done.err
    sums = "SHA256SUMS"
    assert (again / "qemu-x86-worker" / sums).read_text() == (worker / sums).read_text()


def test_an_image_verifies_and_an_altered_one_does_not(imagesmith: Program, worker: Path, workshop: Path) -> None:
    image = worker / "qemu-x86-worker.img"
    assert imagesmith("verify", str(image)).code == 0
    altered = workshop / "altered"
    shutil.copytree(worker, altered, ignore=shutil.ignore_patterns("*.log"))
    flip(altered / image.name, 300 * 2**20)
    assert imagesmith("verify", str(altered / image.name)).code == 4
    shutil.rmtree(altered)


@pytest.mark.root
@pytest.mark.parametrize("writer", ["bmaptool", "imagesmith"])
def test_a_dirty_card_holds_the_image(imagesmith: Program, worker: Path, workshop: Path, writer: str) -> None:
    image = worker / "qemu-x86-worker.img"
    card = workshop / "card"
    with card.open("wb") as file:
        for _ in range(image.stat().st_size // 2**20 + 64):
            file.write(b"\xff" * 2**20)
    with loop_device(card) as device:
        if writer == "bmaptool":
            bmap = image.with_suffix(".bmap")
            subprocess.run(["bmaptool", "copy", "--bmap", bmap, image, device], check=True, capture_output=True)
        else:
            done = imagesmith("flash", str(image), str(device), "--yes")
            assert done.code == 0, done.out + done.err
        verified = imagesmith("verify", str(image), str(device))
        assert verified.code == 0, verified.out + verified.err
    volumes = imagesmith("inspect", str(card), "--json").result["volumes"]
    root = next(volume for volume in volumes if volume["role"] == "root")
    checked = subprocess.run(["e2fsck", "-fn", f"{card}?offset={root['start']}"], capture_output=True, check=False)
    assert checked.returncode == 0, checked.stdout
    card.unlink()


@pytest.fixture
def nobody(tmp_path: Path) -> Iterator[Path]:
    """The home of a user without rights, who has subordinate ids as `adduser` gives them."""
    home = Path("/var/tmp") / USER
    subprocess.run(["useradd", "--create-home", "--home-dir", home, USER], check=True)
    try:
        yield home
    finally:
        subprocess.run(["userdel", "--remove", USER], check=True, capture_output=True)


@pytest.mark.root
def test_an_unprivileged_user_builds_and_boots(nobody: Path) -> None:
    """No root anywhere: mmdebstrap in its user namespace, image edited without mounting, QEMU without KVM."""
    user = pwd.getpwnam(USER)
    folders = [str(Path(package.__file__).parent.parent), sysconfig.get_path("purelib")]
    here = nobody / "python"
    shutil.copytree(folders[0], here / "checkout", ignore=shutil.ignore_patterns(".*", "out", "tests"))
    shutil.copytree(folders[1], here / "packages")
    subprocess.run(["chown", "-R", f"{user.pw_uid}:{user.pw_gid}", str(here)], check=True)
    env = {
        "HOME": str(nobody),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": f"{here / 'checkout'}:{here / 'packages'}",
        "USER": USER,
    }
    # The tests' own Python may lie where only root can go.
    python = f"/usr/bin/python3.{sys.version_info.minor}"
    who = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--inh-caps=-all"]
    program = [*who, "env", "-C", str(nobody), python, "-m", "imagesmith"]
    for words in (["build", "qemu-x86-worker", "--no-cluster"], ["boot", "qemu-x86-worker"]):
        done = run_program([*program, *words], nobody, env)
        assert done.code == 0, done.out + done.err
