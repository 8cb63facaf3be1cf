"""Who does what under sudo when several nodes are flashed: in a process of its own, which really gives up root."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from building import make_workshop
from faults.disks import dirty_disk, loop_device, needs_root
from image.made_disks import Disk

from imagesmith.units import MiB

pytestmark = needs_root
NOBODY = pwd.getpwnam("nobody")
CODE = """
import json, os, sys
from dataclasses import replace
from pathlib import Path
from imagesmith.events import StepStarted
from imagesmith.flash.devices import list_devices
from imagesmith.workflow.flash import Request, flash
from imagesmith.workflow.jobs import AllNodes
from imagesmith.workflow.planned import current_plan_id
cards, told = sys.argv[1:], {}
def listed():
    told["lists"] = os.geteuid()
    found = [device for device in list_devices() if device.path in cards]
    return [replace(device, kind="disk", bus="usb", removable=True) for device in found]
def ask(question):
    told["asks"] = os.geteuid()
    return "yes"
def listener(event):
    if isinstance(event, StepStarted) and event.step == "blank":
        (source,) = owners("card_writers", children())
        told["writers"] = sorted([source, *owners("card_writers", children(named("card_writers", children())[0]))])
        told["feeders"] = owners("feeder", children())
def owners(word, pids):
    return [os.stat(f"/proc/{pid}").st_uid for pid in named(word, pids)]
def named(word, pids):
    return [pid for pid in pids if word in Path(f"/proc/{pid}/cmdline").read_text()]
def children(pid=os.getpid()):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
request = Request(AllNodes(), Path("out"), eject=False)
outcomes = flash(request, ask=ask, current_plan_id=current_plan_id, listener=listener, listed=listed)
print(json.dumps({**told, "outcomes": [outcome.record.outcome for outcome in outcomes], "ends": os.geteuid()}))
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter, unlike tmp_path."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def python_for_all(folder: Path) -> Path:
    """A Python that other users may run too, with what this one has."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    base = shutil.which(version, path="/usr/bin:/usr/local/bin")
    if base is None:
        pytest.skip(f"there is no {version} that every user may run")
    subprocess.run([base, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    root = Path(__file__).resolve().parents[2]
    packages = folder / "venv" / "lib" / version / "site-packages"
    (packages / "ours.pth").write_text(f"{root}\n{sysconfig.get_path('purelib')}\n")
    return folder / "venv" / "bin" / "python"


def test_root_lists_the_cards_and_the_user_behind_sudo_does_the_rest(open_folder: Path, base_disk: Disk) -> None:
    python = python_for_all(open_folder)
    (open_folder / "shop").mkdir()
    shop = make_workshop(open_folder / "shop", base_disk)
    shop.inventory()
    shop.build("--all")
    for path in [shop.folder, *shop.folder.rglob("*")]:
        os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid, follow_symlinks=False)
    with (
        loop_device(dirty_disk(open_folder / "card1", 48 * MiB)) as one,
        loop_device(dirty_disk(open_folder / "card2", 48 * MiB)) as two,
    ):
        done = subprocess.run(
            [python, "-c", CODE, one, two], cwd=shop.folder, env={**shop.env, "SUDO_UID": str(NOBODY.pw_uid)},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    user = NOBODY.pw_uid
    assert json.loads(done.stdout) == {
        "lists": 0, "asks": user, "writers": [0, 0, 0], "feeders": [user, user],
        "outcomes": ["verified", "verified"], "ends": user,
    }  # fmt: skip
    assert {path.stat().st_uid for path in (shop.out / "receipts").iterdir()} == {user}


def flashed(python: Path, folder: Path, image: Path) -> subprocess.CompletedProcess[str]:
    """One image through sudo, to a card that must stay as it is."""
    disk = dirty_disk(folder / "card", 40 * MiB)
    environment = {**os.environ, "SUDO_UID": str(NOBODY.pw_uid), "PYTHONPATH": ""}
    if python.parent == folder:
        environment["PYTHONPATH"] = f"{Path(__file__).resolve().parents[2]}:{sysconfig.get_path('purelib')}"
    with loop_device(disk) as device:
        argv = [python, "-m", "imagesmith", "flash", "--yes", image, device]
        done = subprocess.run(
            argv, cwd=folder, capture_output=True, text=True, env=environment, timeout=60, check=False
        )
    assert disk.read_bytes() == b"\xff" * 40 * MiB
    assert "Traceback" not in done.stderr
    return done


def test_an_image_that_the_user_may_not_read_is_refused_before_the_first_write(open_folder: Path) -> None:
    image = open_folder / "i.img"
    image.write_bytes(b"x" * MiB)
    image.chmod(0o600)
    done = flashed(python_for_all(open_folder), open_folder, image)
    assert done.returncode == 6, done.stderr
    assert "must be readable for the user who called" in done.stderr


def test_an_installation_that_the_user_may_not_use_is_said_to_be_one(tmp_path: Path) -> None:
    """As after `sudo pipx install`, below /root."""
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    tmp_path.chmod(0o700)
    done = flashed(python, tmp_path, tmp_path / "i.img")
    assert done.returncode == 2, done.stderr
    assert "nobody, who called it, may not use" in done.stderr
