"""The bases of one run: looked at once for all nodes, safe from `cache prune` until the end, never taken altered."""

from __future__ import annotations

from pathlib import Path

import pytest
from building import Workshop

from imagesmith.events import Event, Progress
from imagesmith.model import BuildPlan
from imagesmith.sources.cache import Cache
from imagesmith.workflow.bases import Bases
from imagesmith.workflow.planned import plan
from imagesmith.workflow.target import resolve

THREE = """\
schema: 1
name: home
nodes:
  - {name: node-1, profile: mine}
  - {name: node-2, profile: mine}
  - {name: node-3, profile: mine}
"""


@pytest.fixture
def planned(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> BuildPlan:
    """A plan on a base that is in the cache."""
    monkeypatch.chdir(shop.folder)
    # By a process of its own: this one knows nothing of what lies in the cache.
    assert shop.program("fetch", "./mine.yaml").code == 0
    return plan(resolve("./mine.yaml", cluster=None), Path("imagesmith.lock"))


class Heard:
    """How often each step that reads a whole base reached its end."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, Progress) and event.done == event.total:
            self.ended.append(event.step)


def test_a_base_is_read_once_for_all_nodes(shop: Workshop, planned: BuildPlan) -> None:
    heard = Heard()
    with Bases(Cache(shop.cache), insecure=False, listener=heard) as bases:
        taken = [bases.of(planned) for _ in range(5)]
    assert len({one.path for one in taken}) == 1
    assert sorted(heard.ended) == ["check the cache", "digest"]


def test_prune_leaves_it_alone_until_the_run_is_over(shop: Workshop, planned: BuildPlan) -> None:
    cache = Cache(shop.cache)
    with Bases(cache, insecure=False, listener=lambda event: None) as bases:
        base = bases.of(planned)
        assert Cache(shop.cache).prune(everything=True) == ()
        assert base.path.exists()
    assert [entry.path for entry in cache.prune(everything=True)] == [base.path]


def test_what_was_altered_in_between_is_made_again(shop: Workshop, planned: BuildPlan) -> None:
    with Bases(Cache(shop.cache), insecure=False, listener=lambda event: None) as bases:
        path = bases.of(planned).path
        good = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(b"?" + good[1:])
        assert bases.of(planned).path.read_bytes() == good


def test_what_was_removed_in_between_is_made_again(shop: Workshop, planned: BuildPlan) -> None:
    with Bases(Cache(shop.cache), insecure=False, listener=lambda event: None) as bases:
        path = bases.of(planned).path
        path.unlink()
        assert bases.of(planned).path.stat().st_size == shop.base.stat().st_size


def test_all_nodes_of_an_inventory_share_one_look_at_their_base(shop: Workshop) -> None:
    shop.inventory(THREE)
    assert shop.program("fetch", "node-1").code == 0
    done = shop.run("build", "--all", "--compress", "none", "--json")
    ended = [line["step"] for line in done.lines if line.get("event") == "Progress" and line["done"] == line["total"]]
    assert [ended.count(step) for step in ("check the cache", "digest", "expand")] == [1, 1, 0]
    assert len(done.result["images"]) == 3
