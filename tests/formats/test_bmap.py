"""Block maps, judged by bmaptool in both directions."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith import tools
from imagesmith.errors import ContentMalformed
from imagesmith.formats import bmap
from imagesmith.model import BlockMap, MappedRange

BLOCK = 4096
SIZE = 300 * BLOCK - 1000
"""The last block is short."""
SPANS = ((0, 0), (3, 40), (42, 42), (200, 299))


@st.composite
def maps(draw: st.DrawFn) -> BlockMap:
    size, block = draw(st.integers(1, 2**45)), draw(st.sampled_from([512, 4096, 65536]))
    last = BlockMap(size, block, ()).blocks - 1
    edges = sorted(draw(st.lists(st.integers(0, last), max_size=16, unique=True)))
    digests = st.sampled_from(["", "0" * 64, hashlib.sha256(b"1").hexdigest()])
    ranges = [MappedRange(one, two, draw(digests)) for one, two in zip(edges[::2], edges[1::2], strict=False)]
    return BlockMap(size, block, tuple(ranges))


def make_image(path: Path) -> BlockMap:
    """A sparse image of random data in SPANS, and its map."""
    chance, ranges = random.Random(11), []
    with path.open("wb") as file:
        file.truncate(SIZE)
        for first, last in SPANS:
            data = chance.randbytes(min((last + 1) * BLOCK, SIZE) - first * BLOCK)
            file.seek(first * BLOCK)
            file.write(data)
            ranges.append(MappedRange(first, last, hashlib.sha256(data).hexdigest()))
    return BlockMap(SIZE, BLOCK, tuple(ranges))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return tmp_path / "image"


@pytest.fixture
def used_card(tmp_path: Path) -> Iterator[Path]:
    """A block device of the image's size in whole blocks, full of 0xFF."""
    if os.geteuid() != 0:
        pytest.skip("a loop device needs root")
    backing = tmp_path / "card"
    backing.write_bytes(b"\xff" * 300 * BLOCK)
    device = tools.run(["losetup", "-f", "--show", str(backing)]).text.strip()
    try:
        yield Path(device)
    finally:
        tools.run(["losetup", "-d", device])


def bmaptool_copies(image: Path, text: str, target: Path) -> tools.Completed:
    map_file = image.with_suffix(".bmap")
    map_file.write_text(text, encoding="utf-8", newline="")
    return tools.run(["bmaptool", "copy", "--bmap", str(map_file), str(image), str(target)], expect=None)


def sealed(text: str, tag: str = "BmapFileChecksum", kind: str = "sha256") -> str:
    """The text with its own digest made right again after it was bent."""
    start = text.index(f"<{tag}>") + len(f"<{tag}>")
    end = text.index(f"</{tag}>")
    length = hashlib.new(kind).digest_size * 2
    blanked = f"{text[:start]} {'0' * length} {text[end:]}"
    return blanked.replace("0" * length, hashlib.new(kind, blanked.encode()).hexdigest(), 1)


@given(maps())
def test_what_is_encoded_parses_to_the_same(block_map: BlockMap):
    assert bmap.parse(bmap.encode(block_map)) == block_map


def test_bmaptool_copies_with_our_map(image: Path, tmp_path: Path):
    block_map, target = make_image(image), tmp_path / "target"
    copied = bmaptool_copies(image, bmap.encode(block_map), target)
    assert copied.returncode == 0, copied.complaint
    assert target.read_bytes() == image.read_bytes()


@pytest.mark.root
def test_bmaptool_writes_the_mapped_blocks_and_no_others(image: Path, used_card: Path):
    copied = bmaptool_copies(image, bmap.encode(make_image(image)), used_card)
    assert copied.returncode == 0, copied.complaint
    wanted, found = image.read_bytes(), used_card.read_bytes()
    mapped = {block for first, last in SPANS for block in range(first, last + 1)}
    for block in range(300):
        span = slice(block * BLOCK, min((block + 1) * BLOCK, SIZE))
        assert found[span] == (wanted[span] if block in mapped else b"\xff" * BLOCK), f"block {block}"


def test_bmaptool_checks_the_digests_in_our_map(image: Path, tmp_path: Path):
    block_map = make_image(image)
    with image.open("r+b") as file:
        file.seek(42 * BLOCK + 5)
        file.write(b"bent")
    copied = bmaptool_copies(image, bmap.encode(block_map), tmp_path / "target")
    assert copied.returncode != 0
    assert "checksum mismatch" in copied.stderr.decode()


def test_bmaptool_checks_our_map_s_own_digest(image: Path, tmp_path: Path):
    text = bmap.encode(make_image(image)).replace("3-40 ", "3-39 ")
    assert bmaptool_copies(image, text, tmp_path / "target").returncode != 0


def test_a_map_of_bmaptool_parses(image: Path, tmp_path: Path):
    ours, theirs = make_image(image), tmp_path / "theirs.bmap"
    tools.run(["bmaptool", "create", "--output", str(theirs), str(image)])
    found = bmap.parse(theirs.read_bytes().decode())
    assert (found.image_size, found.block_size) == (SIZE, BLOCK)
    assert found == ours


def test_a_map_has_one_text():
    block_map = BlockMap(SIZE, BLOCK, (MappedRange(0, 9, "ab" * 32),))
    assert bmap.encode(block_map) == bmap.encode(replace(block_map))


