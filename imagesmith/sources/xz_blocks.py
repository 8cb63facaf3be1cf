"""Where the blocks of an .xz file lie, out of its index, so that they can be decoded independently of each other.

The container, by the sections of "The .xz File Format" (tukaani-project, version 1.2.1):

    file     = stream, (padding of zeros in fours, stream)*                         2
    stream   = header, block*, index, footer                                        2.1
    header   = FD 37 7A 58 5A 00, flags (2), CRC32 of the flags (4)                 2.1.1
    footer   = CRC32 (4) of the next 6, index size / 4 - 1 (4), flags (2), 59 5A    2.1.2
    block    = header, compressed data, padding to a multiple of 4, check           3
    header   = its size / 4 - 1 (1), flags (1), [sizes], filters, padding, CRC32    3.1
    index    = 00, number of records, (unpadded size, uncompressed size)*, padding, CRC32   4
    numbers in the index: seven bits a byte, lowest first, top bit = goes on        1.2

A block is decoded as a stream of its own (`as_stream`): header, the block as it lies, and an index of one record made
here. So liblzma itself verifies every check (CRC32, CRC64, SHA-256) and both sizes.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

_HEADER_MAGIC = b"\xfd7zXZ\x00"
_FOOTER_MAGIC = b"YZ"
_EDGE = 12
"""Size of a stream's header and of its footer."""
_MOST_INDEX = 256 * 1024
_FEED = 256 * 1024


class NotIndexed(Exception):
    """The file's index cannot be used; read the file from its beginning, which also tells what is wrong with it."""


class NoFooter(NotIndexed):
    """The file does not end as any .xz file does: it is cut short, or something was appended to it."""


@dataclass(frozen=True, slots=True)
class Block:
    """One block: where it lies, where its bytes belong in the raw image."""

    offset: int
    unpadded: int
    """Size without the padding before the check, as the index has it."""
    raw_offset: int
    raw_size: int
    flags: bytes
    """The stream's two flag bytes, which name the check."""


def blocks_of(descriptor: int, size: int) -> tuple[Block, ...]:
    """Every block of an .xz file of `size` bytes, in order; reads only indexes.

    Raises NotIndexed for any doubt, NoFooter where it is certain that the file is not whole.
    """
    streams: list[list[Block]] = []
    end = _skip_padding(descriptor, size)
    if not _has_footer(descriptor, end):
        raise NoFooter("last stream footer")
    while end > 0:
        end = _skip_padding(descriptor, end)
        blocks, end = _stream_before(descriptor, end)
        streams.append(blocks)
    found: list[Block] = []
    raw_offset = 0
    for blocks in reversed(streams):
        for block in blocks:
            found.append(Block(block.offset, block.unpadded, raw_offset, block.raw_size, block.flags))
            raw_offset += block.raw_size
    return tuple(found)


def dictionary_of(descriptor: int, block: Block) -> int:
    """Bytes of dictionary that the block's decoder needs (5.3.1), from its header. Raises NotIndexed."""
    header = os.pread(descriptor, 1024, block.offset)
    size = (header[0] + 1) * 4 if header else 0
    if size < 8 or len(header) < size or zlib.crc32(header[: size - 4]) != _u32(header, size - 4):
        raise NotIndexed("block header")
    flags, at = header[1], 2
    for present in (flags & 0x40, flags & 0x80):
        if present:
            _, at = _number(header, at)
    for _ in range((flags & 3) + 1):
        identity, at = _number(header, at)
        length, at = _number(header, at)
        if identity == 0x21 and length == 1:  # LZMA2, the last filter of the chain
            bits = header[at]
            if bits > 40:
                raise NotIndexed("dictionary")
            return (2 | (bits & 1)) << (bits // 2 + 11) if bits < 40 else 0xFFFFFFFF
        at += length
    raise NotIndexed("no LZMA2")


def as_stream(descriptor: int, block: Block) -> Iterator[bytes]:
    """The block as an .xz file of its own, in chunks."""
    yield _HEADER_MAGIC + block.flags + _crc(block.flags)
    at, end = block.offset, block.offset + _padded(block.unpadded)
    while at < end:
        data = os.pread(descriptor, min(_FEED, end - at), at)
        if not data:
            return
        at += len(data)
        yield data
    index = b"\x00\x01" + _encode(block.unpadded) + _encode(block.raw_size)
    index += bytes(-len(index) % 4)
    index += _crc(index)
    tail = (len(index) // 4 - 1).to_bytes(4, "little") + block.flags
    yield index + _crc(tail) + tail + _FOOTER_MAGIC


def _stream_before(descriptor: int, end: int) -> tuple[list[Block], int]:
    """The blocks (raw offsets not yet known) of the stream that ends at `end`, and where it begins."""
    if not _has_footer(descriptor, end):
        raise NotIndexed("stream footer")
    footer = _pread(descriptor, _EDGE, end - _EDGE)
    flags = footer[8:10]
    index_size = (_u32(footer, 4) + 1) * 4
    if index_size > _MOST_INDEX:
        raise NotIndexed("index too large")
    index_start = end - _EDGE - index_size
    sizes = _records(_pread(descriptor, index_size, index_start))
    start = index_start - sum(_padded(unpadded) for unpadded, _ in sizes) - _EDGE
    header = _pread(descriptor, _EDGE, start)
    if header != _HEADER_MAGIC + flags + _crc(flags):
        raise NotIndexed("stream header")
    blocks, at = [], start + _EDGE
    for unpadded, raw_size in sizes:
        blocks.append(Block(at, unpadded, 0, raw_size, flags))
        at += _padded(unpadded)
    return blocks, start


def _has_footer(descriptor: int, end: int) -> bool:
    footer = os.pread(descriptor, _EDGE, max(end - _EDGE, 0))
    return len(footer) == _EDGE and footer[10:] == _FOOTER_MAGIC and _crc(footer[4:10]) == footer[:4]


def _records(index: bytes) -> list[tuple[int, int]]:
    if index[0] != 0 or _crc(index[:-4]) != index[-4:]:
        raise NotIndexed("index")
    count, at = _number(index, 1)
    if count > len(index) // 2:
        raise NotIndexed("index")
    records = []
    for _ in range(count):
        unpadded, at = _number(index, at)
        raw_size, at = _number(index, at)
        if unpadded < 5:
            raise NotIndexed("index")
        records.append((unpadded, raw_size))
    if any(index[at:-4]) or len(index) - 4 - at > 3:
        raise NotIndexed("index padding")
    return records


def _skip_padding(descriptor: int, end: int) -> int:
    # In steps, for a download that was broken off can end in gigabytes of zeros.
    while step := min(end // 4 * 4, _FEED):
        zeros = (step - len(_pread(descriptor, step, end - step).rstrip(b"\0"))) // 4 * 4
        end -= zeros
        if zeros < step:
            break
    return end


def _pread(descriptor: int, size: int, offset: int) -> bytes:
    if offset < 0:
        raise NotIndexed("points before the file")
    data = os.pread(descriptor, size, offset)
    if len(data) != size:
        raise NotIndexed("too short")
    return data


def _number(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(9):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << (7 * place)
        if not byte & 0x80:
            return value, at
    raise NotIndexed("number")


def _encode(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _crc(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "little")


def _u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _padded(size: int) -> int:
    return -(-size // 4) * 4
