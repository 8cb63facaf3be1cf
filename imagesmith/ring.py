"""Bytes that pass between processes without being copied: memory that they share, and short messages beside it.

A door. One process (the conductor) makes a `Ring` and starts children with its descriptor and one end of a `Link`
each: a child that reads an image fills slots, children that write cards empty them. A message is a frozen dataclass of
plain fields; what travels is one line of JSON under its class's name. Called by `flash` and `sources`; touches memory
and sockets that it is given.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from imagesmith import errors
from imagesmith.units import MiB

SLOT = 4 * MiB
"""Bytes of one slot; pages, so fit for O_DIRECT."""
MOST_LINE = 64 * MiB
"""A message names spans or pieces, each some 100 bytes; a map of a fragmented card has many."""


@dataclass(frozen=True, slots=True)
class Failed:
    """An error on its way to another process."""

    kind: str
    what: str
    where: str = ""
    hint: str = ""

    @classmethod
    def of(cls, error: errors.ImagesmithError) -> Failed:
        what = ", ".join([error.what, *error.context])
        # A kind of one module's own is known elsewhere as the kind that it is one of.
        kind = next(kind for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
        return cls(kind.__name__, what, error.where, error.hint)

    def as_error(self) -> errors.ImagesmithError:
        """The error of its own class; of the root's when that class is not known or wants more than words."""
        kind: object = getattr(errors, self.kind, None)
        if isinstance(kind, type) and issubclass(kind, errors.ImagesmithError) and kind is not errors.DocumentInvalid:
            return kind(self.what, where=self.where, hint=self.hint)
        return errors.ImagesmithError(self.what, where=self.where, hint=self.hint)


class Ring:
    """`count` slots of SLOT bytes in memory without a name; whoever has the descriptor sees the same bytes."""

    def __init__(self, descriptor: int, count: int) -> None:
        self.descriptor = descriptor
        self.count = count
        self._map = mmap.mmap(descriptor, count * SLOT)
        self._memory = memoryview(self._map)

    def empty(self) -> None:
        """Give the memory back to the system: all slots are zeros, for everybody who shares them."""
        self._map.madvise(mmap.MADV_REMOVE)

    def close(self) -> None:
        """Let go of the descriptor; the memory goes with the last view of it, here and elsewhere."""
        os.close(self.descriptor)

    @classmethod
    def made(cls, count: int) -> Ring:
        descriptor = os.memfd_create("imagesmith", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(descriptor, count * SLOT)
        # Nobody who has it can take memory away from the others, which would end them.
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        return cls(descriptor, count)

    @classmethod
    def at(cls, descriptor: int) -> Ring:
        """The ring behind a descriptor that this process was started with."""
        return cls(descriptor, os.fstat(descriptor).st_size // SLOT)

    def slot(self, number: int) -> memoryview:
        return self._memory[number * SLOT : (number + 1) * SLOT]


Vocabulary = Mapping[str, type[Any]]
"""Message classes by name: all that one end of a link understands."""


def vocabulary(*classes: type[Any]) -> Vocabulary:
    return {cls.__name__: cls for cls in classes}


class Link:
    """A child's end of its conversation: whole messages or the end, waiting for each."""

    def __init__(self, end: socket.socket, understood: Vocabulary) -> None:
        self._end = end
        self._lines = end.makefile("rb")
        self._understood = understood

    def send(self, message: object) -> None:
        """Raises BrokenPipeError or ConnectionError when nobody is there any more."""
        self._end.sendall(encode(message))

    def receive(self) -> Any:
        """The next message; None when the other end is gone."""
        try:
            line = self._lines.readline(MOST_LINE)
        except ConnectionError:
            return None
        return decode(line, self._understood) if line.endswith(b"\n") else None


def encode(message: object) -> bytes:
    """A message as it travels: one line."""
    plain = {field.name: getattr(message, field.name) for field in fields(message)}  # type: ignore[arg-type]
    return json.dumps([type(message).__name__, plain], separators=(",", ":")).encode() + b"\n"


def decode(line: bytes, understood: Vocabulary) -> Any:
    """The message of a line. Raises KeyError for a class that is not understood."""
    name, plain = json.loads(line)
    return understood[name](**{key: _frozen(value) for key, value in plain.items()})


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
