"""What is fetched for an image beside its base: a file of the inventory's owner, or one that is pinned and cached."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from building import Workshop
from image.made_disks import Disk, MiB, no_secret, noise

from imagesmith.errors import DigestMismatch, SourceUnreachable, UsageError
from imagesmith.formats.canonical import plan_id
from imagesmith.model import BuildPlan, Cluster, Digest, K3s, Part, Registry, SealedCluster, Supply
from imagesmith.secret import SecretRef
from imagesmith.sources.cache import Cache
from imagesmith.sources.lock import NO_LOCK
from imagesmith.sources.published import KIND
from imagesmith.workflow.bases import Bases
from imagesmith.workflow.build import BuildOptions, build
from imagesmith.workflow.planned import plan
from imagesmith.workflow.supplies import NOTHING, PROGRAM, Fetched, fetched_for
from imagesmith.workflow.target import Wanted, resolve

PROGRAM_BYTES = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00" + noise(3 * MiB, 8)
LOCK = Path("imagesmith.lock")


@pytest.fixture
def found(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> Wanted:
    monkeypatch.chdir(shop.folder)
    return resolve("./mine.yaml", cluster=None)


def part(shop: Workshop, found: Wanted, k3s: K3s) -> Part:
    """The founder of a cluster of one, whose vault has all that it needs."""
    ref = SecretRef("vault:x")
    sealed = SealedCluster("0" * 64, {}, {}, ref, ref, {})
    cluster = Cluster("home", "", (found.node,), str(shop.folder / "cluster.yaml"), k3s)
    return Part(cluster, found.node, "founder", (found.node,), sealed)


def fetched(shop: Workshop, found: Wanted, k3s: K3s) -> Fetched:
    return fetched_for(found, part(shop, found, k3s), found.base, LOCK, NO_LOCK)


def supplied(shop: Workshop, found: Wanted) -> tuple[Supply, ...]:
    """With the file k3s-own as the program."""
    return fetched(shop, found, K3s(files={"arm64": "k3s-own"})).supplies


def made(build_plan: BuildPlan, shop: Workshop) -> Disk:
    """The plan's image, with its root as it is now."""
    with Bases(Cache(shop.cache), insecure=False, listener=lambda event: None) as bases:
        options = BuildOptions(shop.out, "none")
        image = build(build_plan, options, bases, lambda event: None, no_secret)
    return Disk(image.path, dict(shop.disk.offsets), dict(shop.disk.sizes))


def pinned(content: bytes, url: str = "https://127.0.0.1:1/k3s") -> Supply:
    return Supply("k3s", PROGRAM, url, Digest.of(content), len(content), 0o755)


def file_away(shop: Workshop, content: bytes) -> None:
    cache, digest = Cache(shop.cache), Digest.of(content)
    with cache.scratch(KIND, digest.hex) as folder:
        (folder / "data").write_bytes(content)
        cache.publish(KIND, digest.hex, folder / "data", digest, {})


# -- a file of one's own --------------------------------------------------------------------------


def test_a_file_beside_the_inventory_is_the_program(shop: Workshop, found: Wanted) -> None:
    (shop.folder / "k3s-own").write_bytes(PROGRAM_BYTES)
    (supply,) = supplied(shop, found)
    assert (supply.path, supply.mode, supply.url) == (PROGRAM, 0o755, "")
    assert (supply.digest, supply.size) == (Digest.of(PROGRAM_BYTES), len(PROGRAM_BYTES))
    assert supply.file == str(shop.folder / "k3s-own")


def bytes_read() -> int:
    """By this process, from whatever file."""
    return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])


def test_a_file_is_digested_once_and_anew_when_it_was_changed(shop: Workshop, found: Wanted) -> None:
    own = shop.folder / "k3s-own"
    other = PROGRAM_BYTES[:-1] + bytes([PROGRAM_BYTES[-1] ^ 1])
    # Written within one tick of the clock, perhaps: nothing tells the two apart but their bytes.
    for content in (PROGRAM_BYTES, other):
        own.write_bytes(content)
        assert supplied(shop, found)[0].digest == Digest.of(content)
    time.sleep(2.1)
    supplied(shop, found)
    before, written = bytes_read(), own.stat().st_mtime_ns
    assert supplied(shop, found)[0].digest == Digest.of(other)
    assert bytes_read() - before < len(PROGRAM_BYTES)
    own.write_bytes(PROGRAM_BYTES)
    os.utime(own, ns=(written, written))
    assert supplied(shop, found)[0].digest == Digest.of(PROGRAM_BYTES)


def test_a_file_that_is_not_there_is_told_with_its_path(shop: Workshop, found: Wanted) -> None:
    with pytest.raises(UsageError, match="no such file") as failure:
        fetched(shop, found, K3s(files={"arm64": "away"}))
    assert failure.value.where == str(shop.folder / "away")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (PROGRAM_BYTES.replace(b"\xb7", b"\x3e", 1), "a program for amd64, and stands there for arm64"),
        (b"<!DOCTYPE html>\n<html>Not Found</html>", "no program, and stands there for arm64"),
        (b"", "no program"),
    ],
)
def test_a_file_that_no_such_node_could_start_is_refused(
    shop: Workshop, found: Wanted, given: bytes, told: str
) -> None:
    (shop.folder / "k3s-own").write_bytes(given)
    with pytest.raises(UsageError, match=told) as failure:
        supplied(shop, found)
    assert failure.value.where == str(shop.folder / "k3s-own") and "give k3s for arm64" in failure.value.hint


