"""`update` of many: few questions a publisher, a failure that stays with its bases, no way back, and the history."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from publishers.everywhere import Everywhere, everywhere
from publishers.fixtures import signer
from publishers.houses import Key
from publishers.signing import Signer

from imagesmith.errors import DigestMismatch, DocumentInvalid, SourceUnreachable, UsageError
from imagesmith.model import Base, Board, Digest, HttpSource
from imagesmith.sources import lock
from imagesmith.sources.cache import Cache
from imagesmith.sources.fetch import Patience
from imagesmith.sources.lock import LockEntry
from imagesmith.workflow.locking import Options, Outcome, update, update_all
from imagesmith.workflow.target import TargetChoice
from imagesmith.workflow.updatable import bases_meant

__all__ = ["signer"]
QUICK = Patience(attempts=1, pause_s=0.01, connect_s=2, stall_s=0.5, away_s=0)
PI = "rpi4/raspios"
MOST = 3


@pytest.fixture(scope="module")
def key(signer: Signer) -> Key:
    return Key(signer, signer.make("everybody"))


@pytest.fixture
def world(key: Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Everywhere]:
    """Every publisher of the shipped bases."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "servers" / "ca.pem"))
    with everywhere(bases_meant(TargetChoice(no_cluster=True)) or (), tmp_path / "servers", key) as made:
        yield made


class Desk:
    """Somebody who updates a lock."""

    def __init__(self, folder: Path, key: Key) -> None:
        self.path, self.cache, self.key = folder / "imagesmith.lock", Cache(folder / "cache"), key

    def options(self, *rollbacks: str) -> Options:
        keyrings = self.key.signer.keyring(self.key.fingerprint).parent
        return Options(rollbacks=rollbacks, patience=QUICK, keyrings=keyrings, today="2026-11-23")

    def update(self, bases: tuple[tuple[Board, Base], ...], *rollbacks: str) -> Outcome:
        return update_all(bases, self.path, self.cache, options=self.options(*rollbacks))

    def entry(self, name: str) -> LockEntry:
        return lock.read(self.path).entries[name]


@pytest.fixture
def desk(tmp_path: Path, key: Key) -> Desk:
    return Desk(tmp_path, key)


def pi(world: Everywhere) -> tuple[tuple[Board, Base], ...]:
    return tuple(one for one in world.bases if (one[0].name, one[1].name) == ("rpi4", "raspios"))


def offer(world: Everywhere, day: str, key: Key, tmp_path: Path) -> None:
    """Let Raspberry Pi's index have another release."""
    server = world.servers["downloads.raspberrypi.com"]
    file = f"/images/{day}-raspios-trixie-arm64-lite.img.xz"
    entry = {"name": "Raspberry Pi OS Lite (64-bit)", "url": server.url(file), "release_date": day}
    server.file("/os_list_imagingutility_v4.json", json.dumps({"os_list": [entry]}).encode())
    server.file(f"{file}.sha256", f"{Digest.of(day.encode()).hex}  {file[8:]}\n".encode())


# -- how much is asked, and what comes of it ------------------------------------------------------


def test_all_boards_are_updated_in_three_questions_a_publisher(world: Everywhere, desk: Desk) -> None:
    outcome = desk.update(world.bases)
    assert outcome.failures == ()
    assert max(world.requests().values()) <= MOST
    assert set(lock.read(desk.path).entries) == {f"{board.name}/{base.name}" for board, base in world.bases}
    assert all(entry.digest for entry in lock.read(desk.path).entries.values())


def test_boards_that_share_a_base_ask_once(world: Everywhere, desk: Desk) -> None:
    shared = tuple(one for one in world.bases if one[1].name == "raspios")
    assert len(shared) > 1
    desk.update(shared)
    assert world.requests() == {"downloads.raspberrypi.com": 2}


def test_signatures_that_were_left_are_asked_for_by_the_next_update(world: Everywhere, desk: Desk) -> None:
    signed = [one for one in world.bases if isinstance(one[1].source, HttpSource) and one[1].source.signature
              and one[1].source.signature.covers == "checksums"]  # fmt: skip
    for _ in range(3):
        desk.update(tuple(signed))
    entries = lock.read(desk.path).entries.values()
    assert [entry.unchecked for entry in entries] == [False] * len(signed)
    assert all(entry.fingerprint == desk.key.fingerprint for entry in entries)


def test_when_nothing_is_newer_nothing_is_written(world: Everywhere, desk: Desk) -> None:
    for _ in range(3):
        desk.update(world.bases)
    before = desk.path.read_bytes()
    assert desk.update(world.bases).changes == ()
    assert desk.path.read_bytes() == before


def test_bases_that_follow_no_index_are_left_and_told(desk: Desk) -> None:
    made = tuple(one for one in bases_meant(TargetChoice(no_cluster=True)) or () if one[1].name == "debian")
    outcome = desk.update(made)
    assert outcome.left == tuple(f"{board.name}/debian" for board, _ in made)
    assert not desk.path.exists()


# -- what changes ---------------------------------------------------------------------------------


def test_a_newer_release_is_locked_and_the_earlier_one_kept(
    world: Everywhere, desk: Desk, key: Key, tmp_path: Path
) -> None:
    desk.update(pi(world))
    first = desk.entry(PI)
    offer(world, "2026-11-20", key, tmp_path)
    outcome = desk.update(pi(world))
    entry = desk.entry(PI)
    assert (entry.version, entry.digest) == ("2026-11-20", Digest.of(b"2026-11-20"))
    assert entry.earlier == (first,)
    assert "rpi4/raspios: version 2026-10-06 -> 2026-11-20" in [str(change) for change in outcome.changes]


