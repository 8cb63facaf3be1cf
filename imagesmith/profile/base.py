"""Reads what a document says about a base image: its family and where its bytes come from.

Used for the files of profiles/bases/ and for bases that a profile brings along.
"""

from __future__ import annotations

import calendar
import datetime
from pathlib import PurePosixPath

from imagesmith.families import FAMILIES
from imagesmith.formats.indexes import WORDS
from imagesmith.model import (
    Base,
    DebianSource,
    Digest,
    DiskLayout,
    FileSource,
    Follow,
    HttpSource,
    PartitionSpec,
    Signature,
    Source,
)
from imagesmith.model.origins import Publisher
from imagesmith.profile import names
from imagesmith.profile.machine import machine_or_none
from imagesmith.profile.schema import Fields, choice, mapping, parsed, size, table, text

_NOWHERE = FileSource("")
_LOADER_TABLES = {"systemd-boot": ("gpt", "esp"), "raspi-firmware": ("mbr", "boot")}
"""What each boot loader can start from: partition table, and role of the FAT partition."""


def read_base(fields: Fields) -> Base:
    """One base; exactly one of the keys `http`, `file` and `debian` says where it comes from."""
    sources = {
        "http": fields.take("http", table(_http), None),
        "file": fields.take("file", table(_file), None),
        "debian": fields.take("debian", table(_debian), None),
    }
    written = [key for key in sources if fields.has(key)]
    if len(written) != 1:
        found = f"found {' and '.join(written)}" if written else "found none of them"
        where = fields.line_of(written[1]) if written else fields.line
        fields.place.complain(where, f"a base has exactly one of the keys http, file and debian; {found}")
    source: Source = next((source for source in sources.values() if source is not None), _NOWHERE)
    family = fields.need("family", choice(*FAMILIES), "")
    return Base(
        name=fields.need("name", text(names.profile_name), ""),
        family=family,
        source=source,
        min_root=fields.take("min_root", size, 0),
        releases=fields.take_all("releases", text(names.word)),
        machine=fields.take("machine", machine_or_none, "board"),
        facts=fields.take("facts", table(lambda inner: _facts(inner, family)), {}),
        unsuitable=fields.take("unsuitable", mapping(names.profile_name, text(names.title)), {}),
        cautions=fields.take("cautions", mapping(names.profile_name, text(names.title)), {}),
    )


def _facts(fields: Fields, family: str) -> dict[str, str]:
    """What the family knows to be different from image to image; other words are unknown keys."""
    known = FAMILIES[family].facts if family in FAMILIES else {}
    return {name: written for name in known if (written := fields.take(name, text(), None)) is not None}


def _http(fields: Fields) -> HttpSource:
    url = text(names.https_url)
    source = HttpSource(
        url=fields.need("url", url, ""),
        mirrors=fields.take_all("mirrors", url),
        digest=fields.take("digest", parsed(Digest.parse), None),
        size=fields.take("size", size, 0),
        raw_digest=fields.take("raw_digest", parsed(Digest.parse), None),
        raw_size=fields.take("raw_size", size, 0),
        checksums_url=fields.take("checksums_url", url, ""),
        signature=fields.take("signature", table(_signature), None),
        released=fields.take("released", parsed(_day), 0),
        follow=fields.take("follow", table(_follow), None),
    )
    signature = source.signature
    if signature and signature.covers == "checksums" and not source.checksums_url:
        fields.complain("signature", "it covers the checksums, but there is no checksums_url")
    return source


def _signature(fields: Fields) -> Signature:
    return Signature(
        url=fields.need("url", text(names.https_url), ""),
        covers=fields.need("covers", choice("file", "checksums"), "file"),
        fingerprints=fields.need_all("fingerprints", text(names.fingerprint)),
        keyring=fields.need("keyring", text(names.file_name), ""),
        key_url=fields.take("key_url", text(names.https_url), ""),
    )


