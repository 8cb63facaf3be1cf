"""Who opens a vault: asked once a command, by file, by key; and that what was built with it is known again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from vault.conftest import PASSPHRASE, Rack

from imagesmith.errors import UsageError, VaultLocked
from imagesmith.formats.canonical import plan_id
from imagesmith.secret import Secret
from imagesmith.workflow.built import Built
from imagesmith.workflow.planned import choice_of, current_plan_id, lock_file, plan, remembered
from imagesmith.workflow.sealed import beside, host_keys_of, vault_of
from imagesmith.workflow.secrets import open_secrets
from imagesmith.workflow.target import TargetChoice, all_wanted
from imagesmith.workflow.vault import NEW_PASSPHRASE_FILE, PASSPHRASE_FILE, Opening, new_key


class Asked:
    """Answers as a person would, and counts."""

    def __init__(self, answer: str = PASSPHRASE) -> None:
        self.answer, self.questions = answer, list[tuple[str, bool]]()

    def __call__(self, what: str, new: bool) -> Secret:
        self.questions.append((what, new))
        return Secret(self.answer.encode())


@pytest.fixture
def inside(rack: Rack, monkeypatch: pytest.MonkeyPatch) -> Rack:
    monkeypatch.chdir(rack.folder)
    monkeypatch.delenv(PASSPHRASE_FILE, raising=False)
    return rack


def test_all_nodes_of_a_rack_are_opened_by_one_question(inside: Rack) -> None:
    inside.create_by_passphrase()
    choice, asked = TargetChoice(), Asked()
    vault = vault_of(choice)
    plans = [plan(one, lock_file(choice), vault=vault) for one in all_wanted(choice)]
    open_secret = open_secrets(plans, open_vault=Opening(asked))
    assert asked.questions == [("Passphrase of cluster.vault", False)]
    keys = [key for one in plans for key in host_keys_of(vault, one.node.name)]
    assert len({open_secret(key.private).reveal() for key in keys}) == 4
    assert len(asked.questions) == 1


def test_the_file_that_the_environment_names_is_taken_instead_of_asking(
    inside: Rack, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked()
    monkeypatch.setenv(PASSPHRASE_FILE, str(inside.folder / "passphrase"))
    assert Opening(asked).passphrase("?").reveal() == PASSPHRASE.encode()
    with pytest.raises(VaultLocked, match="can't be read"):
        monkeypatch.setenv(PASSPHRASE_FILE, "none")
        Opening(asked).passphrase("?")
    assert asked.questions == []


def test_a_new_passphrase_for_an_old_vault_has_a_variable_of_its_own(
    inside: Rack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSPHRASE_FILE, str(inside.folder / "passphrase"))
    assert (
        Opening(Asked("typed anew"), variable=NEW_PASSPHRASE_FILE).passphrase("?", new=True).reveal() == b"typed anew"
    )


@pytest.mark.parametrize("content", ["", "\n", "two\nlines\n"])
def test_a_passphrase_is_one_line(inside: Rack, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    (inside.folder / "passphrase").write_text(content)
    monkeypatch.setenv(PASSPHRASE_FILE, str(inside.folder / "passphrase"))
    with pytest.raises(VaultLocked, match="one line"):
        Opening(Asked()).passphrase("?")


def test_a_key_file_that_is_there_is_taken_and_never_replaced(inside: Rack) -> None:
    path = inside.folder / "rack.key"
    first = new_key(Opening(Asked(), path), "key-file", "?")
    before = path.read_bytes()
    assert new_key(Opening(Asked(), path), "key-file", "?").recipient == first.recipient
    assert path.read_bytes() == before


def test_the_vault_lies_beside_its_inventory_and_nowhere_without_one(inside: Rack) -> None:
    inside.create()
    assert vault_of(TargetChoice()) == Path("cluster.vault")
    assert vault_of(TargetChoice(no_cluster=True)) is None
    assert vault_of(TargetChoice(no_cluster=True, vault=Path("cluster.vault"))) == Path("cluster.vault")
    assert beside(Path("lab/second.yaml")) == Path("lab/second.vault")
    (inside.folder / "second.yaml").write_text("")
    assert vault_of(TargetChoice(cluster=Path("second.yaml"))) is None


@pytest.mark.parametrize("move", [lambda rack: None, lambda rack: rack.vault.rename(rack.folder / "other")])
def test_what_was_built_with_a_vault_is_known_again(inside: Rack, move: Callable[[Rack], None]) -> None:
    inside.create()
    move(inside)
    choice = TargetChoice("node-1", vault=None if inside.vault.exists() else Path("other"))
    assert choice_of("node-1", remembered(choice, 0)).vault in (None, inside.folder / "other")
    found = next(one for one in all_wanted(TargetChoice()) if one.node.name == "node-1")
    made = plan_id(plan(found, lock_file(choice), vault=vault_of(choice)))
    built = Built("node-1", Path("x.img"), made, 0, "node-1", remembered(choice, 0))
    assert current_plan_id(built) == made
    assert made != plan_id(plan(found, lock_file(choice)))


def test_a_named_vault_that_is_not_there_is_told(inside: Rack) -> None:
    with pytest.raises(UsageError, match="there is no vault"):
        host_keys_of(vault_of(TargetChoice(vault=Path("none"))), "node-1")
