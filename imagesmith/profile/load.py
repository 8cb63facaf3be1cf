"""YAML text to bases, boards and profiles, with every problem of every file at once.

Pure: text in, values out. `workflow.target` reads the files and calls `load_catalogue`; the others are its parts.
A file's name is the name of what it holds: `rpi4-worker.yaml` holds the profile rpi4-worker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TypeVar

from imagesmith.errors import Problem
from imagesmith.model import Base, Board, Profile, Role
from imagesmith.profile import document, names
from imagesmith.profile.base import read_base
from imagesmith.profile.machine import read_machine
from imagesmith.profile.schema import (
    Fields,
    Kind,
    Place,
    boolean,
    choice,
    did_you_mean,
    read_document,
    settle,
    size,
    table,
    text,
)
from imagesmith.profile.settings import SETTINGS, taken
from imagesmith.units import GiB, show_size

T = TypeVar("T")
ROLE: Kind[Role] = choice("server", "worker")
SERVER_MEMORY = 2 * GiB
"""What k3s asks of a server at least."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every base, board and profile that there is, by name of its file."""

    bases: Mapping[str, Base] = field(default_factory=dict)
    boards: Mapping[str, Board] = field(default_factory=dict)
    profiles: Mapping[str, Profile] = field(default_factory=dict)


def load_catalogue(files: Mapping[str, str], within: Catalogue | None = None) -> Catalogue:
    """The catalogue of a folder, given as file name to text; names repeated in it replace those of `within`.

    A file in a folder `bases` or `boards` is one, any other is a profile. Raises DocumentInvalid for all together.
    """
    known = within or Catalogue()
    problems: list[Problem] = []
    bases, boards, profiles = dict(known.bases), dict(known.boards), dict(known.profiles)
    _load_all(files, "bases", bases, lambda fields, name: read_base(fields), problems)
    _load_all(files, "boards", boards, lambda fields, name: _board(fields, name, bases), problems)
    _load_all(files, "", profiles, lambda fields, name: _profile(fields, name, boards), problems)
    return settle(Catalogue(bases, boards, profiles), problems)


def load_base(content: str, file: str) -> Base:
    """One file of profiles/bases/. Raises DocumentInvalid."""
    return _load_one(content, file, lambda fields, name: read_base(fields))


def load_board(content: str, file: str, bases: Mapping[str, Base]) -> Board:
    """One file of profiles/boards/. Raises DocumentInvalid."""
    return _load_one(content, file, lambda fields, name: _board(fields, name, bases))


def load_profile(content: str, file: str, boards: Mapping[str, Board]) -> Profile:
    """One profile. Raises DocumentInvalid."""
    return _load_one(content, file, lambda fields, name: _profile(fields, name, boards))


def named_one(known: Mapping[str, T], what: str) -> Kind[tuple[str, T]]:
    """The name of one of `known`, with the thing itself."""

    def find(name: str) -> str:
        names.profile_name(name)
        if name not in known:
            listing = ", ".join(sorted(known)) or "none at all"
            raise ValueError(f"there is no {what} {name!r}{did_you_mean(name, known)} (there is: {listing})")
        return name

    checked = text(find)

    def kind(value: document.Value, place: Place) -> tuple[str, T] | None:
        name = checked(value, place)
        return None if name is None else (name, known[name])

    return kind


# -- boards ---------------------------------------------------------------------------------------


def _board(fields: Fields, name: str, bases: Mapping[str, Base]) -> Board:
    machine = fields.take("machine", table(read_machine), None)
    chosen = fields.need_all("bases", named_one(bases, "base"))
    _refuse_twins(fields, tuple(base for _, base in chosen))
    _refuse_unsuitable(fields, name, [base for _, base in chosen])
    return Board(
        name=name,
        title=fields.need("title", text(names.title), ""),
        architecture=fields.need("architecture", choice("amd64", "arm64"), "amd64"),
        memory=fields.need("memory", size, 0),
        bases=tuple(base for _, base in chosen),
        machine=machine,
        roles=fields.need_all("roles", ROLE),
        notes=fields.take_all("notes", text(names.title)),
        unsuitable={base.name: base.unsuitable[name] for base in bases.values() if name in base.unsuitable},
        wifi=fields.take("wifi", boolean, False),
        storage=fields.take("storage", choice("disk", "card"), "disk"),
    )


