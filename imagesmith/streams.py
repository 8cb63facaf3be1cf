"""Readers that wrap readers: counting, hashing, limited, peeking. Stacked so that their order is the argument.

Each takes anything with `.read(n) -> bytes` (empty at the end) and is one itself. They open nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Literal, Protocol

from imagesmith.errors import ContentMalformed
from imagesmith.model import Digest
from imagesmith.units import show_size


class Reader(Protocol):
    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, at least one; empty only at the end."""
        ...


class Counting:
    """Counts what passes; `count` is the bytes so far."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.count = 0

    def read(self, size: int, /) -> bytes:
        data = self._reader.read(size)
        self.count += len(data)
        return data


class Hashing:
    """Digests what passes; `digest()` is that of the bytes so far."""

    def __init__(self, reader: Reader, algorithm: Literal["sha256", "sha512"] = "sha256") -> None:
        self._reader = reader
        self._algorithm = algorithm
        self._hash = hashlib.new(algorithm)

    def read(self, size: int, /) -> bytes:
        data = self._reader.read(size)
        self._hash.update(data)
        return data

    def digest(self) -> Digest:
        return Digest(self._algorithm, self._hash.hexdigest())


class Limited:
    """Raises ContentMalformed as soon as more than `most` bytes come; `what` names the thing in the message."""

    def __init__(self, reader: Reader, most: int, what: str = "the file") -> None:
        self._reader = reader
        self._left = most
        self._most = most
        self._what = what

    def read(self, size: int, /) -> bytes:
        data = self._reader.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise ContentMalformed(f"{self._what} is larger than the {show_size(self._most)} that it may have")
        return data


class Peekable:
    """Lets the beginning be looked at before it is read."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._ahead = b""

    def peek(self, size: int, /) -> bytes:
        """The next `size` bytes, fewer only at the end; they are read again later."""
        while len(self._ahead) < size:
            data = self._reader.read(size - len(self._ahead))
            if not data:
                break
            self._ahead += data
        return self._ahead[:size]

    def read(self, size: int, /) -> bytes:
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
            return data
        return self._reader.read(size)


def pieces(reader: Reader, size: int) -> Iterator[bytes]:
    """What is left of a reader, in pieces of at most `size` bytes."""
    while data := reader.read(size):
        yield data