def test_version_1_3_parses_with_ranges_unknown_here():
    text = sealed(
        '<bmap version="1.3"><ImageSize> 40960 </ImageSize><BlockSize> 4096 </BlockSize><BlocksCount> 10 </BlocksCount>'
        "<MappedBlocksCount> 3 </MappedBlocksCount><BmapFileSHA1> </BmapFileSHA1><BlockMap>"
        f'<Range sha1="{"c" * 40}"> 0-1 </Range><Range> 5 </Range></BlockMap></bmap>',
        "BmapFileSHA1",
        "sha1",
    )
    assert bmap.parse(text) == BlockMap(40960, 4096, (MappedRange(0, 1, ""), MappedRange(5, 5, "")))


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_the_first_versions_parse_without_digests(version: str):
    text = (
        f'<bmap version="{version}"><ImageSize> 40960 </ImageSize><BlockSize> 4096 </BlockSize>'
        "<BlocksCount> 10 </BlocksCount><MappedBlocksCount> 3 </MappedBlocksCount><BlockMap>"
        f'<Range sha1="{"c" * 40}"> 0-1 </Range><Range> 5 </Range></BlockMap></bmap>'
    )
    assert bmap.parse(text) == BlockMap(40960, 4096, (MappedRange(0, 1, ""), MappedRange(5, 5, "")))


@pytest.mark.parametrize("kind", ["sha1", "sha256", "sha512"])
def test_version_1_4_parses_and_keeps_only_sha256(kind: str):
    digest = "d" * hashlib.new(kind).digest_size * 2
    text = sealed(
        '<bmap version="1.4"><ImageSize>5000</ImageSize><BlockSize>4096</BlockSize><BlocksCount>2</BlocksCount>'
        f"<MappedBlocksCount>1</MappedBlocksCount><ChecksumType>{kind}</ChecksumType><BmapFileChecksum>"
        f'</BmapFileChecksum><BlockMap><Range chksum="{digest}">1</Range></BlockMap></bmap>',
        kind=kind,
    )
    assert bmap.parse(text).ranges == (MappedRange(1, 1, digest if kind == "sha256" else ""),)


GOOD = bmap.encode(BlockMap(40960, 4096, (MappedRange(0, 2, "ab" * 32), MappedRange(4, 6, "cd" * 32))))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("> 4-6 <", "> 2-4 <", r"range 2 \(2-4\) overlaps or precedes the one before, which ends at 2"),
        ("> 4-6 <", "> 6-4 <", r"range 2 \(6-4\) ends before it starts"),
        ("> 4-6 <", "> 8-10 <", r"range 2 \(8-10\) reaches beyond the image, whose last block is 9"),
        ("> 4-6 <", "> 4..6 <", "range 2 is '4..6', not FIRST-LAST"),
        ("> 4-6 <", "> -6 <", "range 2 is '-6', not FIRST-LAST"),
        ("cd" * 32, "cd" * 31, "range 2 .* for a sha256 digest"),
        ("> 40960 <", "> 0 <", "image of 0 bytes"),
        ("> 40960 <", "> 0x40 <", "<ImageSize> holds '0x40', not a number"),
        ("> 10 <", "> 11 <", "<BlocksCount> says 11, but it is 10"),
        ("> 6 <", "> 7 <", "<MappedBlocksCount> says 7, but it is 6"),
        ("<BlockSize> 4096 </BlockSize>", "", "<BlockSize> is missing or empty"),
        ('version="2.0"', 'version="3.0"', "version 3.0 is unknown"),
        ("> sha256 <", "> crc32 <", "checksums of kind 'crc32' are unknown"),
        ("bmap", "xmap", "the document is a <xmap>"),
    ],
)  # fmt: skip
def test_a_map_that_can_not_be_is_refused(old: str, new: str, message: str):
    assert old in GOOD
    with pytest.raises(ContentMalformed, match=message):
        bmap.parse(sealed(GOOD.replace(old, new)))


@pytest.mark.parametrize(
    "block_map",
    [
        BlockMap(40960, 4096, (MappedRange(4, 6, ""), MappedRange(0, 2, ""))),
        BlockMap(40960, 4096, (MappedRange(0, 10, ""),)),
    ],
    ids=["order", "beyond"],
)
def test_a_map_that_can_not_be_is_not_written_either(block_map: BlockMap):
    with pytest.raises(ContentMalformed, match="range"):
        bmap.encode(block_map)


def test_an_altered_map_is_refused():
    with pytest.raises(ContentMalformed, match="altered or cut short"):
        bmap.parse(GOOD.replace("> 4-6 <", "> 4-7 <"))


@pytest.mark.parametrize("at", [0, 30, 300, len(GOOD) - 5])
def test_a_truncated_map_is_refused(at: int):
    with pytest.raises(ContentMalformed, match="no XML"):
        bmap.parse(GOOD[:at])


def test_entities_are_refused_before_they_are_expanded():
    bomb = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 9}">' for n in range(1, 9))
    text = GOOD.replace("<bmap ", f'<!DOCTYPE bmap [<!ENTITY e0 "e">{bomb}]><bmap ', 1).replace("> 4-6 <", "> &e8; <")
    with pytest.raises(ContentMalformed, match="DOCTYPE or ENTITY"):
        bmap.parse(text)


@given(st.text(max_size=300))
def test_rubbish_is_refused_and_nothing_else_happens(text: str):
    with pytest.raises(ContentMalformed):
        bmap.parse(text)
