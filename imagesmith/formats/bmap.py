"""Block maps as bmap files: bmap 2.0 written, 1.3 to 2.0 read.

Called by `output` (seal) and by `workflow` (verify, flash). Touches nothing.
A map without dates or comments on this machine: one BlockMap has one text. Source: bmap-tools 3.6, BmapCreate.py.
"""

from __future__ import annotations

import hashlib
import re
import xml.etree.ElementTree as ET

from imagesmith.errors import ContentMalformed
from imagesmith.model import BlockMap, MappedRange

_WHERE = "block map"
_UNSEALED = ("1.0", "1.1", "1.2")
"""Without a digest of the file itself, and without one of a range that is still worth something."""
_VERSIONS = (*_UNSEALED, "1.3", "1.4", "2.0")
_ZEROS = "0" * 64
_DIGESTS = {"sha1": 40, "sha256": 64, "sha512": 128}
_HEAD = """\
<?xml version="1.0" ?>
<bmap version="2.0">
    <ImageSize> {size} </ImageSize>
    <BlockSize> {block} </BlockSize>
    <BlocksCount> {blocks} </BlocksCount>
    <MappedBlocksCount> {mapped} </MappedBlocksCount>
    <ChecksumType> sha256 </ChecksumType>

    <!-- Digest of this file, taken with zeros in its own place. -->
    <BmapFileChecksum> {digest} </BmapFileChecksum>

    <!-- Blocks that must be written; every other block is free in its file system. -->
    <BlockMap>
"""
_TAIL = "    </BlockMap>\n</bmap>\n"


def encode(block_map: BlockMap) -> str:
    """The map as bmap 2.0 XML, to be written as UTF-8. Raises ContentMalformed as `parse` does on impossible ranges."""
    _refuse_disorder(block_map)
    mapped = sum(part.last - part.first + 1 for part in block_map.ranges)
    lines = [_HEAD.format(
        size=block_map.image_size, block=block_map.block_size, blocks=block_map.blocks, mapped=mapped, digest=_ZEROS,
    )]  # fmt: skip
    for part in block_map.ranges:
        span = f"{part.first}" if part.first == part.last else f"{part.first}-{part.last}"
        digest = f' chksum="{part.sha256}"' if part.sha256 else ""
        lines.append(f"        <Range{digest}> {span} </Range>\n")
    text = "".join([*lines, _TAIL])
    return text.replace(_ZEROS, hashlib.sha256(text.encode()).hexdigest(), 1)


def parse(text: str) -> BlockMap:
    """The map in a bmap file of version 1.0 to 1.4 or 2.0, after checking the file's own digest where it has one.

    `text` is the file's bytes decoded as UTF-8, line ends untouched. Ranges without a sha256 (none was recorded, or
    one of another kind, as sha1 in 1.3) have `sha256` "": what they hold can't be checked against this map.
    Raises ContentMalformed.
    """
    root = _tree(text)
    version = root.get("version", "")
    if version not in _VERSIONS:
        known = ", ".join(_VERSIONS)
        raise ContentMalformed(f"version {version or 'missing'} is unknown; known are {known}", where=_WHERE)
    old = version == "1.3" or version in _UNSEALED
    kind = "sha1" if old else _text(root, "ChecksumType").lower()
    if version not in _UNSEALED:
        _check_own_digest(text, root, "BmapFileSHA1" if old else "BmapFileChecksum", kind)
    image_size, block_size = _number(root, "ImageSize"), _number(root, "BlockSize")
    if image_size < 1 or block_size < 1:
        raise ContentMalformed(f"image of {image_size} bytes in blocks of {block_size}", where=_WHERE)
    elements = root.findall("BlockMap/Range")
    digests = "chksum" if kind == "sha256" else ""
    ranges = tuple(_range(index, element, digests) for index, element in enumerate(elements, 1))
    block_map = BlockMap(image_size, block_size, ranges)
    _refuse_disorder(block_map)
    _check_counts(root, block_map)
    return block_map


def _tree(text: str) -> ET.Element:
    # Entities can blow up a parser or name files; no bmap file has any.
    if re.search(r"<!(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise ContentMalformed("it holds a DOCTYPE or ENTITY declaration, which no bmap file needs", where=_WHERE)
    try:
        root = ET.fromstring(text)
    except (ET.ParseError, ValueError) as error:
        raise ContentMalformed(f"this is no XML: {error}", where=_WHERE) from error
    if root.tag != "bmap":
        raise ContentMalformed(f"the document is a <{root.tag}>, not a <bmap>", where=_WHERE)
    return root


def _text(root: ET.Element, tag: str) -> str:
    element = root.find(tag)
    if element is None or not (element.text or "").strip():
        raise ContentMalformed(f"<{tag}> is missing or empty", where=_WHERE)
    return (element.text or "").strip()


def _number(root: ET.Element, tag: str) -> int:
    text = _text(root, tag)
    if not re.fullmatch(r"[0-9]{1,19}", text):
        raise ContentMalformed(f"<{tag}> holds {text[:40]!r}, not a number", where=_WHERE)
    return int(text)


def _check_own_digest(text: str, root: ET.Element, tag: str, kind: str) -> None:
    if kind not in _DIGESTS:
        known = ", ".join(_DIGESTS)
        raise ContentMalformed(f"checksums of kind {kind[:20]!r} are unknown; known are {known}", where=_WHERE)
    written = _text(root, tag)
    if not re.fullmatch(rf"[0-9a-f]{{{_DIGESTS[kind]}}}", written):
        raise ContentMalformed(f"<{tag}> holds no {kind} digest", where=_WHERE)
    blanked = text.replace(written, "0" * len(written), 1)
    if hashlib.new(kind, blanked.encode()).hexdigest() != written:
        raise ContentMalformed(
            f"its own {kind} digest does not fit: the file was altered or cut short",
            where=_WHERE,
            hint="get the block map again from where the image came from",
        )


def _range(index: int, element: ET.Element, digest_attribute: str) -> MappedRange:
    text = (element.text or "").strip()
    match = re.fullmatch(r"([0-9]{1,19})(?:\s*-\s*([0-9]{1,19}))?", text)
    if not match:
        raise ContentMalformed(f"range {index} is {text[:40]!r}, not FIRST-LAST", where=_WHERE)
    digest = element.get(digest_attribute, "").lower() if digest_attribute else ""
    if digest and not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ContentMalformed(f"range {index} ({text}) has {digest[:80]!r} for a sha256 digest", where=_WHERE)
    return MappedRange(int(match[1]), int(match[2] or match[1]), digest)


def _refuse_disorder(block_map: BlockMap) -> None:
    before = -1
    for index, part in enumerate(block_map.ranges, 1):
        label = f"range {index} ({part.first}-{part.last})"
        if part.last < part.first:
            raise ContentMalformed(f"{label} ends before it starts", where=_WHERE)
        if part.first <= before:
            raise ContentMalformed(f"{label} overlaps or precedes the one before, which ends at {before}", where=_WHERE)
        if part.last >= block_map.blocks:
            raise ContentMalformed(
                f"{label} reaches beyond the image, whose last block is {block_map.blocks - 1}", where=_WHERE
            )
        before = part.last


def _check_counts(root: ET.Element, block_map: BlockMap) -> None:
    mapped = sum(part.last - part.first + 1 for part in block_map.ranges)
    for tag, true in (("BlocksCount", block_map.blocks), ("MappedBlocksCount", mapped)):
        claimed = _number(root, tag)
        if claimed != true:
            raise ContentMalformed(f"<{tag}> says {claimed}, but it is {true}", where=_WHERE)
