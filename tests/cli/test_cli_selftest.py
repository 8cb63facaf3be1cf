"""`selftest` from a publisher on loopback to the five lines; and a fault in each step, which has that step's exit code.

The publisher is laid out as Raspberry Pi's, its image a stand-in of Raspberry Pi OS. The boot is left out here.
"""

from __future__ import annotations

import lzma
import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from building import Workshop, make_workshop
from image.made_disks import Disk, tool
from publishers import houses
from publishers.houses import Key
from publishers.server import Server
from standins import raspios
from standins.ubuntu_live import make_live_iso

from imagesmith.planning.trial import STEPS

PROFILE = """\
schema: 1
title: A stand-in from a publisher
board: {board}
role: worker
base: pi
bases:
  - name: pi
    family: {family}
    {source}
"""
HTTP = """\
http:
      url: {url}
      signature: {{url: {signature}, covers: file, fingerprints: [{key}], keyring: absent.gpg, key_url: {keys}}}
"""
DONE = ["tools", "fetch", "recognise", "base", "build", "inspect", "image", "flash", "verify"]


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Disk:
    return raspios.trixie(tmp_path_factory.mktemp("stock") / "base.img")


@pytest.fixture
def shop(tmp_path: Path, stock: Disk) -> Workshop:
    shop = make_workshop(tmp_path, stock)
    (tmp_path / "room").mkdir()
    shop.env["TMPDIR"] = str(tmp_path / "room")
    local(shop)
    return shop


@pytest.fixture
def key(signer: object, publisher: str) -> Key:
    return Key(signer, publisher)  # type: ignore[arg-type]


def local(shop: Workshop, *, family: str = "raspios-cloudinit", board: str = "rpi4", more: str = "") -> None:
    source = more + "file: {path: ../base.img}"
    (shop.folder / "profiles/mine.yaml").write_text(PROFILE.format(family=family, board=board, source=source))


def published(shop: Workshop, server: Server, pinned: Key, signing: Key | None = None) -> None:
    """The base, on the server, as the profile's base; `signing` is the key that really signs."""
    release = houses.raspberry_pi(lzma.compress(shop.base.read_bytes(), preset=0), signing or pinned)
    release = replace(release, files={**release.files, "/key.gpg": pinned.signer.export(pinned.fingerprint)})
    release.put(server)
    urls = {"url": server.url(release.address), "signature": server.url(release.signature)}
    source = HTTP.format(**urls, key=pinned.fingerprint, keys=server.url("/key.gpg"))
    text = PROFILE.format(family="raspios-cloudinit", board="rpi4", source=source)
    (shop.folder / "profiles/mine.yaml").write_text(text)
    shop.env |= {name: os.environ[name] for name in ("REQUESTS_CA_BUNDLE", "NO_PROXY")}


def tried(shop: Workshop) -> list[dict[str, object]]:
    """The steps of a self-test that was run with --json."""
    done = shop.run("selftest", "rpi4", "--base", "pi", "--no-boot", "--json")
    answer = done.lines[-1]["result"] if done.code == 0 else done.lines[-2]["selftest"]
    assert [step["step"] for step in answer["steps"]] == list(STEPS)
    failed = [step for step in answer["steps"] if step["error"]]
    assert done.code == (failed[0]["error"]["exit_code"] if failed else 0)
    assert answer["passed"] == (not failed)
    assert len(answer["send"]) == 5
    assert list((shop.folder / "room").iterdir()) == []
    assert shop.leftovers() == []
    steps: list[dict[str, object]] = answer["steps"]
    return steps


def states(steps: list[dict[str, object]], state: str) -> list[object]:
    return [step["step"] for step in steps if step["state"] == state]


# -- all is well ----------------------------------------------------------------------------------


def test_a_publishers_image_is_proven_but_for_the_boot(shop: Workshop, server: Server, key: Key) -> None:
    published(shop, server, key)
    steps = tried(shop)
    assert states(steps, "passed") == DONE
    assert states(steps, "left out") == ["boot"]
    told = {step["step"]: str(step["told"]) for step in steps}
    assert key.fingerprint in told["fetch"]
    assert "raspios-cloudinit: Debian GNU/Linux 13 (trixie)" in told["recognise"]


def test_with_the_base_in_the_cache_no_network_is_needed(shop: Workshop, server: Server, key: Key) -> None:
    published(shop, server, key)
    tried(shop)
    server.seen.clear()
    assert states(tried(shop), "passed") == DONE
    assert server.seen == []


def test_the_end_is_a_table_and_five_lines_to_send_back(shop: Workshop) -> None:
    done = shop.run("selftest", "rpi4", "--base", "pi", "--no-boot")
    assert done.code == 0, done.err
    table, _, sent = done.out.partition("Send these five lines")
    assert [line.split()[0] for line in table.strip().splitlines()] == list(STEPS)
    lines = sent.splitlines()[2:]
    assert [line.split(":")[0] for line in lines] == ["board", "base", "made by", "steps", "hardware"]
    assert "rpi4, Raspberry Pi 4" in lines[0]
    assert "Debian GNU/Linux 13 (trixie)" in lines[1] and "sha256:" in lines[1]
    assert "imagesmith " in lines[2]
    assert "left out: boot (not wanted: --no-boot)" in lines[3]
    assert "EEPROM" in lines[4]
    # Nothing of the machine that it ran on, but what it is.
    assert str(shop.folder) not in sent


