"""Reads a qcow2 image (versions 2 and 3, zlib or zstd clusters) into a raw one.

Own reader rather than qemu-img: no program to install for a fetch, and an image from the network can never make it open
another file (backing and external data files are refused). Layout: QEMU's docs/interop/qcow2.txt. Called by
`decompress` and `feed_content`; reads one descriptor, writes one SparseTarget.
"""

from __future__ import annotations

import os
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from imagesmith.errors import ContentMalformed
from imagesmith.sources.sparse import SparseTarget
from imagesmith.units import MiB

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_OFFSET = 0x00FFFFFFFFFFFE00
_COMPRESSED = 1 << 62
_ZERO = 1
_MOST_L1 = 4 * MiB
_CORRUPT, _EXTERNAL, _COMPRESSION, _EXTENDED_L2 = 1 << 1, 1 << 2, 1 << 3, 1 << 4
_DIRTY = 1


Cluster = tuple[int, bytes]
"""Offset in the raw image, and its bytes: none when they are zeros."""


@dataclass(frozen=True, slots=True)
class _Header:
    cluster_bits: int
    size: int
    """Of the raw image, bytes."""
    l1_entries: int
    l1_offset: int
    zstd: bool


def expand(descriptor: int, out: SparseTarget, check: Callable[[int, int], None]) -> int:
    """Write the raw image to `out`, unallocated clusters as holes; returns its size. Raises ContentMalformed.

    `check(raw, packed)` is asked before anything is written.
    """
    size = raw_size_of(descriptor)
    check(size, os.fstat(descriptor).st_size)
    for at, data in clusters(descriptor):
        out.write_at(at, data)
        out.written_up_to(at + len(data))
    return size


def raw_size_of(descriptor: int) -> int:
    """Of the raw image, bytes. Raises ContentMalformed on what this reader does not read."""
    return _header(os.pread(descriptor, 112, 0)).size


def clusters(descriptor: int, wants: Callable[[int, int], bool] = lambda start, end: True) -> Iterator[Cluster]:
    """What is allocated, in rising order; all else is zeros. Raises ContentMalformed.

    `wants(start, end)` tells whether a stretch of the raw image is to be read at all.
    """
    header = _header(os.pread(descriptor, 112, 0))
    cluster = 1 << header.cluster_bits
    per_table = cluster // 8
    covered = cluster * per_table
    l1 = _table(descriptor, header.l1_offset, header.l1_entries)
    for start, entry in zip(range(0, header.size, covered), l1, strict=False):
        if not entry & _OFFSET or not wants(start, start + covered):
            continue
        places = _table(descriptor, entry & _OFFSET, per_table)
        for at, place in zip(range(start, header.size, cluster), places, strict=False):
            if place & ~(1 << 63) and wants(at, at + cluster):
                needed = min(cluster, header.size - at)
                yield at, _cluster(descriptor, header, place, needed)[:needed]


def _header(data: bytes) -> _Header:
    if len(data) < 72:
        raise _damaged("it ends in its header")
    fields = struct.unpack(">4sIQIIQIIQQIIQ", data[:72])
    version, backing, cluster_bits, size = fields[1], fields[2], fields[4], fields[5]
    encryption, l1_entries, l1_offset = fields[6], fields[7], fields[8]
    features = 0
    if version == 3 and len(data) >= 104:
        features = int.from_bytes(data[72:80], "big")
    elif version != 2:
        raise ContentMalformed(f"qcow2 version {version} is not known")
    for present, what in (
        (backing, "needs a backing file"),
        (encryption, "is encrypted"),
        (features & _EXTERNAL, "keeps its data in another file"),
        (features & _EXTENDED_L2, "uses extended L2 entries"),
        (features & (_CORRUPT | _DIRTY), "was not closed properly"),
        (features & ~0x1F, "uses features that are not known"),
    ):
        if present:
            raise ContentMalformed(f"this qcow2 image {what}", hint="convert it: qemu-img convert -O raw IN OUT")
    compression = data[104] if features & _COMPRESSION and len(data) > 104 else 0
    if compression > 1 or not 9 <= cluster_bits <= 21 or l1_entries * 8 > _MOST_L1:
        raise _damaged("its header makes no sense")
    if l1_entries << (2 * cluster_bits - 3) < size:
        raise _damaged("its table is too small for its size")
    return _Header(cluster_bits, size, l1_entries, l1_offset, compression == 1)


def _table(descriptor: int, offset: int, entries: int) -> tuple[int, ...]:
    data = os.pread(descriptor, entries * 8, offset)
    if len(data) != entries * 8:
        raise _damaged("a table lies behind its end: it is truncated")
    return struct.unpack(f">{entries}Q", data)


def _cluster(descriptor: int, header: _Header, place: int, needed: int) -> bytes:
    """The cluster's bytes, at least the first `needed` of them; none for zeros."""
    size = 1 << header.cluster_bits
    if place & _COMPRESSED:
        return _compressed(descriptor, header, place)
    if place & _ZERO:
        return b""
    data = os.pread(descriptor, size, place & _OFFSET)
    # Writers may leave out the end of the file's last cluster only where it lies behind the raw image's own end.
    if len(data) < needed:
        raise _damaged("a cluster lies behind its end: it is truncated")
    return data


def _compressed(descriptor: int, header: _Header, place: int) -> bytes:
    size = 1 << header.cluster_bits
    shift = 62 - (header.cluster_bits - 8)
    offset = place & ((1 << shift) - 1)
    sectors = (place >> shift & ((1 << (header.cluster_bits - 8)) - 1)) + 1
    packed = os.pread(descriptor, sectors * 512 - offset % 512, offset)
    try:
        if header.zstd:
            data = zstd.ZstdDecompressor().decompress(packed, size)
        else:
            data = zlib.decompressobj(wbits=-15).decompress(packed, size)
    except (zlib.error, zstd.ZstdError) as error:
        raise _damaged(f"a cluster cannot be unpacked: {error}") from error
    if len(data) != size:
        raise _damaged("a cluster is too short")
    return data


def _damaged(why: str) -> ContentMalformed:
    return ContentMalformed(f"the qcow2 image is damaged: {why}", hint="fetch or copy it again")
