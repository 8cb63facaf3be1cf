"""The record of an interrupted run: a broken one or a full disk costs nothing but itself."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from imagesmith.planning.resume import Written
from imagesmith.units import MiB
from imagesmith.workflow.journals import journal

PLACES = ((MiB, 4096), (3 * MiB, MiB))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMAGESMITH_CACHE", str(tmp_path))
    return tmp_path / "interrupted"


def test_what_was_kept_is_known_to_the_next_run_until_it_is_all_done(folder: Path) -> None:
    _, keep = journal("k" * 64)
    keep(Written(PLACES))
    assert journal("k" * 64)[0].places == PLACES
    keep(Written())
    assert list(folder.iterdir()) == []


def test_a_full_disk_leaves_the_last_record_and_nothing_else(folder: Path) -> None:
    _, keep = journal("k" * 64)
    keep(Written(PLACES))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        keep(Written(PLACES[:1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(list(folder.iterdir())) == 1
    assert journal("k" * 64)[0].places == PLACES


def test_a_record_that_is_nested_too_deeply_is_none(folder: Path) -> None:
    journal("k" * 64)[1](Written(PLACES))
    (record,) = folder.iterdir()
    record.write_text("[" * 500_000)
    assert journal("k" * 64)[0].places == ()
