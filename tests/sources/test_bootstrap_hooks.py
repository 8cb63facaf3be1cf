"""The hooks that run from outside of a tree, on a small tree; and all of them under shellcheck."""

import shutil
import subprocess
from pathlib import Path

import pytest

HOOKS = Path(__file__).resolve().parents[2] / "imagesmith" / "sources" / "bootstrap" / "hooks"
OTHERS = "/lib32\n/.lib32.usr-is-merged\nbase-files\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Some programs as Debian has them, and a diversion that is none of ours."""
    root = tmp_path / "tree"
    for folder in ("usr/bin", "usr/sbin", "var/lib/dpkg", ".imagesmith"):
        (root / folder).mkdir(parents=True)
    (root / "usr/sbin/update-initramfs").write_text("the real one")
    (root / "usr/bin/sed").write_text("emulated sed")
    (root / "usr/bin/perl").write_text("emulated perl")
    (root / "usr/bin/kmod").write_text("emulated kmod")
    (root / "usr/sbin/depmod").symlink_to("../bin/kmod")
    (root / "var/lib/dpkg/diversions").write_text(OTHERS)
    return root


def hook(name: str, *args: str | Path) -> None:
    subprocess.run(["sh", HOOKS / name, *args], check=True, timeout=30)


def content(root: Path) -> dict[str, str]:
    """What every path is: a link's target, a file's text."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(root))] = f"-> {path.readlink()}"
        elif path.is_file():
            found[str(path.relative_to(root))] = path.read_text()
    return found


def test_update_initramfs_does_nothing_while_diverted(tree: Path) -> None:
    hook("divert.sh", tree)
    assert subprocess.run([tree / "usr/sbin/update-initramfs", "-u"], check=True, capture_output=True).stdout == b""
    assert (tree / "var/lib/dpkg/diversions").read_text() == (
        f"{OTHERS}/usr/sbin/update-initramfs\n/usr/sbin/update-initramfs.imagesmith-real\n:\n"
    )


def test_restoring_leaves_the_tree_as_it_was(tree: Path) -> None:
    before = content(tree)
    hook("divert.sh", tree)
    assert content(tree) != before
    hook("restore.sh", tree)
    assert content(tree) == before
    assert not (tree / ".imagesmith").exists()


def test_what_a_package_brought_in_the_meantime_takes_its_place(tree: Path) -> None:
    hook("divert.sh", tree)
    (tree / "usr/sbin/update-initramfs.imagesmith-real").write_text("a newer one")
    hook("restore.sh", tree)
    assert (tree / "usr/sbin/update-initramfs").read_text() == "a newer one"


def test_one_alone_can_be_restored(tree: Path) -> None:
    hook("divert.sh", tree)
    hook("restore.sh", tree, "usr/sbin/update-initramfs")
    assert (tree / "usr/sbin/update-initramfs").read_text() == "the real one"
    assert (tree / "var/lib/dpkg/diversions").read_text() == OTHERS
    assert (tree / ".imagesmith").exists()


@pytest.mark.root
@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
def test_borrowed_programs_go_without_a_trace(tree: Path) -> None:
    native = tree / ".imagesmith" / "native"
    libraries = native / "usr/lib/x86_64-linux-gnu"
    (native / "usr/bin").mkdir(parents=True)
    libraries.mkdir(parents=True)
    (libraries / "ld-linux-x86-64.so.2").write_text("loader")
    # A program that needs no loader, so that the chroot can run it.
    subprocess.run(
        ["cc", "-static", "-x", "c", "-o", native / "usr/bin/perl", "-"], input=b"int main(){return 0;}", check=True
    )
    for name in ("sed", "kmod", "uname", "python3.13", "python3.13-config"):
        (native / "usr/bin" / name).write_text(f"native {name}")
    hook("divert.sh", tree)
    assert (tree / "usr/bin/sed").read_text() == "native sed"
    assert (tree / "usr/sbin/depmod").read_text() == "native kmod"
    assert (tree / "usr/bin/kmod").read_text() == "emulated kmod"
    assert not (tree / "usr/bin/uname").exists()
    assert "/.imagesmith/native/usr/bin/python3.13" in (tree / "usr/bin/python3.13").read_text()
    assert not (tree / "usr/bin/python3.13-config").exists()
    hook("restore.sh", tree)
    assert content(tree) == {
        "usr/bin/kmod": "emulated kmod",
        "usr/bin/perl": "emulated perl",
        "usr/bin/sed": "emulated sed",
        "usr/sbin/depmod": "-> ../bin/kmod",
        "usr/sbin/update-initramfs": "the real one",
        "var/lib/dpkg/diversions": OTHERS,
    }
    assert sorted(path.name for path in tree.iterdir()) == ["usr", "var"]


def test_without_a_tree_they_do_nothing() -> None:
    for name in ("divert.sh", "restore.sh", "resolve.sh"):
        done = subprocess.run(["sh", HOOKS / name, ""], check=False, capture_output=True, timeout=30)
        assert done.returncode != 0
        assert b"the chroot" in done.stderr


@pytest.mark.parametrize("path", sorted(HOOKS.glob("*.sh")), ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say(path: Path) -> None:
    done = subprocess.run(["shellcheck", path], check=False, capture_output=True, text=True, timeout=60)
    assert done.stdout == ""
    assert path.read_text().startswith("#!/bin/sh\n# ")
