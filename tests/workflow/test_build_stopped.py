"""Builds that are killed, stopped, or run side by side: under a final name there is never half a set, nothing temporary
stays, and the same command works afterwards. Also how much memory a build takes."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from building import Workshop, random_file
from image.made_disks import MiB, assemble, make_ext4, make_tree, noise

WORDS = ("build", "./mine.yaml", "--compress", "zst")


def end(process: subprocess.Popen[bytes]) -> None:
    """Take down a program and what it started, whatever became of the test."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    assert process.stdout
    process.stdout.close()
    process.wait()


def duration(shop: Workshop) -> float:
    """How long a build from a cold cache takes here and now, in seconds."""
    began = time.monotonic()
    done = shop.program(*WORDS, "--output", "measure", env={"IMAGESMITH_CACHE": str(shop.folder / "measure-cache")})
    assert done.code == 0, done.err
    return time.monotonic() - began


def others(shop: Workshop) -> list[str]:
    """Everything in out/ that is no published set, lock or record."""
    found = sorted(path.name for path in shop.out.iterdir()) if shop.out.exists() else []
    return [name for name in found if name not in ("mine", "last.json", ".mine.lock")]


def wait_for(process: subprocess.Popen[bytes], sign: Path, pattern: str, limit_s: float = 60) -> None:
    """Until something of that name is there, or the program is gone."""
    until = time.monotonic() + limit_s
    while not list(sign.glob(pattern)):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.002)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_build_killed_at_any_moment_leaves_no_half_set_and_can_be_repeated(shop: Workshop) -> None:
    chance, takes = random.Random(20), duration(shop)
    whole, met = shop.made(out=shop.folder / "measure"), {"killed": 0, "ended": 0}
    for _ in range(12):
        process = shop.start(*WORDS)
        try:
            process.wait(timeout=chance.uniform(0.25, 1.0) * takes)
            met["ended"] += 1
        except subprocess.TimeoutExpired:
            met["killed"] += 1
        finally:
            end(process)
        if (shop.out / "mine").exists():
            assert shop.made() == whole
    assert met["killed"] >= 6, met
    shop.build(*WORDS[1:])
    assert shop.made() == whole
    assert shop.leftovers() == []
    assert others(shop) == []


@pytest.mark.parametrize("sign", ["tmp/*", "entries/raw"], ids=["while filing the base", "with the base filed"])
def test_a_build_killed_over_its_base_begins_again(shop: Workshop, sign: str) -> None:
    process = shop.start(*WORDS)
    try:
        wait_for(process, shop.cache, sign)
    finally:
        end(process)
    shop.build(*WORDS[1:])
    shop.made()
    shop.run("cache", "prune", "--older-than", "9999")  # takes away what dead programs left
    assert shop.leftovers() == []


@pytest.mark.parametrize("sign", [".mine.staging", ".mine.staging/mine.img", ".mine.staging/mine.img.zst"])
def test_a_build_killed_in_its_staging_folder_begins_again(shop: Workshop, sign: str) -> None:
    process = shop.start(*WORDS)
    try:
        wait_for(process, shop.out, sign)
    finally:
        end(process)
    assert not (shop.out / "mine").exists()
    shop.build(*WORDS[1:])
    shop.made()
    assert shop.leftovers() == []


def pressed(process: subprocess.Popen[bytes], press: Callable[[], object]) -> bytes:
    """What it told until it ended. Pressed again when nothing happens, as people do: Python drops an exception that a
    signal raises while it cleans up an object."""
    for patience_s in (20, 20, 20):
        press()
        try:
            return process.communicate(timeout=patience_s)[0]
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError("three times Ctrl-C did not end it")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("sign", ["cache/tmp/*", "out/.mine.staging/mine.img", "out/.mine.staging/mine.img.zst"])
def test_a_stopped_build_ends_with_130_and_cleans_up(shop: Workshop, sent: signal.Signals, sign: str) -> None:
    process = shop.start(*WORDS)
    try:
        wait_for(process, shop.folder, sign)
        told = pressed(process, lambda: process.send_signal(sent))
    finally:
        end(process)
    assert process.returncode == 130, told.decode()
    assert b"stopped" in told
    assert b"Traceback" not in told
    assert not (shop.out / "mine").exists()
    assert shop.leftovers() == []


