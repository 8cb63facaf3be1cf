"""How a guest of a rack differs from one that `imagesmith boot` starts: by its network, and by nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from rack.guests import on_network

from imagesmith.model import QemuMachine
from imagesmith.planning.boot import BorrowedKernel, GuestFiles, guest_argv
from imagesmith.units import GiB

MAC = "52:54:01:02:03:04"


def _machine(name: Literal["q35", "virt"], start: Literal["uefi", "kernel"]) -> QemuMachine:
    return QemuMachine(name, "max", 1, GiB, start, "virtio", "virtio", "ttyS0")


@pytest.mark.parametrize("name", ["q35", "virt"])
def test_only_the_network_is_another(name: Literal["q35", "virt"]) -> None:
    files = {
        "q35": GuestFiles(Path("disk"), Path("code"), Path("variables")),
        "virt": GuestFiles(Path("disk"), kernel=BorrowedKernel(Path("kernel"), None, None, "root=/dev/vda2")),
    }
    machine = _machine(name, "uefi" if name == "q35" else "kernel")
    alone = guest_argv(machine, "amd64" if name == "q35" else "arm64", files[name], "nonce", 5)
    together = on_network(alone, Path("/lan/switch"), MAC)
    assert [(one, other) for one, other in zip(alone, together, strict=True) if one != other] == [
        ("user,id=net", "stream,id=net,server=off,addr.type=unix,addr.path=/lan/switch"),
        ("virtio-net-pci,netdev=net,romfile=", f"virtio-net-pci,netdev=net,romfile=,mac={MAC}"),
    ]
