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
from imagesmith.events import unheard
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
    told["writers"] = sorted(os.stat(f"/proc/{child}").st_uid for child in children() if "card_writer" in words(child))
    told["feeders"] = sorted(os.stat(f"/proc/{child}").st_uid for child in children() if "feeder" in words(child))
    return "yes"
def children():
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
def words(child):
    return Path(f"/proc/{child}/cmdline").read_text()
request = Request(AllNodes(), Path("out"), eject=False)
outcomes = flash(request, ask=ask, current_plan_id=current_plan_id, listener=unheard, listed=listed)
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
        "lists": 0, "asks": user, "writers": [0, 0], "feeders": [user, user],
        "outcomes": ["verified", "verified"], "ends": user,
    }  # fmt: skip
    assert {path.stat().st_uid for path in (shop.out / "receipts").iterdir()} == {user}