def _follow(fields: Fields) -> Follow:
    publisher: Publisher = fields.need("publisher", choice(*WORDS), "raspberrypi")
    words = WORDS[publisher]
    follow = Follow(
        publisher=publisher,
        index=fields.need("index", text(names.https_url), ""),
        choose=fields.need("choose", table(lambda inner: _choice(inner, words)), {}),
    )
    required = [word for word in ("name", "release", "file") if word in words]
    if fields.has("choose") and not any(word in follow.choose for word in required):
        fields.complain("choose", f"of {publisher}'s index it must say {' or '.join(required)}")
    return follow


def _choice(fields: Fields, words: tuple[str, ...]) -> dict[str, str]:
    """What picks an entry of the publisher's index; other words are unknown keys."""
    return {word: said for word in words if (said := fields.take(word, text(names.title), None)) is not None}


def _file(fields: Fields) -> FileSource:
    path = fields.need("path", text(names.file_path), "")
    # A path is meant from where it is written.
    beside = PurePosixPath(fields.place.file).parent
    return FileSource(
        path=str(beside / path) if path else "",
        digest=fields.take("digest", parsed(Digest.parse), None),
    )


def _debian(fields: Fields) -> DebianSource:
    source = DebianSource(
        suite=fields.need("suite", text(names.word), ""),
        components=fields.need_all("components", text(names.word)),
        packages=fields.need_all("packages", text(names.package)),
        loader=fields.need("loader", choice("systemd-boot", "raspi-firmware"), "systemd-boot"),
        cmdline=fields.take("cmdline", text(names.kernel_words), ""),
        layout=fields.need("layout", table(_layout), DiskLayout("gpt", ())),
        download_size=fields.take("download_size", size, 0),
    )
    twice = sorted({name for name in source.packages if source.packages.count(name) > 1})
    if twice:
        fields.complain("packages", f"listed twice: {', '.join(twice)}")
    wanted_table, wanted_role = _LOADER_TABLES[source.loader]
    roles = [partition.role for partition in source.layout.partitions]
    if fields.has("layout") and source.layout.partitions:
        if source.layout.table != wanted_table:
            fields.complain("layout", f"{source.loader} starts from {wanted_table}, not from {source.layout.table}")
        if wanted_role not in roles:
            fields.complain("layout", f"{source.loader} needs a partition with the role {wanted_role}")
    return source


def _layout(fields: Fields) -> DiskLayout:
    partitions = fields.need_all("partitions", table(_partition))
    roles = [partition.role for partition in partitions]
    if roles.count("root") != 1 or len(set(roles)) != len(roles):
        fields.complain("partitions", "there is exactly one root partition, and no role twice")
    if any(partition.size == 0 for partition in partitions[:-1]):
        fields.complain("partitions", "only the last partition may leave out its size, to be as large as its content")
    return DiskLayout(fields.need("table", choice("gpt", "mbr"), "gpt"), partitions)


def _partition(fields: Fields) -> PartitionSpec:
    partition = PartitionSpec(
        role=fields.need("role", choice("boot", "esp", "root"), "root"),
        filesystem=fields.need("filesystem", choice("fat32", "ext4"), "ext4"),
        label=fields.need("label", text(names.file_name), ""),
        size=fields.take("size", size, 0),
        mount=fields.need("mount", text(names.mount_point), ""),
    )
    if fields.has("filesystem") and (partition.role == "root") != (partition.filesystem == "ext4"):
        fields.complain("filesystem", "the root partition is ext4, boot and esp are fat32")
    longest = 16 if partition.filesystem == "ext4" else 11
    if len(partition.label) > longest:
        fields.complain("label", f"a label of {partition.filesystem} has {longest} characters at most")
    return partition


def _day(written: str) -> int:
    try:
        day = datetime.date.fromisoformat(written)
    except ValueError:
        raise ValueError(f"{written[:40]!r} is not a day; write it like 2026-10-06") from None
    return calendar.timegm(day.timetuple())
