"""Secrets that a person brings to what runs: the one before is never lost, and what must follow is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesmith.errors import UsageError
from imagesmith.secret import Secret
from imagesmith.vault import sealing, store
from imagesmith.workflow.foreign import take
from imagesmith.workflow.rotate import done, rotate, what_follows
from imagesmith.workflow.vault import Opening, draw_missing

IDENTITY = "nodes/node-1/backup-identity"
BY_HAND = (
    "nodes/node-1/node-password",
    "nodes/node-1/zerotier-identity",
    "nodes/node-1/backup-key",
    "addons/wordpress/database",
    "cluster/ups-primary-password",
)


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    folder = tmp_path / "rack.vault"
    store.create(folder, store.Key("plain"))
    return folder


def drawn(vault: Path, name: str) -> bytes:
    draw_missing(vault, (name,))
    return kept(vault, name)


def kept(vault: Path, name: str) -> bytes:
    return store.open_plain(vault).open(name).reveal()


def again(vault: Path, name: str) -> None:
    rotate(vault, name, Opening(lambda what, new: pytest.fail(f"asked: {what}")))


@pytest.mark.parametrize("name", BY_HAND)
def test_what_may_run_yet_is_not_lost_by_another_rotation(vault: Path, name: str) -> None:
    running = drawn(vault, name)
    again(vault, name)
    with pytest.raises(UsageError, match="may have it still") as caught:
        again(vault, name)
    assert f"imagesmith vault rotate {name} --done" in caught.value.hint
    assert "--apply" not in caught.value.hint
    assert kept(vault, f"{name}.old") == running


def test_once_it_was_brought_there_it_is_drawn_anew(vault: Path) -> None:
    drawn(vault, BY_HAND[0])
    again(vault, BY_HAND[0])
    brought = kept(vault, BY_HAND[0])
    done(vault, BY_HAND[0])
    again(vault, BY_HAND[0])
    assert kept(vault, f"{BY_HAND[0]}.old") == brought


def test_what_was_imported_in_its_place_is_not_rotated_before_it_was_brought_there(vault: Path) -> None:
    name = "addons/wordpress/database"
    running = drawn(vault, name)
    take(vault, name, Secret(b"another-password"), "test", replace=True)
    with pytest.raises(UsageError, match="may have it still"):
        again(vault, name)
    assert kept(vault, f"{name}.old") == running


def test_what_opens_backups_stays_until_a_person_lets_go_of_it(vault: Path) -> None:
    sealed_by = drawn(vault, IDENTITY)
    again(vault, IDENTITY)
    for change in (
        lambda: again(vault, IDENTITY),
        lambda: take(vault, IDENTITY, sealing.new_identity(), "test", replace=True),
    ):
        with pytest.raises(UsageError, match="could never be opened again") as caught:
            change()
        assert f"imagesmith vault rotate {IDENTITY}.old --done" in caught.value.hint
    assert kept(vault, f"{IDENTITY}.old") == sealed_by


def test_that_nodes_have_the_new_one_does_not_end_what_opens_backups(vault: Path) -> None:
    sealed_by = drawn(vault, IDENTITY)
    again(vault, IDENTITY)
    with pytest.raises(UsageError, match="no node waits") as caught:
        done(vault, IDENTITY)
    assert f"{IDENTITY}.old --done" in caught.value.hint
    assert kept(vault, f"{IDENTITY}.old") == sealed_by


def test_what_was_let_go_of_makes_room_for_another(vault: Path) -> None:
    drawn(vault, IDENTITY)
    again(vault, IDENTITY)
    second = kept(vault, IDENTITY)
    done(vault, f"{IDENTITY}.old")
    with pytest.raises(UsageError, match="the vault has no"):
        done(vault, f"{IDENTITY}.old")
    again(vault, IDENTITY)
    assert kept(vault, f"{IDENTITY}.old") == second


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nodes/node-1/zerotier-identity", ("vpn authorise", "take the old member away", "vpn.zerotier.k3s")),
        ("addons/wordpress/database", ("database of wordpress", "in the database first", "addons apply")),
        ("cluster/ups-secondary-password", ("every node anew", "upsd.users", "upsmon.conf")),
        ("nodes/node-1/backup-key", ("imagesmith backup authorized-keys", "authorized_keys")),
        (IDENTITY, (f"needs {IDENTITY}.old", f"{IDENTITY}.old --done")),
    ],
)
def test_what_follows_is_told_of_each_kind(name: str, told: tuple[str, ...]) -> None:
    follows = what_follows(name)
    assert not [one for one in told if one not in follows]
    assert "node-password.k3s" not in follows


def test_what_follows_a_node_password_is_told() -> None:
    assert "delete secret node-1.node-password.k3s" in what_follows("nodes/node-1/node-password")
