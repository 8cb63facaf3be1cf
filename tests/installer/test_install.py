"""installer/install with what image.payload packs: a system gets files, owners, modes, links and lines."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from imagesmith.errors import DigestMismatch, EditFailed
from imagesmith.image.payload import LINES, REMOVE, TAR, pack
from imagesmith.model import Digest, Edit, EnsureLine, EnsureToken, FileContent, Link, MakeDir, PutFile, Remove
from imagesmith.secret import Secret, SecretRef

SCRIPT = Path(__file__).parents[2] / "installer" / "install"
EPOCH = 1_700_000_000
MINE = (os.getuid(), os.getgid())
VAULT = {"key": Secret(b"sesame")}


def put(path: str, content: bytes | FileContent | SecretRef, mode: int = 0o644) -> PutFile:
    return PutFile("root", path, content, mode, *MINE)


def packed(tmp_path: Path, *edits: Edit) -> Path:
    folder = tmp_path / "medium"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    pack(edits, folder, epoch=EPOCH, open_secret=lambda ref: VAULT[ref.name])
    sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in (TAR, REMOVE, LINES)]
    (folder / "SHA256SUMS").write_text("".join(sums))
    return folder


@pytest.fixture
def system(tmp_path: Path) -> Path:
    root = tmp_path / "target"
    (root / "etc").mkdir(parents=True)
    (root / "etc/locale.gen").write_text("# nothing yet")
    return root


def installed(folder: Path, system: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", SCRIPT, folder, system], capture_output=True, text=True, check=False)


def test_files_folders_links_and_lines(tmp_path: Path, system: Path) -> None:
    (system / "etc/old").write_text("to go")
    (system / "etc/hostname").write_text("ubuntu\n")
    folder = packed(
        tmp_path,
        Remove("root", "/etc/old"),
        Remove("root", "/etc/never-was"),
        MakeDir("root", "/var/lib/cloud/seed", 0o700, *MINE),
        put("/var/lib/cloud/seed/user-data", b"#cloud-config\n", 0o600),
        put("/etc/hostname", b"master\n"),
        put("/usr/lib/run me", b"#!/bin/sh\n", 0o755),
        EnsureLine("root", "/etc/locale.gen", "de_DE.UTF-8 UTF-8"),
        EnsureLine("root", "/etc/new.conf", "a=b\t c"),
    )
    # Links belong to root in the archive; only root could make them so.
    done = installed(folder, system)
    assert done.returncode == 0, done.stderr
    assert not (system / "etc/old").exists()
    assert (system / "etc/hostname").read_text() == "master\n"
    assert (system / "etc/locale.gen").read_text() == "# nothing yet\nde_DE.UTF-8 UTF-8\n"
    assert (system / "etc/new.conf").read_text() == "a=b\t c\n"
    seed = system / "var/lib/cloud/seed"
    assert (seed.stat().st_mode & 0o777, (seed / "user-data").stat().st_mode & 0o777) == (0o700, 0o600)
    assert (system / "usr/lib/run me").stat().st_mode & 0o777 == 0o755
    assert (system / "etc/hostname").stat().st_mtime == EPOCH


@pytest.mark.root
@pytest.mark.skipif(os.getuid() != 0, reason="root is needed to give files away")
def test_owners_and_links(tmp_path: Path, system: Path) -> None:
    edits = (
        PutFile("root", "/home/a", b"x", 0o640, 1000, 27),
        MakeDir("root", "/srv/b", 0o750, 1000, 1000),
        Link("root", "/etc/localtime", "/usr/share/zoneinfo/Etc/UTC"),
    )
    assert installed(packed(tmp_path, *edits), system).returncode == 0
    file, folder = (system / "home/a").stat(), (system / "srv/b").stat()
    assert (file.st_mode & 0o777, file.st_uid, file.st_gid) == (0o640, 1000, 27)
    assert (folder.st_mode & 0o777, folder.st_uid, folder.st_gid) == (0o750, 1000, 1000)
    assert (system / "etc/localtime").readlink() == Path("/usr/share/zoneinfo/Etc/UTC")


def test_a_second_run_changes_nothing(tmp_path: Path, system: Path) -> None:
    folder = packed(tmp_path, EnsureLine("root", "/etc/locale.gen", "x"), put("/etc/a", b"1"))
    assert installed(folder, system).returncode == 0
    once = (system / "etc/locale.gen").read_text()
    assert installed(folder, system).returncode == 0
    assert (system / "etc/locale.gen").read_text() == once


def test_an_existing_link_is_replaced_not_followed(tmp_path: Path, system: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    (system / "etc/a").symlink_to(outside)
    assert installed(packed(tmp_path, put("/etc/a", b"1")), system).returncode == 0
    assert (outside.read_text(), (system / "etc/a").read_text()) == ("mine", "1")


@pytest.mark.parametrize(
    "edit", [put("/var/run/a", b"1"), Remove("root", "/var/run/a"), EnsureLine("root", "/var/run/a", "x")]
)
def test_a_link_that_leads_out_of_the_system_stops_it(tmp_path: Path, system: Path, edit: Edit) -> None:
    outside = tmp_path / "run"
    outside.mkdir()
    (outside / "a").write_text("mine")
    (system / "var").mkdir()
    (system / "var/run").symlink_to(outside)
    done = installed(packed(tmp_path, edit), system)
    assert done.returncode == 1
    assert "leads out of the new system" in done.stderr
    assert (outside / "a").read_text() == "mine"


def test_a_damaged_payload_is_not_unpacked(tmp_path: Path, system: Path) -> None:
    folder = packed(tmp_path, put("/etc/a", b"1" * 5000))
    with (folder / TAR).open("r+b") as stream:
        stream.seek(700)
        stream.write(b"2")
    done = installed(folder, system)
    assert done.returncode == 1
    assert "the medium is damaged" in done.stderr
    assert not (system / "etc/a").exists()


def test_no_system_no_files(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = installed(packed(tmp_path, put("/etc/a", b"1")), tmp_path / "empty")
    assert done.returncode == 1
    assert list((tmp_path / "empty").iterdir()) == []


# -- packing ----------------------------------------------------------------------------------------------------------


def test_the_last_edit_of_a_path_counts(tmp_path: Path, system: Path) -> None:
    folder = packed(
        tmp_path, put("/etc/a", b"1"), Remove("root", "/etc/a"), Remove("root", "/etc/b"), put("/etc/b", b"2"),
        put("/etc/c", b"1\n"), EnsureLine("root", "/etc/c", "2"),
    )  # fmt: skip
    assert installed(folder, system).returncode == 0
    assert not (system / "etc/a").exists()
    assert (system / "etc/b").read_text() == "2"
    assert (system / "etc/c").read_text() == "1\n2\n"


def test_the_same_edits_give_the_same_archive(tmp_path: Path) -> None:
    first = (packed(tmp_path, put("/etc/a", b"1")) / TAR).read_bytes()
    assert (packed(tmp_path, put("/etc/a", b"1")) / TAR).read_bytes() == first


def test_a_secret_goes_into_a_closed_file_and_nowhere_else(tmp_path: Path, system: Path) -> None:
    assert installed(packed(tmp_path, put("/etc/key", SecretRef("key"), 0o600)), system).returncode == 0
    assert (system / "etc/key").read_bytes() == b"sesame"
    with pytest.raises(EditFailed, match="lets everybody at it"):
        packed(tmp_path, put("/etc/key", SecretRef("key"), 0o644))


def test_a_file_from_here(tmp_path: Path, system: Path) -> None:
    source = tmp_path / "k3s"
    source.write_bytes(os.urandom(300_000))
    content = FileContent(source, Digest.of(source.read_bytes()), 300_000)
    assert installed(packed(tmp_path, put("/usr/local/bin/k3s", content, 0o755)), system).returncode == 0
    assert (system / "usr/local/bin/k3s").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("size", [300_000, 299_999])
def test_a_file_that_changed_is_refused(tmp_path: Path, size: int) -> None:
    source = tmp_path / "k3s"
    source.write_bytes(os.urandom(300_000))
    content = FileContent(source, Digest.of(b"another"), size)
    with pytest.raises(DigestMismatch):
        packed(tmp_path, put("/usr/local/bin/k3s", content))


def test_an_edit_that_needs_the_system_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EditFailed, match="EnsureToken can't be made by an installer"):
        packed(tmp_path, EnsureToken("root", "/boot/cmdline.txt", "quiet"))