def test_a_script_is_taken_for_every_processor(shop: Workshop, found: Wanted) -> None:
    (shop.folder / "k3s-own").write_bytes(b"#!/bin/sh\n")
    assert [one.path for one in supplied(shop, found)] == [PROGRAM]


def test_a_node_of_no_cluster_has_nothing(found: Wanted) -> None:
    assert fetched_for(found, None, found.base, LOCK, NO_LOCK) == NOTHING


# -- into the image -------------------------------------------------------------------------------


def test_it_is_put_whole_with_its_mode_and_told_in_the_manifest(shop: Workshop, found: Wanted) -> None:
    own = shop.folder / "k3s-own"
    own.write_bytes(PROGRAM_BYTES)
    supplies = supplied(shop, found)
    disk = made(replace(plan(found, LOCK), supplies=supplies), shop)
    with_it = disk.on_ext4(f"dump {PROGRAM} {shop.folder}/got")
    assert (shop.folder / "got").read_bytes() == PROGRAM_BYTES, with_it
    assert "Mode:  0755" in disk.on_ext4(f"stat {PROGRAM}")
    files = json.loads((shop.out / "mine/mine.manifest.json").read_text())["files"]
    (told,) = [one for one in files if one["path"] == PROGRAM]
    assert (told["sha256"], told["size"]) == (Digest.of(PROGRAM_BYTES).hex, len(PROGRAM_BYTES))


def test_a_root_without_room_for_it_is_grown(shop: Workshop, found: Wanted) -> None:
    large = PROGRAM_BYTES + noise(40 * MiB, 9)
    (shop.folder / "k3s-own").write_bytes(large)
    supplies = supplied(shop, found)
    disk = made(replace(plan(found, LOCK), supplies=supplies), shop)
    disk.on_ext4(f"dump {PROGRAM} {shop.folder}/got")
    assert (shop.folder / "got").read_bytes() == large


def test_a_file_that_changes_after_it_was_planned_is_refused(shop: Workshop, found: Wanted) -> None:
    (shop.folder / "k3s-own").write_bytes(PROGRAM_BYTES)
    supplies = supplied(shop, found)
    (shop.folder / "k3s-own").write_bytes(bytes([PROGRAM_BYTES[0] ^ 1]) + PROGRAM_BYTES[1:])
    with pytest.raises(DigestMismatch, match="another digest than the plan says"):
        made(replace(plan(found, LOCK), supplies=supplies), shop)
    assert not (shop.out / "mine").exists()


def test_what_is_in_the_cache_needs_no_network(shop: Workshop, found: Wanted) -> None:
    file_away(shop, PROGRAM_BYTES)
    disk = made(replace(plan(found, LOCK), supplies=(pinned(PROGRAM_BYTES),)), shop)
    disk.on_ext4(f"dump {PROGRAM} {shop.folder}/got")
    assert (shop.folder / "got").read_bytes() == PROGRAM_BYTES


def test_what_can_not_be_had_is_told_by_its_name(shop: Workshop, found: Wanted) -> None:
    with pytest.raises(SourceUnreachable, match="while getting k3s, while building mine"):
        made(replace(plan(found, LOCK), supplies=(pinned(PROGRAM_BYTES),)), shop)


def test_where_it_came_from_does_not_change_the_plan(shop: Workshop, found: Wanted) -> None:
    one, other = pinned(PROGRAM_BYTES), pinned(PROGRAM_BYTES, "https://elsewhere.example/k3s")
    ids = {plan_id(replace(plan(found, LOCK), supplies=(supply,))) for supply in (one, other)}
    assert len(ids) == 1
    assert plan_id(replace(plan(found, LOCK), supplies=(pinned(b"x"),))) not in ids


def test_a_certificate_for_a_registry_lies_where_k3s_is_told_that_it_does(shop: Workshop, found: Wanted) -> None:
    (shop.folder / "nas.crt").write_text("PEM\n")
    registry = Registry("nas:5000", ca_file="nas.crt")
    (supply,) = fetched(shop, found, K3s(registries=(registry,))).supplies
    assert (supply.path, supply.mode) == ("/etc/rancher/k3s/registries/nas-5000.crt", 0o644)
    assert supply.digest == Digest.of(b"PEM\n")


def test_a_certificate_that_is_not_there_is_told_by_its_key(shop: Workshop, found: Wanted) -> None:
    registry = Registry("nas:5000", ca_file="gone.crt")
    with pytest.raises(UsageError) as caught:
        fetched(shop, found, K3s(registries=(registry,)))
    assert "ca_file" in caught.value.hint