def test_ctrl_c_in_a_terminal_reaches_the_tools_too_and_cleans_up(shop: Workshop) -> None:
    process = shop.start("build", "./mine.yaml", "--compress", "xz")
    try:
        wait_for(process, shop.out, ".mine.staging/mine.img.xz")
        told = pressed(process, lambda: os.killpg(process.pid, signal.SIGINT))
    finally:
        end(process)
    assert process.returncode == 130, told.decode()
    assert b"Traceback" not in told
    assert shop.leftovers() == []


def test_a_stopped_rebuild_leaves_the_older_set(shop: Workshop) -> None:
    shop.build(*WORDS[1:])
    first = shop.made()
    process = shop.start(*WORDS)
    try:
        wait_for(process, shop.out, ".mine.staging/mine.img")
        process.terminate()
        process.communicate(timeout=60)
    finally:
        end(process)
    assert process.returncode == 130
    assert shop.made() == first


# -- side by side ---------------------------------------------------------------------------------


def together(shop: Workshop, *commands: tuple[str, ...]) -> None:
    """Start all of them at once; each must go well."""
    processes = [shop.start(*command) for command in commands]
    try:
        told = [process.communicate(timeout=120)[0].decode() for process in processes]
    finally:
        for process in processes:
            end(process)
    assert [process.returncode for process in processes] == [0] * len(commands), "\n".join(told)


def test_two_builds_of_one_name_both_succeed(shop: Workshop) -> None:
    together(shop, WORDS, WORDS)
    shop.made()
    assert shop.leftovers() == []


def test_builds_of_many_names_from_one_cold_cache_are_all_whole_and_known(shop: Workshop) -> None:
    names = ("one", "two", "three")
    together(shop, *[("build", "./mine.yaml", "--hostname", name, "--compress", "none") for name in names])
    images = [shop.made(name)[f"{name}.img"] for name in names]
    assert len(set(images)) == len(names)
    assert len(list(shop.cache.glob("entries/raw/*"))) == 1
    assert set(json.loads((shop.out / "last.json").read_text())["images"]) == set(names)
    assert shop.leftovers() == []


def test_pruning_while_builds_run_harms_none(shop: Workshop) -> None:
    process = shop.start(*WORDS)
    try:
        while process.poll() is None:
            assert shop.run("cache", "prune", "--all").code == 0
        told = process.communicate(timeout=60)[0].decode()
    finally:
        end(process)
    assert process.returncode == 0, told
    shop.made()


# -- memory ---------------------------------------------------------------------------------------


def tree_memory(leader: int) -> int:
    """Bytes of private and shared memory (PSS) of a process and all below it."""
    family, total = {leader}, 0
    for entry in sorted(Path("/proc").iterdir(), key=lambda path: path.name.zfill(8)):
        if not entry.name.isdecimal():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if int(entry.name) in family or parent in family:
                family.add(int(entry.name))
                rollup = (entry / "smaps_rollup").read_text()
                total += int(rollup.partition("\nPss:")[2].split()[0]) * 1024
        except (OSError, IndexError):
            continue  # it has just ended
    return total


def memory_of_a_build(shop: Workshop, tree: Path, compress: str) -> int:
    """The most that a build takes over a base with these files, which are used up."""
    size = (tree / "usr/lib/large").stat().st_size
    root = make_ext4(shop.folder / "large.ext4", size + 60 * MiB, tree, "-b", "4096")
    shutil.rmtree(tree)
    assemble(shop.base, "dos", [("root", root, "83")])
    root.unlink()
    process, most = shop.start("build", "./mine.yaml", "--compress", compress), 0
    try:
        while process.poll() is None:
            most = max(most, tree_memory(process.pid))
            time.sleep(0.1)
        assert process.stdout
        told = process.stdout.read().decode()
    finally:
        end(process)
    assert process.returncode == 0, told
    return most


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_build_over_600_mib_stays_below_256_mib(shop: Workshop) -> None:
    tree = make_tree(shop.folder / "large")
    random_file(tree / "usr/lib/large", 600 * MiB)
    assert 20 * MiB < memory_of_a_build(shop, tree, "zst") < 256 * MiB


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_packing_as_xz_stays_below_256_mib(shop: Workshop) -> None:
    """Several of xz's blocks of 16 MiB, of noise that comes again and again: pure noise takes it minutes."""
    tree = make_tree(shop.folder / "large")
    (tree / "usr/lib/large").write_bytes(noise(MiB) * 96)
    assert 20 * MiB < memory_of_a_build(shop, tree, "xz") < 256 * MiB
