"""An installer's stick, built by `imagesmith build` from a stand-in of Ubuntu's live medium."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from building import KEY, Done, Workshop, make_workshop, random_file
from image.made_disks import Disk, MiB, tool
from standins.ubuntu_live import INFO, LOADER, make_live_iso

pytestmark = pytest.mark.skipif(not shutil.which("xorriso"), reason="xorriso is not installed")

PROFILE = """\
schema: 1
title: A stick of the tests
board: x86-itx
role: server
base: live
bases:
  - name: live
    family: ubuntu-live
    releases: [resolute]
    machine: none
    file: {path: base.img}
"""
DAMAGING = """#!/bin/sh
{real} "$@" || exit
for word; do
    [ "${{before:-}}" = -outdev ] && made=$word
    before=$word
done
[ -n "${{made:-}}" ] || exit 0
told=$({real} -no_rc -indev "$made" -find /{victim} -exec report_lba -- 2>/dev/null)
block=$(echo "$told" | awk '/^File data/ {{ print $6 }}')
{python} - "$made" "$block" <<'END'
import sys
with open(sys.argv[1], "r+b") as stream:
    stream.seek(int(sys.argv[2]) * 2048)
    byte = stream.read(1)
    stream.seek(-1, 1)
    stream.write(bytes([byte[0] ^ 1]))
END
"""
DISK = ("--set", "disk=serial=S4EVNX0M123456")


def workshop(folder: Path, base: Path) -> Workshop:
    shop = make_workshop(folder, Disk(base))
    (folder / "mine.yaml").write_text(PROFILE)
    return shop


@pytest.fixture(scope="module")
def iso(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_live_iso(tmp_path_factory.mktemp("iso") / "live.iso")


@pytest.fixture
def fresh(tmp_path: Path, iso: Path) -> Workshop:
    return workshop(tmp_path, iso)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, iso: Path) -> Workshop:
    """Built once, with a key and a disk; for tests that only look."""
    shop = workshop(tmp_path_factory.mktemp("live"), iso)
    shop.build("./mine.yaml", "--hostname", "master", "--ssh-key", "key.pub", *DISK)
    return shop


def image(shop: Workshop) -> Path:
    return shop.out / "master" / "master.img"


@pytest.fixture(scope="module")
def trees(live: Workshop, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Everything on the base and on the stick, taken out by xorriso."""
    folder = tmp_path_factory.mktemp("trees")
    return extracted(live.base, folder / "base"), extracted(image(live), folder / "stick")


def extracted(path: Path, to: Path) -> Path:
    tool("xorriso", "-no_rc", "-osirrox", "on", "-indev", path, "-extract", "/", to)
    return to


def files(tree: Path) -> dict[str, bytes]:
    return {
        str(at.relative_to(tree)): at.read_bytes() for at in tree.rglob("*") if at.is_file() and not at.is_symlink()
    }


def answers(stick: Path) -> dict[str, object]:
    text = (stick / "nocloud/user-data").read_text()
    assert text.startswith("#cloud-config\n")
    found = yaml.safe_load(text)
    assert list(found) == ["autoinstall"]
    return found["autoinstall"]


# -- what is on the stick ---------------------------------------------------------------------------------------------


def test_every_other_file_is_as_it_was(trees: tuple[Path, Path]) -> None:
    before, after = files(trees[0]), files(trees[1])
    ours = {"nocloud/user-data", "nocloud/meta-data", "autoinstall.yaml"}
    ours |= {f"imagesmith/{name}" for name in ("choose-disk", "disk.conf", "install", "SHA256SUMS", "remove", "lines")}
    assert set(after) - set(before) == ours | {"imagesmith/payload.tar"}
    assert set(before) - set(after) == set()
    # Into the last two the positions of files are written.
    changed = {
        "boot/grub/grub.cfg",
        "boot/grub/loopback.cfg",
        "md5sum.txt",
        "boot.catalog",
        "boot/grub/i386-pc/eltorito.img",
    }
    assert {name for name in before if before[name] != after[name]} == changed


def test_the_loader_for_a_bios_changed_only_in_its_table_of_positions(trees: tuple[Path, Path]) -> None:
    before, after = (files(tree)["boot/grub/i386-pc/eltorito.img"] for tree in trees)
    differing = [at for at in range(len(before)) if before[at] != after[at]]
    # The boot info table at 8, and GRUB's own at 2548.
    assert all(8 <= at < 64 or 2548 <= at < 2556 for at in differing)


def test_it_is_started_as_its_base(live: Workshop) -> None:
    def start(path: Path) -> list[str]:
        told = tool("xorriso", "-no_rc", "-indev", path, "-report_el_torito", "as_mkisofs").replace(str(path), "PATH")
        return [line for line in told.splitlines() if not line.startswith(("-append_partition", "-e "))]

    assert start(image(live)) == start(live.base)
    assert image(live).read_bytes()[:432] == live.base.read_bytes()[:432]