def test_where_qemu_has_no_machine_the_boot_is_left_out(shop: Workshop) -> None:
    local(shop, board="bananapi-m5")
    done = shop.run("selftest", "bananapi-m5", "--base", "pi")
    assert done.code == 0, done.err
    assert "left out: boot (QEMU has no machine that starts it)" in done.out
    assert "that the bananapi-m5 starts it at all" in done.out


@pytest.mark.skipif(not shutil.which("xorriso"), reason="xorriso is not installed")
def test_an_installers_stick_is_proven_and_would_overwrite_nothing(shop: Workshop, tmp_path: Path) -> None:
    shop.base.unlink()
    make_live_iso(shop.base)
    local(shop, family="ubuntu-live", board="x86-itx", more="machine: none\n    ")
    done = shop.run("selftest", "x86-itx", "--base", "pi", "--keep")
    assert done.code == 0, done.out + done.err
    assert "left out: boot (QEMU has no machine that starts it)" in done.out
    (made,) = (tmp_path / "room").glob("*/out/selftest/selftest.img")
    assert b"no-disk-has-this" in made.read_bytes()


def test_what_is_kept_is_the_users_alone(shop: Workshop) -> None:
    done = shop.run("selftest", "rpi4", "--base", "pi", "--no-boot", "--keep", "--json")
    (folder,) = (shop.folder / "room").iterdir()
    assert done.result["kept"] == str(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "key").stat().st_mode) == 0o600
    assert (folder / "out/selftest/selftest.img").is_file()
    public = tool("ssh-keygen", "-y", "-f", folder / "key")
    made = Disk(folder / "out/selftest/selftest.img", shop.disk.offsets, shop.disk.sizes)
    assert public.split()[1] in made.on_fat("user-data").decode()
    assert (folder / "card").read_bytes().endswith(b"\xff" * 4096) is False  # its end is blanked, as a card's is


# -- a fault in each step -------------------------------------------------------------------------


def test_a_missing_program_is_told_before_anything_is_fetched(shop: Workshop) -> None:
    shop.env["PATH"] = str(shop.folder)
    steps = tried(shop)
    assert states(steps, "failed") == ["tools"]
    assert states(steps, "not tried") == DONE[1:]
    assert not shop.cache.exists()


def test_another_keys_signature_fails_the_fetch(shop: Workshop, server: Server, key: Key) -> None:
    published(shop, server, key, signing=Key(key.signer, key.signer.make("intruder")))
    steps = tried(shop)
    assert (states(steps, "failed"), states(steps, "passed")) == (["fetch"], ["tools"])
    assert steps[1]["error"]["kind"] == "SignatureInvalid"  # type: ignore[index]


def test_an_image_of_another_family_is_not_built(shop: Workshop) -> None:
    local(shop, family="debian-generic")
    steps = tried(shop)
    assert (states(steps, "failed"), states(steps, "passed")) == (["recognise"], ["tools", "fetch"])
    assert "raspios-cloudinit" in str(steps[2]["told"])


def test_a_damaged_file_system_is_told_of_the_base(shop: Workshop) -> None:
    blocks = tool("debugfs", "-R", "blocks /usr/share/doc/filler", f"{shop.base}?offset={shop.disk.offsets['root']}")
    freed = f"freeb {blocks.split()[0]} 3"
    tool("debugfs", "-w", "-R", freed, f"{shop.base}?offset={shop.disk.offsets['root']}")
    steps = tried(shop)
    assert states(steps, "failed") == ["base", "build"]
    assert "e2fsck found the ext4 damaged" in str(steps[3]["told"])


def test_a_card_that_finds_no_room_fails_the_flash(shop: Workshop) -> None:
    limit = shop.base.stat().st_size + (1 << 20)
    prefix = ("prlimit", f"--fsize={limit}")
    done = shop.program("selftest", "rpi4", "--base", "pi", "--no-boot", "--json", prefix=prefix)
    assert done.code == 8, done.err
    steps = done.lines[-2]["selftest"]["steps"]
    assert (states(steps, "failed"), states(steps, "not tried")) == (["flash"], ["verify"])
    assert list((shop.folder / "room").iterdir()) == []


def test_a_guest_that_does_not_start_fails_the_boot(shop: Workshop) -> None:
    fake = shop.folder / "bin/qemu-system-aarch64"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\n[ $# = 1 ] && exec echo QEMU emulator version 10.0.2\necho no machine >&2\nexit 1\n")
    fake.chmod(0o755)
    shop.env["PATH"] = f"{fake.parent}:{shop.env['PATH']}"
    done = shop.run("selftest", "rpi4", "--base", "pi", "--json")
    assert done.code == 10, done.out + done.err
    steps = done.lines[-2]["selftest"]["steps"]
    assert (states(steps, "failed"), states(steps, "passed")) == (["boot"], DONE)
    assert "QEMU gave up" in steps[-1]["told"]
    assert "--keep" in done.error["hint"]
    assert "the first boot" in done.lines[-2]["selftest"]["hardware"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("rpi44",), "did you mean 'rpi4'"),
        (("rpi4-worker",), "imagesmith selftest rpi4"),
        (("rpi4", "--base", "pii"), "did you mean"),
    ],
)
def test_what_there_is_none_of_is_a_usage_error(shop: Workshop, words: tuple[str, ...], said: str) -> None:
    shop.refused(2, said, words=("selftest", *words))


def test_the_base_of_a_profile_that_is_gone_is_told(shop: Workshop) -> None:
    shutil.move(shop.base, shop.folder / "elsewhere")
    assert states(tried(shop), "failed") == ["fetch"]
