"""`imagesmith build` as a person meets it: what lies in out/ afterwards, what is told, what the other commands make of
it. Real tools on a small real base; the program runs as a program."""

from __future__ import annotations

import json
import lzma
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from building import INVENTORY, KEY, Workshop
from image.made_disks import flip

from imagesmith.formats import bmap, manifest
from imagesmith.tools import TOOLS

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


# -- what lies there ------------------------------------------------------------------------------


def test_a_set_is_whole_and_sha256sum_agrees(built: Workshop) -> None:
    assert set(built.made()) == {
        "SHA256SUMS", "mine.bmap", "mine.img", "mine.img.zst", "mine.manifest.json", "mine.spdx.json"
    }  # fmt: skip


def test_the_packed_copy_is_the_image(built: Workshop) -> None:
    made = built.made()
    assert zstd.decompress(made["mine.img.zst"]) == made["mine.img"]


def test_bmaptool_writes_the_same_file_systems(built: Workshop, tmp_path: Path) -> None:
    folder, card = built.out / "mine", tmp_path / "card"
    card.write_bytes(b"\xff" * (folder / "mine.img").stat().st_size)
    done = subprocess.run(
        ["bmaptool", "copy", "--bmap", folder / "mine.bmap", folder / "mine.img.zst", card],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told, image = card.read_bytes(), (folder / "mine.img").read_bytes()
    mapped = bmap.parse((folder / "mine.bmap").read_text())
    for part in mapped.ranges:
        place = slice(part.first * mapped.block_size, (part.last + 1) * mapped.block_size)
        assert told[place] == image[place]
    root = built.disk.offsets["root"]
    (tmp_path / "root").write_bytes(told[root : root + built.disk.sizes["root"]])
    checked = subprocess.run(["/usr/sbin/e2fsck", "-fn", tmp_path / "root"], capture_output=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_the_image_holds_the_node_and_the_base(built: Workshop, tmp_path: Path) -> None:
    done = subprocess.run(
        ["/usr/sbin/debugfs", "-R", "cat /etc/imagesmith/authorized_keys",
         f"{built.out / 'mine/mine.img'}?offset={built.disk.offsets['root']}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == KEY + "\n"


def test_manifest_and_package_list_parse_and_agree(built: Workshop) -> None:
    made = built.made()
    record = manifest.parse(made["mine.manifest.json"])
    assert f"{record.image.digest.hex}  mine.img\n" in made["SHA256SUMS"].decode()
    assert record.image.size == len(made["mine.img"])
    spdx = json.loads(made["mine.spdx.json"])
    assert spdx["spdxVersion"].startswith("SPDX-")
    assert record.image.digest.hex in made["mine.spdx.json"].decode()


def test_only_the_owner_can_read_an_image(built: Workshop) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in (built.out / "mine").iterdir()}
    assert {name for name, mode in modes.items() if mode == 0o600} == {"mine.img", "mine.img.zst"}
    assert {mode for name, mode in modes.items() if ".img" not in name.replace(".img.json", "")} == {0o644}


def test_no_path_of_this_machine_is_in_what_may_be_given_away(shop: Workshop) -> None:
    shop.build(shop.folder / "mine.yaml", "--ssh-key", shop.folder / "key.pub")
    made = shop.made()
    for name in ("mine.manifest.json", "mine.spdx.json", "mine.bmap", "SHA256SUMS"):
        assert str(shop.folder).encode() not in made[name], name


def test_only_the_set_and_the_record_lie_in_out(built: Workshop) -> None:
    assert {path.name for path in built.out.iterdir()} == {"mine", "last.json", ".mine.lock"}
    assert built.leftovers() == []


# -- other commands on it -------------------------------------------------------------------------


def test_inspect_shows_partitions_and_system(built: Workshop) -> None:
    done = built.run("inspect", "out/mine/mine.img")
    assert done.code == 0
    assert "Debian GNU/Linux 13 (trixie)" in done.out
    assert "the root partition" in done.out
    assert "the boot partition" in done.out


def test_inspect_of_the_packed_copy_answers_in_json(built: Workshop) -> None:
    done = built.run("inspect", "out/mine/mine.img.zst", "--json")
    assert done.lines[-1]["result"]["table"] == "mbr"


def test_verify_agrees(built: Workshop) -> None:
    assert built.run("verify", "out/mine/mine.img").code == 0


def test_verify_sees_one_flipped_bit(shop: Workshop) -> None:
    shop.build()
    flip(shop.out / "mine/mine.img", shop.disk.offsets["root"] + 4096)
    assert shop.run("verify", "out/mine/mine.img").code == 4


def test_plan_tells_the_id_that_the_record_and_the_manifest_have(built: Workshop) -> None:
    told = built.run("plan", "./mine.yaml", "--ssh-key", "key.pub", "--json").lines[-1]["result"]["id"]
    recorded = json.loads((built.out / "last.json").read_text())["images"]["mine"]["plan_id"]
    assert told == recorded == manifest.parse(built.made()["mine.manifest.json"]).plan_id


# -- the same bytes, and others -------------------------------------------------------------------


def test_a_later_build_makes_the_same_bytes(shop: Workshop, tmp_path: Path) -> None:
    shop.build()
    first = shop.made()
    time.sleep(1.1)
    assert shop.program("build", "./mine.yaml", "--output", "elsewhere").code == 0
    assert shop.made(out=shop.folder / "elsewhere") == first


def test_the_place_of_a_base_does_not_count(shop: Workshop, tmp_path: Path) -> None:
    shop.build()
    first = shop.made()
    other = tmp_path / "moved/deeper"
    other.mkdir(parents=True)
    shutil.move(shop.base, other / "base.img")
    shutil.copyfile(shop.folder / "mine.yaml", other / "mine.yaml")
    shop.build(other / "mine.yaml")
    assert shop.made() == first


def test_another_name_makes_another_image(shop: Workshop) -> None:
    shop.build("./mine.yaml")
    first = shop.made()["mine.img"]
    shop.build("./mine.yaml", "--hostname", "other")
    assert shop.made("other")["other.img"] != first


def test_source_date_epoch_is_the_time_of_what_was_written(shop: Workshop) -> None:
    shop.build(env={"SOURCE_DATE_EPOCH": "1600000000"})
    shop.disk.path = shop.out / "mine/mine.img"
    assert "mtime: 0x5f5e1000" in shop.disk.on_ext4("stat /etc/imagesmith/node.conf")
    assert manifest.parse(shop.made()["mine.manifest.json"]).epoch == 1_600_000_000


@pytest.mark.parametrize("written", ["yesterday", "-1", "1e9", "٣"])
def test_a_source_date_epoch_that_is_no_number_is_refused(shop: Workshop, written: str) -> None:
    done = shop.run("build", "./mine.yaml", env={"SOURCE_DATE_EPOCH": written})
    assert done.code == 2
    assert "SOURCE_DATE_EPOCH" in done.err


def test_a_source_date_epoch_beyond_a_file_system_is_refused(shop: Workshop) -> None:
    done = shop.run("build", "./mine.yaml", env={"SOURCE_DATE_EPOCH": "99999999999"})
    assert done.code == 2, done.err
    assert "SOURCE_DATE_EPOCH" in done.err


def test_none_leaves_out_the_packed_copy(shop: Workshop) -> None:
    shop.build("./mine.yaml", "--compress", "none")
    assert set(shop.made()) == {"SHA256SUMS", "mine.bmap", "mine.img", "mine.manifest.json", "mine.spdx.json"}


def test_a_missing_xz_is_told_before_any_work(shop: Workshop, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("mcopy", "mdel", "mdir", "mmd", "mtype", "debugfs", "e2fsck", "fsck.fat"):
        found = on_path(name)
        assert found
        (programs / name).symlink_to(found)
    done = shop.run("build", "./mine.yaml", "--compress", "xz", env={"PATH": str(programs)})
    assert done.code == 9, done.err
    assert "apt-get install xz-utils" in done.err
    assert not shop.out.exists()


@pytest.fixture
def overheard(tmp_path: Path) -> Path:
    """A folder for PATH in which every program that may be run notes its name in `log`, then runs."""
    folder = tmp_path / "overheard"
    folder.mkdir()
    for name in filter(on_path, TOOLS):
        (folder / name).write_text(f'#!/bin/sh\necho {name} >> {folder}/log\nexec {on_path(name)} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


def on_path(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


@pytest.mark.parametrize(
    ("family", "root", "compress", "programs"),
    [
        ("debian-generic", "4MiB", "zst", {"debugfs", "e2fsck", "mdir", "mtype", "libzstd"}),
        ("debian-generic", "32MiB", "xz", {"debugfs", "e2fsck", "mdir", "mtype", "resize2fs", "xz"}),
        ("raspios-cloudinit", "4MiB", "none", {"debugfs", "e2fsck", "fsck.fat", "mcopy", "mdir", "mtype"}),
    ],
)
def test_the_manifest_names_the_programs_that_took_part_and_no_others(
    shop: Workshop, overheard: Path, family: str, root: str, compress: str, programs: set[str]
) -> None:
    shop.profile(family=family, more=f"    min_root: {root}\n")
    shop.build("./mine.yaml", "--compress", compress, env={"PATH": f"{overheard}:{os.environ['PATH']}"})
    record = manifest.parse(shop.made()["mine.manifest.json"])
    assert set(record.tools) == programs
    assert set((overheard / "log").read_text().split()) == programs - {"libzstd"}
    assert "unknown" not in record.tools.values()


def test_xz_is_what_xz_unpacks(shop: Workshop) -> None:
    shop.build("./mine.yaml", "--compress", "xz")
    made = shop.made()
    assert "xz" in manifest.parse(made["mine.manifest.json"]).tools
    assert lzma.decompress(made["mine.img.xz"]) == made["mine.img"]


def test_another_compression_replaces_the_set_as_a_whole(shop: Workshop) -> None:
    shop.build("./mine.yaml", "--compress", "zst")
    shop.build("./mine.yaml", "--compress", "none")
    assert "mine.img.zst" not in shop.made()


# -- telling --------------------------------------------------------------------------------------


def test_json_is_one_object_a_line_and_the_result_last(shop: Workshop) -> None:
    done = shop.program("build", "./mine.yaml", "--json")
    assert done.code == 0
    *events, last = done.lines
    assert events
    assert all("event" in line for line in events)
    image = last["result"]["images"][0]
    assert image["path"] == "out/mine/mine.img"
    assert Path(shop.folder / image["packed"]).is_file()
    assert done.err == ""


def test_without_json_the_answer_is_on_stdout_and_the_telling_on_stderr(shop: Workshop) -> None:
    done = shop.program("build", "./mine.yaml")
    assert done.out.startswith("out/mine/mine.img  ")
    assert "next: imagesmith boot mine" in done.out
    assert "nobody will be able to log in to mine" in done.err
    assert "seal:" in done.err


def test_the_next_step_names_another_output_and_no_boot_without_a_machine(shop: Workshop) -> None:
    last = shop.build("./mine.yaml", "--compress", "none", "--output", "my images").out.splitlines()[-1]
    where = "--output 'my images'"
    assert last == f"next: imagesmith boot {where} mine   or   imagesmith flash {where} /dev/sdX"
    profile = shop.folder / "mine.yaml"
    boards = shop.folder / "boards"
    boards.mkdir()
    (boards / "toy.yaml").write_text(
        "schema: 1\ntitle: T\narchitecture: arm64\nmemory: 1GiB\nroles: [worker]\nbases: [toy]\n"
    )
    (shop.folder / "bases").mkdir()
    (shop.folder / "bases/toy.yaml").write_text("schema: 1\nname: t\nfamily: debian\nfile: {path: base.img}\n")
    profile.write_text(profile.read_text().replace("rpi4", "toy"))
    assert shop.build("./mine.yaml", "--compress", "none").out.splitlines()[-1] == "next: imagesmith flash /dev/sdX"


# -- inventories ----------------------------------------------------------------------------------


def test_all_builds_every_node_and_flash_wants_to_know_which(shop: Workshop) -> None:
    shop.inventory()
    shop.build("--all", "--compress", "none")
    assert shop.made("node-1")["node-1.img"] != shop.made("node-2")["node-2.img"]
    refused = shop.run("flash", *shop.card())
    assert refused.code == 2
    assert "node-1, node-2" in refused.err


def test_a_node_alone_is_what_flash_takes_next(shop: Workshop) -> None:
    shop.inventory()
    shop.build("--all", "--compress", "none")
    shop.build("node-2", "--compress", "none")
    refused = shop.run("flash", *shop.card())
    assert "node-1, node-2" not in refused.err
    assert "is too small" in refused.err


@pytest.mark.parametrize("use", [("boot", "node-1"), ("flash", "node-1", "--to-file", "card")])
def test_an_image_of_an_older_inventory_is_refused(shop: Workshop, use: tuple[str, ...]) -> None:
    shop.inventory()
    shop.build("node-1", "--compress", "none")
    shop.inventory(INVENTORY.replace("profile: mine}", "profile: mine, timezone: Europe/Berlin}", 1))
    shop.card()
    refused = shop.run(*use)
    assert refused.code == 2
    assert "built from an older plan" in refused.err
    assert "imagesmith build node-1" in refused.err


def test_after_building_again_an_image_is_taken(shop: Workshop) -> None:
    shop.inventory()
    shop.build("node-1", "--compress", "none")
    shop.inventory(INVENTORY.replace("profile: mine}", "profile: mine, timezone: Europe/Berlin}", 1))
    shop.build("node-1", "--compress", "none")
    taken = shop.run("flash", "node-1", *shop.card())
    assert "older plan" not in taken.err
    assert "is too small" in taken.err


def test_an_image_whose_record_is_of_another_build_is_refused(shop: Workshop) -> None:
    """As when a build was killed after it published and before it was recorded, and the inventory then went back."""
    shop.inventory()
    shop.build("node-1", "--compress", "none")
    record = (shop.out / "last.json").read_bytes()
    shop.inventory(INVENTORY.replace("profile: mine}", "profile: mine, timezone: Europe/Berlin}", 1))
    shop.build("node-1", "--compress", "none")
    (shop.out / "last.json").write_bytes(record)
    shop.inventory()
    refused = shop.run("flash", "node-1", *shop.card())
    assert "older plan" in refused.err


def test_all_records_what_was_made_before_one_failed(shop: Workshop) -> None:
    shop.inventory()
    shop.build("node-1", "--compress", "none")
    (shop.out / "node-2").mkdir()
    (shop.out / "node-2/letter").write_text("mine")
    shop.inventory(INVENTORY.replace("profile: mine}", "profile: mine, timezone: Europe/Berlin}", 1))
    assert shop.run("build", "--all", "--compress", "none").code == 2
    taken = shop.run("flash", "node-1", *shop.card())
    assert "older plan" not in taken.err
    assert "is too small" in taken.err


def test_all_without_an_inventory_says_how_to_get_one(shop: Workshop) -> None:
    shop.refused(2, "no inventory", "imagesmith init", words=("build", "--all"))


# -- words that are refused -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), ("TARGET", "--all")),
        (("./mine.yaml", "--all"), ("TARGET", "--all")),
        (("../x",), ("../x", "can't be read")),
        (("../../etc/passwd.yaml",), ("passwd.yaml",)),
        (("no-such",), ("no-such", "profiles:")),
        (("rpi4-wroker",), ("did you mean 'rpi4-worker'",)),
        (("./mine.yaml", "--hostname", "a;reboot"), ("a;reboot", "--hostname")),
        (("./mine.yaml", "--hostname", "../a"), ("../a",)),
        (("./mine.yaml", "--hostname", "node\n"), ("node",)),
        (("./mine.yaml", "--set", "hostname=x"), ("hostname",)),
        (("./mine.yaml", "--set", "zram_percent=lots"), ("zram_percent", "lots")),
        (("./mine.yaml", "--set", "zram_percnet=1"), ("did you mean 'zram_percent'",)),
        (("./mine.yaml", "--set", "zram_percent"), ("KEY=VALUE",)),
        (("./mine.yaml", "--base", "smal"), ("did you mean 'small'",)),
        (("./mine.yaml", "--cluster", "none.yaml"), ("none.yaml", "No such file")),
        (("./mine.yaml", "--ssh-key", "none.pub"), ("none.pub",)),
        (("./mine.yaml", "--ssh-key", "base.img"), ("base.img",)),
        (("./mine.yaml", "--compress", "rar"), ("rar", "zst")),
        (("./key.pub",), ("key.pub",)),
        (("./",), ()),
    ],
)
def test_a_wrong_word_is_refused_with_what_to_write(
    shop: Workshop, words: tuple[str, ...], said: tuple[str, ...]
) -> None:
    shop.refused(2, *said, words=("build", *words))
    assert not shop.out.exists()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("schema: 1\na: &a [x, x]\n" + "".join(
            f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)), id="bomb"),
        pytest.param("schema: 1\ntitle: !!python/object/apply:os.system ['touch pwned']\n", id="tag"),
        pytest.param("[" * 5000, id="deep"),
        pytest.param("schema: 1\nschema: 1\n", id="twice"),
        pytest.param("", id="empty"),
        pytest.param("\x00\x01", id="binary"),
    ],
)  # fmt: skip
def test_a_hostile_profile_is_a_wrong_profile(shop: Workshop, text: str) -> None:
    (shop.folder / "bad.yaml").write_text(text)
    shop.refused(2, "bad.yaml", words=("build", "./bad.yaml"))
    assert not (shop.folder / "pwned").exists()


def test_a_broken_lock_beside_the_inventory_is_told(shop: Workshop) -> None:
    shop.inventory()
    (shop.folder / "imagesmith.lock").write_text("schema: 1\nbases: {rpi4/small: {digest: 12}}\n")
    shop.refused(2, "imagesmith.lock", "bases.rpi4/small.digest", "imagesmith update", words=("build", "node-1"))