def test_its_table_fits_and_the_esp_is_the_same(live: Workshop) -> None:
    def esp(path: Path) -> bytes:
        found = json.loads(tool("sfdisk", "--json", path))["partitiontable"]["partitions"]
        one = next(each for each in found if each["type"].startswith("C12A7328"))
        return path.read_bytes()[one["start"] * 512 :][: one["size"] * 512]

    assert esp(image(live)) == esp(live.base)
    told = subprocess.run(["sgdisk", "-v", image(live)], capture_output=True, text=True, check=False).stdout
    assert "No problems found" in told


def test_the_kernel_lines_ask_nothing(trees: tuple[Path, Path]) -> None:
    before, after = ((tree / "boot/grub/grub.cfg").read_text().splitlines() for tree in trees)
    words = r"autoinstall ds=nocloud\;s=/cdrom/nocloud/ ---"
    assert [line for line in after if line not in before] == [
        f"\tlinux\t/casper/vmlinuz {words}",
        f"\tlinux\t/casper/hwe-vmlinuz {words}",
    ]
    assert len(before) == len(after)
    assert f"iso-scan/filename=${{iso_path}} {words}\n" in (trees[1] / "boot/grub/loopback.cfg").read_text()


@pytest.mark.skipif(not shutil.which("grub-script-check"), reason="grub-common is not installed")
@pytest.mark.parametrize("menu", ["grub.cfg", "loopback.cfg"])
def test_grub_understands_the_menus(trees: tuple[Path, Path], menu: str) -> None:
    tool("grub-script-check", trees[1] / "boot/grub" / menu)


def test_the_mediums_own_sums_are_right(trees: tuple[Path, Path]) -> None:
    done = subprocess.run(
        ["md5sum", "--check", "--quiet", "md5sum.txt"], cwd=trees[1], capture_output=True, check=False
    )
    assert done.stdout + done.stderr == b""
    listed = {line[34:] for line in (trees[1] / "md5sum.txt").read_text().splitlines()}
    assert "./imagesmith/payload.tar" in listed
    assert "./nocloud/user-data" in listed


def test_a_sum_of_the_loader_is_right_where_it_was_right(tmp_path: Path) -> None:
    shop = workshop(tmp_path, make_live_iso(tmp_path / "listed.iso", lists_loader=True))
    shop.build("./mine.yaml", "--hostname", "master", *DISK)
    for name, path in (("base", shop.base), ("stick", image(shop))):
        tree = extracted(path, tmp_path / name)
        done = subprocess.run(
            ["md5sum", "--check", "--quiet", "md5sum.txt"], cwd=tree, capture_output=True, check=False
        )
        assert done.stdout + done.stderr == b""
        assert LOADER in (tree / "md5sum.txt").read_text()


def test_windows_sees_the_names_too(live: Workshop) -> None:
    for path in (live.base, image(live)):
        assert "quotes' and more than sixty-four characters in it.deb".encode("utf-16-be") in path.read_bytes()


def test_only_root_reads_the_payload(live: Workshop) -> None:
    told = tool("xorriso", "-no_rc", "-indev", image(live), "-find", "/imagesmith", "-exec", "lsdl")
    modes = {line.split()[-1].strip("'"): line.split()[:4] for line in told.splitlines() if "/imagesmith" in line}
    assert modes["/imagesmith/payload.tar"] == ["-r--------", "1", "0", "0"]
    assert modes["/imagesmith/install"][0] == "-r-xr-xr-x"
    assert modes["/imagesmith/disk.conf"] == ["-r--r--r--", "1", "0", "0"]


def test_the_payload_has_owners_modes_and_links(trees: tuple[Path, Path]) -> None:
    told = tool("tar", "--list", "--verbose", "--numeric-owner", "--file", trees[1] / "imagesmith/payload.tar")
    lines = {line.split(maxsplit=5)[5]: line.split()[:2] for line in told.splitlines()}
    assert lines["usr/lib/imagesmith/run"] == ["-rwxr-xr-x", "0/0"]
    assert lines["var/lib/cloud/seed/nocloud/user-data"] == ["-rw-------", "0/0"]
    unit = "imagesmith-firstboot.service"
    assert lines[f"etc/systemd/system/multi-user.target.wants/{unit} -> /usr/lib/systemd/system/{unit}"]
    removed = (trees[1] / "imagesmith/remove").read_text().splitlines()
    assert "/etc/cloud/cloud.cfg.d/99-installer.cfg" in removed
    assert KEY not in (trees[1] / "nocloud/user-data").read_text()


def test_the_same_inputs_give_the_same_bytes(live: Workshop, tmp_path: Path, iso: Path) -> None:
    again = workshop(tmp_path, iso)
    again.build("./mine.yaml", "--hostname", "master", "--ssh-key", "key.pub", *DISK)
    assert image(again).read_bytes() == image(live).read_bytes()