def test_a_few_earlier_ones_are_kept_newest_first(world: Everywhere, desk: Desk, key: Key, tmp_path: Path) -> None:
    for day in range(10, 17):
        offer(world, f"2026-11-{day}", key, tmp_path)
        desk.update(pi(world))
    assert [one.version for one in desk.entry(PI).earlier] == [f"2026-11-{day}" for day in (15, 14, 13, 12)]


def test_what_a_download_measured_stays_known(world: Everywhere, desk: Desk) -> None:
    desk.update(pi(world))
    measured = replace(desk.entry(PI), raw_size=4096, raw_digest=Digest.of(b"raw"), unchecked=False)
    lock.write(desk.path, lock.Lock().with_entry("rpi4", "raspios", measured))
    assert desk.update(pi(world)).changes == ()
    assert desk.entry(PI) == measured


# -- no way back ----------------------------------------------------------------------------------


def test_an_older_release_is_refused(world: Everywhere, desk: Desk, key: Key, tmp_path: Path) -> None:
    offer(world, "2026-11-20", key, tmp_path)
    desk.update(pi(world))
    before = desk.path.read_bytes()
    offer(world, "2026-11-01", key, tmp_path)
    (failure,) = desk.update(pi(world)).failures
    assert isinstance(failure, DigestMismatch)
    assert "an older release (2026-11-01) than the one that is locked (2026-11-20)" in str(failure)
    assert "--allow-rollback rpi4/raspios" in failure.hint
    assert desk.path.read_bytes() == before


def test_a_rollback_can_be_allowed_by_name(world: Everywhere, desk: Desk, key: Key, tmp_path: Path) -> None:
    offer(world, "2026-11-20", key, tmp_path)
    desk.update(pi(world))
    offer(world, "2026-11-01", key, tmp_path)
    assert desk.update(pi(world), "rpi3/raspios").failures
    assert desk.update(pi(world), PI).failures == ()
    assert desk.entry(PI).version == "2026-11-01"
    assert desk.entry(PI).earlier[0].version == "2026-11-20"


def test_the_same_release_under_another_day_is_no_rollback(world: Everywhere, desk: Desk) -> None:
    desk.update(pi(world))
    later = replace(desk.entry(PI), released=2_000_000_000, version="2033-05-18")
    lock.write(desk.path, lock.Lock().with_entry("rpi4", "raspios", later))
    assert desk.update(pi(world)).failures == ()


# -- failures -------------------------------------------------------------------------------------


def test_a_publisher_that_is_away_leaves_its_entries_and_the_others_are_updated(
    world: Everywhere, desk: Desk, key: Key, tmp_path: Path
) -> None:
    desk.update(world.bases)
    armbian = desk.entry("bananapi-m5/armbian")
    world.servers["api.armbian.com"].forget()
    offer(world, "2026-11-20", key, tmp_path)
    outcome = desk.update(tuple(one for one in world.bases if one[1].name in ("armbian", "raspios")))
    (failure,) = outcome.failures
    assert isinstance(failure, SourceUnreachable)
    assert "api/v1/boards/bananapim5/images" in str(failure)
    assert desk.entry("bananapi-m5/armbian") == armbian
    assert desk.entry(PI).version == "2026-11-20"


def test_a_failure_of_a_shared_index_is_told_once(world: Everywhere, desk: Desk) -> None:
    world.servers["downloads.raspberrypi.com"].forget()
    outcome = desk.update(tuple(one for one in world.bases if one[1].name in ("raspios", "raspios-legacy")))
    assert len(outcome.failures) == 1
    assert not desk.path.exists()


def test_one_that_is_named_raises(world: Everywhere, desk: Desk) -> None:
    ((board, base),) = pi(world)
    world.servers["downloads.raspberrypi.com"].forget()
    with pytest.raises(SourceUnreachable):
        update(board, base, desk.path, desk.cache, options=desk.options())


def test_a_broken_lock_is_told_before_anybody_is_asked(world: Everywhere, desk: Desk) -> None:
    desk.path.write_text("schema: 9\n")
    with pytest.raises(DocumentInvalid):
        desk.update(world.bases)
    assert world.requests() == {}
    assert desk.path.read_text() == "schema: 9\n"


# -- which are meant ------------------------------------------------------------------------------


def names(choice: TargetChoice) -> set[str] | None:
    found = bases_meant(choice)
    return None if found is None else {f"{board.name}/{base.name}" for board, base in found}


def test_a_board_means_its_bases() -> None:
    meant = names(TargetChoice("rpi4", no_cluster=True))
    assert meant
    assert {"rpi4/raspios", "rpi4/debian"} <= meant
    assert all(name.startswith("rpi4/") for name in meant)


def test_a_profile_means_itself() -> None:
    assert names(TargetChoice("rpi4-worker", no_cluster=True)) is None


def test_what_is_nothing_is_told_with_all_that_it_could_be() -> None:
    with pytest.raises(UsageError, match="no board, node or profile 'rpi5'; did you mean 'rpi") as caught:
        names(TargetChoice("rpi5", no_cluster=True))
    assert "boards: bananapi-m5, " in caught.value.hint
    assert "profiles: bananapi-m5-worker, " in caught.value.hint


def test_nothing_named_means_the_inventorys_nodes(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    nodes = "".join(f"  - {{name: node-{number}, profile: rpi4-worker}}\n" for number in (1, 2))
    path.write_text(f"schema: 1\nname: home\nnodes:\n{nodes}")
    assert names(TargetChoice(cluster=path)) == {"rpi4/raspios"}


def test_without_an_inventory_it_means_every_board() -> None:
    meant = names(TargetChoice(no_cluster=True))
    assert meant
    assert {"rpi3/raspios", "bananapi-m5/armbian", "x86-itx/ubuntu"} <= meant
