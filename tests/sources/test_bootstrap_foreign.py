"""What a machine must have to make trees, and the judge of what was made."""

import io
import tarfile
from pathlib import Path

import pytest

from imagesmith.errors import ImagesmithError, ToolMissing
from imagesmith.sources.bootstrap import foreign

try:
    from compression import zstd
except ImportError:
    from backports import zstd

ARM, INTEL = 183, 62


def program(machine: int) -> bytes:
    return b"\x7fELF\x02\x01\x01" + bytes(11) + machine.to_bytes(2, "little") + b"code" * 20


def cpio(files: dict[str, bytes]) -> bytes:
    """A cpio archive in newc format, as an initrd is."""
    out = bytearray()
    for name, data in {**files, "TRAILER!!!": b""}.items():
        fields = [1, 0o100755, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return bytes(out)


def archive(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def test_a_tree_of_one_architecture_passes(tmp_path: Path) -> None:
    initrd = cpio({"early.bin": b"\x28\xb5\x2f\xfd no frame "}) + zstd.compress(cpio({"usr/bin/kmod": program(ARM)}))
    tree = archive(tmp_path / "a", {"./usr/bin/sed": program(ARM), "./etc/x": b"text", "./boot/initrd.img-6": initrd})
    foreign.refuse_strangers((tree,), "arm64")


def test_a_borrowed_program_that_stayed_is_named(tmp_path: Path) -> None:
    tree = archive(tmp_path / "a", {"./usr/bin/sed": program(INTEL), "./usr/bin/awk": program(ARM)})
    with pytest.raises(ImagesmithError, match=r"\./usr/bin/sed$"):
        foreign.refuse_strangers((tree,), "arm64")


@pytest.mark.parametrize("pack", [zstd.compress, bytes], ids=["compressed", "plain"])
def test_so_is_one_in_an_initrd(tmp_path: Path, pack: object) -> None:
    files = {"init": b"#!/bin/sh\n", "usr/bin/kmod": program(ARM), "usr/lib/libkmod.so": program(INTEL)}
    initrd = cpio({"firmware": b"x"}) + pack(cpio(files))  # type: ignore[operator]
    tree = archive(tmp_path / "b", {"firmware/initrd.img-6": initrd})
    with pytest.raises(ImagesmithError, match=r"initrd\.img-6:usr/lib/libkmod\.so$"):
        foreign.refuse_strangers((tree,), "arm64")


def test_a_user_without_subordinate_ids_is_told_how_to_get_them(tmp_path: Path) -> None:
    (tmp_path / "subuid").write_text("bob:100000:65536\nbobby:1:1\n")
    (tmp_path / "subgid").write_text("bob:100000:65536\n")
    foreign.require_subordinate_ids("bob", tmp_path)
    with pytest.raises(ToolMissing, match="subgid") as caught:
        foreign.require_subordinate_ids("bobby", tmp_path)
    assert "usermod --add-subuids" in caught.value.hint
    with pytest.raises(ToolMissing, match="subuid"):
        foreign.require_subordinate_ids("bo", tmp_path)


def test_this_machines_programs_need_no_emulator(tmp_path: Path) -> None:
    foreign.require_emulation(foreign.host(), tmp_path)


@pytest.mark.parametrize(("state", "fine"), [("enabled\n", True), ("disabled\n", False), (None, False)])
def test_others_need_one_that_the_kernel_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str | None, fine: bool
) -> None:
    other = "arm64" if foreign.host() == "amd64" else "amd64"
    name = "qemu-aarch64" if other == "arm64" else "qemu-x86_64"
    binfmt = tmp_path / "binfmt"
    binfmt.mkdir()
    for program_name in (name, f"{name}-static"):
        (tmp_path / program_name).write_text("#!/bin/sh\n")
        (tmp_path / program_name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    if state:
        (binfmt / name).write_text(f"{state}interpreter /x\nflags: F\n")
        (binfmt / "register").write_text("")
    if fine:
        foreign.require_emulation(other, binfmt)
        return
    with pytest.raises(ToolMissing) as caught:
        foreign.require_emulation(other, binfmt)
    assert f"update-binfmts --enable {name}" in caught.value.hint
    assert ("mount -t binfmt_misc" in caught.value.hint) == (state is None)
