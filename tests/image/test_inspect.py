"""What `inspect` reports of an image, and that it changes none."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

from made_disks import Disk, tool

from imagesmith.image.inspect import inspect


def test_a_report_names_table_volumes_and_system(bases: dict[str, Disk]) -> None:
    disk = bases["mbr"]
    before = disk.path.read_bytes()
    report = inspect(disk.path)
    assert (report.table, report.sector_size, report.disk_id) == ("mbr", 512, "5e1a02c4")
    assert [(each.role, each.label, each.start) for each in report.volumes] == [
        ("boot", "BOOTFS", disk.offsets["boot"]),
        ("root", "rootfs", disk.offsets["root"]),
    ]
    assert report.os_name == "Debian GNU/Linux 13 (trixie)"
    assert 0 < report.mapped < report.size
    assert disk.path.read_bytes() == before


def test_a_report_becomes_json(bases: dict[str, Disk]) -> None:
    assert json.loads(json.dumps(dataclasses.asdict(inspect(bases["gpt4k"].path))))["sector_size"] == 4096


def test_a_dirty_image_is_reported_not_refused(fresh: Callable[..., Disk]) -> None:
    disk = fresh("mbr")
    tool("debugfs", "-w", "-R", "feature needs_recovery", f"{disk.path}?offset={disk.offsets['root']}")
    report = inspect(disk.path)
    assert "recovery" in report.volumes[1].trouble and "whole" in report.notes[0]
