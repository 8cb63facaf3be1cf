"""One plan, one id: equal plans agree, and a change anywhere in a plan shows."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.formats.canonical import canonical_json, plan_id, to_plain
from imagesmith.model import (
    Base,
    BuildPlan,
    DebianSource,
    Digest,
    DiskLayout,
    EnsureLine,
    EnsureToken,
    EnsureWord,
    FileContent,
    FileSource,
    HttpSource,
    Link,
    LockAccount,
    MakeDir,
    Network,
    Node,
    PartitionSpec,
    Promise,
    PutFile,
    QemuMachine,
    Remove,
    RemoveKey,
    SetKey,
    Settings,
    Signature,
)
from imagesmith.secret import PasswordHash, Secret, SecretRef, SecretText, WpaKey

DIGEST = Digest.of(b"a base")
HTTP = HttpSource(
    "https://example.org/base.img.xz", ("https://mirror.example/base.img.xz",), DIGEST, 17, DIGEST, 170, "sums",
    Signature("https://example.org/base.sig", "file", ("AB" * 20,), "publisher.gpg"), 1_700_000_000,
)  # fmt: skip
DEBIAN = DebianSource(
    "trixie", ("main",), ("linux-image-amd64", "openssh-server"), "systemd-boot", "console=ttyS0",
    DiskLayout("gpt", (PartitionSpec("esp", "fat32", "ESP", 64 << 20, "/boot/efi"),)), 300_000_000,
)  # fmt: skip
EDITS = (
    PutFile("boot", "/user-data", b"#cloud-config\n", 0o600, 1, 2),
    PutFile("root", "/opt/large.tar", FileContent(Path("/cache/large"), DIGEST, 70)),
    PutFile("root", "/etc/token", SecretRef("cluster-token"), 0o600),
    PutFile("root", "/etc/wifi", SecretText((b"psk=", WpaKey(SecretRef("file:wifi"), "home"))), 0o600),
    PutFile("root", "/etc/hash", SecretText((PasswordHash(SecretRef("file:hash")),)), 0o600),
    EnsureLine("boot", "/config.txt", "arm_64bit=1"),
    EnsureToken("boot", "/cmdline.txt", "cgroup_enable=memory"),
    MakeDir("root", "/var/lib/imagesmith", 0o700),
    Link("root", "/etc/localtime", "/usr/share/zoneinfo/Etc/UTC"),
    Remove("root", "/etc/motd"),
    SetKey("root", "/boot/armbianEnv.txt", "console", "both"),
    RemoveKey("root", "/boot/armbianEnv.txt", "ethaddr"),
    EnsureWord("root", "/boot/armbianEnv.txt", "extraargs", "quiet"),
    LockAccount("root", "/etc/shadow", "root"),
)
PLAN = BuildPlan(
    "node-1",
    Node("node-1", "rpi4-worker", "debian", Network("192.168.1.10/24", "192.168.1.1"), None, Settings(), "home", "lan"),
    "worker",
    "rpi4-worker",
    "rpi4",
    "arm64",
    Base("debian", "debian", DEBIAN, 2 << 30),
    EDITS,
    (Promise("hostname", "equals", "node-1", "the node's name"),),
    QemuMachine("virt", "cortex-a72", 2, 1 << 30, "kernel", "virtio", "virtio", "ttyAMA0", "", ("Wi-Fi",)),
    1_700_000_000,
)


def variants(value: object, path: str) -> Iterator[tuple[str, object]]:
    """The value with exactly one leaf changed, once for every leaf, and with lists a member shorter."""
    if isinstance(value, bool):
        yield path, not value
    elif isinstance(value, int):
        yield path, value + 1
    elif isinstance(value, str):
        yield path, value + "x"
    elif isinstance(value, bytes):
        yield path, value + b"x"
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield f"{path}[-{index}]", value[:index] + value[index + 1 :]
            for place, other in variants(item, f"{path}[{index}]"):
                yield place, (*value[:index], other, *value[index + 1 :])
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            for place, other in variants(getattr(value, field.name), f"{path}.{field.name}"):
                yield place, replace(value, **{field.name: other})


PLANS = [
    replace(PLAN, base=replace(PLAN.base, source=source)) for source in (DEBIAN, HTTP, FileSource("a.img", DIGEST))
]
CHANGES = [change for plan in PLANS for change in variants(plan, "plan")]


def test_the_changes_tried_below_reach_every_corner():
    places = " ".join(place for place, _ in CHANGES)
    for corner in ("settings.zram_percent", "edits[0].mode", "signature.fingerprints[0]", "layout.partitions[0].size"):
        assert corner in places


@pytest.mark.parametrize("plan", PLANS, ids=["debian", "http", "file"])
def test_a_change_anywhere_in_a_plan_changes_its_id(plan: BuildPlan):
    own, seen = plan_id(plan), {}
    for place, changed in variants(plan, "plan"):
        assert isinstance(changed, BuildPlan)
        if place.endswith("content.path") or ".written." in place:
            continue
        found = plan_id(changed)
        assert found != own, place
        assert found not in seen, (place, seen.get(found))
        seen[found] = place


@given(st.from_type(Settings), st.from_type(Network), st.from_type(Settings), st.from_type(Network))
def test_plans_have_the_same_id_exactly_when_they_are_equal(
    one: Settings, here: Network, two: Settings, there: Network
):
    first = replace(PLAN, node=replace(PLAN.node, settings=one, network=here))
    second = replace(PLAN, node=replace(PLAN.node, settings=two, network=there))
    assert (first == second) == (plan_id(first) == plan_id(second))
    assert plan_id(copy.deepcopy(first)) == plan_id(first)


def test_where_a_file_lies_on_this_machine_does_not_change_the_id():
    moved = PutFile("root", "/opt/large.tar", FileContent(Path("/elsewhere"), DIGEST, 70))
    assert plan_id(replace(PLAN, edits=(EDITS[0], moved, *EDITS[2:]))) == plan_id(PLAN)


def test_two_kinds_of_edit_with_equal_fields_differ():
    link = to_plain(Link("root", "/a", "b"))
    assert link == {"kind": "Link", "partition": "root", "path": "/a", "target": "b"}
    assert canonical_json(EnsureLine("root", "/a", "b")) != canonical_json(EnsureToken("root", "/a", "b"))


def test_content_shows_as_its_digest_and_mode_as_text():
    plain = to_plain(EDITS[0])
    assert plain == {
        "kind": "PutFile", "partition": "boot", "path": "/user-data",
        "content": {"sha256": hashlib.sha256(b"#cloud-config\n").hexdigest(), "size": 14},
        "mode": "0600", "uid": 1, "gid": 2,
    }  # fmt: skip


def test_a_secret_shows_by_its_name_alone():
    plain = to_plain(EDITS[2])
    assert isinstance(plain, Mapping)
    assert plain["content"] == {"kind": "SecretRef", "name": "cluster-token"}


def test_a_secret_drawn_anew_makes_another_text() -> None:
    first, second = (SecretRef("vault:token", drawn=f"2026-11-23T12:00:0{n}Z") for n in (0, 1))
    assert canonical_json(first) != canonical_json(second)
    assert to_plain(first) == {"kind": "SecretRef", "name": "vault:token", "drawn": "2026-11-23T12:00:00Z"}


def test_a_secret_itself_is_refused():
    with pytest.raises(TypeError, match="Secret has no plain form"):
        to_plain({"token": Secret(b"K10::server:hush")})


def test_fields_keep_their_order_for_people():
    plain = to_plain(PLAN)
    assert isinstance(plain, dict)
    assert list(plain) == [field.name for field in dataclasses.fields(BuildPlan)]


def test_canonical_json_is_sorted_utf8_without_spaces():
    assert canonical_json({"b": ("ü", None), "a": DIGEST}) == f'{{"a":"{DIGEST}","b":["ü",null]}}'.encode()


def test_plain_data_stays_what_it_is():
    plain = to_plain(PLAN)
    assert to_plain(plain) == plain
    assert canonical_json(json.loads(canonical_json(PLAN))) == canonical_json(PLAN)


@pytest.mark.parametrize("value", [float("nan"), {1: "one"}, {"a", "b"}, object()], ids=["nan", "key", "set", "object"])
def test_what_json_can_not_hold_is_refused(value: object):
    with pytest.raises((TypeError, ValueError)):
        canonical_json(value)
