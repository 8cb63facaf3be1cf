"""That a cluster was founded: remembered once, by who met it, and seen by plans."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesmith.errors import UsageError
from imagesmith.model import Cluster, K3s, Node
from imagesmith.vault import store
from imagesmith.vault.index import read_index
from imagesmith.workflow.sealed import sealed_cluster
from imagesmith.workflow.vault import draw_missing, forget_founded, names_for, record_founded, record_founder

FIRST, LATER = "2026-11-23T11:44:00Z", "2026-11-24T11:44:00Z"


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    store.create(tmp_path / "v", store.Key("plain"))
    return tmp_path / "v"


def test_the_first_time_counts(vault: Path) -> None:
    assert record_founded(vault, FIRST)
    assert not record_founded(vault, LATER)
    assert read_index(vault).facts == {"founded": FIRST}


def test_a_plan_sees_it(vault: Path) -> None:
    draw_missing(vault, names_for(["node-1"], Cluster("home", "", (), k3s=K3s())))
    cluster = Cluster("home", "", (Node("node-1", "x86-master"),), k3s=K3s())
    told = []
    for change in (lambda: None, lambda: record_founded(vault, FIRST), lambda: forget_founded(vault)):
        change()
        sealed = sealed_cluster(cluster, vault)
        assert sealed
        told.append(sealed.founded)
    assert told == ["", FIRST, ""]


def test_the_first_founder_stays_while_it_is_a_server(vault: Path) -> None:
    told = []
    for name, servers in (("a", "abc"), ("b", "bac"), ("b", "bc"), ("a", "abc")):
        record_founder(vault, name, servers)
        told.append(read_index(vault).facts["founder"])
    assert told == ["a", "a", "b", "b"]


def test_a_plan_sees_the_founder_until_it_is_forgotten(vault: Path) -> None:
    draw_missing(vault, names_for(["node-1"], Cluster("home", "", (), k3s=K3s())))
    cluster = Cluster("home", "", (Node("node-1", "x86-master"),), k3s=K3s())
    told = []
    for change in (lambda: record_founder(vault, "node-1", ["node-1"]), lambda: forget_founded(vault)):
        change()
        sealed = sealed_cluster(cluster, vault)
        assert sealed
        told.append(sealed.founder)
    assert told == ["node-1", ""]


def test_what_was_forgotten_can_be_founded_again(vault: Path) -> None:
    record_founded(vault, FIRST)
    forget_founded(vault)
    assert record_founded(vault, LATER)
    assert read_index(vault).facts == {"founded": LATER}


@pytest.mark.parametrize("when", ["", "today", "2026-11-23T11:44:00", "2026-11-23T11:44:00Z\n"])
def test_what_is_no_time_is_refused(vault: Path, when: str) -> None:
    with pytest.raises(UsageError, match="is no time"):
        record_founded(vault, when)
    assert read_index(vault).facts == {}
