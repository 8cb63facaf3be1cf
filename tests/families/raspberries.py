"""A stand-in of Raspberry Pi OS in a workshop of its own, with a profile over it, ready to be built."""

from __future__ import annotations

from pathlib import Path

from building import KEY, Workshop
from image.made_disks import Disk

PROFILE = """\
schema: 1
title: A stand-in of Raspberry Pi OS
board: rpi4
role: worker
base: pi
bases:
  - name: pi
    family: {family}
    releases: [{release}]
    file: {{path: base.img}}
settings:
  ssh_keys: ["{key}"]
{settings}"""


def workshop(folder: Path, disk: Disk, env: dict[str, str], family: str, release: str, settings: str = "") -> Workshop:
    """`folder` holds base.img already, which is `disk`; ./mine.yaml is written. `settings` are indented lines."""
    (folder / "key.pub").write_text(KEY + "\n")
    text = PROFILE.format(family=family, release=release, key=KEY, settings=settings)
    (folder / "mine.yaml").write_text(text)
    return Workshop(folder, disk, {**env, "IMAGESMITH_CACHE": str(folder / "cache"), "NO_COLOR": "1"})


def built_disk(shop: Workshop) -> Disk:
    """The image that the workshop made, its partitions where the base has them."""
    return Disk(shop.out / "mine/mine.img", shop.disk.offsets, shop.disk.sizes)
