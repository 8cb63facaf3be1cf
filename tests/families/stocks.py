"""A stand-in of Debian's or Ubuntu's in a workshop of its own, with a profile over it, ready to be built."""

from __future__ import annotations

import os
from pathlib import Path

from building import KEY, Workshop
from image.made_disks import Disk, tool

PROFILE = """\
schema: 1
title: A stock image
board: {board}
role: worker
base: stock
bases:
  - name: stock
    family: {family}
    file: {{path: {file}}}
{base}settings:
  ssh_keys: ["{key}"]
{settings}"""


def workshop(
    folder: Path, disk: Disk, family: str, board: str, *, file: str = "", base: str = "", settings: str = ""
) -> Workshop:
    """./mine.yaml over `disk`, or over `file` in `folder`; `base` and `settings` are indented lines."""
    env = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    env |= {"IMAGESMITH_CACHE": str(folder / "cache"), "NO_COLOR": "1"}
    text = PROFILE.format(board=board, family=family, file=file or disk.path, base=base, key=KEY, settings=settings)
    (folder / "mine.yaml").write_text(text)
    return Workshop(folder, disk, env)


def built_disk(shop: Workshop) -> Disk:
    """The image that the workshop made, its partitions where the base has them."""
    return Disk(shop.out / "mine/mine.img", shop.disk.offsets, shop.disk.sizes)


def partition(disk: Disk, role: str) -> bytes:
    """Every byte of one partition."""
    with disk.path.open("rb") as stream:
        stream.seek(disk.offsets[role])
        return stream.read(disk.sizes[role])


def table(disk: Disk) -> list[str]:
    """The partitions as sfdisk tells them, without the file's name."""
    return [line.replace(str(disk.path), "") for line in tool("sfdisk", "--dump", disk.path).splitlines()]


OURS = (
    "etc/imagesmith", "usr/lib/imagesmith", "usr/lib/systemd/system/imagesmith-", "usr/lib/clock-epoch",
    "etc/ssh/sshd_config.d/10-imagesmith.conf",
    "etc/systemd/system/multi-user.target.wants", "etc/machine-id", "etc/locale.gen",
    "etc/systemd/system/sysinit.target.wants/imagesmith-again.service",
    "var/lib/cloud", "etc/cloud/cloud.cfg.d/99-imagesmith.cfg",
)  # fmt: skip
"""What a build changes on every root of these."""


def beyond(touched: set[str], *more: str) -> set[str]:
    """What was touched and is not ours; parents of ours are."""
    expected = (*OURS, *more)
    return {
        path for path in touched
        if not path.startswith(expected) and not any(one.startswith(f"{path}/") for one in expected)
    }  # fmt: skip
