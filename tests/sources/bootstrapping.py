"""What the tests of the Debian bootstrap share: a source to make, and a stand-in for mmdebstrap."""

from __future__ import annotations

import sys
from pathlib import Path

from imagesmith.model import DebianSource, DiskLayout, PartitionSpec
from imagesmith.units import MiB

EFI = DiskLayout(
    "gpt",
    (
        PartitionSpec("esp", "fat32", "ESP", 64 * MiB, "/boot/efi"),
        PartitionSpec("root", "ext4", "root", 0, "/"),
    ),
)
PI = DiskLayout(
    "mbr",
    (
        PartitionSpec("boot", "fat32", "FIRMWARE", 64 * MiB, "/boot/firmware"),
        PartitionSpec("root", "ext4", "root", 0, "/"),
    ),
)
PC = DebianSource("trixie", ("main",), ("linux-image-amd64", "systemd-boot"), "systemd-boot", "console=ttyS0", EFI)
RASPBERRY = DebianSource("trixie", ("main",), ("raspi-firmware", "udev"), "raspi-firmware", "quiet splash", PI)

# Does what mmdebstrap is asked for, as far as files in its folder go, without a network or a chroot.
_STAND_IN = """#!{python}
import io, os, sys, tarfile
if sys.argv[1:] == ["--version"]:
    print("mmdebstrap 1.5.5")
    sys.exit()
home = {home!r}
with open(home + "/runs", "a") as runs:
    print(*sys.argv[1:], sep="\\t", file=runs)
said = home + "/says"
if os.path.exists(said):
    sys.stderr.write(open(said).read())
    sys.exit(25)
def pack(target, files):
    with tarfile.open(target, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            if data is None:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
            else:
                member.size = len(data)
            tar.addfile(member, io.BytesIO(data or b""))
print("I: running apt-get update...", file=sys.stderr)
version = open(home + "/version").read()
if "--format=null" in sys.argv:
    open("simulated", "w").write("Inst dash (%s Debian:13/stable [amd64])\\n" % version)
    pack("lists.tar", {{"lists/x_InRelease": b"Origin: Debian\\nDate: Sat, 21 Nov 2026 02:10:46 UTC\\n"}})
else:
    print("I: creating tarball...", file=sys.stderr)
    status = "Package: dash\\nStatus: install ok installed\\nVersion: %s\\nArchitecture: amd64\\n\\n" % version
    folders = dict.fromkeys(["./", "./etc", "./var", "./var/lib", "./var/lib/dpkg"])
    pack("root.tar", {{**folders, "./var/lib/dpkg/status": status.encode(), "./etc/random": os.urandom(5000)}})
    pack("boot.tar", {{"efi/loader/loader.conf": b"timeout 0\\n", "efi/kernel": os.urandom(5000)}})
"""


class StandIn:
    """A program named mmdebstrap in a folder for PATH; it has version `version` of its one package to give."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / "bin"
        self.folder.mkdir()
        program = self.folder / "mmdebstrap"
        program.write_text(_STAND_IN.format(python=sys.executable, home=str(home)))
        program.chmod(0o755)
        self.offer("1")

    def offer(self, version: str) -> None:
        (self.home / "version").write_text(version)

    def fail(self, saying: str) -> None:
        """Say that on stderr and end with an error, from now on."""
        (self.home / "says").write_text(saying)

    @property
    def runs(self) -> list[list[str]]:
        """The arguments of every run so far."""
        path = self.home / "runs"
        return [line.split("\t") for line in path.read_text().splitlines()] if path.exists() else []
