"""The manifest: what is written is read back as the same values, and nothing else is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.errors import ContentMalformed
from imagesmith.formats import manifest
from imagesmith.formats.canonical import plan_id, to_plain
from imagesmith.formats.manifest import AppliedEdit, BaseRecord, ImageRecord, Manifest
from imagesmith.model import (
    Base,
    BuildPlan,
    Digest,
    EnsureLine,
    FileContent,
    HttpSource,
    Link,
    MakeDir,
    Node,
    Package,
    Promise,
    PutFile,
    QemuMachine,
)
from imagesmith.secret import Secret, SecretRef

EDITS = (
    PutFile("boot", "/user-data", b"#cloud-config\n", 0o600),
    PutFile("root", "/opt/large.tar", FileContent(Path("/cache/large"), Digest.of(b"large"), 5)),
    PutFile("root", "/etc/token", SecretRef("cluster-token"), 0o600),
    MakeDir("root", "/var/lib/imagesmith", 0o700),
    EnsureLine("boot", "/config.txt", "arm_64bit=1"),
    Link("root", "/etc/localtime", "/usr/share/zoneinfo/Etc/UTC"),
)
MODES = (None, 0o644, 0o600, 0o1700, None, 0o777)
MACHINE = QemuMachine(
    "raspi3b", "cortex-a53", 4, 1 << 30, "kernel", "sd", "usb", "ttyAMA0", "bcm2837-rpi-3-b.dtb", ("Wi-Fi", "USB boot")
)
PROMISES = (Promise("hostname", "equals", "node-1", "ü"), Promise("step.20-grow-root", "present"))
PLAN = BuildPlan(
    "node-1", Node("node-1", "rpi3-worker"), "worker", "rpi3-worker", "rpi3", "arm64",
    Base("trixie", "raspios", HttpSource("https://example.org/a.img.xz", released=1_700_000_000)), EDITS, PROMISES,
    MACHINE,
)  # fmt: skip
PLAIN = to_plain(PLAN)
assert isinstance(PLAIN, dict)
MANIFEST = Manifest(
    imagesmith="0.1.0",
    name="node-1",
    plan_id=plan_id(PLAN),
    plan=PLAIN,
    architecture="arm64",
    hostname="node-1",
    epoch=1_700_000_000,
    base=BaseRecord(
        Digest.of(b"raw"), Digest("sha512", "ab" * 64), "signed by its publisher", 1_700_000_000, {"mke2fs": "1.47.2"}
    ),
    image=ImageRecord(1 << 31, Digest.of(b"image")),
    block_map="node-1.img.bmap",
    files=tuple(AppliedEdit.of(edit, mode) for edit, mode in zip(EDITS, MODES, strict=True)),
    packages=(Package("libstdc++6", "14.2.0-19", "arm64"), Package("bind9-host", "1:9.20.11-4", "arm64")),
    tools={"debugfs": "debugfs 1.47.2 (1-Jan-2025)", "mcopy": "mcopy 4.0.48"},
    machine=MACHINE,
    promises=PROMISES,
)


def bent(change: Callable[[dict[str, Any]], object]) -> bytes:
    """The manifest's file after a change of its document."""
    document = json.loads(manifest.encode(MANIFEST))
    change(document)
    return json.dumps(document).encode()


def test_what_is_encoded_parses_to_the_same():
    assert manifest.parse(manifest.encode(MANIFEST)) == MANIFEST


def test_a_board_without_machine_and_a_base_made_here_parse_to_the_same():
    lean = replace(MANIFEST, machine=None, base=replace(MANIFEST.base, published=None), packages=())
    assert manifest.parse(manifest.encode(lean)) == lean


@given(st.from_type(QemuMachine), st.lists(st.from_type(Promise)), st.lists(st.from_type(AppliedEdit)))
def test_machine_promises_and_edits_come_back_as_values(
    machine: QemuMachine, promises: list[Promise], files: list[AppliedEdit]
):
    varied = replace(MANIFEST, machine=machine, promises=tuple(promises), files=tuple(files))
    assert manifest.parse(manifest.encode(varied)) == varied


def test_the_file_is_sorted_and_for_people_too():
    text = manifest.encode(MANIFEST).decode()
    keys = list(json.loads(text))
    assert keys == sorted(keys)
    assert text.endswith("}\n")
    assert '\n  "architecture": "arm64",\n' in text
    assert '"because": "ü"' in text


def test_the_order_in_which_tools_were_asked_does_not_show():
    swapped = dict(reversed(list(MANIFEST.tools.items())))
    assert list(swapped) != list(MANIFEST.tools)
    assert manifest.encode(replace(MANIFEST, tools=swapped)) == manifest.encode(MANIFEST)


