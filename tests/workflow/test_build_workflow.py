"""Building over bases and in places that are not as they should be: each failure has its exit code, says what, where
and what next, and leaves nothing behind; and the same command works once the cause is gone."""

from __future__ import annotations

import json
import lzma
import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from building import Workshop, random_file
from faults.disks import needs_root
from image.made_disks import CMDLINE, PI_FILES, MiB, assemble, make_ext4, make_tree, noise, tool

NOBODY = pwd.getpwnam("nobody")


def pack(shop: Workshop) -> bytes:
    """The base as xz, which the profile then names; its bytes."""
    packed = lzma.compress(shop.base.read_bytes(), preset=0)
    shop.profile(path="base.img.xz")
    return packed


def on_root(shop: Workshop, *requests: str) -> None:
    """Let debugfs change the base's root."""
    place = f"{shop.base}?offset={shop.disk.offsets['root']}"
    for request in requests:
        tool("debugfs", "-w", "-R", request, place)


# -- bases that are not what they should be -------------------------------------------------------


def test_a_packed_base_is_expanded(shop: Workshop) -> None:
    shop.build("./mine.yaml", "--compress", "none")
    plain = shop.made()["mine.img"]
    (shop.folder / "base.img.xz").write_bytes(pack(shop))
    shop.build("./mine.yaml", "--compress", "none")
    assert shop.made()["mine.img"] == plain


def test_a_truncated_base_is_malformed_and_a_whole_one_works_then(shop: Workshop) -> None:
    packed = pack(shop)
    (shop.folder / "base.img.xz").write_bytes(packed[: len(packed) // 2])
    shop.refused(4, "base.img.xz")
    assert not (shop.out / "mine").exists()
    (shop.folder / "base.img.xz").write_bytes(packed)
    shop.build("./mine.yaml", "--compress", "none")
    shop.made()


def test_a_flipped_bit_in_a_packed_base_is_malformed(shop: Workshop) -> None:
    packed = bytearray(pack(shop))
    packed[len(packed) // 2] ^= 0x10
    (shop.folder / "base.img.xz").write_bytes(packed)
    shop.refused(4, "base.img.xz")


def test_a_base_of_another_digest_than_the_profile_says_is_refused(shop: Workshop) -> None:
    text = (shop.folder / "mine.yaml").read_text()
    (shop.folder / "mine.yaml").write_text(text.replace("base.img}", f"base.img, digest: 'sha256:{'a' * 64}'}}"))
    shop.refused(4, "base.img", "a" * 64)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"<!DOCTYPE html><html><body>404 not found</body></html>\n" * 50, id="html"),
        pytest.param(b"", id="empty"),
        pytest.param(b"to be replaced by the image\n" * 100, id="text"),
        pytest.param(noise(MiB), id="noise"),
        pytest.param(b"\x7fELF" + noise(9000), id="program"),
    ],
)
def test_a_base_that_is_no_disk_image_is_malformed(shop: Workshop, content: bytes) -> None:
    shop.base.write_bytes(content)
    done = shop.refused(4, "base.img")
    assert "what to do:" in done.err


def test_a_missing_base_is_a_usage_error(shop: Workshop) -> None:
    shop.base.unlink()
    shop.refused(2, "base.img", "no such file")


def test_a_folder_as_a_base_is_a_usage_error(shop: Workshop) -> None:
    shop.base.unlink()
    shop.base.mkdir()
    shop.refused(2, "base.img")


def test_a_bare_file_system_is_told_to_be_one(shop: Workshop) -> None:
    shop.base.write_bytes(shop.disk.extract("root", shop.folder / "root").read_bytes())
    shop.refused(4, "bare file system", "no partition table", "use the image of a whole disk")


def test_overlapping_partitions_are_refused(shop: Workshop) -> None:
    second_entry_start = 446 + 16 + 8
    shop.disk.patch(second_entry_start, (16000).to_bytes(4, "little"))
    shop.refused(4, "overlap")


def test_a_partition_beyond_the_end_is_refused(shop: Workshop) -> None:
    with shop.base.open("r+b") as file:
        file.truncate(20 * MiB)
    shop.refused(4)


