"""Cards that the desktop mounted are unmounted, others never: on real loop devices with partitions."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from faults.disks import call, dirty_disk, listed, loop_device, mounted, needs_root, random_bytes

from imagesmith.errors import DeviceRefused
from imagesmith.flash.unmount import unmount
from imagesmith.planning.refusals import unmountable
from imagesmith.units import MiB

pytestmark = needs_root


@pytest.fixture
def media() -> Iterator[Path]:
    """A folder where desktops mount; nothing is left mounted there."""
    with tempfile.TemporaryDirectory(prefix="imagesmith test ", dir="/mnt") as name:
        yield Path(name)
        for point in reversed(points_below(Path(name))):
            subprocess.run(["umount", point], check=False)


def points_below(folder: Path) -> list[str]:
    done = subprocess.run(["findmnt", "--raw", "--noheadings", "--output", "TARGET"], capture_output=True, check=True)
    lines = [line.replace("\\x20", " ") for line in done.stdout.decode().splitlines()]
    return [line for line in lines if line.startswith(f"{folder}/")]


@contextlib.contextmanager
def card(folder: Path) -> Iterator[str]:
    """A loop device with two partitions, an ext4 on each."""
    disk = dirty_disk(folder / "disk", 24 * MiB)
    call("sfdisk", "--quiet", disk, stdin="label: dos\nsize=8MiB, type=83\nsize=12MiB, type=83\n")
    with loop_device(disk, partitions=True) as path:
        for part in ("p1", "p2"):
            call("mke2fs", "-q", "-t", "ext4", f"{path}{part}")
        yield path


@contextlib.contextmanager
def foreign(point: Path) -> Iterator[None]:
    """Another file system mounted at `point`."""
    point.mkdir(exist_ok=True)
    call("mount", "-t", "tmpfs", "other", point)
    try:
        yield
    finally:
        subprocess.run(["umount", str(point)], check=False)


def test_every_partition_is_unmounted_the_last_first(tmp_path: Path, media: Path) -> None:
    root, boot = media / "root", media / "root" / "boot"  # as in a node's own tree
    with card(tmp_path) as path, mounted(f"{path}p2", root), mounted(f"{path}p1", boot):
        (boot / "file").write_bytes(random_bytes(MiB, 1))
        device = listed(path)
        assert set(unmountable(device)) == {str(root), str(boot)}
        unmount(device)
        assert points_below(media) == []
    assert call("debugfs", "-R", "stat file", "-c", f"{tmp_path / 'disk'}?offset={MiB}").count("Size: 1048576") == 1


def test_a_partition_mounted_in_two_places_is_unmounted_from_both(tmp_path: Path, media: Path) -> None:
    with card(tmp_path) as path, mounted(f"{path}p1", media / "a"), mounted(f"{path}p1", media / "b"):
        unmount(listed(path))
        assert points_below(media) == []


def test_what_is_not_mounted_needs_nothing(tmp_path: Path) -> None:
    with card(tmp_path) as path:
        unmount(listed(path))


def test_other_cards_stay_mounted(tmp_path: Path, media: Path) -> None:
    (tmp_path / "other").mkdir()
    with (
        card(tmp_path) as path,
        card(tmp_path / "other") as other,
        mounted(f"{path}p1", media / "a"),
        mounted(f"{other}p1", media / "b"),
    ):
        unmount(listed(path))
        assert points_below(media) == [str(media / "b")]


def test_who_holds_it_is_named_and_it_stays_mounted(tmp_path: Path, media: Path) -> None:
    with card(tmp_path) as path, mounted(f"{path}p1", media / "a") as point:
        with subprocess.Popen(["sleep", "60"], cwd=point) as sleeper:
            try:
                with pytest.raises(DeviceRefused, match=rf"sleep \({sleeper.pid}\)") as caught:
                    unmount(listed(path))
            finally:
                sleeper.kill()
        assert f"fuser -vm {point}" in caught.value.hint
        assert points_below(media) == [str(point)]


def test_an_open_file_is_enough_to_be_named(tmp_path: Path, media: Path) -> None:
    with (
        card(tmp_path) as path,
        mounted(f"{path}p1", media / "a") as point,
        (point / "file").open("w"),
        pytest.raises(DeviceRefused, match=r"in use by \S+ \(\d+\)"),
    ):
        unmount(listed(path))


def test_a_foreign_mount_below_is_named_and_not_touched(tmp_path: Path, media: Path) -> None:
    with card(tmp_path) as path, mounted(f"{path}p1", media / "a") as point, foreign(point / "cache"):
        with pytest.raises(DeviceRefused, match=f"the mount {point}/cache"):
            unmount(listed(path))
        assert str(point / "cache") in points_below(media)


def test_what_was_mounted_over_it_is_not_taken_off_instead(tmp_path: Path, media: Path) -> None:
    with card(tmp_path) as path, mounted(f"{path}p1", media / "a") as point, foreign(point):
        with pytest.raises(DeviceRefused, match="other is mounted there now"):
            unmount(listed(path))
        assert points_below(media) == [str(point)] * 2


def test_a_place_that_nothing_mounts_by_itself_stops_it_before_anything_is_unmounted(
    tmp_path: Path, media: Path
) -> None:
    with (
        card(tmp_path) as path,
        mounted(f"{path}p1", tmp_path / "data") as elsewhere,
        mounted(f"{path}p2", media / "a") as point,
    ):
        with pytest.raises(DeviceRefused, match=f"is mounted as {elsewhere}, which is not unmounted"):
            unmount(listed(path))
        assert points_below(media) == [str(point)]


def test_a_fixed_disk_is_never_unmounted(tmp_path: Path, media: Path) -> None:
    with card(tmp_path) as path, mounted(f"{path}p1", media / "a") as point:
        with pytest.raises(DeviceRefused, match="not unmounted for you"):
            unmount(replace(listed(path), kind="disk", bus="sata"))
        assert points_below(media) == [str(point)]