# -- profiles -------------------------------------------------------------------------------------


def _profile(fields: Fields, name: str, boards: Mapping[str, Board]) -> Profile:
    _, board = fields.need("board", named_one(boards, "board"), ("", _NO_BOARD))
    own = fields.take_all("bases", table(read_base))
    _refuse_twins(fields, (*board.bases, *own))
    _refuse_unsuitable(fields, board.name, own)
    board = replace(board, bases=(*board.bases, *own))
    role: Role = fields.need("role", ROLE, "worker")
    if board.name and role not in board.roles:
        fields.complain("role", f"the board {board.name} can't be a {role}: {weakness(board, role)}")
    base = _default_base(fields, board, own)
    return Profile(
        name=name,
        title=fields.need("title", text(names.title), ""),
        board=board,
        role=role,
        base=base,
        settings=fields.take("settings", table(lambda inner: taken(inner, SETTINGS)), {}),
    )


def _default_base(fields: Fields, board: Board, own: tuple[Base, ...]) -> str:
    """What `base` names; left out, the only one that the profile brings along, else the board's first."""
    known = [base.name for base in board.bases]
    if not fields.has("base") and len(own) > 1:
        brought = ", ".join(base.name for base in own)
        fields.complain("bases", f"{len(own)} bases and no word which is meant", f"add the key base, one of {brought}")
    first = (own or board.bases)[:1]
    base = fields.take("base", text(names.profile_name), first[0].name if first else "")
    if base in board.unsuitable and base not in known:
        fields.complain("base", f"{base} does not work on {board.name}: {board.unsuitable[base]}", ", ".join(known))
    elif board.name and base not in known:
        fields.complain("base", f"{board.name} has no base {base!r}{did_you_mean(base, known)}", ", ".join(known))
    return base


_NO_BOARD = Board("", "", "amd64", 0, (), None, ("server", "worker"))


def weakness(board: Board, role: Role) -> str:
    """Why a board can't have a role that is none of its own."""
    if role == "server" and board.memory < SERVER_MEMORY:
        return f"it has {show_size(board.memory)} of memory, and a k3s server needs {show_size(SERVER_MEMORY)}"
    return f"it is meant as {' or '.join(board.roles)} only"


# -- pieces ---------------------------------------------------------------------------------------


def _refuse_twins(fields: Fields, bases: tuple[Base, ...]) -> None:
    found = [base.name for base in bases]
    for name in sorted({name for name in found if found.count(name) > 1}):
        fields.complain("bases", f"two bases are called {name!r}; --base could not tell them apart")


def _refuse_unsuitable(fields: Fields, board: str, bases: Iterable[Base]) -> None:
    for base in bases:
        if board in base.unsuitable:
            fields.complain("bases", f"{base.name} does not work on {board}: {base.unsuitable[board]}")


Reader = Callable[[Fields, str], T]


def _load_all(
    files: Mapping[str, str], folder: str, into: dict[str, T], reader: Reader[T], problems: list[Problem]
) -> None:
    for file, content in sorted(files.items()):
        parent = PurePosixPath(file).parent.name
        if (parent if parent in ("bases", "boards") else "") == folder:
            found = _read(content, file, reader, problems)
            if found is not None:
                into[PurePosixPath(file).stem] = found


def _load_one(content: str, file: str, reader: Reader[T]) -> T:
    problems: list[Problem] = []
    return settle(_read(content, file, reader, problems), problems)


def _read(content: str, file: str, reader: Reader[T], problems: list[Problem]) -> T | None:
    name = PurePosixPath(file).stem
    try:
        names.profile_name(name)
    except ValueError as error:
        problems.append(Problem(file, 0, "", f"the file's name is the name of what it holds, and {error}", "rename it"))
    return read_document(content, file, lambda fields: reader(fields, name), problems)