def test_a_dirty_journal_is_refused(shop: Workshop) -> None:
    on_root(shop, "feature needs_recovery")
    shop.refused(11, "partition 2", "journal", "e2fsck")


def test_a_damaged_superblock_leaves_no_root(shop: Workshop) -> None:
    shop.disk.patch(shop.disk.offsets["root"] + 1024, noise(1024))
    shop.refused(11, "no partition is recognised as root", "partition 1 (fat 'BOOTFS')")


def test_a_root_without_etc_is_no_root(shop: Workshop) -> None:
    tree = shop.folder / "bare"
    (tree / "home").mkdir(parents=True)
    root = make_ext4(shop.folder / "bare.ext4", 24 * MiB, tree)
    fat = shop.disk.extract("boot", shop.folder / "boot.fat")
    assemble(shop.base, "dos", [("boot", fat, "c"), ("root", root, "83")])
    shop.refused(11, "no partition is recognised as root", "ext4 with /etc")


def test_two_roots_are_ambiguous(shop: Workshop) -> None:
    one = shop.disk.extract("root", shop.folder / "one")
    two = make_ext4(shop.folder / "two", 8 * MiB, make_small_tree(shop.folder / "two.tree"))
    assemble(shop.base, "dos", [("root", one, "83"), ("data", two, "83")])
    shop.refused(11, "could each be the root")


def make_small_tree(folder: Path) -> Path:
    (folder / "etc").mkdir(parents=True)
    return folder


def test_a_full_fat_is_told(shop: Workshop) -> None:
    """A Raspberry Pi image, whose node data goes to the FAT."""
    shop.profile(family="raspios-cloudinit")
    fat = shop.disk.extract("boot", shop.folder / "boot.fat")
    free = int(tool("mdir", "-i", fat, "::").splitlines()[-2].replace(" ", "").replace("bytesfree", ""))
    local = random_file(shop.folder / "filler", 0)
    local.write_bytes(noise(free))
    tool("mcopy", "-i", fat, local, "::filler.bin")
    shop.disk.patch(shop.disk.offsets["boot"], fat.read_bytes())
    shop.refused(11, "partition 1")


def test_a_full_root_is_told(shop: Workshop) -> None:
    tree = make_small_tree(shop.folder / "full")
    (tree / "etc/noise").write_bytes(noise(2 * MiB + 300_000))
    root = make_ext4(shop.folder / "full.ext4", 3 * MiB, tree, "-O", "^has_journal", "-b", "1024", "-m", "0")
    blocks = int(tool("dumpe2fs", "-h", root).split("Free blocks:")[1].split()[0])
    filler = shop.folder / "filler"
    filler.write_bytes(noise((blocks - 12) * 1024))
    tool("debugfs", "-w", "-R", f"write {filler} filler", root)
    assemble(shop.base, "dos", [("root", root, "83")])
    shop.refused(11, "partition 1")


def test_a_base_that_was_repaired_builds(shop: Workshop) -> None:
    on_root(shop, "feature needs_recovery")
    shop.refused(11)
    on_root(shop, "feature -needs_recovery")
    shop.build("./mine.yaml", "--compress", "none")
    shop.made()


def test_a_pi_keeps_its_words_for_the_kernel(shop: Workshop) -> None:
    assert PI_FILES["/cmdline.txt"] == CMDLINE
    shop.profile(family="raspios-cloudinit")
    shop.build("./mine.yaml", "--compress", "none")
    shop.disk.path = shop.out / "mine/mine.img"
    words = shop.disk.on_fat("cmdline.txt").split()
    assert set(CMDLINE.split()) - {b"resize"} <= set(words)
    assert b"cgroup_enable=memory" in words


# -- the cache ------------------------------------------------------------------------------------


def cached(shop: Workshop) -> Path:
    (data,) = shop.cache.glob("entries/raw/*/data")
    return data


def test_an_altered_cache_entry_is_told_and_made_again(shop: Workshop) -> None:
    shop.build("./mine.yaml", "--compress", "none")
    first = shop.made()
    data = cached(shop)
    data.chmod(0o644)
    with data.open("r+b") as file:
        file.seek(5 * MiB)
        file.write(b"altered")
    done = shop.build("./mine.yaml", "--compress", "none")
    assert "was altered" in done.err
    assert "made again" in done.err
    assert shop.made() == first


