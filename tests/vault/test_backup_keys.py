"""Keys for backups as the vault draws them: OpenSSH and age themselves take them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from imagesmith.errors import ContentMalformed
from imagesmith.vault.draw import belongs, draw, taken


def test_openssh_reads_a_nodes_key(tmp_path: Path) -> None:
    drawn = draw("nodes/node-1/backup-key")
    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_bytes(drawn.content.reveal())
    done = subprocess.run(["ssh-keygen", "-y", "-f", key], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == drawn.public
    assert drawn.public.endswith(" imagesmith-backup@node-1")


@pytest.mark.skipif(not shutil.which("age"), reason="age is not installed")
def test_age_opens_what_was_sealed_for_the_public_half(tmp_path: Path) -> None:
    drawn = draw("nodes/node-1/backup-identity")
    identity = tmp_path / "identity"
    identity.write_bytes(drawn.content.reveal())
    sealed = subprocess.run(["age", "-r", drawn.public], input=b"mine", capture_output=True, check=True).stdout
    opened = subprocess.run(["age", "-d", "-i", identity], input=sealed, capture_output=True, check=True).stdout
    assert opened == b"mine"


@pytest.mark.parametrize("name", ["nodes/node-1/backup-key", "nodes/node-1/backup-identity"])
def test_a_key_that_was_made_elsewhere_is_known_again(name: str) -> None:
    one, other = draw(name), draw(name)
    assert taken(name, one.content, "test").public == one.public
    assert belongs(one.kind, one.content, one.public, "test")
    assert not belongs(one.kind, other.content, one.public, "test")


def test_what_is_no_key_is_not_taken() -> None:
    with pytest.raises(ContentMalformed):
        taken("nodes/node-1/backup-key", draw("nodes/node-1/backup-identity").content, "test")
