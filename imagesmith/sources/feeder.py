"""The feeder: a child process without privileges that reads an image and fills the ring's slots with its bytes.

    python -m imagesmith.sources.feeder SOCKET RING      (two descriptors; the words are in `imagesmith.messages`)

Started by the conductor (`workflow`) through `tools.own_argv`. The main thread holds the conversation and gives slots
back; a thread of its own does what was said last, so that neither a pipe that stands still nor a full ring keeps the
process from noticing that the conductor is gone. After Failed it only waits for that.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from imagesmith.errors import ImagesmithError, IOFailed
from imagesmith.messages import Deliver, Delivered, Free, Look, Looked
from imagesmith.ring import Failed, Link, Ring, vocabulary
from imagesmith.sources.content import HEAD, refuse_nested
from imagesmith.sources.feed_content import Content, opened
from imagesmith.sources.feed_digests import Follower, InOrder, Promises, Runs, several_runs
from imagesmith.sources.feed_slots import Slots, Stopped
from imagesmith.sources.wanted import Wanted
from imagesmith.units import MiB

_SHOWN = MiB
"""So many bytes of the raw image are looked at before anything is delivered."""


class Feeder:
    """One conversation over one link."""

    def __init__(self, link: Link, ring: Ring) -> None:
        self._link = link
        self._ring = ring
        self._saying = threading.Lock()
        self._slots = Slots(ring, self._say)
        self._leaving = ExitStack()
        self._failed = False
        self._look = Look("")
        self._content: Content | None = None

    def converse(self) -> None:
        """Until the conductor is gone."""
        while (message := self._link.receive()) is not None:
            match message:
                case Free(slot):
                    self._slots.freed(slot)
                case Look():
                    self._begin(self._open, message)
                case Deliver():
                    self._begin(self._deliver, message)
        self._slots.stop()
        self._leaving.close()

    def _begin(self, work: Callable[[Any], None], message: object) -> None:
        if not self._failed:
            threading.Thread(target=self._do, args=(work, message), name="work", daemon=True).start()

    def _do(self, work: Callable[[Any], None], message: object) -> None:
        try:
            work(message)
        except BaseException as error:
            self._slots.stop(None if isinstance(error, Stopped) else error)
            if self._slots.failure:  # else the conductor is gone
                self._failed = True
                with suppress(Stopped):
                    self._say(Failed.of(_told(self._slots.failure, self._look.name)))

    def _say(self, message: object) -> None:
        try:
            with self._saying:
                self._link.send(message)
        except OSError:  # nobody is there any more; the main thread ends the process
            self._slots.stop()
            raise Stopped from None

    # -- what is done -----------------------------------------------------------------------------

    def _open(self, look: Look) -> None:
        self._look = look
        self._content = content = self._fetched(look) if look.url else opened(look)
        head = content.head(_SHOWN)
        if content.format != "raw":
            refuse_nested(head[:HEAD], look.name)
        self._ring.slot(0)[: len(head)] = head
        self._say(Looked(content.format, content.size, len(head), content.again, content.memory))

    def _fetched(self, look: Look) -> Content:
        from imagesmith.sources.cache import Cache
        from imagesmith.sources.feed_url import Fetched  # here, since what fetches takes long to import

        return Fetched(look, Cache.default(), self._leaving)

    def _deliver(self, order: Deliver) -> None:
        assert self._content
        wanted = Wanted(order)
        runs = Runs(order, self._look.name, self._say)
        promises = Promises(order, wanted, self._look.name)
        second = order.everything or any(several_runs(order, wanted))
        self._slots.open(1 + second)
        followers: tuple[Follower, ...] = (runs, promises) if second else (runs,)
        threads = [InOrder(self._slots, number, wanted, follower) for number, follower in enumerate(followers)]
        for thread in threads:
            thread.start()
        size = self._content.deliver(wanted, self._slots)
        self._slots.ended()
        for thread in threads:
            thread.join()
        self._slots.check()
        self._say(Delivered(size, promises.whole() if order.everything else ""))


def _told(error: BaseException, name: str) -> ImagesmithError:
    """Any failure as one that a person can act on."""
    if isinstance(error, ImagesmithError):
        error.where = error.where or name
        return error
    if isinstance(error, OSError):
        return IOFailed(
            f"reading the image failed: {error.strerror or error}",
            where=name,
            hint="the disk that holds the image has a fault, not the card",
        )
    return ImagesmithError(f"reading the image failed: {error!r}", where=name, hint="this is a bug: please report it")


def main(words: list[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the conductor decides what Ctrl-C means
    conversation, ring = int(words[0]), int(words[1])
    for descriptor in (conversation, ring):
        os.set_inheritable(descriptor, False)
    link = Link(socket.socket(fileno=conversation), vocabulary(Look, Deliver, Free))
    Feeder(link, Ring.at(ring)).converse()


if __name__ == "__main__":
    main(sys.argv[1:])
