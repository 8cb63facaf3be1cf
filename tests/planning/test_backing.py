"""Backups judged by their age; the one that is meant by a date; what a restore does in which order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from imagesmith.errors import ContentMalformed, UsageError
from imagesmith.planning.backing import Restoring, chosen, from_snapshot, judged, read_kept, restoration
from imagesmith.planning.life import ByHand, Run, shown

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LISTED = b"""node-1-20261120T023000Z.tar.zst 10
node-1-20261122T023000Z.tar.zst 20
node-1-20261122T113000Z.tar.zst.age 30
"""


def told(last: timedelta | None = None, card: timedelta = timedelta(days=30), **facts: str) -> dict[str, str]:
    found = {"backup.asked_since": str(int((NOW - card).timestamp()))}
    if last is not None:
        found["backup.last_good"] = f"{NOW - last:%Y-%m-%dT%H:%M:%SZ}"
    return {**found, **{f"backup.{key}": value for key, value in facts.items()}}


@pytest.mark.parametrize(
    ("facts", "wrong"),
    [
        ({}, []),
        (told(timedelta(hours=30), state="good"), []),
        (told(timedelta(hours=30), state="running"), []),
        (told(timedelta(days=2, hours=1), state="good"), ["its last backup is 2 days old"]),
        (told(-timedelta(hours=20), state="good"), []),
        (told(-timedelta(days=400), state="good"),
         ["its last backup is of 2027-12-28, which is yet to come: its clock was wrong, or this one is"]),
        (told(timedelta(hours=30), state="failed", reason="no room"), ["its backup failed: no room"]),
        (told(timedelta(days=9), state="failed", reason="no room"),
         ["its backup failed: no room", "its last backup is 9 days old"]),
        (told(), ["it was never backed up"]),
        (told(card=timedelta(hours=20)), []),
        (told(card=timedelta(hours=20), state="held", reason="there are backups"),
         ["it is not backed up: there are backups"]),
        (told(last_good="nonsense"), ["it was never backed up"]),
    ],
)  # fmt: skip
def test_what_is_wrong(facts: dict[str, str], wrong: list[str]) -> None:
    assert list(judged(facts, NOW)) == wrong


@pytest.mark.parametrize(
    ("date", "size"), [("", 30), ("2026-11-22", 30), ("2026-11-21", 10), ("node-1-20261122T023000Z.tar.zst", 20)]
)
def test_a_date_means_the_newest_until_its_end(date: str, size: int) -> None:
    assert chosen(read_kept(LISTED, "node-1"), date, "node-1").size == size


@pytest.mark.parametrize("date", ["2026-11-19", "yesterday", "2026-13-01", "node-2-20261122T023000Z.tar.zst"])
def test_a_date_that_means_none_is_refused(date: str) -> None:
    with pytest.raises(UsageError):
        chosen(read_kept(LISTED, "node-1"), date, "node-1")


@pytest.mark.parametrize("output", [b"../x 10\n", b"node-1-20261120T023000Z.tar.zst\n", b"motd\n"])
def test_what_is_no_list_of_backups_is_not_read(output: bytes) -> None:
    with pytest.raises(ContentMalformed):
        read_kept(output, "node-1")


def wanted(duty: str, *servers: str, datastore: str = "etcd", silent: tuple[str, ...] = ()) -> Restoring:
    return Restoring("s-1", duty, read_kept(LISTED, "s-1")[0], servers, datastore, silent)


def test_the_only_server_is_waited_for() -> None:
    assert [shown(step).partition(" (")[0] for step in restoration(wanted("founder", "s-1"))] == [
        "s-1: read node-1-20261120T023000Z.tar.zst through",
        "s-1: lay it, with k3s and its pods stopped",
        "s-1: wait until its API is ready",
    ]


@pytest.mark.parametrize(
    ("duty", "servers", "what"),
    [("founder", ["s-1"], "all"), ("founder", ["s-1", "s-2", "s-3"], "files"), ("agent", ["s-2"], "files")],
)
def test_the_state_of_k3s_is_laid_where_the_inventory_has_one_server_by_now(
    duty: str, servers: list[str], what: str
) -> None:
    step = restoration(wanted(duty, *servers))[1]
    assert isinstance(step, Run) and step.argv[1:3] == ("lay", what)


def test_servers_that_are_silent_stay_off_while_others_join_one_by_one() -> None:
    steps = from_snapshot(wanted("server", "s-1", "s-2", "s-3", silent=("s-3",)))
    assert isinstance(steps[0], ByHand) and "keep s-3 switched off" in steps[0].doing
    assert [shown(step).partition(" (")[0] for step in steps[1:]] == [
        "s-1: see that it can restore",
        "s-2: see that it can restore",
        "s-1: read node-1-20261120T023000Z.tar.zst through",
        "s-2: stop k3s",
        "s-1: begin etcd anew from it",
        "s-1: wait until its API is ready",
        "s-2: forget its datastore, and join",
        "s-1: wait until s-2 is Ready",
    ]


def test_sqlite_has_no_snapshot() -> None:
    with pytest.raises(UsageError, match="a file on its one server"):
        from_snapshot(wanted("founder", "s-1", datastore="sqlite"))
