"""Edits go in through real tools and are looked at with real tools."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_disks import CMDLINE, EPOCH, Disk, no_secret, noise, tool

from imagesmith.errors import DigestMismatch, EditFailed, NoSpace
from imagesmith.image.apply import apply
from imagesmith.image.grow import grow_root
from imagesmith.image.raw import RawImage
from imagesmith.model import (
    Digest,
    Edit,
    EnsureLine,
    EnsureToken,
    FileContent,
    Link,
    MakeDir,
    PutFile,
    Remove,
)
from imagesmith.secret import Secret, SecretRef, SecretText, WpaKey

Fresh = Callable[..., Disk]


def do(disk: Disk, *edits: Edit, secrets: Callable[[SecretRef], Secret] = no_secret) -> list[dict[str, object]]:
    with RawImage(disk.path, writable=True) as raw:
        done = apply(raw, edits, epoch=EPOCH, open_secret=secrets)
    return [{name: getattr(each, name) for name in ("path", "kind", "mode", "sha256", "size")} for each in done]


def checked(disk: Disk, tmp_path: Path) -> None:
    tool("e2fsck", "-fn", disk.extract("root", tmp_path / "checked.ext4"))
    fat = "boot" if "boot" in disk.offsets else "esp"
    tool("fsck.fat", "-n", disk.extract(fat, tmp_path / "checked.fat"))


def test_a_file_on_ext4_has_its_content_mode_owner_and_the_epoch(fresh: Fresh, tmp_path: Path) -> None:
    disk = fresh("mbr")
    do(disk, PutFile("root", "/etc/imagesmith/node.conf", b"name=n1\n", 0o640, 1000, 33))
    assert disk.on_ext4("cat /etc/imagesmith/node.conf") == "name=n1\n"
    stat = disk.on_ext4("stat /etc/imagesmith/node.conf")
    assert "Mode:  0640" in stat and "User:  1000   Group:    33" in stat
    assert stat.count(f"0x{EPOCH:08x}") == 4
    checked(disk, tmp_path)


def test_missing_parents_are_0755_and_root_s(fresh: Fresh) -> None:
    disk = fresh("mbr")
    do(disk, PutFile("root", "/srv/a/b/c", b"x"))
    assert disk.on_ext4("ls -p /srv/a").count("/040755/0/0/b/") == 1


def test_a_file_on_fat_keeps_the_others(fresh: Fresh, tmp_path: Path) -> None:
    disk = fresh("mbr")
    do(disk, PutFile("boot", "/user-data", b"#cloud-config\n"), PutFile("boot", "/overlays/new/x.dtbo", noise(9000)))
    assert disk.on_fat("/user-data") == b"#cloud-config\n"
    assert disk.on_fat("/overlays/new/x.dtbo") == noise(9000)
    assert disk.on_fat("/overlays/vc4.dtbo") == noise(20_000, 3)
    checked(disk, tmp_path)


def test_fat_names_are_found_in_any_case_and_not_doubled(fresh: Fresh) -> None:
    disk = fresh("mbr")
    do(disk, PutFile("boot", "/CONFIG.TXT", b"one\n"), PutFile("boot", "/Overlays/VC4.dtbo", b"two"))
    listed = tool(
        "mdir", "-b", "-/", "-i", f"{disk.path}@@{disk.offsets['boot']}", "::", env={"MTOOLS_SKIP_CHECK": "1"}
    )
    assert listed.lower().count("config.txt") == 1 and listed.lower().count("vc4.dtbo") == 1
    assert disk.on_fat("/config.txt") == b"one\n"


def test_the_esp_of_a_gpt_disk_is_edited(fresh: Fresh, tmp_path: Path) -> None:
    for name in ("gpt", "gpt4k"):
        disk = fresh(name, f"{name}.img")
        do(disk, PutFile("esp", "/loader/loader.conf", b"timeout 0\n"), PutFile("root", "/etc/hostname", b"n1\n"))
        assert disk.on_fat("/loader/loader.conf", "esp") == b"timeout 0\n"
        assert disk.on_ext4("cat /etc/hostname") == "n1\n"
        checked(disk, tmp_path)


def test_a_word_joins_the_kernel_command_line_and_the_others_stay(fresh: Fresh) -> None:
    disk = fresh("mbr")
    token = "cgroup_memory=1"
    do(disk, EnsureToken("boot", "/cmdline.txt", token), EnsureToken("boot", "/cmdline.txt", "cgroup_enable=memory"))
    assert disk.on_fat("/cmdline.txt") == CMDLINE[:-1] + b" cgroup_memory=1 cgroup_enable=memory\n"
    do(disk, EnsureToken("boot", "/cmdline.txt", token))
    assert disk.on_fat("/cmdline.txt").count(token.encode()) == 1


def test_a_missing_cmdline_is_not_made_up(fresh: Fresh) -> None:
    with pytest.raises(EditFailed, match=r"current/cmdline\.txt is missing"):
        do(fresh("mbr"), EnsureToken("boot", "/current/cmdline.txt", "quiet"))


def test_a_line_is_added_once_and_keeps_the_file_s_mode(fresh: Fresh) -> None:
    disk = fresh("mbr")
    do(disk, PutFile("root", "/etc/list", b"one", 0o600, 5, 6))
    for _ in range(2):
        do(disk, EnsureLine("root", "/etc/list", "two"))
    assert disk.on_ext4("cat /etc/list") == "one\ntwo\n"
    assert "/100600/5/6/list/" in disk.on_ext4("ls -p /etc")


def test_replacing_a_file_frees_the_old_one(fresh: Fresh) -> None:
    disk = fresh("mbr")

    def free() -> int:
        return int(disk.on_ext4("stats -h").split("Free blocks:")[1].split()[0])

    before = free()
    do(disk, PutFile("root", "/usr/lib/noise", b"small"))
    assert free() == before + 3 * (1 << 20) // 4096 - 1


def test_a_link_in_the_parents_is_followed_inside_the_image(fresh: Fresh) -> None:
    disk = fresh("mbr")
    do(disk, PutFile("root", "/lib/systemd/x.service", b"[Unit]\n"), PutFile("root", "/var/run/y", b"y"))
    assert disk.on_ext4("cat /usr/lib/systemd/x.service") == "[Unit]\n"
    assert disk.on_ext4("cat /run/y") == "y"
    assert "Type: symlink" in disk.on_ext4("stat /lib")


def test_a_link_that_is_the_target_itself_is_replaced(fresh: Fresh) -> None:
    disk = fresh("mbr")
    do(disk, PutFile("root", "/etc/resolv.conf", b"nameserver 192.0.2.1\n"))
    assert "Type: regular" in disk.on_ext4("stat /etc/resolv.conf")


@pytest.mark.parametrize(("path", "why"), [("/etc/escape/x", "leaves the file system"), ("/etc/loop/x", "circles")])
def test_links_that_lead_nowhere_good_are_refused(fresh: Fresh, path: str, why: str) -> None:
    with pytest.raises(EditFailed, match=why):
        do(fresh("mbr"), PutFile("root", path, b"x"))


@pytest.mark.parametrize("path", ["etc/x", "/etc/../x", "/etc//x", "/etc/x\nrm /etc/fstab", "/", ""])
def test_paths_that_are_not_plain_are_refused(fresh: Fresh, path: str) -> None:
    with pytest.raises(EditFailed):
        do(fresh("mbr"), PutFile("root", path, b"x"))


@pytest.mark.parametrize("name", ['a "quoted" name', "with space", "it's", "back\\slash", "ünïcode", "<2>", "$(id)"])
def test_strange_names_on_ext4_arrive_as_they_are(fresh: Fresh, name: str) -> None:
    disk = fresh("mbr")
    do(disk, PutFile("root", f"/srv/{name}/{name}", b"strange"), Link("root", f"/srv/{name}/link", name))
    inside = disk.on_ext4("ls -p /srv")
    assert f"/{name}/" in inside


def test_directories_links_and_removals(fresh: Fresh, tmp_path: Path) -> None:
    disk = fresh("mbr")
    do(
        disk,
        MakeDir("root", "/root/.ssh", 0o700),
        MakeDir("root", "/home/admin", 0o750, 1000, 1000),
        Link("root", "/etc/systemd/wants/x.service", "/usr/lib/systemd/x.service"),
        Link("root", "/etc/hostname", "elsewhere" * 20),
        Remove("root", "/etc/fstab"),
        Remove("root", "/nowhere/at/all"),
    )
    assert "/040700/0/0/.ssh/" in disk.on_ext4("ls -p /root")
    assert "/040750/1000/1000/admin/" in disk.on_ext4("ls -p /home")
    assert 'Fast link dest: "/usr/lib/systemd/x.service"' in disk.on_ext4("stat /etc/systemd/wants/x.service")
    assert disk.on_ext4("cat /etc/hostname") == "elsewhere" * 20
    assert "fstab" not in disk.on_ext4("ls -p /etc")
    checked(disk, tmp_path)


def test_a_directory_is_neither_replaced_nor_removed(fresh: Fresh) -> None:
    for edit in (PutFile("root", "/etc", b"x"), Remove("root", "/usr/lib"), Link("root", "/etc", "x")):
        with pytest.raises(EditFailed, match="is a folder"):
            do(fresh("mbr"), edit)


def test_every_edit_is_recorded_with_the_mode_it_left(fresh: Fresh) -> None:
    disk = fresh("mbr")
    do(disk, PutFile("root", "/etc/list", b"one\n", 0o604, 5, 6), Link("root", "/etc/also", "list"))
    done = do(
        disk,
        EnsureLine("root", "/etc/also", "two"),
        EnsureToken("root", "/etc/hostname", "word"),
        EnsureLine("root", "/etc/fresh", "new"),
        MakeDir("root", "/srv/private", 0o1770),
        Link("root", "/srv/link", "private"),
        Remove("root", "/etc/fstab"),
        PutFile("root", "/usr/bin/once", b"x", 0o4755),
        PutFile("root", "/usr/bin/once", b"y", 0o700),
    )
    modes = {(each["kind"], each["path"]): each["mode"] for each in done[:6]}
    assert modes == {
        ("EnsureLine", "/etc/also"): "0604",
        ("EnsureToken", "/etc/hostname"): "0644",
        ("EnsureLine", "/etc/fresh"): "0644",
        ("MakeDir", "/srv/private"): "1770",
        ("Link", "/srv/link"): "0777",
        ("Remove", "/etc/fstab"): None,
    }
    assert [each["mode"] for each in done[6:]] == ["4755", "0700"]
    listed = disk.on_ext4("ls -p /etc") + disk.on_ext4("ls -p /srv") + disk.on_ext4("ls -p /usr/bin")
    for shown in (
        "/100604/5/6/list/",
        "/100644/0/0/fresh/",
        "/041770/0/0/private/",
        "/120777/0/0/link/",
        "/100700/0/0/once/",
    ):
        assert shown in listed


def test_fat_keeps_no_modes_so_none_is_recorded(fresh: Fresh) -> None:
    done = do(
        fresh("mbr"),
        PutFile("boot", "/user-data", b"x", 0o600),
        EnsureToken("boot", "/cmdline.txt", "quiet"),
        EnsureLine("boot", "/config.txt", "arm_64bit=1"),
        MakeDir("boot", "/new", 0o700),
        PutFile("root", "/etc/x", b"x", 0o600),
    )
    assert [each["mode"] for each in done] == [None, None, None, None, "0600"]


def test_later_edits_see_earlier_ones(fresh: Fresh) -> None:
    disk = fresh("mbr")
    do(
        disk,
        PutFile("root", "/etc/new", b"1\n"),
        EnsureLine("root", "/etc/new", "2"),
        Link("root", "/srv", "var/lib"),
        PutFile("root", "/srv/x", b"x"),
        PutFile("root", "/etc/gone", b"x"),
        Remove("root", "/etc/gone"),
    )
    assert disk.on_ext4("cat /etc/new") == "1\n2\n"
    assert disk.on_ext4("cat /var/lib/x") == "x"
    assert "gone" not in disk.on_ext4("ls -p /etc")


def test_a_large_file_is_put_by_its_digest(fresh: Fresh, tmp_path: Path) -> None:
    big = tmp_path / "k3s"
    big.write_bytes(noise(20 << 20, 9))
    content = FileContent(big, Digest.of(big.read_bytes()), 20 << 20)
    disk = fresh("mbr")
    (record,) = do(disk, PutFile("root", "/usr/local/bin/k3s", content, 0o755))
    assert record["sha256"] == content.digest.hex and record["size"] == 20 << 20
    disk.on_ext4(f"dump /usr/local/bin/k3s {tmp_path}/back")
    assert hashlib.sha256((tmp_path / "back").read_bytes()).hexdigest() == content.digest.hex


def test_a_file_of_70_mb_fits_once_the_root_is_grown(fresh: Fresh, tmp_path: Path) -> None:
    big = tmp_path / "k3s"
    big.write_bytes(noise(70 << 20, 9))
    disk = fresh("gpt")
    with RawImage(disk.path, writable=True) as raw:
        grow_root(raw, 160 << 20, epoch=EPOCH)
        content = FileContent(big, Digest.of(big.read_bytes()), 70 << 20)
        edit = PutFile("root", "/usr/local/bin/k3s", content, 0o755)
        apply(raw, [edit], epoch=EPOCH, open_secret=no_secret)
        disk.sizes["root"] = raw.volume("root").partition.size
    checked(disk, tmp_path)


@pytest.mark.root
@pytest.mark.parametrize("partition", ["boot", "root"])
def test_a_full_disk_is_no_space(bases: dict[str, Disk], tmp_path: Path, partition: str) -> None:
    small, big = tmp_path / "small", tmp_path / "big"
    small.mkdir()
    big.write_bytes(noise(20 << 20))
    edit = PutFile(partition, "/big", FileContent(big, Digest.of(big.read_bytes()), 20 << 20))  # type: ignore[arg-type]
    base = bases["mbr"]  # with its holes
    tool("mount", "-t", "tmpfs", "-o", "size=20m", "none", small)
    try:
        with RawImage.copy_of(base.path, small / "node.img") as raw, pytest.raises(NoSpace):
            apply(raw, [edit], epoch=EPOCH, open_secret=no_secret)
    finally:
        tool("umount", small)


def test_a_file_that_changed_since_it_was_verified_is_found_out(fresh: Fresh, tmp_path: Path) -> None:
    (tmp_path / "tool").write_bytes(b"evil")
    content = FileContent(tmp_path / "tool", Digest.of(b"good"), 4)
    for partition, path in (("root", "/usr/bin/tool"), ("boot", "/tool")):
        with pytest.raises(DigestMismatch, match="another digest"):
            do(fresh("mbr"), PutFile(partition, path, content))  # type: ignore[arg-type]


def test_a_secret_arrives_but_leaves_no_digest_and_no_file(fresh: Fresh, tmp_path: Path) -> None:
    disk = fresh("mbr")
    edit = PutFile("root", "/etc/token", SecretRef("k3s-token"), 0o600)
    (record,) = do(disk, edit, secrets=lambda ref: Secret(f"the {ref.name}".encode()))
    assert disk.on_ext4("cat /etc/token") == "the k3s-token"
    assert record == {"path": "/etc/token", "kind": "PutFile", "mode": "0600", "sha256": "", "size": 0}
    assert [path.name for path in tmp_path.iterdir()] == ["node.img"]


def test_a_secret_never_goes_onto_fat(fresh: Fresh) -> None:
    with pytest.raises(EditFailed, match="everyone who finds the card"):
        do(fresh("mbr"), PutFile("boot", "/token", SecretRef("x")), secrets=lambda ref: Secret(b"s"))


KEYED = SecretText((b"psk=", WpaKey(SecretRef("wifi"), "IEEE"), b"\n"))


def test_a_text_with_a_secret_arrives_put_together(fresh: Fresh, tmp_path: Path) -> None:
    disk = fresh("mbr")
    (record,) = do(disk, PutFile("root", "/etc/psk", KEYED, 0o600), secrets=lambda ref: Secret(b"password"))
    key = "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e"
    assert disk.on_ext4("cat /etc/psk") == f"psk={key}\n"
    assert (record["sha256"], record["size"]) == ("", 0)
    assert [path.name for path in tmp_path.iterdir()] == ["node.img"]


@pytest.mark.parametrize("content", [SecretRef("x"), KEYED])
@pytest.mark.parametrize(("table", "partition"), [("mbr", "boot"), ("gpt", "esp")])
def test_no_secret_of_any_kind_is_even_opened_for_fat(fresh: Fresh, table: str, partition: Any, content: Any) -> None:
    disk = fresh(table)
    before = disk.path.read_bytes()
    with pytest.raises(EditFailed, match="everyone who finds the card"):
        # no_secret would complain itself.
        do(disk, PutFile("root", "/etc/a", b"a"), PutFile(partition, "/token", content, 0o600))
    assert disk.path.read_bytes() == before


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o601])
def test_a_secret_never_goes_into_a_file_that_everybody_can_read(fresh: Fresh, mode: int) -> None:
    with pytest.raises(EditFailed, match=f"mode {mode:04o} lets everybody at it"):
        do(fresh("mbr"), PutFile("root", "/etc/psk", KEYED, mode))


def test_a_secret_that_is_not_what_it_must_be_is_told_without_it(fresh: Fresh) -> None:
    with pytest.raises(EditFailed, match="fewer than the 8") as caught:
        do(fresh("mbr"), PutFile("root", "/etc/psk", KEYED, 0o600), secrets=lambda ref: Secret(b"hunter2"))
    assert "hunter2" not in str(caught.value)


def test_the_same_edits_a_second_apart_give_the_same_bytes(fresh: Fresh) -> None:
    digests = []
    for _ in range(2):
        disk = fresh("mbr")
        do(
            disk,
            PutFile("boot", "/deep/er/user-data", noise(5000)),
            EnsureToken("boot", "/cmdline.txt", "quiet"),
            Remove("boot", "/config.txt"),
            PutFile("root", "/opt/x/y", noise(100_000)),
            MakeDir("root", "/opt/z", 0o700),
            Link("root", "/opt/l", "m" * 100),
            PutFile("root", "/usr/lib/noise", b"replaced"),
        )
        digests.append(hashlib.sha256(disk.path.read_bytes()).hexdigest())
        time.sleep(2.1)  # FAT counts in steps of two seconds
    assert digests[0] == digests[1]


def test_a_full_fat_is_said_and_the_root_is_untouched(fresh: Fresh) -> None:
    disk = fresh("mbr")
    with pytest.raises(EditFailed, match="the FAT is full"):
        do(disk, PutFile("boot", "/big", noise(40 << 20)), PutFile("root", "/etc/hostname", b"n1\n"))
    assert disk.on_ext4("cat /etc/hostname") == "base\n"


def test_a_full_ext4_is_said(fresh: Fresh) -> None:
    with pytest.raises(EditFailed, match="the ext4 is full") as failure:
        do(fresh("mbr"), PutFile("root", "/big", noise(60 << 20)))
    assert "min_root" in failure.value.hint


def test_names_that_fat_can_t_hold_are_refused(fresh: Fresh) -> None:
    for name in ("/a:b", "/a*", "/a[1]", "/dot."):
        with pytest.raises(EditFailed, match="can't be on a FAT"):
            do(fresh("mbr"), PutFile("boot", name, b"x"))


def test_an_edit_that_can_t_be_done_stops_all_before_a_byte_changes(fresh: Fresh) -> None:
    disk = fresh("mbr")
    before = disk.path.read_bytes()
    with pytest.raises(EditFailed):
        do(disk, PutFile("boot", "/fine", b"x"), PutFile("root", "/etc", b"x"))
    assert disk.path.read_bytes() == before


def test_an_ext4_that_was_damaged_before_is_not_passed_on(fresh: Fresh) -> None:
    disk = fresh("mbr")
    tool("debugfs", "-w", "-R", "sif /usr/lib/noise links_count 5", f"{disk.path}?offset={disk.offsets['root']}")
    with pytest.raises(EditFailed, match="e2fsck found the ext4 damaged"):
        do(disk, PutFile("root", "/etc/x", b"x"))


def test_a_fat_that_was_damaged_before_is_not_passed_on(fresh: Fresh) -> None:
    disk = fresh("mbr")
    # Entries of the second FAT that are no longer like the first FAT's.
    reserved, per_fat = 32 * 512, int.from_bytes(disk.path.read_bytes()[disk.offsets["boot"] + 36 :][:4], "little")
    disk.patch(disk.offsets["boot"] + reserved + per_fat * 512 + 100 * 512, noise(40))
    with pytest.raises(EditFailed, match=r"fsck.fat found the FAT damaged"):
        do(disk, PutFile("boot", "/x", b"x"))
