"""The conductor's side of the feeder: what the image is, its bytes as they come into the ring, its digests.

Called by `flash.conduct`; `workflow` says which command is the feeder. Touches processes and sockets only.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from imagesmith import tools
from imagesmith.errors import ImagesmithError, IOFailed
from imagesmith.flash.link import AsyncLink
from imagesmith.messages import Batch, Deliver, Delivered, Digested, Free, Look, Looked
from imagesmith.ring import Failed, Ring, vocabulary

_ANSWERS = vocabulary(Looked, Batch, Digested, Delivered, Failed)


@dataclass(frozen=True, slots=True)
class Source:
    """A looked-at image: what the feeder told of it, and its first bytes."""

    look: Look
    looked: Looked
    head: bytes


class Feed:
    """One feeder child. `argv(socket, ring)` is its command, with the numbers of the descriptors it inherits."""

    def __init__(self, argv: Callable[[int, int], Sequence[str]], ring: Ring, descriptors: Sequence[int] = ()) -> None:
        self.ring = ring
        self._end, theirs = socket.socketpair()
        with theirs:
            inherited = (theirs.fileno(), ring.descriptor)
            self._process = tools.spawn(
                argv(*inherited), stdout=None, stderr=None, pass_fds=(*inherited, *descriptors), new_session=True
            )
        self._link: AsyncLink | None = None

    async def look(self, look: Look) -> Source:
        """Raises what the feeder says of a source that can't be read or is no disk image."""
        self._link = await AsyncLink.over(self._end, _ANSWERS)
        self._link.send(look)
        answer = await self._heard()
        assert isinstance(answer, Looked)
        return Source(look, answer, bytes(self.ring.slot(0)[: answer.head]))

    async def deliver(self, wanted: Deliver) -> AsyncIterator[Batch | Digested | Delivered]:
        """Everything that the feeder says, up to Delivered. Each Batch must be followed by `free`, some time."""
        assert self._link
        self._link.send(wanted)
        while True:
            message = await self._heard()
            assert isinstance(message, Batch | Digested | Delivered)
            if isinstance(message, Batch) and not 0 <= message.slot < self.ring.count:
                raise ImagesmithError("the feeder filled what is no slot", hint="this is a bug; please report it")
            yield message
            if isinstance(message, Delivered):
                return

    def free(self, slot: int) -> None:
        assert self._link
        self._link.send(Free(slot))

    def close(self) -> None:
        """The feeder ends by itself, or is ended: unlike a card writer it holds nothing that a signal could harm."""
        if self._link:
            self._link.close()
        else:
            self._end.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        with contextlib.suppress(tools.TimeoutExpired):
            self._process.wait(1)

    async def _heard(self) -> object:
        assert self._link
        message = await self._link.receive()
        if isinstance(message, Failed):
            raise message.as_error()
        if message is None:
            raise IOFailed(
                "the process that reads the image ended unexpectedly",
                hint="was it killed, or is memory short? Run the same command again",
            )
        return message
