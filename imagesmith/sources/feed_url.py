"""An image at an https address: delivered while it is fetched, and then from the file that it was fetched into.

That file lies among the cache's parts: it stays there when the download breaks off, so that the next run resumes, and
is thrown away once the image was delivered. Called by `feeder`, and only for addresses, since it imports much.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from imagesmith.errors import DigestMismatch, SourceUnreachable
from imagesmith.messages import Look
from imagesmith.sources.cache import PART_KIND, Cache
from imagesmith.sources.content import HEAD, detect
from imagesmith.sources.feed_content import Content, of_file, of_stream
from imagesmith.sources.feed_file import File
from imagesmith.sources.feed_slots import Slots, Stopped
from imagesmith.sources.fetch import fetch
from imagesmith.sources.part import Part, Restarted
from imagesmith.sources.shown import shown
from imagesmith.sources.wanted import Wanted
from imagesmith.streams import Peekable


class Fetched:
    """A `feed_content.Content` behind `look.url`; closing `leaving` gives its file back to the cache, or removes it."""

    again = True

    def __init__(self, look: Look, cache: Cache, leaving: ExitStack) -> None:
        self._look = look
        self._name = shown(look.url)
        self._useless = False
        """What was fetched is damaged, or all done with: it is not kept."""
        self._leaving = leaving
        key = f"url-{hashlib.sha256(look.url.encode()).hexdigest()[:32]}"
        self._leaving.enter_context(cache.hold(PART_KIND, key))
        self._part = self._leaving.enter_context(Part(cache.part(key)))
        self._leaving.callback(self._leave)
        self._begun = threading.Event()
        """The server has answered, so that what an earlier run left is either gone or still right."""
        self._fetching = threading.Thread(target=self._fetch, name="fetch", daemon=True)
        self._fetching.start()
        self._begun.wait()
        with self._judged():
            self._content = self._opened()
        self.format, self.size, self.memory = self._content.format, self._content.size, self._content.memory

    def head(self, most: int) -> bytes:
        with self._judged():
            return self._content.head(most)

    def deliver(self, wanted: Wanted, slots: Slots) -> int:
        with self._judged(slots):
            size = self._content.deliver(wanted, slots)
        if not self._content.again:  # what came as a stream is a whole file now, and as promised
            self._content = self._whole()
        self._useless = True
        return size

    def _leave(self) -> None:
        self._part.reject(Stopped())
        if self._useless:
            self._part.discard()

    def _fetch(self) -> None:
        try:
            fetch(self._look.url, self._part, listener=lambda event: self._begun.set())
            self._part.finish()
        except BaseException as error:
            self._part.fail(error)
        finally:
            self._begun.set()

    def _opened(self) -> Content:
        name = detect(Peekable(self._reader()).peek(HEAD), self._name)
        if name not in ("zip", "qcow2"):
            return of_stream(self._reader(), self._name, self._look.digest)
        self._fetching.join()  # their directory may be anywhere
        self._reader().read(1)  # raises what the download failed with
        return self._whole(self._look.digest)

    def _whole(self, digest: str = "") -> Content:
        file = os.open(self._part.path, os.O_RDONLY | os.O_NOFOLLOW)
        self._leaving.callback(os.close, file)
        return of_file(File(file, self._name), digest)

    def _reader(self) -> _Steady:
        return _Steady(self._part, self._name)

    @contextmanager
    def _judged(self, slots: Slots | None = None) -> Iterator[None]:
        """Remember a failure that comes from the bytes themselves: resuming would only bring it again."""
        try:
            yield
        except BaseException as error:
            cause = (slots and slots.failure) or error
            self._useless = isinstance(cause, DigestMismatch)
            self._part.reject(cause)
            raise


class _Steady:
    """Reads the part from its start. Raises SourceUnreachable when that is replaced by another version's."""

    def __init__(self, part: Part, name: str) -> None:
        self._reader = part.reader()
        self._name = name

    def read(self, size: int, /) -> bytes:
        try:
            return self._reader.read(size)
        except Restarted:
            raise SourceUnreachable(
                "the file on the server was replaced while it was fetched",
                where=self._name,
                hint="run the same command again",
            ) from None
