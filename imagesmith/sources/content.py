"""What a file is, told by its first bytes and never by its name; and what it is when it is no image."""

from __future__ import annotations

from typing import Literal

from imagesmith.errors import ContentMalformed

Format = Literal["raw", "xz", "gz", "zst", "bz2", "zip", "qcow2"]
HEAD = 40 * 1024
"""So many bytes are looked at; an ISO tells its name at 32 KiB."""

_MAGIC: tuple[tuple[bytes, Format], ...] = (
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x1f\x8b\x08", "gz"),
    (b"\x28\xb5\x2f\xfd", "zst"),
    (b"BZh", "bz2"),
    (b"PK\x03\x04", "zip"),
    (b"QFI\xfb", "qcow2"),
)
_ISO = b"CD001"
# offset, magic, what to call it
_NOT_IMAGES = (
    (0x8001, _ISO, "an ISO that starts from a CD only (it has no partition table)"),
    (257, b"ustar", "a tar archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (0, b"LZIP", "an lzip file"),
    (0, b"\x04\x22\x4d\x18", "an lz4 file"),
    (0, b"\x5d\x00\x00", "an old lzma file"),
    (0, b"KDMV", "a VMware disk"),
    (0, b"# Disk DescriptorFile", "a VMware disk"),
    (0, b"conectix", "a VHD disk"),
    (0, b"vhdxfile", "a VHDX disk"),
    (0x40, b"\x7f\x10\xda\xbe", "a VirtualBox disk"),
    (0, b"hsqs", "a squashfs file system"),
    (0, b"%PDF", "a PDF"),
    (0, b"\x7fELF", "a program (ELF)"),
    (0, b"PK\x05\x06", "an empty zip archive"),
)
_TEXT = frozenset(range(32, 127)) | {9, 10, 12, 13} | frozenset(range(128, 256))


def detect(head: bytes, where: str = "") -> Format:
    """The format of a file that begins with `head` (HEAD bytes, or all of a shorter one).

    Raises ContentMalformed, with the thing's name, for what is known to be no disk image.
    """
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    # 0x50 0x2a 0x4d 0x18 and its 15 sisters: a zst file may begin with a frame to be skipped.
    if head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F:
        return "zst"
    refuse_other(head, where)
    return "raw"


def refuse_other(head: bytes, where: str = "") -> None:
    """Raise ContentMalformed when the bytes are known to be something other than a raw disk image."""
    found = other_name(head)
    if found:
        raise ContentMalformed(
            f"this is {found}, not a disk image", where=where, hint="give the URL or path of the image itself"
        )


def refuse_nested(head: bytes, where: str = "") -> None:
    """As `refuse_other`, for what came out of a decompressor: one layer is taken off, not two."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            raise ContentMalformed(f"inside is another {name} file, not a disk image", where=where)
    refuse_other(head, where)


def _has_table(head: bytes) -> bool:
    """Whether it begins as a disk does, by which an ISO is a hybrid that starts from a USB stick too."""
    entries = [head[at : at + 16] for at in range(446, 510, 16)]
    return head[510:512] == b"\x55\xaa" and any(entry[4] and any(entry[12:16]) for entry in entries)


def other_name(head: bytes) -> str:
    """What the bytes are when they are no image ("an HTML page"), or nothing."""
    if not head:
        return "an empty file"
    for offset, magic, name in _NOT_IMAGES:
        if head[offset : offset + len(magic)] == magic and not (magic == _ISO and _has_table(head)):
            return name
    start = head[:1024].removeprefix(b"\xef\xbb\xbf").lstrip()
    if start[:1] == b"<" and any(mark in start.lower() for mark in (b"<html", b"<!doctype html", b"<head", b"<body")):
        return "an HTML page"
    if all(byte in _TEXT for byte in head[:1024]):
        first = head[:200].decode("utf-8", "replace").strip().splitlines()[:1]
        return f"a text file ({first[0][:60]!r} ...)" if first else "a text file"
    return ""
