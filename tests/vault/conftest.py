"""A folder with an inventory, and `imagesmith` run in it as a person would."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from building import Done, Workshop
from image.made_disks import Disk

from imagesmith.vault.names import of_cluster
from imagesmith.workflow.vault import draw_missing

INVENTORY = """\
schema: 1
name: home
domain: home.arpa
nodes:
  - {name: node-1, profile: qemu-x86-worker, address: 192.168.1.10/24}
  - {name: node-2, profile: rpi4-worker, address: "fd00:0:0::2/64"}
"""
PASSPHRASE = "canary passphrase 4711"


class Rack(Workshop):
    """A workshop without a base image, with a passphrase in a file."""

    @property
    def vault(self) -> Path:
        return self.folder / "cluster.vault"

    def done(self, *words: str | Path) -> Done:
        """A command that must go well."""
        done = self.run(*words)
        assert done.code == 0, done.out + done.err
        return done

    def create(self, *words: str) -> Done:
        """By a key file, which costs no second, where nothing else is said."""
        return self.done("vault", "create", *(words or ("--key", "rack.key")))

    def create_by_passphrase(self) -> Done:
        return self.done("vault", "create")

    def draw_cluster(self) -> None:
        """What a k3s cluster has in the vault."""
        draw_missing(self.vault, of_cluster())

    def piped(self, *words: str) -> bytes:
        """What `vault export` sends on by a pipe."""
        return self.program("vault", "export", *words).out.encode()


@pytest.fixture
def rack(tmp_path: Path) -> Rack:
    (tmp_path / "passphrase").write_text(PASSPHRASE + "\n")
    (tmp_path / "passphrase").chmod(0o600)
    env = {name: value for name, value in os.environ.items() if name not in ("SOURCE_DATE_EPOCH", "IMAGESMITH_DEBUG")}
    env |= {
        "IMAGESMITH_CACHE": str(tmp_path / "cache"),
        "IMAGESMITH_VAULT_PASSPHRASE_FILE": str(tmp_path / "passphrase"),
        "NO_COLOR": "1",
    }
    made = Rack(tmp_path, Disk(tmp_path / "none.img", {}, {}), env)
    made.inventory(INVENTORY)
    return made
