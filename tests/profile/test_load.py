"""Boards, profiles and whole catalogues: names are checked against each other, problems of all files come at once."""

import pytest

from imagesmith.errors import DocumentInvalid
from imagesmith.model import Base, FileSource
from imagesmith.profile.load import load_board, load_catalogue, load_profile

BASE = "schema: 1\nname: debian\nfamily: debian\nfile: {path: a.img}\n"
BOARD = """\
schema: 1
title: A board
architecture: arm64
memory: 1GiB
roles: [worker]
bases: [debian-arm64]
machine:
  machine: raspi3b
  cpu: cortex-a53
  cpus: 4
  memory: 1GiB
  start: kernel
  disk: sd
  network: none
  console: ttyAMA0
  dtb: a.dtb
  unproven: [the firmware]
"""
PROFILE = "schema: 1\ntitle: A profile\nboard: toy\nrole: worker\nsettings: {zram_percent: 100}\n"
BASES = {"debian-arm64": Base("debian", "debian", FileSource("a.img"))}
FILES = {"p/bases/debian-arm64.yaml": BASE, "p/boards/toy.yaml": BOARD, "p/toy-worker.yaml": PROFILE}


def boards():
    return {"toy": load_board(BOARD, "toy.yaml", BASES)}


def complaints(load, *arguments):
    with pytest.raises(DocumentInvalid) as caught:
        load(*arguments)
    return [str(problem) for problem in caught.value.problems]


def test_a_board():
    board = load_board(BOARD, "boards/toy.yaml", BASES)
    assert (board.name, board.memory, board.roles) == ("toy", 1024**3, ("worker",))
    assert board.bases == (BASES["debian-arm64"],)
    assert board.machine.unproven == ("the firmware",)
    assert board.machine.deadline_s == 600


def test_a_board_without_a_machine():
    text = BOARD[: BOARD.index("machine:")]
    assert load_board(text, "boards/toy.yaml", BASES).machine is None


def test_a_profile():
    profile = load_profile(PROFILE, "toy-worker.yaml", boards())
    assert (profile.name, profile.role, profile.base) == ("toy-worker", "worker", "debian")
    assert profile.settings == {"zram_percent": 100}


def test_a_profile_may_bring_a_base():
    own = "base: mine\nbases:\n  - {name: mine, family: raspios-cloudinit, file: {path: my.img}}\n"
    profile = load_profile(PROFILE + own, "some/where/toy-worker.yaml", boards())
    assert profile.base_named("mine").source == FileSource("some/where/my.img")
    assert profile.base_named("debian") is not None
    assert profile.base == "mine"


MINE = "{name: mine, family: debian, file: {path: my.img}}"
OTHER = "{name: other, family: debian, file: {path: other.img}}"


def test_the_only_base_that_a_profile_brings_is_its_default():
    profile = load_profile(f"{PROFILE}bases: [{MINE}]\n", "toy-worker.yaml", boards())
    assert profile.base == "mine"


def test_a_profile_may_bring_a_base_and_keep_the_boards():
    profile = load_profile(f"{PROFILE}base: debian\nbases: [{MINE}]\n", "toy-worker.yaml", boards())
    assert profile.base == "debian"


def test_a_profile_that_brings_several_bases_says_which():
    text = f"{PROFILE}bases: [{MINE}, {OTHER}]\n"
    assert complaints(load_profile, text, "toy.yaml", boards()) == [
        "toy.yaml:6: bases: 2 bases and no word which is meant (add the key base, one of mine, other)"
    ]
    assert load_profile(f"{text}base: other\n", "toy.yaml", boards()).base == "other"


def test_a_board_too_weak_for_its_role_is_refused_with_the_reason():
    (complaint,) = complaints(load_profile, PROFILE.replace("worker", "server", 1), "toy.yaml", boards())
    assert complaint == (
        "toy.yaml:4: role: the board toy can't be a server: "
        "it has 1.0 GiB of memory, and a k3s server needs 2.0 GiB"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("board: toy", "board: tyo", "did you mean 'toy'?"),
        ("board: toy", "board: ../toy", "is not a name"),
        ("board: toy", "board:", "the key 'board' is required"),
        ("role: worker", "role: [worker]", "expected text, found a list"),
        ("role: worker", "role: worker\nbase: debain", "did you mean 'debian'?"),
        ("zram_percent", "zram_percents", "did you mean 'zram_percent'?"),
        ("100", "a lot", "is not a whole number"),
        ("title: A profile", "title: 1\ntitle: 2", "a second time, first on line 2"),
        ("role: worker", "role: worker\nbases: [{name: debian, family: debian, file: {path: a}}]",
         "two bases are called"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_profile(old, new, complaint):
    assert old in PROFILE
    found = complaints(load_profile, PROFILE.replace(old, new), "toy.yaml", boards())
    assert [complaint in line for line in found] == [True]
    assert found[0].startswith("toy.yaml:")
    assert int(found[0].split(":")[1]) > 0


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("cpus: 4", "cpus: 0", "not between 1 and 64"),
        ("machine: raspi3b", "machine: raspi4b", "did you mean 'raspi3b'?"),
        ("architecture: arm64", "architecture: armhf", "did you mean 'arm64'?"),
        ("memory: 1GiB\nroles", "memory: lots\nroles", "is not a size"),
        ("roles: [worker]", "roles: []", "the list is empty"),
        ("bases: [debian-arm64]", "bases: [debian]", "did you mean 'debian-arm64'?"),
        ("dtb: a.dtb", "dtb: ../a.dtb", "is not a plain file name"),
        ("cpu: cortex-a53", "cpu: a,b=c", "is not a plain file name"),
    ],
)
def test_a_mistake_in_a_board(old, new, complaint):
    assert old in BOARD
    found = complaints(load_board, BOARD.replace(old, new), "toy.yaml", BASES)
    assert [complaint in line for line in found] == [True]


def test_a_catalogue():
    catalogue = load_catalogue(FILES)
    assert (list(catalogue.bases), list(catalogue.boards), list(catalogue.profiles)) == (
        ["debian-arm64"],
        ["toy"],
        ["toy-worker"],
    )


def test_a_nearer_folder_replaces_what_has_the_same_name():
    shipped = load_catalogue(FILES)
    nearer = load_catalogue({"q/toy-worker.yaml": PROFILE.replace("A profile", "Mine")}, shipped)
    assert nearer.profiles["toy-worker"].title == "Mine"
    assert nearer.boards == shipped.boards


def test_problems_of_all_files_come_at_once():
    files = {name: text.replace("schema: 1", "schema: 1\nextra: 1") for name, text in FILES.items()}
    found = complaints(load_catalogue, files)
    assert [line.split(":")[0] for line in found] == sorted(FILES)


@pytest.mark.parametrize("file", ["p/Toy.yaml", "p/a b.yaml", "p/..yaml", "p/$(reboot).yaml"])
def test_a_file_that_is_no_name_is_refused(file):
    found = complaints(load_catalogue, {**FILES, file: PROFILE})
    assert len(found) == 1
    assert "is not a name" in found[0]