def test_a_cache_entry_that_became_shorter_is_made_again(shop: Workshop) -> None:
    shop.build("./mine.yaml", "--compress", "none")
    first = shop.made()
    data = cached(shop)
    data.chmod(0o644)
    os.truncate(data, MiB)
    assert "was altered" in shop.build("./mine.yaml", "--compress", "none").err
    assert shop.made() == first


def test_a_build_does_not_write_to_the_cached_base(shop: Workshop) -> None:
    shop.build("./mine.yaml", "--compress", "none")
    before = cached(shop).read_bytes()
    shop.build("./mine.yaml", "--compress", "none", "--hostname", "other")
    assert cached(shop).read_bytes() == before == shop.base.read_bytes()


# -- the output folder ----------------------------------------------------------------------------


def test_a_target_that_is_a_link_elsewhere_is_refused(shop: Workshop) -> None:
    precious = shop.folder / "precious"
    precious.mkdir()
    (precious / "letter").write_text("mine")
    shop.out.mkdir()
    (shop.out / "mine").symlink_to(precious)
    shop.refused(2, "symbolic link", "precious", "--output")
    assert (precious / "letter").read_text() == "mine"


def test_files_of_others_are_not_replaced(shop: Workshop) -> None:
    (shop.out / "mine").mkdir(parents=True)
    (shop.out / "mine/letter").write_text("mine")
    shop.refused(2, "letter", "move them away")
    assert (shop.out / "mine/letter").read_text() == "mine"


def test_a_file_in_the_way_is_refused(shop: Workshop) -> None:
    shop.out.mkdir()
    (shop.out / "mine").write_text("mine")
    shop.refused(2, "a file is in the way")


def test_an_output_folder_that_is_a_file_is_refused(shop: Workshop) -> None:
    (shop.folder / "out").write_text("mine")
    done = shop.run("build", "./mine.yaml")
    assert done.code in (2, 6)
    assert "out" in done.err


def test_a_transcript_of_a_boot_is_ours_to_replace(shop: Workshop) -> None:
    shop.build("./mine.yaml", "--compress", "none")
    (shop.out / "mine/mine.console.log").write_text("booted")
    shop.build("./mine.yaml", "--compress", "none")
    assert "mine.console.log" not in shop.made()


def test_a_failed_build_leaves_the_older_one(shop: Workshop) -> None:
    shop.build("./mine.yaml", "--compress", "none")
    first = shop.made()
    on_root(shop, "feature needs_recovery")
    shop.refused(11)
    assert shop.made() == first


