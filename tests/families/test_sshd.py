"""OpenSSH's settings in every image, as sshd itself reads them between an image's own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from families.test_families import edits

from imagesmith.families import FAMILIES, sshd
from imagesmith.model import PutFile

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
IMAGE = """\
Include {folder}/*.conf
Port 22
PasswordAuthentication yes
KbdInteractiveAuthentication yes
PermitRootLogin yes
X11Forwarding yes
"""


def text() -> str:
    content = sshd.drop_in().content
    assert isinstance(content, bytes)
    return content.decode()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_them_once(family: str) -> None:
    assert [edit for edit in edits(family) if edit.path == sshd.DROP_IN] == [sshd.drop_in()]


@pytest.mark.parametrize("family", FAMILIES)
def test_nobody_else_writes_settings_of_sshds(family: str) -> None:
    put = [edit.path for edit in edits(family) if isinstance(edit, PutFile) and "sshd_config" in edit.path]
    assert put == [sshd.DROP_IN]


@pytest.mark.skipif(not SSHD, reason="sshd is not installed")
def test_sshd_holds_to_them_whatever_the_image_says_later(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        # Where sshd locks itself up; the system makes it at every start.
        Path("/run/sshd").mkdir(exist_ok=True)
    folder = tmp_path / "sshd_config.d"
    folder.mkdir()
    for kind in sshd.HOST_KEY_KINDS:
        key = tmp_path / f"ssh_host_{kind}_key"
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", key], check=True)
    (folder / "10-imagesmith.conf").write_text(text().replace("/etc/ssh/", f"{tmp_path}/"))
    (folder / "50-cloud-init.conf").write_text("PasswordAuthentication yes\n")
    (tmp_path / "sshd_config").write_text(IMAGE.format(folder=folder))
    done = subprocess.run(
        [str(SSHD), "-T", "-f", tmp_path / "sshd_config"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = done.stdout.splitlines()
    for line in ("passwordauthentication no", "kbdinteractiveauthentication no", "permitrootlogin no"):
        assert line in told
    assert "x11forwarding no" in told
    assert [line for line in told if line.startswith("hostkey ")] == [
        f"hostkey {tmp_path}/ssh_host_{kind}_key" for kind in sshd.HOST_KEY_KINDS
    ]
