"""A conductor for tests of the feeder: starts the real child, keeps what is delivered, frees slots as it likes."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import os
import random
import socket
import subprocess
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backports import zstd

from imagesmith import tools
from imagesmith.messages import Batch, Deliver, Delivered, Digested, Free, Laid, Look, Looked
from imagesmith.ring import SLOT, Failed, Link, Ring, vocabulary
from imagesmith.units import MiB


@dataclass
class Got:
    """What one Deliver brought."""

    pieces: list[tuple[int, bytes]] = field(default_factory=list)
    batches: list[tuple[Laid, ...]] = field(default_factory=list)
    digested: list[Digested] = field(default_factory=list)
    end: Delivered = field(default_factory=lambda: Delivered(0))

    def spans(self) -> list[tuple[int, bytes]]:
        """The pieces in order, joined where they meet."""
        joined: list[tuple[int, bytearray]] = []
        for offset, data in sorted(self.pieces):
            if joined and joined[-1][0] + len(joined[-1][1]) == offset:
                joined[-1][1].extend(data)
            else:
                joined.append((offset, bytearray(data)))
        return [(offset, bytes(data)) for offset, data in joined]


class Feeding:
    def __init__(self, process: tools.Process, link: Link, end: socket.socket, ring: Ring) -> None:
        self.process = process
        self.link = link
        self.end = end
        self.ring = ring
        self.looked = Looked("", 0, 0, False)
        self.head = b""

    def look(self, look: Look) -> Looked:
        self.link.send(look)
        self.looked = self.hear(Looked)
        self.head = bytes(self.ring.slot(0)[: self.looked.head])
        return self.looked

    def hear(self, kind: type[Any] = object) -> Any:
        """The next message. Raises the error that the feeder tells of."""
        message = self.link.receive()
        if isinstance(message, Failed):
            raise message.as_error()
        assert isinstance(message, kind), message
        return message

    def deliver(self, late: random.Random | None = None, **order: Any) -> Got:
        """All of one Deliver. Slots are freed at once; with `late` some time later, in any order."""
        self.link.send(Deliver(**order))
        got, held = Got(), list[int]()
        over = threading.Event()
        freeing = threading.Thread(target=self._free_late, args=(held, late, over), daemon=True)
        if late:
            freeing.start()
        while not isinstance(message := self.hear(), Delivered):
            if isinstance(message, Digested):
                got.digested.append(message)
                continue
            assert isinstance(message, Batch)
            assert message.slot not in held, "a slot was filled again that is not free"
            view = self.ring.slot(message.slot)
            for offset, at, size in message.pieces:
                assert at % 4096 == 0 and at + size <= SLOT and size > 0
                got.pieces.append((offset, bytes(view[at : at + size])))
            got.batches.append(message.pieces)
            if late:
                held.append(message.slot)
            else:
                self.link.send(Free(message.slot))
        over.set()
        if late:
            freeing.join()
        got.end = message
        return got

    def _free_late(self, held: list[int], chance: random.Random, over: threading.Event) -> None:
        while held or not over.is_set():
            time.sleep(chance.random() / 100)
            if held and chance.random() < 0.7:
                slot = held.pop(chance.randrange(len(held)))
                self.link.send(Free(slot))


@contextmanager
def feeding(source: int = -1, slots: int = 6, env: dict[str, str] | None = None) -> Iterator[Feeding]:
    """The child, started with the descriptor of the image; it is gone afterwards."""
    near, far = socket.socketpair()
    ring = Ring.made(slots)
    passed = [far.fileno(), ring.descriptor, *([source] if source >= 0 else [])]
    argv = tools.own_argv("imagesmith.sources.feeder", str(far.fileno()), str(ring.descriptor))
    process = tools.spawn(argv, pass_fds=passed, stdout=None, stderr=None, env=env)
    far.close()
    try:
        yield Feeding(process, Link(near, vocabulary(Looked, Batch, Digested, Delivered, Failed)), near, ring)
    finally:
        near.shutdown(socket.SHUT_RDWR)
        near.close()
        try:
            assert process.wait(10) == 0
        finally:
            process.kill()
            process.wait()
            os.close(ring.descriptor)


def expected_runs(image: bytes, spans: Sequence[tuple[int, int]], cuts: Sequence[int], step: int) -> list[Digested]:
    """What must be told of spans (offset, size), byte by byte the contract of `messages.Deliver`."""
    found = []
    for offset, size in spans:
        at = offset
        while at < offset + size:
            end = min([offset + size, at + (step or size), *(cut for cut in cuts if cut > at)])
            found.append(Digested(at, end - at, hashlib.sha256(image[at:end]).hexdigest()))
            at = end
    return found


@contextmanager
def from_file(path: Path, slots: int = 6, **look: str) -> Iterator[Feeding]:
    """A feeder that has looked at a file."""
    with path.open("rb") as file, feeding(file.fileno(), slots) as feeder:
        feeder.look(Look(path.name, file.fileno(), **look))
        yield feeder


@contextmanager
def piped(*argv: object) -> Iterator[tuple[Feeding, int]]:
    """A feeder at the end of a command's pipe."""
    with subprocess.Popen([str(word) for word in argv], stdout=subprocess.PIPE) as source:
        assert source.stdout
        number = source.stdout.fileno()
        with feeding(number) as feeder:
            source.stdout.close()
            yield feeder, number
        source.kill()


# -- packers: the real programs and libraries ---


def xz(data: bytes, *options: str) -> bytes:
    return subprocess.run(["xz", "-c", "-0", *options], input=data, stdout=subprocess.PIPE, check=True).stdout


def zipped(data: bytes, *more: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("disk.img", *more):
            archive.writestr(name, data)
    return out.getvalue()


def qcow2(data: bytes, *options: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        raw, out = Path(folder, "raw"), Path(folder, "qcow2")
        raw.write_bytes(data)
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, raw, out], check=True)
        return out.read_bytes()


PACKERS = {
    "raw": lambda data: data,
    "xz": xz,
    "xz blocks": lambda data: xz(data, "-T2", "--block-size=1MiB"),
    "xz odd blocks": lambda data: xz(data, "-T2", "--block-size=1000001"),
    "xz streams": lambda data: xz(data[: 5 * MiB]) + bytes(8) + xz(data[5 * MiB :]),
    "gz": lambda data: gzip.compress(data, 1),
    "zst": zstd.compress,
    "zst frames": lambda data: zstd.compress(data[:9]) + b"\x50\x2a\x4d\x18\x03\0\0\0abc" + zstd.compress(data[9:]),
    "bz2": lambda data: bz2.compress(data, 1),
    "zip": zipped,
    "qcow2": qcow2,
    "qcow2 packed": lambda data: qcow2(data, "-c"),
}
