"""What the lanes of whole clusters share: the rack's inventory, secrets to look for, a start of the world's clock.

The inventory's KEY and K3S are filled in by `rack.desk`.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from rack.desk import Desk

SERVER, AGENTS = "srv-1", ("agent-1", "agent-2")
NODES = (SERVER, *AGENTS)
LANE = [pytest.mark.boot, pytest.mark.archive, pytest.mark.root, pytest.mark.timeout(3000)]
"""The marks of a rack's tests."""
PATIENCE_S = 900.0
"""For one step of a rack, on a machine that does other things too; idle, each is done within 150 s."""

INVENTORY = """\
schema: 1
name: NAME
k3s:
  file: {amd64: K3S}
ssh: {server: both}
defaults:
  user: admin
  ssh_keys: [KEY]
  gateway: 10.77.0.254
  nameservers: [10.77.0.254]
  time_servers: [10.77.0.254]
  # Other languages are made at the first boot, which takes an emulated processor long.
  locale: C.UTF-8
nodes:
  - {name: srv-1, profile: qemu-x86-server, address: 10.77.0.1/24}
  - {name: agent-1, profile: qemu-x86-worker, address: 10.77.0.2/24}
  - {name: agent-2, profile: qemu-x86-worker, address: 10.77.0.3/24, labels: {disk: slow}}
"""


def secrets_of(desk: Desk, node: str) -> dict[str, str]:
    """The passwords that a node's image holds, read from its root file system."""
    found = {"node password": read(desk, node, "/etc/rancher/node/password").strip()}
    for key, user, password in re.findall(
        r'^(token|agent-token): "K10[0-9a-f]{64}::(server|node):([^"]+)"$',
        read(desk, node, "/etc/rancher/k3s/config.yaml"),
        re.MULTILINE,
    ):
        found[f"{key} of user {user}"] = password
    assert len(found) >= 2 and all(len(one) >= 16 for one in found.values()), f"{node}: {sorted(found)}"
    return found


def passwords_of(desk: Desk) -> dict[str, str]:
    """Every password that was drawn for the cluster, by its name in the vault, which has no lock."""
    vault = desk.folder / "cluster.vault"
    found = {str(path.relative_to(vault)): path.read_bytes() for path in vault.rglob("*.plain")}
    return {name: data.decode() for name, data in found.items() if 16 <= len(data) <= 256 and b"\n" not in data}


def read(desk: Desk, node: str, path: str) -> str:
    """A file of the image's root, by debugfs."""
    image = f"{desk.image(node)}?offset={volumes(desk, node)['root']}"
    return subprocess.run(["debugfs", "-R", f"cat {path}", image], capture_output=True, text=True, check=True).stdout


def volumes(desk: Desk, node: str) -> Mapping[str, int]:
    """Where the image's partitions begin, by what they are for."""
    return {one["role"]: one["start"] for one in desk.told("inspect", str(desk.image(node)))["volumes"]}


def fat_copy(desk: Desk, node: str, folder: Path) -> list[Path]:
    """Every file of the image's FAT partition, copied out by mtools."""
    folder.mkdir(parents=True)
    (start,) = (at for role, at in volumes(desk, node).items() if role != "root")
    source = f"{desk.image(node)}@@{start}"
    subprocess.run(["mcopy", "-s", "-n", "-i", source, "::*", str(folder)], check=True, capture_output=True)
    return [path for path in folder.rglob("*") if path.is_file()]
