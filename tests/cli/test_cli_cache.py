"""`cache list`, `cache prune`, `update` and `fetch` as a person meets them."""

from __future__ import annotations

import json
import os
import time

import pytest
from building import Workshop


def age(shop: Workshop, days: float) -> None:
    """Let every entry look unused for so long."""
    then = time.time() - days * 86400
    for record in shop.cache.glob("entries/*/*/entry.json"):
        os.utime(record, (then, then))


def listed(shop: Workshop) -> list[dict[str, object]]:
    return shop.run("cache", "list", "--json").lines[-1]["result"]["entries"]


def test_an_empty_cache_is_listed_as_such(shop: Workshop) -> None:
    done = shop.run("cache", "list")
    assert done.code == 0
    assert done.out == f"0 in {shop.cache}\n"


def test_fetch_brings_the_base_and_a_build_needs_no_more(shop: Workshop) -> None:
    fetched = shop.run("fetch", "./mine.yaml")
    assert fetched.code == 0
    assert "trusted because it is local file, taken as it is" in fetched.out
    assert "expand" not in shop.build().err


def test_fetch_in_json_tells_where_it_is(shop: Workshop) -> None:
    base = shop.run("fetch", "./mine.yaml", "--json").lines[-1]["result"]["base"]
    assert base["size"] == shop.base.stat().st_size
    assert base["path"].startswith(str(shop.cache))


def test_list_tells_size_and_use(shop: Workshop) -> None:
    shop.run("fetch", "./mine.yaml")
    done = shop.run("cache", "list")
    assert "37 MiB" in done.out
    assert "used today" in done.out
    age(shop, 3.5)
    assert "used 3 days ago" in shop.run("cache", "list").out


def test_list_in_json_is_what_the_files_are(shop: Workshop) -> None:
    shop.run("fetch", "./mine.yaml")
    (entry,) = listed(shop)
    assert entry["size"] == shop.base.stat().st_size
    assert entry["kind"] == "raw"


def test_prune_by_age_takes_only_what_is_older(shop: Workshop) -> None:
    shop.run("fetch", "./mine.yaml")
    age(shop, 10)
    assert "removed 0" in shop.run("cache", "prune", "--older-than", "11").out
    assert len(listed(shop)) == 1
    done = shop.run("cache", "prune", "--older-than", "9")
    assert done.out == "removed 1, 37 MiB\n"
    assert listed(shop) == []


def test_a_use_keeps_an_entry_young(shop: Workshop) -> None:
    shop.run("fetch", "./mine.yaml")
    age(shop, 10)
    shop.run("fetch", "./mine.yaml")
    assert "removed 0" in shop.run("cache", "prune", "--older-than", "9").out


def test_prune_all_in_json_tells_what_went(shop: Workshop) -> None:
    shop.run("fetch", "./mine.yaml")
    (gone,) = shop.run("cache", "prune", "--all", "--json").lines[-1]["result"]["removed"]
    assert gone["size"] == shop.base.stat().st_size
    assert listed(shop) == []


def test_after_pruning_a_build_works_again(shop: Workshop) -> None:
    shop.build()
    shop.run("cache", "prune", "--all")
    shop.build()
    shop.made()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "say what to remove"),
        (("--all", "--older-than", "3"), "say what to remove"),
        (("--older-than", "-1"), "--older-than"),
        (("--older-than", "soon"), "--older-than"),
        (("--older-than", "1.5"), "--older-than"),
    ],
)
def test_prune_wants_to_know_exactly_what(shop: Workshop, words: tuple[str, ...], said: str) -> None:
    shop.run("fetch", "./mine.yaml")
    done = shop.run("cache", "prune", *words)
    assert done.code == 2
    assert said in done.err
    assert len(listed(shop)) == 1


def test_a_very_old_limit_is_no_bug(shop: Workshop) -> None:
    shop.run("fetch", "./mine.yaml")
    done = shop.run("cache", "prune", "--older-than", "9" * 30)
    assert "bug" not in done.err
    assert done.code in (0, 2)


def test_a_broken_record_in_the_cache_is_left_out_and_harms_nobody(shop: Workshop) -> None:
    shop.run("fetch", "./mine.yaml")
    (record,) = shop.cache.glob("entries/raw/*/entry.json")
    record.chmod(0o644)
    record.write_text("{")
    assert shop.run("cache", "list").code == 0
    assert shop.build().code == 0


def test_update_of_a_local_base_has_nothing_to_do(shop: Workshop) -> None:
    done = shop.run("update", "./mine.yaml")
    assert (done.code, done.out) == (0, "nothing has changed\n")
    assert not (shop.folder / "imagesmith.lock").exists()
    assert shop.run("update", "./mine.yaml", "--json").lines[-1]["result"]["changes"] == []


def test_update_can_be_told_to_trust_what_comes(shop: Workshop) -> None:
    assert shop.run("update", "./mine.yaml", "--insecure-unverified").code == 0


def test_a_cache_folder_that_is_a_file_is_told(shop: Workshop) -> None:
    shop.cache.write_text("mine")
    done = shop.run("fetch", "./mine.yaml")
    assert done.code == 6, done.err
    assert str(shop.cache) in done.err
    assert "what to do:" in done.err


def test_an_unknown_target_of_fetch_is_told_in_json(shop: Workshop) -> None:
    done = shop.run("fetch", "rpi4-wroker", "--json")
    assert done.code == 2
    assert json.loads(done.out)["error"]["exit_code"] == 2
