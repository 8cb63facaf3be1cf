"""Bases that do not work on a board: refused with the reason wherever one is chosen; what is to be minded is told."""

from __future__ import annotations

import pytest

from imagesmith.errors import DocumentInvalid, UsageError
from imagesmith.profile.load import Catalogue, load_catalogue
from imagesmith.workflow.target import resolve

BASE = "schema: 1\nname: {name}\nfamily: armbian\nfile: {{path: x.img}}\n"
BOARD = "schema: 1\ntitle: B\narchitecture: arm64\nmemory: 1GiB\nroles: [worker]\nbases: [{bases}]\n"
PROFILE = "schema: 1\ntitle: P\nboard: {board}\nrole: worker\n"
REASON = "its initramfs does not fit"


def catalogue(bases: str = "old", **profile: str) -> Catalogue:
    more = "".join(f"{key}: {value}\n" for key, value in profile.items())
    return load_catalogue({
        "bases/old.yaml": BASE.format(name="old"),
        "bases/new.yaml": BASE.format(name="new") + f'unsuitable: {{small: "{REASON}"}}\ncautions: {{large: "slow"}}\n',
        "boards/small.yaml": BOARD.format(bases=bases),
        "boards/large.yaml": BOARD.format(bases="old, new"),
        "mine.yaml": PROFILE.format(board="small") + more,
        "yours.yaml": PROFILE.format(board="large"),
    })  # fmt: skip


def complaint(bases: str = "old", **profile: str) -> str:
    with pytest.raises(DocumentInvalid) as caught:
        catalogue(bases, **profile)
    return str(caught.value)


def test_a_board_knows_which_bases_do_not_work_on_it() -> None:
    boards = catalogue().boards
    assert boards["small"].unsuitable == {"new": REASON}
    assert boards["large"].unsuitable == {}


def test_a_base_says_what_is_to_be_minded_on_a_board() -> None:
    assert catalogue().bases["new"].cautions == {"large": "slow"}


def test_a_board_does_not_list_a_base_that_does_not_work_on_it() -> None:
    assert f"new does not work on small: {REASON}" in complaint("old, new")


def test_a_profile_does_not_choose_one() -> None:
    said = complaint(base="new")
    assert f"new does not work on small: {REASON}" in said
    assert "has no base" not in said


def test_a_profile_does_not_bring_one_along() -> None:
    own = '[{name: own, family: armbian, file: {path: x.img}, unsuitable: {small: "too large"}}]'
    with pytest.raises(DocumentInvalid, match="own does not work on small: too large"):
        load_catalogue({"more.yaml": PROFILE.format(board="small") + f"bases: {own}\n"}, catalogue())


def test_base_on_the_command_line_is_refused_with_the_reason_and_what_works() -> None:
    with pytest.raises(UsageError, match=f"new does not work on small: {REASON}") as caught:
        resolve("mine", cluster=None, base="new", catalogue=catalogue())
    assert caught.value.hint == "it has: old"


def test_on_another_board_it_is_taken() -> None:
    assert resolve("yours", cluster=None, base="new", catalogue=catalogue()).base.name == "new"


def test_the_name_of_a_board_is_one() -> None:
    with pytest.raises(DocumentInvalid, match="use a-z"):
        load_catalogue({"bases/new.yaml": BASE.format(name="new") + 'unsuitable: {"../x": "y"}\n'})
