"""The conductor's end of a conversation with a child: as `ring.Link`, beside others in one asyncio loop.

Called by `flash.cards` and `flash.feed`. Apart from `ring`, so that the children need not load asyncio.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from imagesmith.ring import MOST_LINE, Vocabulary, decode, encode


class AsyncLink:
    """Whole messages or the end; sending never waits."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, understood: Vocabulary) -> None:
        self._reader = reader
        self._writer = writer
        self._understood = understood

    @classmethod
    async def over(cls, end: socket.socket, understood: Vocabulary) -> AsyncLink:
        reader, writer = await asyncio.open_unix_connection(sock=end, limit=MOST_LINE)
        return cls(reader, writer, understood)

    def send(self, message: object) -> None:
        """Never waits; what was sent to a child that is gone is lost, and `receive` tells of it."""
        self._writer.write(encode(message))

    async def receive(self) -> Any:
        """The next message; None when the child is gone."""
        try:
            line = await self._reader.readline()
        except ConnectionError:
            return None
        return decode(line, self._understood) if line.endswith(b"\n") else None

    def close(self) -> None:
        self._writer.close()
