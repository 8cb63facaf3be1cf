"""Making a tree without root, or for another architecture: what this machine must have, and that nothing stays.

Called by `tree`. Emulated programs are some ten times slower than native ones, so while a tree for another
architecture is made, its shell, perl and other text tools are this machine's, out of the same suite
(hooks/divert.sh puts them in, hooks/restore.sh takes them out).
"""

from __future__ import annotations

import os
import platform
import pwd
import struct
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

from imagesmith import tools
from imagesmith.errors import ImagesmithError, ToolMissing
from imagesmith.model import Architecture
from imagesmith.units import align_up

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_MACHINES: dict[str, Architecture] = {"x86_64": "amd64", "aarch64": "arm64"}
_ELF_MACHINE = {"amd64": 62, "arm64": 183}
_ELF = b"\x7fELF\x02\x01"
_EMULATOR = {"arm64": "qemu-aarch64", "amd64": "qemu-x86_64"}
_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_CPIO = b"070701"
_ZSTD = b"\x28\xb5\x2f\xfd"


PROGRAMS = (
    "bash", "coreutils", "cpio", "dash", "debianutils", "diffutils", "dpkg", "dracut-install", "findutils", "grep",
    "gzip", "kmod", "liblocale-gettext-perl", "libtext-charwidth-perl", "mawk", "openssl", "perl-base", "python3",
    "sed", "tar", "util-linux", "xz-utils", "zstd",
)  # fmt: skip
"""The packages that the borrowed programs come from."""
LENDER: Architecture = "amd64"
"""Only this one lends: hooks/divert.sh knows where its loader and libraries go."""


def host() -> Architecture:
    """This machine's architecture. Raises ToolMissing on one that nothing here was made for."""
    machine = platform.machine()
    if machine not in _MACHINES:
        raise ToolMissing(f"Debian bases are made on x86_64 and aarch64, not on {machine}")
    return _MACHINES[machine]


def mode() -> str:
    """How mmdebstrap gets its root: `root` when we are it, else `unshare`. Raises ToolMissing when neither works."""
    if os.geteuid() == 0:
        return "root"
    user = pwd.getpwuid(os.geteuid()).pw_name
    require_subordinate_ids(user, Path("/etc"))
    tools.find("newuidmap")
    probe = tools.run(["unshare", "--user", "--map-root-user", "true"], expect=None)
    if probe.returncode:
        raise ToolMissing(
            f"a Debian base is made without root in a user namespace, and this kernel gives {user} none:"
            f" {probe.complaint}",
            hint="sudo sysctl kernel.unprivileged_userns_clone=1 (Debian), or"
            " sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu); or build as root",
        )
    return "unshare"


def require_subordinate_ids(user: str, etc: Path) -> None:
    """A user who makes trees without root needs ids for the tree's owners. Raises ToolMissing."""
    for name in ("subuid", "subgid"):
        path = etc / name
        lines = path.read_text().splitlines() if path.exists() else []
        if not any(line.startswith(f"{user}:") for line in lines):
            raise ToolMissing(
                f"{path} has no line for {user}, so files of other owners can't be made without root",
                hint=f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}; or build as root",
            )


def require_emulation(architecture: Architecture, binfmt: Path = _BINFMT) -> None:
    """Programs of `architecture` must run here, natively or through qemu-user. Raises ToolMissing."""
    name = _EMULATOR[architecture]
    entry = binfmt / name
    if architecture == host() or (entry.exists() and entry.read_text().startswith("enabled")):
        return
    tools.find(f"{name}-static")
    if not (binfmt / "register").exists():
        hint = "sudo mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc"
        hint += f" && sudo update-binfmts --enable {name}"
    else:
        hint = f"sudo update-binfmts --enable {name}"
    raise ToolMissing(
        f"the kernel does not know that {name} runs {architecture} programs, which making an {architecture} base needs",
        where=str(entry),
        hint=hint,
    )


def refuse_strangers(archives: tuple[Path, ...], architecture: Architecture) -> None:
    """Every program in these tar archives, and in the initrds in them, must be of `architecture`.

    Raises ImagesmithError, naming some: it would be a borrowed program that stayed, a bug here.
    """
    right = _ELF_MACHINE[architecture]
    wrong = []
    for archive in archives:
        with tarfile.open(archive) as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isreg() else None
                if file is None:
                    continue
                if "/initrd.img" in member.name:
                    inside = _programs_in(file.read())
                    wrong += [f"{member.name}:{name}" for name, machine in inside if machine != right]
                elif _machine(file.read(20)) not in (None, right):
                    wrong.append(member.name)
    if wrong:
        raise ImagesmithError(f"the {architecture} tree holds programs of another machine: {', '.join(wrong[:5])}")


def _machine(head: bytes) -> int | None:
    """The e_machine of a little-endian 64-bit ELF file, None for other files."""
    if len(head) < 20 or not head.startswith(_ELF):
        return None
    (machine,) = struct.unpack_from("<H", head, 18)
    return int(machine)


def _programs_in(initrd: bytes) -> Iterator[tuple[str, int]]:
    """Name and machine of each program in an initrd: cpio archives, the last one usually compressed by zstd."""
    parts = [initrd]
    start = initrd.find(_ZSTD)
    while start >= 0:
        try:
            parts = [initrd[:start], zstd.ZstdDecompressor().decompress(initrd[start:])]
            break
        except zstd.ZstdError:  # four bytes of something else, as of processor microcode
            start = initrd.find(_ZSTD, start + 1)
    for data in parts:
        at = data.find(_CPIO)
        while at >= 0:
            # newc: magic and 13 fields of 8 hex digits, the name, the content, both filled up to 4 bytes.
            size, name_size = (int(data[at + field : at + field + 8], 16) for field in (54, 94))
            name = data[at + 110 : at + 109 + name_size].decode("utf-8", "replace")
            content = at + align_up(110 + name_size, 4)
            machine = _machine(data[content : content + 20])
            if machine is not None:
                yield name, machine
            at = data.find(_CPIO, content + size)
