"""The bench measures what it says: all of a process tree's memory, and edits that really reach the image."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from building import small_disk
from image.made_disks import Disk, noise, tool

from bench import edit_base, identities, plan_rack, rack_build
from bench.row import timed
from imagesmith.model import Digest
from imagesmith.secret import Secret

HOLDS = "import subprocess, sys, time; kept = bytearray(b'x' * ({size} << 20)); {then}"
SLEEP = "time.sleep(0.4)"


def test_the_memory_of_a_program_and_of_what_it_starts_is_summed(tmp_path: Path) -> None:
    inner = HOLDS.format(size=40, then=SLEEP)
    outer = HOLDS.format(size=30, then=f"subprocess.run([sys.executable, '-c', {inner!r}])")
    _, peak = timed([sys.executable, "-c", outer], tmp_path)
    assert 70 <= peak < 130


def test_every_case_can_be_started() -> None:
    """What a case needs of the package and of the tests is there under the name that it uses."""
    done = subprocess.run([sys.executable, "-m", "bench", "no-such-case"], cwd=Path(__file__).parents[1],
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 2
    assert "there is no case no-such-case" in done.stderr


def test_our_side_of_the_edit_case_puts_every_file(tmp_path: Path) -> None:
    disk = small_disk(tmp_path)
    files, target = tmp_path / "files", tmp_path / "node.img"
    files.mkdir()
    for name in ("small0", "small1", "large"):
        (files / name).write_bytes(noise(5000, len(name) + ord(name[-1])))
    digest = Digest.of((files / "large").read_bytes())
    timed([sys.executable, edit_base.OURS, disk.path, target, files, digest], tmp_path)
    made = Disk(target, disk.offsets, disk.sizes)
    assert b"cgroup_memory=1" in made.on_fat("/cmdline.txt")
    for name in ("small0", "small1"):
        assert made.on_fat(f"/{name}") == (files / name).read_bytes()
    for path, name in (("/etc/bench/small1", "small1"), ("/usr/local/bin/large", "large")):
        tool("debugfs", "-R", f"dump {path} {tmp_path}/back", f"{target}?offset={made.offsets['root']}")
        assert (tmp_path / "back").read_bytes() == (files / name).read_bytes()


def test_the_plans_peer_imports_what_the_plan_does(tmp_path: Path) -> None:
    modules = plan_rack.imported({**os.environ, "IMAGESMITH_CACHE": str(tmp_path)})
    assert {"imagesmith.planning.overview", "yaml", "click"} <= set(modules)
    argv = [sys.executable, "-c", plan_rack.imports(modules)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_racks_five_nodes_share_three_bases() -> None:
    assert (len(rack_build.NODES), set(rack_build.NODES.values())) == (5, set(rack_build.SIZES))


def test_the_identities_that_are_measured_are_whole() -> None:
    keys = identities.draw()
    made = identities.make(keys)
    assert len(made) == 5 + 6 + 2 + 5 + 1 + 5 * (2 * 3 + 2)
    assert all(one.reveal() if isinstance(one, Secret) else one for one in made)