@pytest.fixture
def small_disk_space(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of 20 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m,mode=0755", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=False)


def open_to_others(folder: Path) -> None:
    """Let other users come in as far as `folder`; pytest keeps them out."""
    for each in (folder, *folder.parents):
        if each.stat().st_mode & 0o777 == 0o700:
            each.chmod(0o755)


class TestAsRoot:
    pytestmark = needs_root

    def test_a_full_output_is_no_space(self, shop: Workshop, small_disk_space: Path) -> None:
        (small_disk_space / "filler").write_bytes(noise(12 * MiB))
        done = shop.run("build", "./mine.yaml", "--output", small_disk_space)
        assert done.code == 8
        assert "no space left" in done.err
        assert "free some space" in done.err
        assert {path.name for path in small_disk_space.iterdir()} == {"filler", ".mine.lock"}
        (small_disk_space / "filler").unlink()
        shop.build("./mine.yaml", "--output", small_disk_space, "--compress", "none")
        shop.made(out=small_disk_space)

    def test_a_full_cache_is_no_space(self, shop: Workshop, small_disk_space: Path) -> None:
        shop.env["IMAGESMITH_CACHE"] = str(small_disk_space / "cache")
        (small_disk_space / "filler").write_bytes(noise(15 * MiB))
        done = shop.run("build", "./mine.yaml")
        assert done.code == 8
        assert "no space left" in done.err
        assert shop.leftovers() == []

    def test_without_e2fsprogs_a_build_says_what_to_install(self, shop: Workshop) -> None:
        """In a mount namespace of its own, where /usr/sbin and /sbin are empty."""
        hidden = 'mount -t tmpfs none /usr/sbin; [ -L /sbin ] || mount -t tmpfs none /sbin; exec "$@"'
        done = shop.program("build", "./mine.yaml", prefix=("unshare", "--mount", "sh", "-c", hidden, "sh"))
        assert done.code == 9, done.err
        assert "debugfs, which edits ext4 without mounting it, is not installed" in done.err
        assert "apt-get install e2fsprogs" in done.err
        assert not (shop.out / "mine").exists()
        assert shop.leftovers() == []

    def test_under_sudo_everything_is_the_users(self, shop: Workshop) -> None:
        shop.folder.chmod(0o755)
        shop.build("./mine.yaml", env={"SUDO_UID": str(NOBODY.pw_uid), "SUDO_GID": str(NOBODY.pw_gid)})
        owners = {path: path.stat().st_uid for place in (shop.out, shop.cache) for path in [place, *place.rglob("*")]}
        assert owners
        assert {str(path): uid for path, uid in owners.items() if uid != NOBODY.pw_uid} == {}

    def test_after_sudo_the_user_builds_alone(self, shop: Workshop) -> None:
        open_to_others(shop.folder)
        shop.build("./mine.yaml", env={"SUDO_UID": str(NOBODY.pw_uid), "SUDO_GID": str(NOBODY.pw_gid)})
        alone = ("setpriv", f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}", "--clear-groups")
        done = shop.program("build", "./mine.yaml", "--compress", "none", prefix=alone)
        assert done.code == 0, done.err
        assert "mine.img.zst" not in shop.made()

    def test_an_output_folder_that_is_not_ours_to_write_says_so(self, shop: Workshop) -> None:
        open_to_others(shop.folder)
        shop.env["IMAGESMITH_CACHE"] = str(shop.folder / "theirs/cache")
        (shop.folder / "theirs").mkdir()
        os.chown(shop.folder / "theirs", NOBODY.pw_uid, NOBODY.pw_gid)
        alone = ("setpriv", f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}", "--clear-groups")
        done = shop.program("build", "./mine.yaml", prefix=alone)
        assert done.code == 6, done.err
        assert "Permission denied" in done.err
        assert str(shop.out) in done.err
        assert "what to do:" in done.err


# -- secrets --------------------------------------------------------------------------------------


def test_a_private_key_is_refused_and_not_repeated(shop: Workshop) -> None:
    secret = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtz"
    (shop.folder / "id").write_text(
        f"-----BEGIN OPENSSH PRIVATE KEY-----\n{secret}\n-----END OPENSSH PRIVATE KEY-----\n"
    )
    done = shop.refused(2, "PRIVATE key", "id.pub", words=("build", "./mine.yaml", "--ssh-key", "id"))
    assert secret not in done.err


# -- the record -----------------------------------------------------------------------------------


def test_a_broken_record_of_builds_is_written_anew(shop: Workshop) -> None:
    shop.out.mkdir()
    (shop.out / "last.json").write_text("{")
    shop.build("./mine.yaml", "--compress", "none")
    assert json.loads((shop.out / "last.json").read_text())["last"] == ["mine"]


def test_earlier_builds_stay_known(shop: Workshop) -> None:
    shop.build("./mine.yaml", "--compress", "none")
    shop.build("./mine.yaml", "--compress", "none", "--hostname", "other")
    record = json.loads((shop.out / "last.json").read_text())
    assert set(record["images"]) == {"mine", "other"}
    assert record["last"] == ["other"]


def test_a_tree_of_links_is_left_as_it_was(shop: Workshop) -> None:
    """Links in the base that lead nowhere, round in circles or out of it are the base's own business."""
    make_tree(shop.folder / "again")
    shop.build("./mine.yaml", "--compress", "none")
    shop.disk.path = shop.out / "mine/mine.img"
    for name in ("escape", "loop"):
        link = (shop.folder / "again/etc" / name).readlink()
        assert f'Fast link dest: "{link}"' in shop.disk.on_ext4(f"stat /etc/{name}")
