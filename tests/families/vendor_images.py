"""A stand-in of every vendor's image with a node built into it, for tests of what a node's secrets become there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from building import Workshop, make_workshop
from image.made_disks import Disk, tool
from standins.armbian import make_armbian
from standins.debian_generic import debian_generic
from standins.raspios import bookworm, trixie
from standins.ubuntu_cloud import ubuntu_cloud
from standins.ubuntu_raspi import ubuntu_raspi

_PROFILE = """\
schema: 1
title: A stand-in
board: {board}
role: worker
base: stock
bases:
  - {{name: stock, family: {family}, file: {{path: ../base.img}}}}
"""


@dataclass(frozen=True)
class Vendor:
    family: str
    make: Callable[[Path], Disk]
    board: str = "rpi4"
    architecture: str = "arm64"


VENDORS = (
    Vendor("raspios-cloudinit", trixie),
    Vendor("raspios-legacy", bookworm),
    Vendor("armbian", make_armbian, "bananapi-m5"),
    Vendor("ubuntu-raspi", ubuntu_raspi),
    Vendor("ubuntu-cloud", ubuntu_cloud, "x86-itx", "amd64"),
    Vendor("debian-generic", debian_generic, "x86-itx", "amd64"),
)


@dataclass(frozen=True)
class VendorImage:
    """The image of node-1, once it is built."""

    vendor: Vendor
    shop: Workshop

    @property
    def image(self) -> Disk:
        made = self.shop.disk
        return Disk(self.shop.out / "node-1/node-1.img", made.offsets, made.sizes)

    def root(self, command: str) -> str:
        return tool("debugfs", "-R", command, f"{self.image.path}?offset={self.image.offsets['root']}")


def shop_of(vendor: Vendor, inventory: str, factory: pytest.TempPathFactory, board: str = "") -> Workshop:
    """With the vendor's image as the base of the profile `mine`, whose board is the vendor's own or another."""
    made = vendor.make(factory.mktemp("stock") / "stock.img")
    shop = make_workshop(factory.mktemp("shop"), made)
    profile = _PROFILE.format(family=vendor.family, board=board or vendor.board)
    (shop.folder / "profiles/mine.yaml").write_text(profile)
    shop.inventory(inventory)
    return shop