def test_an_edit_is_recorded_by_path_mode_and_digest():
    assert AppliedEdit.of(EDITS[0], None) == AppliedEdit(
        "boot", "/user-data", "PutFile", None, Digest.of(b"#cloud-config\n").hex, 14
    )
    assert AppliedEdit.of(EDITS[1], 0o644) == AppliedEdit(
        "root", "/opt/large.tar", "PutFile", "0644", Digest.of(b"large").hex, 5
    )
    assert AppliedEdit.of(EDITS[3], 0o1700) == AppliedEdit("root", "/var/lib/imagesmith", "MakeDir", "1700")
    assert AppliedEdit.of(EDITS[4], 0o600) == AppliedEdit("boot", "/config.txt", "EnsureLine", "0600")


def test_a_base_of_which_nobody_noted_the_tools_is_read():
    assert manifest.parse(bent(lambda document: document["base"].pop("tools"))).base.tools == {}


def test_a_secret_leaves_neither_digest_nor_size():
    assert AppliedEdit.of(EDITS[2], 0o600) == AppliedEdit("root", "/etc/token", "PutFile", "0600", "", 0)


def test_where_large_content_lay_is_not_in_the_file():
    assert b"/cache" not in manifest.encode(MANIFEST)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("image"), "image is missing"),
        (lambda d: d["image"].pop("size"), "image.size is missing"),
        (lambda d: d.update(surplus=1), "surplus is unknown"),
        (lambda d: d["machine"].update(flags=[]), "machine.flags is unknown"),
        (lambda d: d["image"].update(size="17"), "image.size must be a whole number, not '17'"),
        (lambda d: d["image"].update(size=True), "image.size must be a whole number, not True"),
        (lambda d: d["image"].update(size=1.5), "image.size must be a whole number, not 1.5"),
        (lambda d: d["image"].update(digest="sha256:00"), "image.digest: 'sha256:00' is not a digest"),
        (lambda d: d["image"].update(digest=None), "image.digest must be a digest, not None"),
        (lambda d: d.update(architecture="m68k"), "architecture must be 'amd64' or 'arm64', not 'm68k'"),
        (lambda d: d["machine"].update(disk="ide"), "machine.disk must be 'virtio' or 'sd', not 'ide'"),
        (lambda d: d.update(promises={}), "promises must be a list"),
        (lambda d: d["promises"][1].update(fact=None), r"promises\[1\].fact must be text, not None"),
        (lambda d: d["files"][2].update(partition="swap"), r"files\[2\].partition must be 'boot' or 'esp' or 'root'"),
        (lambda d: d["tools"].update(mcopy=4), "tools.mcopy must be text, not 4"),
        (lambda d: d.update(base=[]), r"base must be an object, not \[\]"),
        (lambda d: d.update(block_map="../other.bmap"), "block_map must be a bare file name"),
        (lambda d: d.update(block_map=".."), "block_map must be a bare file name"),
        (lambda d: d["plan"].update(name="node-2"), "its plan does not have its plan_id"),
        (lambda d: d.update(plan_id="0" * 64), "its plan does not have its plan_id"),
        (lambda d: d.update(schema=2), "it is of schema 2, this imagesmith reads 1"),
    ],
)
def test_a_bent_manifest_is_refused_with_its_place(change: Callable[[dict[str, Any]], object], message: str):
    with pytest.raises(ContentMalformed, match=message) as caught:
        manifest.parse(bent(change))
    assert caught.value.where == "manifest"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no JSON"),
        (b"\x7fELF", "no JSON"),
        (b"\xff\xfe{}", "no JSON"),
        (b"[" * 200_000, "nested too deeply|no JSON"),
        (b'{"schema": 1, "schema": 1}', "'schema' is given twice"),
        (b'{"schema": NaN}', "NaN is no number"),
        (b"[]", "the document must be an object"),
        (b'"text"', "the document must be an object"),
    ],
    ids=["empty", "elf", "utf-16", "deep", "twice", "nan", "list", "text"],
)
def test_what_is_no_manifest_is_refused(data: bytes, message: str):
    with pytest.raises(ContentMalformed, match=message):
        manifest.parse(data)


def test_a_truncated_manifest_is_refused():
    whole = manifest.encode(MANIFEST)
    for length in range(0, len(whole) - 2, 97):
        with pytest.raises(ContentMalformed, match="no JSON"):
            manifest.parse(whole[:length])


def test_a_secret_s_value_has_no_way_into_the_file():
    with pytest.raises(TypeError):
        manifest.encode(replace(MANIFEST, plan={"token": Secret(b"hush")}))