# -- what is refused --------------------------------------------------------------------------------------------------


def test_without_a_disk_nothing_is_built(fresh: Workshop) -> None:
    fresh.refused(2, "overwrites a whole disk of mine", "disk: {serial: ...}")


def test_a_menu_that_starts_nothing_known_is_refused(tmp_path: Path) -> None:
    shop = workshop(tmp_path, make_live_iso(tmp_path / "odd.iso", menu="menuentry x {\n\tlinux /live/vmlinuz\n}\n"))
    shop.refused(11, "starts no kernel of /casper", words=("build", "./mine.yaml", *DISK))


def test_another_release_is_refused(tmp_path: Path) -> None:
    odd = make_live_iso(
        tmp_path / "odd.iso", info=INFO.replace("26.04.1", "27.04").replace("Resolute Raccoon", "Zany Zebu")
    )
    shop = workshop(tmp_path, odd)
    shop.refused(11, "the release zany", words=("build", "./mine.yaml", *DISK))


def test_a_desktop_medium_is_not_taken_for_a_server(tmp_path: Path) -> None:
    shop = workshop(tmp_path, make_live_iso(tmp_path / "odd.iso", info=INFO.replace("Ubuntu-Server", "Ubuntu")))
    shop.refused(11, "no known system", words=("build", "./mine.yaml", *DISK))


def test_an_iso_for_cds_alone_is_refused_as_a_base_and_by_flash(tmp_path: Path) -> None:
    shop = workshop(tmp_path, make_live_iso(tmp_path / "odd.iso", hybrid=False))
    shop.refused(4, "an ISO that starts from a CD only", words=("build", "./mine.yaml", *DISK))
    random_file(tmp_path / "card", 32 * MiB)
    shop.refused(4, "an ISO that starts from a CD only", words=("flash", "base.img", "--to-file", "card", "--yes"))


@pytest.mark.parametrize("victim", ["casper/vmlinuz", "imagesmith/payload.tar", "nocloud/user-data"])
def test_a_tool_that_damages_a_file_is_found_out(fresh: Workshop, victim: str) -> None:
    (fresh.folder / "bin").mkdir()
    bad = fresh.folder / "bin/xorriso"
    bad.write_text(DAMAGING.format(real=shutil.which("xorriso"), python=sys.executable, victim=victim))
    bad.chmod(0o755)
    fresh.env["PATH"] = f"{fresh.folder}/bin:{fresh.env['PATH']}"
    fresh.refused(11, f"/{victim} has other bytes than it should", words=("build", "./mine.yaml", *DISK))


def test_a_missing_xorriso_is_told_with_its_package(fresh: Workshop, tmp_path: Path) -> None:
    fresh.env["PATH"] = str(tmp_path / "nothing")
    fresh.refused(9, "xorriso", "apt-get install xorriso", words=("build", "./mine.yaml", *DISK))


# -- what the other commands make of it -------------------------------------------------------------------------------


def on_a_dirty_stick(shop: Workshop, source: Path) -> Done:
    (shop.folder / "card").write_bytes(b"\xff" * (32 * MiB))
    return shop.program("flash", source, "--to-file", "card", "--yes")


def test_the_stick_is_written_and_verified(live: Workshop) -> None:
    done = on_a_dirty_stick(live, image(live))
    assert done.code == 0, done.err
    assert (live.folder / "card").read_bytes().startswith(image(live).read_bytes())
    assert live.run("verify", image(live)).code == 0


def test_a_publishers_hybrid_iso_is_written_as_it_is(fresh: Workshop) -> None:
    done = on_a_dirty_stick(fresh, fresh.base)
    assert done.code == 0, done.err
    assert (fresh.folder / "card").read_bytes().startswith(fresh.base.read_bytes())


def test_inspect_tells_an_installer(live: Workshop) -> None:
    told = live.run("inspect", image(live)).out
    assert 'Ubuntu-Server 26.04.1 LTS "Resolute Raccoon"' in told
    assert "installer" in told


def test_boot_says_why_not(live: Workshop) -> None:
    done = live.run("boot", image(live))
    assert done.code == 2
    assert "installer" in done.err


def test_plan_tells_what_is_overwritten(fresh: Workshop) -> None:
    told = fresh.run("plan", "./mine.yaml", *DISK).out
    assert "the serial number S4EVNX0M123456" in told
    assert "On the installer's medium:" in told
    assert "On the system that it installs:" in told
    assert "No boot test" in told


def test_no_root_is_needed_to_build(live: Workshop) -> None:
    assert image(live).stat().st_uid == os.getuid()
    assert hashlib.sha256(image(live).read_bytes()).hexdigest() in (image(live).parent / "SHA256SUMS").read_text()
