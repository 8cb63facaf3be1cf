"""A small faithful base image, a profile over it, and `imagesmith` run on them as a person would run it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from image.made_disks import PI_FILES, Disk, MiB, assemble, make_ext4, make_fat, make_tree, tool

from imagesmith.cli.main import group, run

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBg4TY9TSRWzCp0lVUKWEkyqOcDSAXWxLeqXW8zdDdCv someone@example"
PROGRAM = (sys.executable, "-m", "imagesmith")
PROFILE = """\
schema: 1
title: A small base of the tests
board: rpi4
role: worker
base: small
bases:
  - name: small
    family: {family}
    file: {{path: {path}}}
"""
INVENTORY = """\
schema: 1
name: home
nodes:
  - {name: node-1, profile: mine}
  - {name: node-2, profile: mine}
"""


@dataclass(frozen=True)
class Done:
    """What a command left: its exit code, its answer and its telling."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        """The objects of a --json run; every line is one."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def result(self) -> Any:
        """The answer of a --json run that went well."""
        assert self.code == 0, self.out + self.err
        return self.lines[-1]["result"]

    @property
    def error(self) -> Any:
        return self.lines[-1]["error"]


@dataclass
class Workshop:
    """A folder with a base, a profile `mine.yaml` over it, a key, and a cache of its own."""

    folder: Path
    disk: Disk
    env: dict[str, str] = field(default_factory=dict)

    @property
    def cache(self) -> Path:
        return Path(self.env["IMAGESMITH_CACHE"])

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def base(self) -> Path:
        return self.disk.path

    def run(self, *words: str | Path, env: Mapping[str, str] | None = None) -> Done:
        """`imagesmith WORDS...` in the folder, without the time that a program of its own takes to start."""
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.folder),
            mock.patch.dict(os.environ, {**self.env, **(env or {})}, clear=True),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = run(group, [str(word) for word in words])
        return Done(code, out.getvalue(), err.getvalue())

    def program(self, *words: str | Path, prefix: Sequence[str] = (), env: Mapping[str, str] | None = None) -> Done:
        """The same, as a program of its own; `prefix` is a command that runs it."""
        done = subprocess.run(
            [*prefix, *PROGRAM, *map(str, words)], cwd=self.folder, env={**self.env, **(env or {})},
            stdin=subprocess.DEVNULL, text=True, capture_output=True, timeout=120, check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, *words: str | Path) -> subprocess.Popen[bytes]:
        """The program, left running in a process group of its own."""
        return subprocess.Popen(
            [*PROGRAM, *map(str, words)], cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def build(self, *words: str | Path, env: Mapping[str, str] | None = None) -> Done:
        """A build that must go well; of ./mine.yaml when no words are given."""
        done = self.run("build", *(words or ("./mine.yaml",)), env=env)
        assert done.code == 0, done.out + done.err
        return done

    def card(self) -> tuple[str, str]:
        """The words that make `flash` write into a file, which is too small for any image."""
        (self.folder / "card").write_bytes(bytes(4096))
        return "--to-file", "card"

    def made(self, name: str = "mine", out: Path | None = None) -> dict[str, bytes]:
        """Every file of a published set, after sha256sum found it whole."""
        folder = (out or self.out) / name
        checked = subprocess.run(
            ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        listed = {line.split("  ")[1] for line in files["SHA256SUMS"].decode().splitlines()}
        assert listed | {"SHA256SUMS"} == set(files)
        return files

    def profile(self, *, family: str = "debian-generic", path: str = "base.img", more: str = "") -> Path:
        """Write ./mine.yaml anew, and the same for an inventory into profiles/; the base is made to look its family."""
        if family == "raspios-cloudinit":
            make_raspberry(self.disk)
        text = PROFILE.format(family=family, path=path) + more
        (self.folder / "mine.yaml").write_text(text)
        (self.folder / "profiles").mkdir(exist_ok=True)
        (self.folder / "profiles/mine.yaml").write_text(PROFILE.format(family=family, path=f"../{path}") + more)
        return self.folder / "mine.yaml"

    def inventory(self, text: str = INVENTORY) -> None:
        (self.folder / "cluster.yaml").write_text(text)

    def leftovers(self) -> list[str]:
        """What no run may leave: anything half-made in out/, anything in the cache's scratch."""
        kept = (".lock", "last.json")
        found = [str(path) for path in self.out.glob(".*") if not path.name.endswith(kept)] if self.out.exists() else []
        return found + [str(path) for path in self.cache.glob("tmp/*")]

    def refused(self, code: int, *said: str, words: tuple[str | Path, ...] = ("build", "./mine.yaml")) -> Done:
        """Run what must fail with `code`: every word of `said` told, nothing left behind, no traceback."""
        done = self.run(*words)
        assert done.code == code, f"{done.code} instead of {code}: {done.out}{done.err}"
        for word in said:
            assert word in done.err, f"{word!r} is not said in:\n{done.err}"
        assert "Traceback" not in done.err
        assert "bug in imagesmith" not in done.err
        assert done.out == ""
        assert self.leftovers() == []
        return done


def make_raspberry(disk: Disk) -> None:
    """What tells Raspberry Pi OS from other systems, put into a base."""
    marks = disk.path.with_name("mark")
    marks.write_text("#cloud-config\n")
    tool("debugfs", "-w", "-R", f"write {marks} etc/rpi-issue", f"{disk.path}?offset={disk.offsets['root']}")
    tool("mcopy", "-o", "-i", f"{disk.path}@@{disk.offsets['boot']}", marks, "::user-data")


def small_disk(folder: Path) -> Disk:
    """A disk like a Pi's: MBR, FAT with cmdline.txt and config.txt, an ext4 root; random content."""
    tree = make_tree(folder / "tree")
    fat = make_fat(folder / "boot.fat", 8 * MiB, PI_FILES)
    root = make_ext4(folder / "root.ext4", 24 * MiB, tree, "-b", "4096")
    return assemble(folder / "base.img", "dos", [("boot", fat, "c"), ("root", root, "83")])


def environment(folder: Path) -> dict[str, str]:
    """Ours, less what would change a build, with a cache of its own in `folder`."""
    env = {name: value for name, value in os.environ.items() if name not in ("SOURCE_DATE_EPOCH", "IMAGESMITH_DEBUG")}
    return env | {"IMAGESMITH_CACHE": str(folder / "cache"), "NO_COLOR": "1"}


def make_workshop(folder: Path, disk: Disk) -> Workshop:
    """A fresh one in `folder`, with a private copy of the base."""
    shutil.copyfile(disk.path, folder / "base.img")
    (folder / "key.pub").write_text(KEY + "\n")
    shop = Workshop(folder, Disk(folder / "base.img", disk.offsets, disk.sizes), environment(folder))
    shop.profile()
    return shop


@pytest.fixture(scope="session")
def base_disk(tmp_path_factory: pytest.TempPathFactory) -> Disk:
    return small_disk(tmp_path_factory.mktemp("base"))


@pytest.fixture
def shop(tmp_path: Path, base_disk: Disk) -> Workshop:
    return make_workshop(tmp_path, base_disk)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, base_disk: Disk) -> Workshop:
    """A workshop in which ./mine.yaml was built once, with a key; for tests that only look."""
    folder = tmp_path_factory.mktemp("built")
    shop = make_workshop(folder, base_disk)
    shop.build("./mine.yaml", "--ssh-key", "key.pub")
    return shop


def random_file(path: Path, size: int, seed: int = 5) -> Path:
    chance = random.Random(seed)
    with path.open("wb") as file:
        for _ in range(size // MiB):
            file.write(chance.randbytes(MiB))
    return path
