"""That a cluster was founded: remembered once, by who met it, and seen by plans."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesmith.errors import UsageError
from imagesmith.model import Cluster, K3s, Node
from imagesmith.secret import Secret
from imagesmith.vault import authorities, store
from imagesmith.vault.founding import Founding, founding
from imagesmith.vault.index import read_index
from imagesmith.workflow.foreign import lay_out, take_authorities
from imagesmith.workflow.rotate import rotate
from imagesmith.workflow.sealed import sealed_cluster
from imagesmith.workflow.vault import Opening, draw_missing, forget_founded, names_for, record_founded, record_founder

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


def test_under_other_authorities_nothing_was_founded(vault: Path) -> None:
    cluster = drawn(vault)
    record_founder(vault, "node-1", ["node-1"])
    record_founded(vault, FIRST)
    other_authorities(vault)
    sealed = sealed_cluster(cluster, vault)
    assert sealed and (sealed.founder, sealed.founded) == ("", "")
    assert record_founded(vault, LATER)
    assert founding(read_index(vault).facts) == Founding("", LATER)


def test_who_founds_the_new_one_does_not_bring_the_old_one_back(vault: Path) -> None:
    drawn(vault)
    record_founded(vault, FIRST)
    other_authorities(vault)
    record_founder(vault, "node-2", ["node-2"])
    assert founding(read_index(vault).facts) == Founding("node-2", "")


def test_the_same_authorities_again_are_the_same_cluster(vault: Path, tmp_path: Path) -> None:
    drawn(vault)
    record_founded(vault, FIRST)
    lay_out(store.open_plain(vault), tmp_path / "tls")
    take_authorities(vault, tmp_path / "tls", replace=True)
    assert founding(read_index(vault).facts).founded == FIRST


def test_what_an_older_index_tells_counts_until_the_authorities_change(vault: Path) -> None:
    drawn(vault)
    with store.changing(vault) as change:
        change.remember({"founded": FIRST, "founder": "node-1"})
    assert founding(read_index(vault).facts) == Founding("node-1", FIRST)
    other_authorities(vault)
    assert founding(read_index(vault).facts) == Founding()


def test_no_node_waits_for_what_is_of_other_authorities(vault: Path, tmp_path: Path) -> None:
    drawn(vault)
    record_founded(vault, FIRST)
    lay_out(store.open_plain(vault), tmp_path / "tls")
    rotate(vault, "cluster/ca/client", Opening(unasked))
    rotate(vault, "cluster/service-account-key", Opening(unasked))
    take_authorities(vault, tmp_path / "tls", replace=True)
    assert not [fact for fact in read_index(vault).facts if fact.startswith("rotating ")]


STAYS = [
    *("nodes/node-1/host-key.ed25519", "nodes/node-1/backup-key", "nodes/node-1/zerotier-identity"),
    *("cluster/ups-primary-password", "addons/wordpress/database-password"),
]
GOES = ["cluster/agent-token", "cluster/server-token", "cluster/service-account-key", "cluster/ca/client",
        "nodes/node-1/node-password"]  # fmt: skip


def begun(vault: Path) -> list[str]:
    return sorted(fact.removeprefix("rotating ") for fact in read_index(vault).facts if fact.startswith("rotating "))


@pytest.mark.parametrize("new_root", [False, True])
def test_with_a_cluster_goes_what_waits_for_its_nodes_and_nothing_else(vault: Path, new_root: bool) -> None:
    """A UPS, a NAS, a database and sshd go by what they had, whatever becomes of k3s."""
    drawn(vault)
    with store.changing(vault) as change:
        change.remember({f"rotating {name}": FIRST for name in (*STAYS, *GOES)})
    if new_root:
        rotate(vault, "cluster/ca", Opening(unasked), new_cluster=True)
    else:
        forget_founded(vault)
    assert begun(vault) == sorted(STAYS)


def test_a_cluster_of_other_authorities_that_answers_is_not_this_one(vault: Path) -> None:
    drawn(vault)
    assert not record_founded(vault, FIRST, "ab" * 32)
    assert record_founded(vault, LATER, read_index(vault).facts["ca_hash"])


def drawn(vault: Path) -> Cluster:
    cluster = Cluster("home", "", (Node("node-1", "x86-master"),), k3s=K3s())
    draw_missing(vault, names_for(["node-1"], cluster))
    return cluster


def other_authorities(vault: Path) -> None:
    with store.changing(vault) as change:
        authorities.put_all(change, authorities.drawn(authorities.begins()))


def unasked(what: str, new: bool) -> Secret:
    raise AssertionError(f"asked for {what}")


@pytest.mark.parametrize("when", ["", "today", "2026-11-23T11:44:00", "2026-11-23T11:44:00Z\n"])
def test_what_is_no_time_is_refused(vault: Path, when: str) -> None:
    with pytest.raises(UsageError, match="is no time"):
        record_founded(vault, when)
    assert read_index(vault).facts == {}
