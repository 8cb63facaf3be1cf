"""A node's backup: made by real tar, zstd, age and ssh, to a real sshd that runs the receiving script as it says."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from nas import STATUS, Nas, lacking, nas
from node_folder import NodeFolder

pytestmark = [
    pytest.mark.skipif(bool(lacking()), reason=f"not here: {lacking()}"),
    pytest.mark.skipif(os.getuid() != 0, reason="owners and ACLs of others are root's to keep"),
]


@pytest.fixture
def place(tmp_path: Path, node: NodeFolder) -> Iterator[Nas]:
    with nas(tmp_path / "nas", node) as made:
        yield made


def backup(node: NodeFolder, mode: str = "now") -> tuple[int, dict[str, str]]:
    """What it ended with, and its status."""
    done = subprocess.run(
        [node.library / "backup-node", mode],
        env=node.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    print(done.stdout, done.stderr)
    found = node.read(STATUS) if node.exists(STATUS) else ""
    return done.returncode, dict(line.split("=", 1) for line in found.splitlines())


def members(place: Nas) -> dict[str, tarfile.TarInfo]:
    """The newest backup's, by their names."""
    plain = subprocess.run(["zstd", "-dc", place.own / place.kept[-1]], capture_output=True, check=True).stdout
    (place.folder / "plain.tar").write_bytes(plain)
    with tarfile.open(place.folder / "plain.tar") as tar:
        return {one.name: one for one in tar}


def test_a_backup_is_whole_and_known(node: NodeFolder, place: Nas) -> None:
    node.write("home/admin/notes", "mine\n")
    code, status = backup(node)
    assert (code, status["state"], status["warnings"]) == (0, "good", "0")
    assert status["last_good_name"] == place.kept[-1]
    assert int(status["last_good_bytes"]) == (place.own / place.kept[-1]).stat().st_size
    assert "./home/admin/notes" in members(place)
    assert place.left == []
