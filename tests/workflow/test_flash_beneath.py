"""What a loop device stands on: the image itself, a disk that is in use, a file that another one stands on too."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from faults.disks import call, dirty_disk, listed, loop_device, make_image, mounted, needs_root

from imagesmith.errors import DeviceRefused
from imagesmith.events import unheard
from imagesmith.planning.refusals import refusals
from imagesmith.units import MiB
from imagesmith.workflow.flash import Request, flash
from imagesmith.workflow.jobs import Job

pytestmark = needs_root


def run(image: Path, *devices: str) -> None:
    """To cards, without asking; every flag is given."""
    request = Request((Job(str(image), devices),), image.parent, yes=True, allow_fixed=True, eject=False)
    flash(request, ask=lambda _: "yes", current_plan_id=lambda _: "", listener=unheard)


def reasons(path: str) -> list[str]:
    return [refusal.reason for refusal in refusals(listed(path), 0, allow_fixed=True) if not refusal.override]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return make_image(tmp_path / "a.img", "dos")


@pytest.mark.parametrize("way", ["its own path", "a hard link", "a symbolic link"])
def test_a_loop_device_over_the_image_is_the_image(image: Path, way: str) -> None:
    before, named = image.read_bytes(), image
    if way != "its own path":
        named = image.with_name("other.img")
        named.hardlink_to(image) if way == "a hard link" else named.symlink_to(image)
    with loop_device(image) as device, pytest.raises(DeviceRefused, match="is the image itself, as a loop device"):
        run(named, device)
    assert image.read_bytes() == before


def test_it_is_also_when_the_packed_image_is_named_that_the_raw_one_is_taken_for(image: Path) -> None:
    before = image.read_bytes()
    packed = image.with_name("a.img.zst")
    call("zstd", "-q", "-k", image)
    (image.parent / "SHA256SUMS").write_text(
        call("sh", "-c", 'cd "$1" && sha256sum a.img a.img.zst', "sh", image.parent)
    )
    with loop_device(image) as device, pytest.raises(DeviceRefused, match="is the image itself"):
        run(packed, device)
    assert image.read_bytes() == before


def test_a_loop_device_over_a_disk_is_refused_by_the_disk_s_name(tmp_path: Path, image: Path) -> None:
    disk = dirty_disk(tmp_path / "disk", 40 * MiB)
    with loop_device(disk) as below:
        call("mke2fs", "-q", "-t", "ext4", below)
        with loop_device(Path(below)) as above, mounted(below, tmp_path / "mnt"):
            with pytest.raises(DeviceRefused, match=f"{above} stands on {below}: name that device itself"):
                run(image, above)
            assert f"would be refused: stands on {below}" in call(sys.executable, "-m", "imagesmith", "devices")


def test_a_disk_that_a_loop_device_reaches_is_in_use(tmp_path: Path, image: Path) -> None:
    disk = dirty_disk(tmp_path / "disk", 40 * MiB)
    with loop_device(disk) as below, loop_device(Path(below)) as above:
        call("mke2fs", "-q", "-t", "ext4", above)
        with mounted(above, tmp_path / "mnt"), pytest.raises(DeviceRefused, match=f"{Path(above).name} \\(loop\\)"):
            run(image, below)


def test_so_is_one_of_which_a_partition_is_reached(tmp_path: Path) -> None:
    with (
        loop_device(make_image(tmp_path / "b.img", "gpt"), partitions=True) as below,
        loop_device(Path(f"{below}p2")) as above,
    ):
        assert reasons(below) == [f"is in use by {Path(above).name} (loop): close or stop that first"]


def test_two_loop_devices_over_one_file_are_in_each_other_s_way(tmp_path: Path, image: Path) -> None:
    disk = dirty_disk(tmp_path / "disk", 40 * MiB)
    with loop_device(disk) as one, loop_device(disk) as other:
        call("mke2fs", "-q", "-t", "ext4", one)
        with mounted(one, tmp_path / "mnt"):
            words = f"{Path(one).name} \\(loop over the same file\\)"
            with pytest.raises(DeviceRefused, match=words):
                run(image, other)


def test_a_file_in_shared_memory_is_a_file(tmp_path: Path) -> None:
    disk = dirty_disk(Path("/dev/shm") / f"imagesmith-{tmp_path.parent.name}-{tmp_path.name}", MiB)
    try:
        with loop_device(disk) as device:
            assert reasons(device) == []
            assert listed(device).backing == str(disk)
    finally:
        disk.unlink()
