"""Making small disk images with random content by the real tools, and looking into them."""

from __future__ import annotations

import random
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from imagesmith.secret import Secret, SecretRef

MiB = 1 << 20
EPOCH = 1_700_000_000
SBIN = {"PATH": "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin", "TZ": "UTC", "LC_ALL": "C.UTF-8"}
CMDLINE = b"console=serial0,115200 console=tty1 root=PARTUUID=5e1a02c4-02 rootfstype=ext4 rootwait resize\n"


def tool(*argv: object, cwd: Path | None = None, env: dict[str, str] | None = None, stdin: str | None = None) -> str:
    """Run a real tool that must succeed; its stdout."""
    words = [str(word) for word in argv]
    done = subprocess.run(
        words, cwd=cwd, env={**SBIN, **(env or {})}, input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@dataclass
class Disk:
    """A made image and where its partitions are."""

    path: Path
    offsets: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def extract(self, role: str, to: Path) -> Path:
        """One partition as a file of its own."""
        with self.path.open("rb") as stream:
            stream.seek(self.offsets[role])
            to.write_bytes(stream.read(self.sizes[role]))
        return to

    def patch(self, offset: int, data: bytes) -> None:
        with self.path.open("r+b") as stream:
            stream.seek(offset)
            stream.write(data)

    def on_ext4(self, command: str, role: str = "root") -> str:
        """What debugfs answers."""
        return tool("debugfs", "-R", command, f"{self.path}?offset={self.offsets[role]}")

    def on_fat(self, name: str, role: str = "boot") -> bytes:
        argv = ["mtype", "-i", f"{self.path}@@{self.offsets[role]}", f"::{name}"]
        return subprocess.run(argv, env={**SBIN, "MTOOLS_SKIP_CHECK": "1"}, capture_output=True, check=True).stdout


def flip(path: Path, offset: int) -> None:
    """One bit of the byte at `offset` becomes another."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def make_tree(folder: Path) -> Path:
    """A root file system's files: /etc, merged /usr, links of every sort, something that compresses badly."""
    for name in ("etc/ssh", "usr/lib", "home", "var/lib", "boot", "root"):
        (folder / name).mkdir(parents=True)
    (folder / "etc/os-release").write_text('ID=debian\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n')
    (folder / "etc/hostname").write_text("base\n")
    (folder / "etc/fstab").write_text("LABEL=rootfs / ext4 defaults 0 1\n")
    for name in ("usr/bin/cloud-init", "usr/sbin/netplan", "usr/lib/ld-linux-aarch64.so.1"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(noise(1000))
    (folder / "usr/lib/noise").write_bytes(noise(3 * MiB))
    (folder / "lib").symlink_to("usr/lib")
    (folder / "var/run").symlink_to("/run")
    (folder / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    (folder / "etc/escape").symlink_to("../../../../outside")
    (folder / "etc/loop").symlink_to("loop")
    (folder / "etc/long").symlink_to("/" + "/".join(["usr"] + ["lib"] * 30))
    return folder


def make_ext4(path: Path, size: int, tree: Path, *options: str, label: str = "rootfs") -> Path:
    env = {"SOURCE_DATE_EPOCH": str(EPOCH), "E2FSPROGS_FAKE_TIME": str(EPOCH)}
    identity = ("-U", "0f3c2d1e-0000-4000-8000-00000000000a", "-L", label)
    extended = "hash_seed=0f3c2d1e-0000-4000-8000-00000000000b,root_owner=0:0"
    path.unlink(missing_ok=True)
    size_k = f"{size // 1024}K"
    tool("mke2fs", "-q", "-F", "-t", "ext4", *identity, "-E", extended, *options, "-d", tree, path, size_k, env=env)
    return path


def make_fat(path: Path, size: int, files: dict[str, bytes], *options: str, label: str = "BOOTFS") -> Path:
    path.unlink(missing_ok=True)
    tool("mkfs.fat", "-C", "--invariant", "-i", "5E1A02C4", "-n", label, *options, path, size // 1024)
    for number, (name, content) in enumerate(files.items()):
        parent = name.rsplit("/", 1)[0]
        if parent:
            subprocess.run(["mmd", "-D", "s", "-i", path, f"::{parent}"], env=SBIN, capture_output=True, check=False)
        local = path.with_name(f"fat-file-{number}")
        local.write_bytes(content)
        tool("mcopy", "-i", path, local, f"::{name}", env={"SOURCE_DATE_EPOCH": str(EPOCH)})
    return path


def assemble(path: Path, label: str, parts: list[tuple[str, Path, str]], *, sector: int = 512, tail: int = 1) -> Disk:
    """A disk with a table and, from 4 MiB on, `parts` as (role, content file, type); noise fills the first gap."""
    disk = Disk(path)
    at, lines = 4 * MiB, [f"label: {label}", "label-id: 0x5e1a02c4" if label == "dos" else ""]
    for role, content, kind in parts:
        size = content.stat().st_size
        disk.offsets[role], disk.sizes[role] = at, size
        lines.append(f"start={at // sector}, size={size // sector}, type={kind}")
        at += size
    with path.open("wb") as stream:
        stream.seek(1 * MiB)
        stream.write(noise(2 * MiB, 7))
        stream.truncate(at + tail * MiB)
    if sector == 512:
        tool("sfdisk", "-q", path, stdin="\n".join(lines) + "\n")
    else:
        tool("fdisk", "-b", sector, path, stdin=_typed_into_fdisk(disk, parts, sector))
    for role, content, _ in parts:
        tool(
            "dd", f"if={content}", f"of={path}", "bs=1M", f"seek={disk.offsets[role] // MiB}", "conv=notrunc,sparse",
            "status=none",
        )  # fmt: skip
    return disk


def _typed_into_fdisk(disk: Disk, parts: list[tuple[str, Path, str]], sector: int) -> str:
    """sfdisk of util-linux 2.38 makes no tables for sectors of 4096 bytes on a file, fdisk does."""
    lines = ["g"]
    for number, (role, _, kind) in enumerate(parts, 1):
        first, count = disk.offsets[role] // sector, disk.sizes[role] // sector
        lines += [
            "n",
            str(number),
            str(first),
            str(first + count - 1),
            "t",
            *([str(number)] if number > 1 else []),
            kind,
        ]
    return "\n".join([*lines, "w", ""])


PI_FILES = {"/cmdline.txt": CMDLINE, "/config.txt": b"[all]\narm_64bit=1\n", "/overlays/vc4.dtbo": noise(20_000, 3)}


def no_secret(ref: SecretRef) -> Secret:
    raise AssertionError(f"nobody asked for {ref.name}")
